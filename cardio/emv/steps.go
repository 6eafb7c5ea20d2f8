package emv

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv/oda"
)

// keys are the card's keys, recovered when they are needed.
type keys struct {
	icc *oda.PublicKey
}

// selectApplication selects the best candidate that lets itself be used (Book 1,
// section 12.4; Book 3, section 10.1).
func (r *run) selectApplication(ctx context.Context, card apdu.Card) error {
	wanted := make([]Wanted, len(r.Applications))
	for i, s := range r.Applications {
		wanted[i] = s.Wanted
	}
	list, err := Candidates(ctx, card, wanted)
	if err != nil {
		return err
	}
	var last error
	for len(list) > 0 {
		i := 0
		if r.Choose != nil {
			if i, err = r.Choose(ctx, list); err != nil {
				return err
			}
			if i < 0 || i >= len(list) {
				return fmt.Errorf("selection: %w", ErrNoApplication)
			}
		}
		c := list[i]
		list = append(list[:i:i], list[i+1:]...)
		if last = r.begin(ctx, card, c); last == nil {
			r.result.note(CheckSelection, Passed, "application %s", nameOf(c.AID))
			return nil
		}
		if !errors.Is(last, ErrBlocked) && !errors.Is(last, ErrNotFound) && !errors.Is(last, ErrConditions) {
			return last
		}
		r.result.note(CheckSelection, Failed, "%s", last.Error())
	}
	if last != nil {
		return fmt.Errorf("%w: %w", ErrNoApplication, last)
	}
	return ErrNoApplication
}

// begin is final selection and GET PROCESSING OPTIONS.
func (r *run) begin(ctx context.Context, card apdu.Card, c Candidate) error {
	app, err := Select(ctx, card, c.AID)
	var refused *apdu.StatusError
	if errors.As(err, &refused) { // whatever it answers: the next candidate's turn
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return err
	}
	for _, s := range r.Applications {
		if bytes.Equal(s.AID, c.Wanted.AID) {
			r.set = s
			break
		}
	}
	if r.term, err = r.data(r.tx, r.set, r.at); err != nil {
		return err
	}
	r.term[TagTerminalAID] = app.FCI.Name // Book 1, section 12.4
	r.app = app
	r.sync()
	if err := app.Initiate(ctx, r.term); err != nil {
		return err
	}
	r.result.Application = app
	return nil
}

func (r *run) readRecords(ctx context.Context) error {
	err := r.app.ReadRecords(ctx)
	if err == nil {
		r.result.note(CheckRecords, Passed, "%d records", len(r.app.Records))
	}
	return err
}

// authenticate chooses and does offline data authentication (Book 3, section
// 10.3): the best that card and terminal both can, XDA, CDA, DDA or SDA. Of XDA and
// CDA this is the recovery of the keys; the rest is done with the cryptogram.
func (r *run) authenticate(ctx context.Context) error {
	res, can := r.result, r.Capabilities[2]
	switch {
	case r.app.AIP.Has(AIPXDA) && can&CanXDA != 0:
		r.beginExtended()
	case r.app.AIP.Has(AIPCDA) && can&CanCDA != 0:
		key, err := r.app.ICCKey(r.CAKeys, r.at)
		if err != nil {
			r.missing(err)
			res.TVR.Set(CDAFailed)
			res.TSI.Set(DidDataAuthentication)
			res.note(CheckCDA, Failed, "%s", err.Error())
			return nil
		}
		r.signed, r.key.icc = SignCDA, &key
	case r.app.AIP.Has(AIPDDA) && can&CanDDA != 0:
		number, err := r.app.AuthenticateDynamic(ctx, r.CAKeys, r.at, r.set.DDOL, r.term)
		if lostIn(err) {
			return err
		}
		res.TSI.Set(DidDataAuthentication)
		res.passed(CheckDDA, err, "")
		if err != nil {
			r.missing(err)
			res.TVR.Set(DDAFailed)
			return nil
		}
		r.term[TagDynamicNumber] = number
	case r.app.AIP.Has(AIPSDA) && can&CanSDA != 0:
		dac, err := r.app.AuthenticateStatic(r.CAKeys, r.at)
		res.TSI.Set(DidDataAuthentication)
		res.TVR.Set(SDASelected)
		res.passed(CheckSDA, err, "")
		if err != nil {
			r.missing(err)
			res.TVR.Set(SDAFailed)
			return nil
		}
		r.term[TagDAC] = dac[:]
	default:
		res.TVR.Set(NoDataAuthentication)
		res.note("offline data authentication", NotDone, "card and terminal have no way in common")
	}
	return nil
}

// missing notes data that should have been there.
func (r *run) missing(err error) {
	if errors.Is(err, ErrMissing) {
		r.result.TVR.Set(DataMissing)
	}
}

// lostIn reports that the card did not answer, as against an answer that failed.
func lostIn(err error) bool {
	return errors.Is(err, apdu.ErrInDoubt) || errors.Is(err, context.Canceled)
}

// restrict is processing restrictions (Book 3, section 10.4).
func (r *run) restrict(context.Context) error {
	res, d := r.result, r.app.Data
	if v := d[TagCardVersion]; v != nil && !bytes.Equal(v, r.term[TagTerminalVersion]) {
		res.TVR.Set(VersionsDiffer)
		res.note(CheckVersion, Failed, "card %X, terminal %X", v, r.term[TagTerminalVersion])
	} else {
		res.note(CheckVersion, Passed, "")
	}
	if r.allowed() {
		res.note(CheckUsage, Passed, "")
	} else {
		res.TVR.Set(ServiceNotAllowed)
		res.note(CheckUsage, Failed, "the application usage control does not allow it")
	}
	today := r.at.Format("060102")
	_, err := date(d[TagExpiry])
	if err != nil {
		return err
	}
	now, _ := date(r.term[TagDate])
	expiry, _ := date(d[TagExpiry])
	outcome, detail := Passed, ""
	if now.After(expiry) {
		res.TVR.Set(Expired)
		outcome, detail = Failed, "expired before "+today
	}
	if from := d[TagEffective]; from != nil {
		begins, err := date(from)
		if err != nil {
			return err
		}
		if begins.After(now) {
			res.TVR.Set(NotYetEffective)
			outcome, detail = Failed, "not effective on "+today
		}
	}
	res.note(CheckDates, outcome, "%s", detail)
	return nil
}

// allowed is application usage control (Book 3, section 10.4.2 and annex C2).
func (r *run) allowed() bool {
	usage := r.app.Data[TagUsage]
	if usage == nil {
		return true
	}
	has := func(i int, bit byte) bool { return usage[i]&bit != 0 }
	if r.cashMachine() && !has(0, 0x02) || !r.cashMachine() && !has(0, 0x01) {
		return false
	}
	country := r.app.Data[TagIssuerCountry]
	if country == nil {
		return true
	}
	home := bytes.Equal(country, r.term[TagTerminalCountry])
	pick := func(i int, domestic, abroad byte) bool { return home && has(i, domestic) || !home && has(i, abroad) }
	if r.tx.Type == Cash {
		return pick(0, 0x80, 0x40)
	}
	if r.cashback() && !pick(1, 0x80, 0x40) {
		return false
	}
	if r.tx.Services {
		return pick(0, 0x08, 0x04)
	}
	return pick(0, 0x20, 0x10)
}

func (r *run) cashback() bool {
	return r.tx.Type == Cashback || r.tx.Type == Purchase && r.tx.Other > 0
}
