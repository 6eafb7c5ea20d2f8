package emv

import (
	"bytes"
	"context"
	"errors"

	"cardbureau/cardio/emv/oda"
)

// Results of a cardholder verification method: the third byte of CVM results
// (Book 4, annex A4).
const (
	cvmUnknown    byte = 0x00
	cvmFailed     byte = 0x01
	cvmSuccessful byte = 0x02
)

// verifyHolder is cardholder verification (Book 3, section 10.5).
func (r *run) verifyHolder(ctx context.Context) error {
	res := r.result
	if !r.app.AIP.Has(AIPVerification) {
		res.note(CheckHolder, NotDone, "the card does not ask for it")
		return nil
	}
	raw := r.app.Data[TagCVMList]
	if raw == nil {
		res.TVR.Set(DataMissing)
		res.note(CheckHolder, NotDone, "the card has no list of methods")
		return nil
	}
	list, err := ParseCVMList(raw)
	if err != nil {
		return err
	}
	if len(list.Rules) == 0 {
		res.note(CheckHolder, NotDone, "the card's list has no method")
		return nil
	}
	res.TSI.Set(DidVerification)
	res.CVM = [3]byte{0x3F, 0, cvmFailed}
	for _, rule := range list.Rules {
		if !r.applies(list, rule) {
			continue
		}
		outcome, attempted, err := r.method(ctx, rule)
		if err != nil {
			return err
		}
		if attempted {
			res.CVM = [3]byte{rule.Code, rule.Condition, outcome}
		}
		if outcome != cvmFailed {
			res.note(CheckHolder, Passed, "method %02X", rule.Method())
			return nil
		}
		if !rule.Next() {
			break
		}
	}
	res.TVR.Set(VerificationFailed)
	res.note(CheckHolder, Failed, "CVM results %X", res.CVM[:])
	return nil
}

// applies tests a rule's condition. One that is unknown, or whose data are not
// there, is not satisfied.
func (r *run) applies(l CVMList, rule Rule) bool {
	cash := r.tx.Type == Cash
	inCurrency := func() bool {
		c := r.app.Data[TagCardCurrency]
		return c != nil && bytes.Equal(c, r.term[TagCurrency])
	}
	switch rule.Condition {
	case IfAlways:
		return true
	case IfUnattendedCash:
		return cash && r.unattended()
	case IfNotCash:
		return !cash && !r.cashback()
	case IfSupported:
		return r.supports(rule.Method())
	case IfManualCash:
		return cash && !r.unattended()
	case IfCashback:
		return r.cashback()
	case IfUnderX:
		return inCurrency() && r.tx.Amount < uint64(l.X)
	case IfOverX:
		return inCurrency() && r.tx.Amount > uint64(l.X)
	case IfUnderY:
		return inCurrency() && r.tx.Amount < uint64(l.Y)
	case IfOverY:
		return inCurrency() && r.tx.Amount > uint64(l.Y)
	}
	return false
}

func known(method byte) bool {
	return method <= CVMEncipheredPINAndSignature || method == CVMSignature || method == CVMNone
}

// supports reports whether the terminal can do a method; a PIN needs a pad.
func (r *run) supports(method byte) bool {
	var need byte
	switch method {
	case CVMFail:
		return true
	case CVMPlaintextPIN:
		need = CanPlaintextPIN
	case CVMOnlinePIN:
		need = CanOnlinePIN
	case CVMPlaintextPINSignature:
		need = CanPlaintextPIN | CanSignature
	case CVMEncipheredPIN:
		need = CanEncipheredPIN
	case CVMEncipheredPINAndSignature:
		need = CanEncipheredPIN | CanSignature
	case CVMSignature:
		need = CanSignature
	case CVMNone:
		need = CanNoCVM
	default:
		return false
	}
	return r.Capabilities[1]&need == need
}

// method does one method. attempted is false where the terminal does not have it.
func (r *run) method(ctx context.Context, rule Rule) (outcome byte, attempted bool, err error) {
	m, res := rule.Method(), r.result
	pin := m >= CVMPlaintextPIN && m <= CVMEncipheredPINAndSignature
	switch {
	case !known(m):
		res.TVR.Set(UnrecognizedCVM)
		return cvmFailed, false, nil
	case m == CVMFail:
		return cvmFailed, true, nil
	case !r.supports(m):
		if pin {
			res.TVR.Set(PINPadMissing)
		}
		return cvmFailed, false, nil
	case m == CVMNone:
		return cvmSuccessful, true, nil
	case m == CVMSignature:
		return cvmUnknown, true, nil
	case r.PIN == nil:
		res.TVR.Set(PINPadMissing)
		return cvmFailed, true, nil
	case m == CVMOnlinePIN:
		block, err := r.PIN(ctx, PINRequest{Online: true, Tries: -1})
		if err != nil {
			return 0, true, err
		}
		if block == nil {
			res.TVR.Set(PINNotEntered)
			return cvmFailed, true, nil
		}
		block.Zero()
		res.TVR.Set(OnlinePINEntered)
		return cvmUnknown, true, nil
	}
	ok, err := r.offlinePIN(ctx, m == CVMEncipheredPIN || m == CVMEncipheredPINAndSignature)
	switch {
	case err != nil:
		return 0, true, err
	case !ok:
		return cvmFailed, true, nil
	case m == CVMPlaintextPINSignature || m == CVMEncipheredPINAndSignature:
		return cvmUnknown, true, nil
	}
	return cvmSuccessful, true, nil
}

// offlinePIN asks for the PIN and has the card check it, as often as the card
// lets it (Book 3, section 10.5.1; Book 4, section 6.3.4).
func (r *run) offlinePIN(ctx context.Context, enciphered bool) (bool, error) {
	res := r.result
	tries, err := r.app.PINTries(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		tries = -1
	case err != nil:
		return false, err
	case tries == 0:
		res.TVR.Set(PINTriesExceeded)
		return false, nil
	}
	var key oda.PublicKey
	if enciphered {
		if key, err = r.app.PINKey(r.CAKeys, r.at); err != nil {
			return false, nil // the method fails, and nothing is noted as missing (EMV 4.4 Book 3, section 7.5)
		}
	}
	for again := false; ; again = true {
		block, err := r.PIN(ctx, PINRequest{Tries: tries, Again: again})
		if err != nil {
			return false, err
		}
		if block == nil {
			res.TVR.Set(PINNotEntered)
			return false, nil
		}
		if enciphered {
			err = r.app.VerifyEnciphered(ctx, r.random(), key, block)
		} else {
			err = r.app.Verify(ctx, block)
		}
		block.Zero()
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrPINBlocked):
			res.TVR.Set(PINTriesExceeded)
			return false, nil
		case errors.Is(err, ErrPIN):
			if tries > 0 {
				tries--
			}
		case lost(err):
			return false, err
		default:
			return false, nil
		}
	}
}
