package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
)

// PINEntry is how the holder gives a PIN: a keyboard, or a pin-pad.
type PINEntry interface {
	// New asks for a new PIN, twice; Current for the holder's own.
	New(ctx context.Context) ([]byte, error)
	Current(ctx context.Context) ([]byte, error)
}

// PINPad is a reader that takes the PIN itself, so that no machine sees it (PC/SC
// part 10). The commands go to the card in plain, over contacts.
type PINPad interface {
	// Change has the reader put a new PIN behind an old one, which is not entered,
	// into CHANGE REFERENCE DATA; Reset the same behind an unblocking key into RESET
	// RETRY COUNTER; Verify the PIN into VERIFY. They return the card's status word.
	Change(ctx context.Context, old []byte) (apdu.StatusWord, error)
	Reset(ctx context.Context, unblockingKey []byte) (apdu.StatusWord, error)
	Verify(ctx context.Context) (apdu.StatusWord, error)
}

// Lengths of the holder's own PIN in digits.
const (
	minPIN = 6
	maxPIN = 8
)

// ErrWeakPIN says that a PIN is easily guessed, or has the wrong length.
var ErrWeakPIN = errors.New("the PIN must have 6 to 8 digits, not all the same, not counting up or down, and not the date of birth")

// checkPIN refuses PINs that a finder of the card would try first.
func (v *Visit) checkPIN(pin []byte) error {
	if len(pin) < minPIN || len(pin) > maxPIN {
		return ErrWeakPIN
	}
	step, even := int(pin[1])-int(pin[0]), true
	for i, c := range pin {
		if c < '0' || c > '9' {
			return ErrWeakPIN
		}
		even = even && (i == 0 || int(c)-int(pin[i-1]) == step)
	}
	if even && step >= -1 && step <= 1 {
		return ErrWeakPIN
	}
	birth, expiry := v.image.BirthDate, v.image.ExpiryDate
	full := ""
	if b, err := v.birth(); err == nil {
		s := b.String()
		full = s[:4] + s[5:7] + s[8:]
	}
	for _, guess := range []string{birth, expiry, full, v.image.CAN} {
		if len(guess) == 6 && len(birth) == 6 && bytes.Equal(pin, []byte(guess)) || len(guess) == 8 && bytes.Equal(pin, []byte(guess)) {
			return ErrWeakPIN
		}
		if len(guess) == 6 && bytes.Equal(pin, []byte(guess[4:]+guess[2:4]+guess[:2])) {
			return ErrWeakPIN
		}
	}
	return nil
}

// SetPIN has the holder set a PIN of their own in place of the transport PIN, which
// the server releases now. It is tried once. Where a visit before was cut off, a PIN
// may be set already: then the unblocking key sets the new one, which costs the holder
// no try.
func (v *Visit) SetPIN(ctx context.Context, entry PINEntry) error {
	if v.row.Kind != store.VisitActivate {
		return fmt.Errorf("desk: a visit to %s sets no PIN", v.row.Kind)
	}
	fresh, err := v.newPIN(ctx, entry)
	if err != nil {
		return err
	}
	defer clear(fresh)
	transport, key, err := v.released(ctx)
	if err != nil {
		return err
	}
	defer clear(transport)
	defer clear(key)
	err = lds.ChangePIN(ctx, v.session, lds.HolderPIN, transport, fresh)
	var wrong *lds.PINError
	if (errors.As(err, &wrong) || errors.Is(err, lds.ErrPINBlocked)) && v.row.ReleasedBefore {
		if err = lds.ResetRetry(ctx, v.session, lds.HolderPIN, key, fresh); err == nil {
			err = lds.VerifyPIN(ctx, v.session, lds.HolderPIN, fresh)
		}
	}
	if err != nil {
		return v.pinError(ctx, err)
	}
	return v.hidden(ctx)
}

// UnblockPIN sets a new PIN with the unblocking key, which the server releases now.
func (v *Visit) UnblockPIN(ctx context.Context, entry PINEntry) error {
	if v.row.Kind != store.VisitUnblockPIN {
		return fmt.Errorf("desk: a visit to %s unblocks no PIN", v.row.Kind)
	}
	fresh, err := v.newPIN(ctx, entry)
	if err != nil {
		return err
	}
	defer clear(fresh)
	_, key, err := v.released(ctx)
	if err != nil {
		return err
	}
	defer clear(key)
	if err = lds.ResetRetry(ctx, v.session, lds.HolderPIN, key, fresh); err == nil {
		err = lds.VerifyPIN(ctx, v.session, lds.HolderPIN, fresh)
	}
	if err != nil {
		return v.pinError(ctx, err)
	}
	return v.hidden(ctx)
}

// VerifyPIN has the holder give their own PIN: one try.
func (v *Visit) VerifyPIN(ctx context.Context, entry PINEntry) error {
	pin, err := entry.Current(ctx)
	if err != nil {
		return err
	}
	defer clear(pin)
	if err := lds.VerifyPIN(ctx, v.session, lds.HolderPIN, pin); err != nil {
		return v.pinError(ctx, err)
	}
	return v.hidden(ctx)
}

func (v *Visit) newPIN(ctx context.Context, entry PINEntry) ([]byte, error) {
	pin, err := entry.New(ctx)
	if err == nil {
		if err = v.checkPIN(pin); err != nil {
			clear(pin)
		}
	}
	if err != nil {
		return nil, err
	}
	return pin, nil
}

// released are the secrets of this visit: the unblocking key, and the transport PIN
// where a PIN is set for the first time.
func (v *Visit) released(ctx context.Context) (transport, key []byte, err error) {
	sealed, err := v.desk.Store.ReleaseSecrets(ctx, v.row.ID, v.actor)
	if err != nil {
		return nil, nil, fmt.Errorf("the server does not release the card's secret: %w", err)
	}
	first := v.row.Kind == store.VisitActivate
	if first {
		if transport, err = v.desk.Vault.TransportPIN(ctx, v.image.Key, v.image.SecretsAAD, sealed); err != nil {
			return nil, nil, err
		}
	}
	if !first || v.row.ReleasedBefore {
		if key, err = v.desk.Vault.UnblockingKey(ctx, v.image.Key, v.image.SecretsAAD, sealed); err != nil {
			clear(transport)
			return nil, nil, err
		}
	}
	return transport, key, nil
}

// pinError is a refusal where the card has answered, and a card out of reach
// otherwise.
func (v *Visit) pinError(ctx context.Context, err error) error {
	var wrong *lds.PINError
	var sw apdu.StatusWord
	if errors.As(err, &wrong) || errors.Is(err, lds.ErrPINBlocked) || errors.As(err, &sw) {
		return v.refuse(ctx, refusedPIN(v.row.Kind, err))
	}
	return err
}

// refusedPIN says what helps where the holder's own PIN is blocked. Visits that set one
// find the unblocking key blocked, for which there is no such help.
func refusedPIN(kind store.VisitKind, cause error) *RefusedError {
	r := refused(CodePIN, cause)
	if errors.Is(cause, lds.ErrPINBlocked) && (kind == store.VisitPair || kind == store.VisitUnblock) {
		r.Sentence = "The PIN is blocked: desk unblock-pin lets the holder set a new one."
	}
	return r
}

// hidden reads what only the holder's own PIN opens and compares it with what DG13
// vouches for: the PIN is the holder's, and the files behind it are the right ones.
func (v *Visit) hidden(ctx context.Context) error {
	for _, f := range v.image.Hidden() {
		read, err := lds.Reader{Card: v.session, AvoidLe00: v.applet.Has(profile.QuirkLeZero)}.Files(ctx, lds.File{ID: f.FID, Size: len(f.Content)})
		if err != nil {
			return fmt.Errorf("card %s: file %04X: %w", v.Number, f.FID, err)
		}
		if err := identity.CheckHiddenFile(v.doc.Groups[13], identity.HiddenFile{FID: f.FID, Content: read[0]}); err != nil {
			return v.refuse(ctx, refused(CodeNotGenuine, err))
		}
	}
	return nil
}

// OnPad is SetPIN, UnblockPIN or VerifyPIN with a pin-pad. The card is opened anew
// behind the PIN that the reader has given it.
func (v *Visit) OnPad(ctx context.Context, pad PINPad) error {
	if !v.applet.Reading.PINInPlain {
		return fmt.Errorf("applet %s takes a PIN behind secure messaging alone, which a pin-pad does not have: use the keyboard", v.applet.Name)
	}
	var transport, key []byte
	var err error
	if v.row.Kind == store.VisitActivate || v.row.Kind == store.VisitUnblockPIN {
		if transport, key, err = v.released(ctx); err != nil {
			return err
		}
		defer clear(transport)
		defer clear(key)
	}
	v.session.Close()
	if err := v.card.Reset(ctx, false); err != nil {
		return err
	}
	if err := lds.SelectApplication(ctx, v.card); err != nil {
		return err
	}
	var sw apdu.StatusWord
	switch v.row.Kind {
	case store.VisitActivate:
		sw, err = pad.Change(ctx, transport)
		if missed := sw&0xFFF0 == 0x63C0 || sw == apdu.SWAuthenticationMethodBlocked; err == nil && missed && v.row.ReleasedBefore {
			sw, err = reset(ctx, pad, key)
		}
	case store.VisitUnblockPIN:
		sw, err = reset(ctx, pad, key)
	default:
		sw, err = pad.Verify(ctx)
	}
	if err != nil {
		return err
	}
	if !sw.OK() {
		return v.refuse(ctx, refused(CodePIN, sw))
	}
	password, err := v.password(true)
	if err != nil {
		return err
	}
	defer password.Zero()
	if v.session, err = lds.OpenBAC(ctx, v.card, password); err != nil {
		return fmt.Errorf("card %s: %w", v.Number, err)
	}
	return v.hidden(ctx)
}

// reset has a pin-pad set a PIN with the unblocking key, and asks for it once.
func reset(ctx context.Context, pad PINPad, key []byte) (apdu.StatusWord, error) {
	sw, err := pad.Reset(ctx, key)
	if err != nil || !sw.OK() {
		return sw, err
	}
	return pad.Verify(ctx)
}
