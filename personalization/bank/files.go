package bank

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cardbureau/personalization/payment/bankfile"
	"cardbureau/personalization/store"
)

// receiver is how files call the bank.
const receiver = "SEPAH"

// noted is what the database keeps of a file beside its chain: what later files
// need of it, and what it takes to make an issuing result again.
type noted struct {
	Info    bankfile.Info     `json:"info"`
	Sender  string            `json:"sender,omitempty"`
	Created time.Time         `json:"created,omitzero"`
	Number  uint64            `json:"number,omitempty"` // of the day's issuing results
	Closes  map[string]uint64 `json:"closes,omitempty"` // classes, of reconciliations
	Ranges  map[string]uint64 `json:"ranges,omitempty"`
	Told    uint64            `json:"told,omitempty"` // the last issuing result in a reconciliation
}

// ErrDay says that there can be no file of that day any more, or not yet.
var ErrDay = errors.New("there is no file of this day")

// Today is the business day that it is now, as midnight of its date in UTC.
func (s *Service) Today() time.Time { return s.dayOf(s.now()) }

func (s *Service) zone() *time.Location {
	if s.Zone != nil {
		return s.Zone
	}
	return time.UTC
}

// dayOf is the business day of a moment, as midnight of its date in UTC.
func (s *Service) dayOf(at time.Time) time.Time {
	y, m, d := at.In(s.zone()).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// bounds are a business day's first moment and the first after it; day is named by its
// own date.
func (s *Service) bounds(day time.Time) (from, to time.Time) {
	y, m, d := day.Date()
	return s.begin(y, m, d), s.begin(y, m, d+1)
}

// begin is the first moment of a date. Where clocks change at midnight it is that of the
// change, or the first of two midnights.
func (s *Service) begin(y int, m time.Month, d int) time.Time {
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	t := time.Date(y, m, d, 0, 0, 0, 0, s.zone())
	start, end := t.ZoneBounds()
	if s.dayOf(t).Before(day) { // the day has no midnight
		return end
	}
	if before := start.Add(-1); !start.IsZero() && s.dayOf(before).Equal(day) {
		_, offset := before.Zone()
		return day.Add(-time.Duration(offset) * time.Second).In(s.zone())
	}
	return t
}

// header is that of the next file of a kind. Files follow the days: none is of a day
// before the last one's, or of one that has not begun. ErrDay.
func (s *Service) header(ctx context.Context, kind bankfile.Kind, day time.Time) (h bankfile.Header, last *noted, err error) {
	y, m, d := day.Date()
	h = bankfile.Header{Sender: s.Name, Receiver: receiver, Sequence: 1, Day: time.Date(y, m, d, 0, 0, 0, 0, time.UTC), Created: s.now().UTC().Truncate(time.Second)}
	if h.Day.After(s.Today()) {
		return h, nil, fmt.Errorf("%w: %s has not begun (%s)", ErrDay, h.Day.Format(time.DateOnly), s.zone())
	}
	if last, err = s.last(ctx, kind); err != nil || last == nil {
		return h, last, err
	}
	if h.Day.Before(last.Info.Day) {
		return h, nil, fmt.Errorf("%w: file %d is of %s already, and has what was due before it", ErrDay, last.Info.Sequence, last.Info.Day.Format(time.DateOnly))
	}
	h.Sequence, h.Previous = last.Info.Sequence+1, last.Info.Digest
	return h, last, nil
}

// last is the newest file of a kind; nil: there is none.
func (s *Service) last(ctx context.Context, kind bankfile.Kind) (*noted, error) {
	files, err := s.Store.BankFiles(ctx, string(kind))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	n := &noted{}
	if err := json.Unmarshal(files[len(files)-1].Totals, n); err != nil {
		return nil, fmt.Errorf("bank file %d: %w", len(files), err)
	}
	return n, nil
}

// entry is what the database keeps of a file.
func entry(info bankfile.Info, n noted) (store.BankFile, error) {
	n.Info = info
	totals, err := json.Marshal(n)
	return store.BankFile{Seq: int64(info.Sequence), Day: info.Day, Digest: info.Digest[:], Previous: info.Previous[:], Records: info.Records, Totals: totals}, err
}

// handOver writes a file that is noted: one that was noted can be written again, one
// that was written and not noted would break the chain.
func handOver(w io.Writer, file []byte, err error) error {
	if errors.Is(err, store.ErrStale) {
		return errors.New("another file was written meanwhile: write this one again")
	}
	if err == nil {
		_, err = w.Write(file)
	}
	return err
}

// Reconcile writes the day's reconciliation: every account is in one place, and every
// PAN that was taken is counted, as it was at the day's end, or is now while the day
// lasts. It begins where the reconciliation before ended. ErrDay.
func (s *Service) Reconcile(ctx context.Context, w io.Writer, day time.Time, format bankfile.Format, by store.Actor) (*bankfile.Reconciliation, bankfile.Info, error) {
	h, last, err := s.header(ctx, bankfile.KindReconciliation, day)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	_, end := s.bounds(h.Day)
	counts, err := s.Store.BankBalance(ctx, end)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	if last == nil {
		last = &noted{}
	}
	f := &bankfile.Reconciliation{Header: h}
	n := noted{Closes: map[string]uint64{}, Ranges: map[string]uint64{}, Told: last.Told}
	for _, c := range counts {
		n.Closes[string(bankfile.Assigned)] += c
	}
	for _, c := range bankfile.Classes {
		if c != bankfile.Assigned {
			n.Closes[string(c)] = counts[string(c)]
		}
		b := bankfile.Balance{Class: c, Opening: last.Closes[string(c)], Closing: n.Closes[string(c)]}
		if b.Closing >= b.Opening {
			b.In = b.Closing - b.Opening
		} else {
			b.Out = b.Opening - b.Closing
		}
		f.Balances = append(f.Balances, b)
	}
	if f.Files, err = s.answered(ctx, h.Day, last.Told); err != nil {
		return nil, bankfile.Info{}, err
	}
	if k := len(f.Files); k > 0 {
		n.Told = max(n.Told, f.Files[k-1].Sequence)
	}
	ranges, err := s.Store.RangesAt(ctx, end)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	for _, r := range ranges {
		opening := last.Ranges[r.Name]
		n.Ranges[r.Name] = uint64(r.Used)
		f.Ranges = append(f.Ranges, bankfile.RangeUse{Name: r.Name, Size: uint64(r.Size), Opening: opening, Taken: uint64(r.Used) - opening, Closing: uint64(r.Used)})
	}
	var buf bytes.Buffer
	info, err := bankfile.Write(&buf, f, format)
	if err != nil {
		return f, info, err
	}
	e, err := entry(info, n)
	if err == nil {
		err = s.Store.AppendBankList(ctx, string(f.Kind()), e, buf.Bytes(), by)
	}
	return f, info, handOver(w, buf.Bytes(), err)
}

// ReconcileAgain writes a reconciliation of the last 30 days again, byte for byte.
func (s *Service) ReconcileAgain(ctx context.Context, w io.Writer, sequence uint64, by store.Actor) (*bankfile.Reconciliation, bankfile.Info, error) {
	kept, err := s.Store.BankContent(ctx, string(bankfile.KindReconciliation), int64(sequence))
	if errors.Is(err, store.ErrNotFound) {
		return nil, bankfile.Info{}, fmt.Errorf("there is no reconciliation %d of the last 30 days", sequence)
	}
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	f, info, err := bankfile.As[*bankfile.Reconciliation](bytes.NewReader(kept.Content))
	if err == nil {
		err = s.again(ctx, bankfile.KindReconciliation, sequence, by)
	}
	return f, info, handOver(w, kept.Content, err)
}

func (s *Service) again(ctx context.Context, kind bankfile.Kind, sequence uint64, by store.Actor) error {
	return s.Store.Audit(ctx, by, "bank-file.again", fmt.Sprintf("%s %d", kind, sequence), "")
}

// answered are the issuing results of a day, and those of days before that were in no
// reconciliation yet, with what the bank has answered.
func (s *Service) answered(ctx context.Context, day time.Time, told uint64) (out []bankfile.FileTotals, err error) {
	files, err := s.Store.BankFiles(ctx, string(bankfile.KindIssuing))
	if err != nil {
		return nil, err
	}
	answers, err := s.Store.BankAnswers(ctx, string(bankfile.KindIssuing))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if file.Day.After(day) || file.Day.Before(day) && uint64(file.Seq) <= told {
			continue
		}
		var n noted
		if err := json.Unmarshal(file.Totals, &n); err != nil {
			return nil, err
		}
		t := bankfile.TotalsOf(n.Info)
		for _, a := range answers {
			if a.Seq != file.Seq {
				continue
			}
			t.Open--
			if a.Code == string(bankfile.Accepted) {
				t.Accepted++
			} else {
				t.Rejected++
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// ErrFileRefused says that the bank has refused a file whole: it is to be written again
// or explained, and none of its records is answered.
var ErrFileRefused = errors.New("the bank has refused the file")

// Acknowledge takes in the bank's answer to a file: strictly in its chain, and for a file
// that was sent. It returns how many answers were new, and the records that the bank has
// not accepted. ErrFileRefused after a refusal was taken in. The newest acknowledgement
// may come again: what of its answers was lost with a crash is then taken in.
func (s *Service) Acknowledge(ctx context.Context, r io.Reader, by store.Actor) (fresh int, rejected []bankfile.Answer, err error) {
	a, info, err := bankfile.As[*bankfile.Acknowledgement](r)
	if err != nil {
		return 0, nil, err
	}
	last, err := s.last(ctx, bankfile.KindAcknowledgement)
	if err != nil {
		return 0, nil, err
	}
	if last == nil || last.Info.Digest != info.Digest {
		var before *bankfile.Info
		if last != nil {
			before = &last.Info
		}
		if err := s.takeAnswer(ctx, a, info, before, by); err != nil {
			return 0, nil, err
		}
	}
	answers := make([]store.BankAnswer, len(a.Answers))
	for i, one := range a.Answers {
		answers[i] = store.BankAnswer{Seq: int64(a.OfSequence), Line: int64(one.Of), Code: string(one.Code)}
	}
	fresh, err = s.Store.AnswerBankFile(ctx, string(a.OfKind), int64(a.OfSequence), answers)
	if err == nil && a.File != bankfile.Accepted {
		err = fmt.Errorf("%w: %s %d, code %s (%s)", ErrFileRefused, a.OfKind, a.OfSequence, a.File, a.File.Text())
	}
	return fresh, rejects(a), err
}

// takeAnswer notes an acknowledgement after the one before it.
func (s *Service) takeAnswer(ctx context.Context, a *bankfile.Acknowledgement, info bankfile.Info, before *bankfile.Info, by store.Actor) error {
	if err := info.Follows(before); err != nil {
		return err
	}
	files, err := s.Store.BankFiles(ctx, string(a.OfKind))
	if err != nil {
		return err
	}
	at := slices.IndexFunc(files, func(f store.BankFile) bool { return uint64(f.Seq) == a.OfSequence })
	if at < 0 {
		return fmt.Errorf("the bureau has sent no file %d of kind %s", a.OfSequence, a.OfKind)
	}
	var sent noted
	if err := json.Unmarshal(files[at].Totals, &sent); err != nil {
		return err
	}
	if err := a.AnswersFile(sent.Info); err != nil {
		return err
	}
	e, err := entry(info, noted{})
	if err != nil {
		return err
	}
	return s.Store.AppendBankFile(ctx, string(bankfile.KindAcknowledgement), e, by)
}

func rejects(a *bankfile.Acknowledgement) (out []bankfile.Answer) {
	for _, one := range a.Answers {
		if one.Code != bankfile.Accepted {
			out = append(out, one)
		}
	}
	return out
}
