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

	"github.com/fxamacker/cbor/v2"

	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/payment/bankfile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// receiver is how files call the bank.
const receiver = "SEPAH"

// noted is what the database keeps of a file beside its chain: what later files
// need of it.
type noted struct {
	Info   bankfile.Info     `json:"info"`
	Closes map[string]uint64 `json:"closes,omitempty"` // classes, of reconciliations
	Ranges map[string]uint64 `json:"ranges,omitempty"`
}

// header is that of the next file of a kind.
func (s *Service) header(ctx context.Context, kind bankfile.Kind, day time.Time) (h bankfile.Header, last *noted, err error) {
	files, err := s.Store.BankFiles(ctx, string(kind))
	if err != nil {
		return h, nil, err
	}
	h = bankfile.Header{Sender: s.Name, Receiver: receiver, Sequence: 1, Day: day, Created: s.now().UTC().Truncate(time.Second)}
	if n := len(files); n > 0 {
		last = &noted{}
		if err := json.Unmarshal(files[n-1].Totals, last); err != nil {
			return h, nil, fmt.Errorf("bank file %d: %w", n, err)
		}
		h.Sequence = uint64(files[n-1].Seq) + 1
		copy(h.Previous[:], files[n-1].Digest)
	}
	return h, last, nil
}

// write notes a file and then writes it: one that was noted can be written again
// from the day's data, one that was written and not noted would break the chain.
func (s *Service) write(ctx context.Context, w io.Writer, f bankfile.File, format bankfile.Format, h bankfile.Header, n noted, by store.Actor) (bankfile.Info, error) {
	var buf bytes.Buffer
	info, err := bankfile.Write(&buf, f, format)
	if err != nil {
		return info, err
	}
	n.Info = info
	totals, err := json.Marshal(n)
	if err != nil {
		return info, err
	}
	err = s.Store.AppendBankFile(ctx, string(f.Kind()), store.BankFile{
		Seq: int64(info.Sequence), Day: h.Day, Digest: info.Digest[:], Previous: h.Previous[:], Records: info.Records, Totals: totals,
	}, by)
	if errors.Is(err, store.ErrStale) {
		return info, errors.New("another file was written meanwhile: write this one again")
	}
	if err != nil {
		return info, err
	}
	_, err = w.Write(buf.Bytes())
	return info, err
}

// IssuingResult writes what was issued on a day (UTC), whether the account had a card
// before or not, and what the bank took back on it.
func (s *Service) IssuingResult(ctx context.Context, w io.Writer, day time.Time, format bankfile.Format, by store.Actor) (bankfile.Info, error) {
	day = day.UTC().Truncate(24 * time.Hour)
	h, _, err := s.header(ctx, bankfile.KindIssuing, day)
	if err != nil {
		return bankfile.Info{}, err
	}
	rows, err := s.Store.BankDay(ctx, day)
	if err != nil {
		return bankfile.Info{}, err
	}
	items := make([]vault.SealItem, len(rows))
	for i, r := range rows {
		items[i] = vault.SealItem{DataKey: vault.DataKey{Epoch: r.Epoch, Wrapped: r.Wrapped}, AAD: image.AccountAAD(r.Assignment, r.PersonID), Data: r.AccountSealed}
	}
	var opened [][]byte
	for part := range slices.Chunk(items, 64) {
		plain, err := s.Vault.OpenAll(ctx, part)
		if err != nil {
			return bankfile.Info{}, err
		}
		opened = append(opened, plain...)
	}
	f := &bankfile.Issuing{Header: h}
	for i, r := range rows {
		var a payment.Account
		err := cbor.Unmarshal(opened[i], &a)
		clear(opened[i])
		row := bankfile.Issue{IBAN: a.IBAN, Status: bankfile.Status(r.Status), Date: r.At.UTC().Truncate(24 * time.Hour)}
		if r.Expires != nil {
			scheme := s.Profiles.Payments[r.Scheme]
			if scheme == nil {
				return bankfile.Info{}, fmt.Errorf("record %d of the day: its scheme is not known", i+1)
			}
			row.Token, row.First6, row.Last4, row.Sequence, row.Expiry = r.Token, scheme.BIN[:6], r.Last4, uint64(r.Sequence), *r.Expires
		}
		if err != nil {
			return bankfile.Info{}, fmt.Errorf("record %d of the day: its account is not known", i+1)
		}
		f.Rows = append(f.Rows, row)
	}
	return s.write(ctx, w, f, format, h, noted{}, by)
}

// Reconcile writes the day's reconciliation: every account is in one place, and
// every PAN that was taken is counted.
func (s *Service) Reconcile(ctx context.Context, w io.Writer, day time.Time, format bankfile.Format, by store.Actor) (*bankfile.Reconciliation, bankfile.Info, error) {
	day = day.UTC().Truncate(24 * time.Hour)
	h, last, err := s.header(ctx, bankfile.KindReconciliation, day)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	counts, err := s.Store.BankBalance(ctx)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	if last == nil {
		last = &noted{}
	}
	f := &bankfile.Reconciliation{Header: h}
	n := noted{Closes: map[string]uint64{}, Ranges: map[string]uint64{}}
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
	if f.Files, err = s.answered(ctx, day); err != nil {
		return nil, bankfile.Info{}, err
	}
	ranges, err := s.Store.Ranges(ctx)
	if err != nil {
		return nil, bankfile.Info{}, err
	}
	for _, r := range ranges {
		opening := last.Ranges[r.Name]
		n.Ranges[r.Name] = uint64(r.Used)
		f.Ranges = append(f.Ranges, bankfile.RangeUse{Name: r.Name, Size: uint64(r.Size), Opening: opening, Taken: uint64(r.Used) - opening, Closing: uint64(r.Used)})
	}
	info, err := s.write(ctx, w, f, format, h, n, by)
	return f, info, err
}

// answered are the issuing results of a day with what the bank has answered.
func (s *Service) answered(ctx context.Context, day time.Time) (out []bankfile.FileTotals, err error) {
	files, err := s.Store.BankFiles(ctx, string(bankfile.KindIssuing))
	if err != nil {
		return nil, err
	}
	answers, err := s.Store.BankAnswers(ctx, string(bankfile.KindIssuing))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if !file.Day.Equal(day) {
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

// Acknowledge takes in the bank's answer to an issuing result: strictly in its
// chain, and for a file that was sent. It returns how many answers were new, and
// the records that the bank has not accepted.
func (s *Service) Acknowledge(ctx context.Context, r io.Reader, by store.Actor) (fresh int, rejected []bankfile.Answer, err error) {
	a, info, err := bankfile.As[*bankfile.Acknowledgement](r)
	if err != nil {
		return 0, nil, err
	}
	_, last, err := s.header(ctx, bankfile.KindAcknowledgement, info.Day)
	if err != nil {
		return 0, nil, err
	}
	var before *bankfile.Info
	if last != nil {
		before = &last.Info
		if last.Info.Digest == info.Digest {
			return 0, rejects(a), nil // the same file again
		}
	}
	if err := info.Follows(before); err != nil {
		return 0, nil, err
	}
	files, err := s.Store.BankFiles(ctx, string(a.OfKind))
	if err != nil {
		return 0, nil, err
	}
	at := slices.IndexFunc(files, func(f store.BankFile) bool { return uint64(f.Seq) == a.OfSequence })
	if at < 0 {
		return 0, nil, fmt.Errorf("the bureau has sent no file %d of kind %s", a.OfSequence, a.OfKind)
	}
	var sent noted
	if err := json.Unmarshal(files[at].Totals, &sent); err != nil {
		return 0, nil, err
	}
	if err := a.AnswersFile(sent.Info); err != nil {
		return 0, nil, err
	}
	totals, err := json.Marshal(noted{Info: info})
	if err != nil {
		return 0, nil, err
	}
	err = s.Store.AppendBankFile(ctx, string(bankfile.KindAcknowledgement), store.BankFile{
		Seq: int64(info.Sequence), Day: info.Day, Digest: info.Digest[:], Previous: info.Previous[:], Records: info.Records, Totals: totals,
	}, by)
	if err != nil {
		return 0, nil, err
	}
	answers := make([]store.BankAnswer, len(a.Answers))
	for i, one := range a.Answers {
		answers[i] = store.BankAnswer{Seq: int64(a.OfSequence), Line: int64(one.Of), Code: string(one.Code)}
	}
	fresh, err = s.Store.AnswerBankFile(ctx, string(a.OfKind), int64(a.OfSequence), answers)
	return fresh, rejects(a), err
}

func rejects(a *bankfile.Acknowledgement) (out []bankfile.Answer) {
	for _, one := range a.Answers {
		if one.Code != bankfile.Accepted {
			out = append(out, one)
		}
	}
	return out
}
