package uicc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// References of PINs and keys (TS 102 221 table 9.3). PIN1 and PIN2 stand for those of
// the application that is selected, whatever reference the card has them under.
const (
	PIN1 byte = 0x01
	PIN2 byte = 0x81
	ADM1 byte = 0x0A
)

// Errors of PINs. A wrong one is a *PINError.
var (
	ErrPINBlocked  = errors.New("the PIN is blocked")
	ErrPINDisabled = errors.New("the PIN is disabled")
	ErrNoPIN       = errors.New("the card has no such PIN")
	ErrPINFormat   = errors.New("a PIN has 4 to 8 digits, an unblock key 8")
	// ErrLastTry says that a PIN was not sent because it might be the last try.
	ErrLastTry = errors.New("this may be the last try, and it is not spent without being told to")
)

// PINError says that a PIN was wrong and how many tries are left; -1: the card does
// not say.
type PINError struct {
	Reference byte
	Left      int
}

func (e *PINError) Error() string {
	said := pinName(e.Reference) + " is wrong"
	switch {
	case e.Left < 0:
		return said
	case e.Left == 1:
		return said + ", 1 try is left"
	}
	return fmt.Sprintf("%s, %d tries are left", said, e.Left)
}

// pinName is a reference as people call it (TS 102 221 table 9.3).
func pinName(reference byte) string {
	switch {
	case reference == PIN1:
		return "PIN1"
	case reference == PIN2:
		return "PIN2"
	case reference >= ADM1 && reference < ADM1+5:
		return fmt.Sprintf("the administrative key ADM%d", reference-ADM1+1)
	}
	return fmt.Sprintf("the PIN of reference %02X", reference)
}

const pinSize = 8

// ParseADM reads an ADM key as it is written: 16 hexadecimal digits, or 4 to 8 decimal
// ones. It has 8 bytes.
func ParseADM(text string) ([]byte, error) {
	if len(text) == 2*pinSize {
		if b, err := hex.DecodeString(text); err == nil {
			return b, nil
		}
		return nil, ErrPINFormat
	}
	return pinBlock([]byte(text))
}

// pinBlock is a PIN filled up with FF.
func pinBlock(pin []byte) ([]byte, error) {
	if len(pin) < 4 || len(pin) > pinSize {
		return nil, ErrPINFormat
	}
	out := make([]byte, pinSize)
	for i := range out {
		out[i] = 0xFF
		if i < len(pin) {
			if pin[i] < '0' || pin[i] > '9' {
				clear(out)
				return nil, ErrPINFormat
			}
			out[i] = pin[i]
		}
	}
	return out, nil
}

// reference is P2 of a PIN. In class A0 CHV1 is 1, CHV2 is 2. In class 00 PIN1 is what
// the application's PIN status template names; the PIN2 of application n is 80 + n.
func (c *Card) reference(reference byte) byte {
	switch {
	case c.app == SIM && reference == PIN2:
		return 0x02
	case c.app == SIM || c.pin1 == 0:
	case reference == PIN1:
		return c.pin1
	case reference == PIN2 && c.pin1 <= lastApplicationPIN:
		return 0x80 | c.pin1
	}
	return reference
}

// Tries asks how many tries a PIN has, without spending one: by VERIFY without data, or
// in class A0 by what the directory says. ErrPINDisabled, ErrNoPIN. Whether PIN1 is
// disabled is what the PIN status template says (TS 102 221 clause 9.5.2): VERIFY
// without data asks for the tries alone (clause 11.1.9), and there are cards that answer
// 63Cx for a disabled PIN too.
func (c *Card) Tries(ctx context.Context, reference byte) (int, error) {
	if c.app == SIM {
		return c.gsmTries(ctx, reference)
	}
	if reference == PIN1 && c.pin1Off {
		return 0, ErrPINDisabled
	}
	return c.ask(ctx, insVerify, reference)
}

// UnblockTries asks how many tries the unblock key of a PIN has, without spending one:
// by UNBLOCK PIN without data (TS 102 221 clause 11.1.13), or in class A0 by what the
// directory says. After the last one the PIN is blocked for ever. -1: the card does not
// say.
func (c *Card) UnblockTries(ctx context.Context, reference byte) (int, error) {
	if c.app != SIM {
		return c.ask(ctx, insUnblock, reference)
	}
	f, err := c.Select(ctx, dirMF)
	if err != nil {
		return 0, err
	}
	for _, p := range f.PINs {
		if p.Reference == reference {
			return p.UnblockTries, nil
		}
	}
	return 0, ErrNoPIN
}

// ask sends a PIN command without data, which the card answers with the tries left.
func (c *Card) ask(ctx context.Context, ins, reference byte) (int, error) {
	_, err := c.send(ctx, apdu.Command{CLA: classUICC, INS: ins, P2: c.reference(reference)})
	var sw apdu.StatusWord
	switch {
	case err == nil:
		return -1, nil // verified already, and not told
	case !errors.As(err, &sw):
		return 0, err
	}
	if n, ok := sw.Retries(); ok {
		return n, nil
	}
	return 0, pinError(reference, sw, err)
}

func (c *Card) gsmTries(ctx context.Context, reference byte) (int, error) {
	f, err := c.Select(ctx, dirMF)
	if err != nil {
		return 0, err
	}
	for _, p := range f.PINs {
		if p.Reference == reference {
			if !p.Enabled {
				return p.Tries, ErrPINDisabled
			}
			return p.Tries, nil
		}
	}
	if reference != PIN1 && reference != PIN2 {
		return -1, nil // class A0 tells nothing of others
	}
	return 0, ErrNoPIN
}

// pinError says what a status word means for a PIN.
func pinError(reference byte, sw apdu.StatusWord, err error) error {
	if n, ok := sw.Retries(); ok {
		if n == 0 {
			return fmt.Errorf("%w (%s): %w", ErrPINBlocked, pinName(reference), err)
		}
		return &PINError{reference, n}
	}
	switch sw {
	case apdu.SWAuthenticationMethodBlocked, swCHVBlocked:
		return fmt.Errorf("%w (%s): %w", ErrPINBlocked, pinName(reference), err)
	case apdu.SWReferencedDataNotUsable, swCHVState:
		return fmt.Errorf("%w: %w", ErrPINDisabled, err)
	case apdu.SWReferencedDataNotFound, swCHVNone:
		return fmt.Errorf("%w: %w", ErrNoPIN, err)
	case swCHVWrong:
		return &PINError{reference, -1}
	}
	return err
}

// VerifyPIN gives the card a PIN, once: the tries are read first, and with one left it
// is sent only if last allows that. ErrLastTry, ErrPINBlocked, ErrPINDisabled, *PINError.
func (c *Card) VerifyPIN(ctx context.Context, reference byte, pin []byte, last bool) error {
	block, err := pinBlock(pin)
	if err != nil {
		return err
	}
	return c.verify(ctx, reference, block, last)
}

// VerifyADM gives the card an administrative key of 8 bytes, as VerifyPIN. Class A0 does
// not tell its tries: there last must allow it.
func (c *Card) VerifyADM(ctx context.Context, key []byte, last bool) error {
	if len(key) != pinSize {
		return ErrPINFormat
	}
	return c.verify(ctx, ADM1, append([]byte(nil), key...), last)
}

func (c *Card) verify(ctx context.Context, reference byte, block []byte, last bool) error {
	defer clear(block)
	if err := c.mayTry(ctx, reference, last); err != nil {
		return err
	}
	return c.pin(ctx, reference, apdu.Command{INS: insVerify, P2: c.reference(reference), Data: block}, c.Tries)
}

// mayTry reads the tries.
func (c *Card) mayTry(ctx context.Context, reference byte, last bool) error {
	n, err := c.Tries(ctx, reference)
	if err != nil {
		return err
	}
	if c.app == SIM && n < 0 {
		n = 1 // class A0 does not say, and it may be the last
	}
	if err := enough(n, last); errors.Is(err, ErrPINBlocked) {
		return fmt.Errorf("%w (%s)", err, pinName(reference))
	} else if err != nil {
		return err
	}
	return nil
}

// enough says whether a number of tries is enough to spend one; less than none is a PIN
// that was verified, whose tries are all there again.
func enough(n int, last bool) error {
	switch {
	case n == 0:
		return ErrPINBlocked
	case n == 1 && !last:
		return ErrLastTry
	}
	return nil
}

// pin sends a PIN command and explains its status word; tries asks what is left where
// that does not say.
func (c *Card) pin(ctx context.Context, reference byte, cmd apdu.Command, tries func(context.Context, byte) (int, error)) error {
	cmd.CLA = c.class()
	_, err := c.send(ctx, cmd)
	var sw apdu.StatusWord
	if !errors.As(err, &sw) {
		return err
	}
	err = pinError(reference, sw, err)
	var wrong *PINError
	if errors.As(err, &wrong) && wrong.Left < 0 { // class A0 does not say how many are left
		if n, terr := tries(ctx, reference); terr == nil {
			wrong.Left = n
		}
	}
	return err
}

// ChangePIN replaces a PIN: one try of the old one.
func (c *Card) ChangePIN(ctx context.Context, reference byte, old, fresh []byte, last bool) error {
	return c.twoPINs(ctx, insChange, reference, old, fresh, last)
}

// UnblockPIN sets a new PIN with the unblock key, once: the key's own tries are read
// first, and with one left, or where the card does not say, it is sent only if last
// allows that. ErrLastTry; ErrPINBlocked: for ever; a wrong key is a *PINError with the
// tries of the key.
func (c *Card) UnblockPIN(ctx context.Context, reference byte, puk, fresh []byte, last bool) error {
	if len(puk) != pinSize {
		return ErrPINFormat
	}
	b, err := twoBlocks(puk, fresh)
	if err != nil {
		return err
	}
	defer clear(b)
	n, err := c.UnblockTries(ctx, reference)
	if err != nil {
		return err
	}
	if n < 0 {
		n = 1
	}
	if err := enough(n, last); err != nil {
		return err
	}
	p2 := c.reference(reference)
	if c.app == SIM && reference == PIN1 {
		p2 = 0x00 // TS 51.011 clause 9.2.13
	}
	return c.pin(ctx, reference, apdu.Command{INS: insUnblock, P2: p2, Data: b}, c.UnblockTries)
}

func (c *Card) twoPINs(ctx context.Context, ins, reference byte, old, fresh []byte, last bool) error {
	b, err := twoBlocks(old, fresh)
	if err != nil {
		return err
	}
	defer clear(b)
	if err := c.mayTry(ctx, reference, last); err != nil {
		return err
	}
	return c.pin(ctx, reference, apdu.Command{INS: ins, P2: c.reference(reference), Data: b}, c.Tries)
}

func twoBlocks(a, b []byte) ([]byte, error) {
	first, err := pinBlock(a)
	if err != nil {
		return nil, err
	}
	second, err := pinBlock(b)
	if err != nil {
		clear(first)
		return nil, err
	}
	return append(first, second...), nil
}

// DisablePIN and EnablePIN say whether PIN1 is asked for: one try of it.
func (c *Card) DisablePIN(ctx context.Context, pin []byte, last bool) error {
	return c.onePIN(ctx, insDisable, pin, last)
}

// EnablePIN has PIN1 asked for.
func (c *Card) EnablePIN(ctx context.Context, pin []byte, last bool) error {
	return c.onePIN(ctx, insEnable, pin, last)
}

func (c *Card) onePIN(ctx context.Context, ins byte, pin []byte, last bool) error {
	b, err := pinBlock(pin)
	if err != nil {
		return err
	}
	defer clear(b)
	off := c.pin1Off
	if ins == insEnable {
		c.pin1Off = false // the card is asked: it may tell the tries of a disabled PIN
	}
	err = c.mayTry(ctx, PIN1, last)
	c.pin1Off = off
	if err != nil && !(ins == insEnable && errors.Is(err, ErrPINDisabled)) {
		return err
	}
	if err := c.pin(ctx, PIN1, apdu.Command{INS: ins, P2: c.reference(PIN1), Data: b}, c.Tries); err != nil {
		return err
	}
	c.pin1Off = ins == insDisable
	return nil
}
