package simkeys

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cardbureau/hsm"
	"cardbureau/hsm/aka"
)

// Form is how keys stand in a file under a transport key.
type Form string

// Forms. AESGCM is nonce (12 bytes) ‖ ciphertext ‖ tag (16) over K ‖ OPc with
// Binding.AAD, and over each key for messages over the air with its name behind that:
// what is asked of new senders. The others are what operators' files have had for
// long: each key enciphered by itself, without padding. They show no change of a byte and no exchange of rows, so that a file in
// them needs an integrity of its own.
const (
	AESGCM  Form = "aes-gcm"
	AESECB  Form = "aes-ecb"
	AESCBC  Form = "aes-cbc"  // from IV, a zero one when there is none
	DES3ECB Form = "3des-ecb" // of two or three parts
	DES3CBC Form = "3des-cbc"
)

// Known says whether there is such a form.
func (f Form) Known() bool {
	switch f {
	case AESGCM, AESECB, AESCBC, DES3ECB, DES3CBC:
		return true
	}
	return false
}

// DES3 says whether the transport key is a triple DES key; it is an AES key
// otherwise.
func (f Form) DES3() bool { return f == DES3ECB || f == DES3CBC }

// Row is a subscriber's keys under a transport key.
type Row struct {
	Sealed []byte            // AESGCM: 28 bytes longer than K ‖ OPc
	K, OPc []byte            // the other forms: as long as the keys
	OTA    map[string][]byte // by OTANames; AESGCM: 28 bytes longer than the key
	IV     []byte            // the CBC forms: a block, or none for zeros
}

// Kind is what a file says of all its subscribers.
type Kind struct {
	TUAK *aka.TUAKParameters // nil: MILENAGE
	// Delegated: the operator has the bureau program the SIMs.
	Delegated bool
}

// aad is what AESGCM binds a field to: Binding.AAD, the purpose, TUAK's parameters as
// bits of MAC, RES, CK and IK and the iterations, and the field's name, each behind |.
func (k Kind) aad(b Binding, field string) []byte {
	out := b.AAD()
	if k.Delegated {
		out = append(out, "|programming"...)
	}
	if p := k.TUAK; p != nil {
		out = fmt.Appendf(out, "|TUAK/%d/%d/%d/%d/%d", 8*p.MAC, 8*p.RES, 8*p.CK, 8*p.IK, p.Iterations)
	}
	if field != "" {
		out = append(append(out, '|'), field...)
	}
	return out
}

// Cipher is a transport key: *hsm.AESKey or *hsm.DES3Key.
type Cipher interface {
	EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	DecryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
}

// OpenRow gives the keys of a row. key must fit the form: an *hsm.AESKey for AES
// forms, an *hsm.DES3Key for the others. hsm.ErrAuthentication for an AESGCM row
// that was altered, or belongs to another ICCID, batch, purpose or TUAK's parameters. The
// caller zeroes the subscriber.
func OpenRow(ctx context.Context, key Cipher, form Form, kind Kind, row Row, b Binding) (s Subscriber, err error) {
	if err := b.check(); err != nil {
		return Subscriber{}, err
	}
	defer func() {
		if err != nil {
			s.Zero()
			s = Subscriber{}
		}
	}()
	s = Subscriber{TUAK: kind.TUAK, Delegated: kind.Delegated}
	open, err := opener(ctx, key, form, kind, row.IV, b)
	if err != nil {
		return s, err
	}
	if form == AESGCM {
		if len(row.K)+len(row.OPc) != 0 {
			return s, fmt.Errorf("%w: the form aes-gcm is one sealed field under an AES key", ErrInput)
		}
		plain, err := open("", row.Sealed)
		if err != nil {
			return s, err
		}
		at := min(len(plain), keySize)
		if kind.TUAK != nil {
			at = max(0, len(plain)-aka.TOPcSize)
		}
		s.K, s.OPc = plain[:at:at], plain[at:]
	} else {
		if len(row.Sealed) != 0 {
			return s, fmt.Errorf("%w: the form %s is K and OPc, each by itself", ErrInput, form)
		}
		if s.K, err = open("", row.K); err != nil {
			return s, err
		}
		if s.OPc, err = open("", row.OPc); err != nil {
			return s, err
		}
	}
	for name, field := range row.OTA {
		k, err := open(name, field)
		if err != nil {
			return s, err
		}
		if s.OTA == nil {
			s.OTA = map[string]aka.Secret{}
		}
		s.OTA[name] = k
	}
	return s, s.check()
}

// opener deciphers fields of a row by their names; K and OPc have none.
func opener(ctx context.Context, key Cipher, form Form, kind Kind, iv []byte, b Binding) (func(name string, field []byte) ([]byte, error), error) {
	if form == AESGCM {
		aead, ok := key.(AEAD)
		if !ok || len(iv) != 0 {
			return nil, fmt.Errorf("%w: the form aes-gcm is under an AES key and has its nonce", ErrInput)
		}
		return func(name string, field []byte) ([]byte, error) {
			if len(field) < nonceSize+hsm.GCMOverhead {
				return nil, hsm.ErrAuthentication
			}
			return aead.OpenGCM(ctx, field[:nonceSize], kind.aad(b, name), field[nonceSize:])
		}, nil
	}
	mode, err := modeOf(key, form, iv)
	if err != nil {
		return nil, err
	}
	return func(_ string, field []byte) ([]byte, error) { return mode.run(ctx, key.DecryptCBC, field) }, nil
}

// SealRow is what a sender does, for rehearsals and tests.
func SealRow(ctx context.Context, key Cipher, random io.Reader, form Form, s Subscriber, iv []byte, b Binding) (row Row, err error) {
	if err := errors.Join(b.check(), s.check()); err != nil {
		return Row{}, err
	}
	kind := Kind{TUAK: s.TUAK, Delegated: s.Delegated}
	var close func(name string, field []byte) ([]byte, error)
	if form == AESGCM {
		aead, ok := key.(AEAD)
		if !ok || len(iv) > 0 {
			return Row{}, fmt.Errorf("%w: the form aes-gcm is under an AES key and draws its nonce", ErrInput)
		}
		close = func(name string, field []byte) ([]byte, error) {
			return seal(ctx, aead, random, kind.aad(b, name), field)
		}
		plain := append(append(make([]byte, 0, len(s.K)+len(s.OPc)), s.K...), s.OPc...)
		defer clear(plain)
		row.Sealed, err = close("", plain)
	} else {
		mode, err := modeOf(key, form, iv)
		if err != nil {
			return Row{}, err
		}
		close = func(_ string, field []byte) ([]byte, error) { return mode.run(ctx, key.EncryptCBC, field) }
		row.IV = iv
		if row.K, err = close("", s.K); err != nil {
			return Row{}, err
		}
		if row.OPc, err = close("", s.OPc); err != nil {
			return Row{}, err
		}
	}
	for name, k := range s.OTA {
		if row.OTA == nil {
			row.OTA = map[string][]byte{}
		}
		if row.OTA[name], err = close(name, k); err != nil {
			return Row{}, err
		}
	}
	return row, err
}

// mode is how the blocks of a field follow each other. ECB is CBC of each block
// alone from zeros.
type mode struct {
	iv    []byte
	block int
	ecb   bool
}

func modeOf(key Cipher, form Form, iv []byte) (mode, error) {
	size := 16
	if form.DES3() {
		size = 8
	}
	_, aes := key.(AEAD)
	switch {
	case !form.Known() || form == AESGCM:
		return mode{}, fmt.Errorf("%w: %q is no form of keys", ErrInput, form)
	case aes == form.DES3():
		return mode{}, fmt.Errorf("%w: the transport key does not fit the form %s", ErrInput, form)
	case len(iv) == 0:
		iv = make([]byte, size)
	case form == AESECB || form == DES3ECB || len(iv) != size:
		return mode{}, fmt.Errorf("%w: the form %s does not take an initial vector of %d bytes", ErrInput, form, len(iv))
	}
	return mode{iv, size, form == AESECB || form == DES3ECB}, nil
}

func (m mode) run(ctx context.Context, cbc func(ctx context.Context, iv, data []byte) ([]byte, error), field []byte) ([]byte, error) {
	if len(field) == 0 || len(field)%m.block != 0 {
		return nil, fmt.Errorf("%w: a key of %d bytes is no whole number of blocks of %d", ErrInput, len(field), m.block)
	}
	piece := len(field)
	if m.ecb {
		piece = m.block
	}
	out := make([]byte, 0, len(field))
	for len(field) > 0 {
		part, err := cbc(ctx, m.iv, field[:piece])
		if err != nil {
			clear(out)
			return nil, err
		}
		out = append(out, part...)
		clear(part)
		field = field[piece:]
	}
	return out, nil
}
