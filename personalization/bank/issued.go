package bank

import (
	"bytes"
	"context"
	"encoding/json"
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

// IssuingResult writes what became of cards and accounts up to a day's end and is in no
// issuing result yet: what was issued, and which PANs will never be live. A second one of
// a day has what came since the first. ErrDay.
func (s *Service) IssuingResult(ctx context.Context, w io.Writer, day time.Time, format bankfile.Format, by store.Actor) (bankfile.Info, error) {
	h, last, err := s.header(ctx, bankfile.KindIssuing, day)
	if err != nil {
		return bankfile.Info{}, err
	}
	_, end := s.bounds(h.Day)
	rows, err := s.Store.BankOutcomes(ctx, end, bankfile.MaxRecords)
	if err != nil {
		return bankfile.Info{}, err
	}
	f := &bankfile.Issuing{Header: h, DayNumber: 1}
	if last != nil && last.Info.Day.Equal(h.Day) {
		f.DayNumber = last.Number + 1
	}
	if f.Rows, err = s.issues(ctx, rows); err != nil {
		return bankfile.Info{}, err
	}
	var buf bytes.Buffer
	info, err := bankfile.Write(&buf, f, format)
	if err != nil {
		return info, err
	}
	e, err := entry(info, noted{Sender: h.Sender, Created: h.Created, Number: f.DayNumber})
	if err != nil {
		return info, err
	}
	outcomes := make([]int64, len(rows))
	for i, r := range rows {
		outcomes[i] = r.ID
	}
	return info, handOver(w, buf.Bytes(), s.Store.AppendIssuingFile(ctx, e, outcomes, by))
}

// IssuingAgain makes an issuing result again, byte for byte: of its outcomes, whose
// accounts stand sealed with their persons. Where they are gone, so is the file.
func (s *Service) IssuingAgain(ctx context.Context, w io.Writer, sequence uint64, by store.Actor) (bankfile.Info, error) {
	files, err := s.Store.BankFiles(ctx, string(bankfile.KindIssuing))
	if err != nil {
		return bankfile.Info{}, err
	}
	at := slices.IndexFunc(files, func(f store.BankFile) bool { return uint64(f.Seq) == sequence })
	if at < 0 {
		return bankfile.Info{}, fmt.Errorf("the bureau has written no issuing result %d", sequence)
	}
	var n noted
	if err := json.Unmarshal(files[at].Totals, &n); err != nil {
		return bankfile.Info{}, err
	}
	if n.Number == 0 {
		return bankfile.Info{}, fmt.Errorf("issuing result %d was written by a version of this program that could not write one again", sequence)
	}
	rows, err := s.Store.BankOutcomesOf(ctx, files[at].Seq)
	if err != nil {
		return bankfile.Info{}, err
	}
	f := &bankfile.Issuing{DayNumber: n.Number, Header: bankfile.Header{
		Sender: n.Sender, Receiver: receiver, Sequence: n.Info.Sequence, Previous: n.Info.Previous, Day: n.Info.Day, Created: n.Created,
	}}
	if f.Rows, err = s.issues(ctx, rows); err != nil {
		return bankfile.Info{}, err
	}
	var buf bytes.Buffer
	info, err := bankfile.Write(&buf, f, n.Info.Format)
	if err != nil {
		return info, err
	}
	if info.Digest != n.Info.Digest {
		return info, fmt.Errorf("issuing result %d cannot be made again as it was: what it was made of has changed", sequence)
	}
	return info, handOver(w, buf.Bytes(), s.again(ctx, bankfile.KindIssuing, sequence, by))
}

// issues are the records of outcomes: their accounts are opened.
func (s *Service) issues(ctx context.Context, rows []store.BankOutcome) (out []bankfile.Issue, err error) {
	items := make([]vault.SealItem, len(rows))
	for i, r := range rows {
		items[i] = vault.SealItem{DataKey: vault.DataKey{Epoch: r.Epoch, Wrapped: r.Wrapped}, AAD: image.AccountAAD(r.Assignment, r.PersonID), Data: r.AccountSealed}
	}
	var opened [][]byte
	for part := range slices.Chunk(items, 64) {
		plain, err := s.Vault.OpenAll(ctx, part)
		if err != nil {
			return nil, err
		}
		opened = append(opened, plain...)
	}
	for i, r := range rows {
		var a payment.Account
		err := cbor.Unmarshal(opened[i], &a)
		clear(opened[i])
		if err != nil {
			return nil, fmt.Errorf("record %d: its account is not known", i+1)
		}
		row := bankfile.Issue{IBAN: a.IBAN, Status: bankfile.Status(r.Status), Date: s.dayOf(r.At), Sequence: uint64(r.Sequence)}
		if len(r.Token) > 0 {
			scheme := s.Profiles.Payments[r.Scheme]
			if scheme == nil {
				scheme = s.schemeOf(r.Product) // no card's data was made
			}
			if scheme == nil {
				return nil, fmt.Errorf("record %d: its scheme is not known", i+1)
			}
			row.Token, row.First6, row.Last4 = r.Token, scheme.BIN[:6], r.Last4
		}
		if r.Expires != nil {
			row.Expiry = *r.Expires
		}
		out = append(out, row)
	}
	return out, nil
}
