package line

import (
	"bytes"
	"context"
	"fmt"

	"cardbureau/cardio/emv"
	"cardbureau/personalization/payment"
)

// overAir brings the card into the reader's field; false: the reader has contacts
// alone.
func overAir(ctx context.Context, s Session) (bool, error) {
	traced, ok := s.(*tracedSession)
	if ok {
		s = traced.Session
	}
	air, has := s.(Antenna)
	switch {
	case !has:
		return false, nil
	case ok:
		return true, traced.resetContactless(ctx, air)
	}
	return true, air.ResetContactless(ctx)
}

// contactless proves what a contactless terminal meets: PPSE leads to the
// application, which has its own file control information, AIP and AFL there, names
// nobody, and authenticates and goes online as over contacts. By a reader that has
// contacts alone PPSE and the record that only contactless terminals read are
// compared; the rest cannot be reached.
func (p *prover) contactless(ctx context.Context, s *payment.Scheme, r *records) error {
	if err := p.session.Reset(ctx); err != nil {
		return err
	}
	air, err := overAir(ctx, p.session)
	if err != nil {
		return err
	}
	if err := p.ppse(ctx, s); err != nil {
		return err
	}
	app, err := emv.Select(ctx, p.session, s.AID)
	if err != nil {
		return err
	}
	if !air {
		record, err := emv.ReadRecord(ctx, p.session, 1, 2)
		if err == nil && !r.same("emv.0102", record) {
			err = notProven("the record for contactless terminals is not what was written")
		}
		return err
	}
	data, err := terminalData(s)
	if err != nil {
		return err
	}
	if app.FCI.Label != s.Label || app.FCI.LogEntry != nil || app.FCI.PDOL == nil {
		return notProven("the payment application does not present itself over the contactless interface as it was written")
	}
	if err := r.compare(ctx, app, data, "emv.9105"); err != nil {
		return fmt.Errorf("contactless: %w", err)
	}
	if app.Data[emv.TagName] != nil {
		return notProven("the holder's name can be read over the contactless interface")
	}
	if err := p.offline(ctx, app, s); err != nil {
		return fmt.Errorf("contactless: %w", err)
	}
	if err := p.transaction(ctx, app, s); err != nil {
		return fmt.Errorf("contactless: %w", err)
	}
	return p.session.Reset(ctx)
}

// ppse reads the contactless directory and compares it with the image.
func (p *prover) ppse(ctx context.Context, s *payment.Scheme) error {
	entries, err := emv.ReadPPSE(ctx, p.session)
	if err != nil {
		return fmt.Errorf("PPSE: %w", err)
	}
	if len(entries) != 1 || !bytes.Equal(entries[0].AID, s.AID) || entries[0].Label != s.Label || int(entries[0].Priority) != s.Priority {
		return notProven("the contactless directory does not lead to the application")
	}
	return nil
}
