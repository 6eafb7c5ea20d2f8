package uicc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"cardbureau/cardio/apdu"
)

// Secret is a response or a key. It prints as [redacted].
type Secret []byte

const redacted = "[redacted]"

// Zero overwrites the secret.
func (s Secret) Zero() { clear(s) }

// String hides the secret.
func (Secret) String() string { return redacted }

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from text encodings.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Errors of authentication.
var (
	// ErrMAC says that the card takes the challenge for forged: its key is not the
	// one that made AUTN.
	ErrMAC = errors.New("the SIM does not take the challenge for its network's (incorrect MAC)")
	// ErrNoContext says that the card does not authenticate in this context.
	ErrNoContext = errors.New("the SIM does not authenticate in this context")
)

// Answer is a SIM's answer to a challenge. Either RES is there, or AUTS: the sequence
// number was out of its window.
type Answer struct {
	RES    Secret // 4 to 16 bytes
	CK, IK Secret // 16 bytes each; of TUAK 16 or 32
	Kc     Secret // 8 bytes, where the card gives it
	AUTS   []byte // 14 bytes
}

// Zero overwrites the answer.
func (a *Answer) Zero() {
	for _, s := range []Secret{a.RES, a.CK, a.IK, a.Kc} {
		s.Zero()
	}
	clear(a.AUTS)
}

// Contexts of AUTHENTICATE (TS 31.102 clause 7.1.2).
const (
	contextGSM byte = 0x80
	context3G  byte = 0x81
	contextGBA byte = 0x84
)

// Tags of its data and answers.
const (
	tagOK        = 0xDB
	tagResync    = 0xDC
	tagBootstrap = 0xDD
	tagNAF       = 0xDE
)

// Authenticate runs AUTHENTICATE in the 3G context: RAND and AUTN in, RES, CK and IK, or
// AUTS out. ErrMAC, ErrNoContext. Zero the answer.
func (c *Card) Authenticate(ctx context.Context, rand, autn [16]byte) (*Answer, error) {
	data := append(append([]byte{16}, rand[:]...), 16)
	out, err := c.authenticate(ctx, context3G, append(data, autn[:]...))
	if err != nil {
		return nil, err
	}
	defer clear(out)
	return parse3G(out)
}

// parse3G takes an answer of the 3G context apart.
func parse3G(b []byte) (*Answer, error) {
	bad := fmt.Errorf("%w: answer to AUTHENTICATE", ErrMalformed)
	if len(b) < 2 {
		return nil, bad
	}
	fields, rest := lvs(b[1:])
	switch {
	case b[0] == tagResync && len(fields) == 1 && len(rest) == 0 && len(fields[0]) == 14:
		return &Answer{AUTS: copied(fields[0])}, nil
	case b[0] == tagOK && len(rest) == 0 && (len(fields) == 3 || len(fields) == 4) && len(fields[0]) >= 4 && len(fields[0]) <= 16 &&
		keyLength(fields[1]) && keyLength(fields[2]) && (len(fields) == 3 || len(fields[3]) == 8):
		a := &Answer{RES: copied(fields[0]), CK: copied(fields[1]), IK: copied(fields[2])}
		if len(fields) == 4 {
			a.Kc = copied(fields[3])
		}
		return a, nil
	}
	return nil, bad
}

// keyLength is that of CK or IK: TUAK has them of 32 bytes too (TS 35.231 clause 5.1).
func keyLength(b []byte) bool { return len(b) == 16 || len(b) == 32 }

// lvs takes values behind their lengths apart.
func lvs(b []byte) (out [][]byte, rest []byte) {
	for len(b) > 0 && int(b[0]) < len(b) {
		out = append(out, b[1:1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	return out, b
}

func copied(b []byte) []byte { return append([]byte(nil), b...) }

// GSM is the answer of the second generation.
type GSM struct {
	SRES Secret // 4 bytes
	Kc   Secret // 8 bytes
}

// Zero overwrites the answer.
func (g *GSM) Zero() { g.SRES.Zero(); g.Kc.Zero() }

// AuthenticateGSM runs AUTHENTICATE in the GSM context, or RUN GSM ALGORITHM of class A0
// (TS 51.011 clause 9.2.16).
func (c *Card) AuthenticateGSM(ctx context.Context, rand [16]byte) (*GSM, error) {
	bad := fmt.Errorf("%w: answer to a GSM challenge", ErrMalformed)
	if c.app == SIM {
		if _, err := c.Select(ctx, dirGSM); err != nil {
			return nil, err
		}
		out, err := c.send(ctx, apdu.Command{CLA: classGSM, INS: insAuthenticate, Data: rand[:], Ne: 12})
		if err != nil {
			return nil, authError(err)
		}
		defer clear(out)
		if len(out) != 12 {
			return nil, bad
		}
		return &GSM{SRES: copied(out[:4]), Kc: copied(out[4:])}, nil
	}
	out, err := c.authenticate(ctx, contextGSM, append([]byte{16}, rand[:]...))
	if err != nil {
		return nil, err
	}
	defer clear(out)
	fields, rest := lvs(out)
	if len(fields) != 2 || len(rest) != 0 || len(fields[0]) != 4 || len(fields[1]) != 8 {
		return nil, bad
	}
	return &GSM{SRES: copied(fields[0]), Kc: copied(fields[1])}, nil
}

// Bootstrap runs AUTHENTICATE in the GBA context, bootstrapping mode (TS 31.102 clause
// 7.1.2.4): RES, or AUTS; CK and IK stay on the card.
func (c *Card) Bootstrap(ctx context.Context, rand, autn [16]byte) (*Answer, error) {
	data := append(append([]byte{tagBootstrap, 16}, rand[:]...), 16)
	out, err := c.authenticate(ctx, contextGBA, append(data, autn[:]...))
	if err != nil {
		return nil, err
	}
	defer clear(out)
	if len(out) > 1 {
		fields, rest := lvs(out[1:])
		switch {
		case len(rest) != 0 || len(fields) != 1:
		case out[0] == tagOK && len(fields[0]) >= 4 && len(fields[0]) <= 16:
			return &Answer{RES: copied(fields[0])}, nil
		case out[0] == tagResync && len(fields[0]) == 14:
			return &Answer{AUTS: copied(fields[0])}, nil
		}
	}
	return nil, fmt.Errorf("%w: answer to bootstrapping", ErrMalformed)
}

// DeriveNAF has the card derive a key for a network application function after
// bootstrapping (TS 31.102 clause 7.1.2.4): Ks_ext_NAF.
func (c *Card) DeriveNAF(ctx context.Context, nafID, impi []byte) (Secret, error) {
	if len(nafID) > 100 || len(impi) > 100 {
		return nil, fmt.Errorf("%w: NAF_ID and IMPI are too long", ErrMalformed)
	}
	data := append([]byte{tagNAF, byte(len(nafID))}, nafID...)
	data = append(append(data, byte(len(impi))), impi...)
	out, err := c.authenticate(ctx, contextGBA, data)
	if err != nil {
		return nil, err
	}
	defer clear(out)
	if len(out) > 1 {
		if fields, rest := lvs(out[1:]); out[0] == tagOK && len(fields) == 1 && len(rest) == 0 {
			return copied(fields[0]), nil
		}
	}
	return nil, fmt.Errorf("%w: answer to a NAF derivation", ErrMalformed)
}

func (c *Card) authenticate(ctx context.Context, context byte, data []byte) ([]byte, error) {
	if c.app == SIM {
		return nil, fmt.Errorf("%w: it is a SIM of the second generation", ErrNoContext)
	}
	// The application's directory is current, or a card refuses (TS 31.102 clause 7.1.1.1):
	// whoever read the ICCID before has left it.
	if !c.guard.inApplication() {
		if _, err := c.Select(ctx, dirADF); err != nil {
			return nil, err
		}
	}
	out, err := c.send(ctx, apdu.Command{CLA: classUICC, INS: insAuthenticate, P2: context, Data: data, Ne: apdu.MaxShortNe})
	return out, authError(err)
}

func authError(err error) error {
	switch {
	case errors.Is(err, swMAC):
		return fmt.Errorf("%w: %w", ErrMAC, err)
	case errors.Is(err, swNoContext):
		return fmt.Errorf("%w: %w", ErrNoContext, err)
	}
	return err
}
