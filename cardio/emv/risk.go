package emv

import (
	"context"
	"errors"
	"io"
)

// manageRisk is terminal risk management. It is done whatever the application
// interchange profile says of it (EMV 4.4 Book 3, section 10.6).
func (r *run) manageRisk(ctx context.Context) error {
	if r.tx.ForceOnline {
		r.result.TVR.Set(ForcedByTheTrader)
	}
	r.result.TSI.Set(DidTerminalRisk)
	if r.tx.Amount >= r.set.FloorLimit {
		r.result.TVR.Set(OverFloorLimit)
		r.result.note(CheckFloorLimit, Failed, "the amount is not below it")
	} else {
		r.result.note(CheckFloorLimit, Passed, "")
		if err := r.select100(); err != nil {
			return err
		}
	}
	return r.velocity(ctx)
}

// select100 is random transaction selection (Book 3, section 10.6.2): a number
// from 1 to 99 that is not above the percentage sends the transaction online.
func (r *run) select100() error {
	if !r.onlineCapable() || !r.offlineCapable() {
		return nil
	}
	percent := uint64(r.set.Target)
	if r.tx.Amount >= r.set.Threshold && r.set.Max > r.set.Target && r.set.FloorLimit > r.set.Threshold {
		percent += uint64(r.set.Max-r.set.Target) * (r.tx.Amount - r.set.Threshold) / (r.set.FloorLimit - r.set.Threshold)
	}
	b := []byte{0xFF}
	for b[0] >= 198 { // twice 99: every number as likely
		if _, err := io.ReadFull(r.random(), b); err != nil {
			return err
		}
	}
	if uint64(b[0]%99)+1 <= percent {
		r.result.TVR.Set(SelectedAtRandom)
		r.result.note(CheckRandom, Failed, "selected to go online")
		return nil
	}
	r.result.note(CheckRandom, Passed, "")
	return nil
}

// velocity compares the number of offline transactions in a row with the limits
// in the card's records (Book 3, section 10.6.3).
func (r *run) velocity(ctx context.Context) error {
	lower, upper := r.app.Data[TagLowerOffline], r.app.Data[TagUpperOffline]
	if lower == nil || upper == nil {
		r.result.note(CheckVelocity, NotDone, "the card's records have no limits")
		return nil
	}
	res := r.result
	atc, last, err := r.app.Counters(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		res.TVR.Set(OverLowerOffline)
		res.TVR.Set(OverUpperOffline)
		res.note(CheckVelocity, Failed, "the card does not give its counters")
		return nil
	case err != nil:
		return err
	}
	if last == 0 {
		res.TVR.Set(NewCard)
	}
	if atc <= last {
		res.TVR.Set(OverLowerOffline)
		res.TVR.Set(OverUpperOffline)
		res.note(CheckVelocity, Failed, "the counters are not in order")
		return nil
	}
	outcome := Passed
	if run := atc - last; run > uint16(lower[0]) {
		outcome = Failed
		res.TVR.Set(OverLowerOffline)
		if run > uint16(upper[0]) {
			res.TVR.Set(OverUpperOffline)
		}
	}
	res.note(CheckVelocity, outcome, "%d since the last online transaction", atc-last)
	return nil
}

// code is an issuer action code with its default where the card has none (Book 3,
// section 10.7), joined with the terminal's.
func (r *run) code(issuer []byte, absent byte, terminal [5]byte) (out [5]byte) {
	for i := range out {
		out[i] = absent
		if issuer != nil {
			out[i] = issuer[i]
		}
		out[i] |= terminal[i]
	}
	return out
}

// analyze is terminal action analysis before the first GENERATE AC (Book 3,
// section 10.7): the kind of cryptogram to ask for.
func (r *run) analyze() byte {
	d, t := r.app.Data, r.result.TVR
	switch {
	case r.denied():
		return AAC
	case !r.offlineCapable():
		return ARQC
	case !r.onlineCapable():
		return r.unable()
	case t.Meets(r.code(d[TagIACOnline], 0xFF, r.set.Online)):
		return ARQC
	}
	return TC
}

// denied is the analysis by the denial codes.
func (r *run) denied() bool {
	return r.result.TVR.Meets(r.code(r.app.Data[TagIACDenial], 0, r.set.Denial))
}

// unable is the analysis where nobody can be asked: by the default action codes.
func (r *run) unable() byte {
	if r.result.TVR.Meets(r.code(r.app.Data[TagIACDefault], 0xFF, r.set.Default)) {
		return AAC
	}
	return TC
}
