package simkeys

import (
	"context"
	"fmt"
	"io"

	"cardbureau/hsm"
)

// Form is how keys stand in a file under a transport key.
type Form string

// Forms. AESGCM is nonce (12 bytes) ‖ ciphertext ‖ tag (16) over K ‖ OPc with
// Binding.AAD: what is asked of new senders. The others are what operators' files
// have had for long: K and OPc enciphered each by itself, without padding, 16
// bytes. They show no change of a byte and no exchange of rows, so that a file in
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
	Sealed []byte // AESGCM: AEADSize bytes
	K, OPc []byte // the other forms: 16 bytes each
	IV     []byte // the CBC forms: a block, or none for zeros
}

// Cipher is a transport key: *hsm.AESKey or *hsm.DES3Key.
type Cipher interface {
	EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	DecryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
}

// OpenRow gives the keys of a row. key must fit the form: an *hsm.AESKey for AES
// forms, an *hsm.DES3Key for the others. hsm.ErrAuthentication for an AESGCM row
// that was altered, or belongs to another ICCID or batch. The caller zeroes the
// subscriber.
func OpenRow(ctx context.Context, key Cipher, form Form, row Row, b Binding) (Subscriber, error) {
	if err := b.check(); err != nil {
		return Subscriber{}, err
	}
	if form == AESGCM {
		aead, ok := key.(AEAD)
		if !ok || len(row.K)+len(row.OPc)+len(row.IV) != 0 {
			return Subscriber{}, fmt.Errorf("%w: the form aes-gcm is one sealed field under an AES key", ErrInput)
		}
		if len(row.Sealed) != AEADSize {
			return Subscriber{}, hsm.ErrAuthentication
		}
		plain, err := aead.OpenGCM(ctx, row.Sealed[:nonceSize], b.AAD(), row.Sealed[nonceSize:])
		if err != nil {
			return Subscriber{}, err
		}
		return Subscriber{K: plain[:keySize:keySize], OPc: plain[keySize:]}, nil
	}
	mode, err := modeOf(key, form, row.IV)
	if err != nil {
		return Subscriber{}, err
	}
	if len(row.Sealed) != 0 || len(row.K) != keySize || len(row.OPc) != keySize {
		return Subscriber{}, fmt.Errorf("%w: the form %s is K and OPc of 16 bytes each", ErrInput, form)
	}
	k, err := mode.run(ctx, key.DecryptCBC, row.K)
	if err != nil {
		return Subscriber{}, err
	}
	opc, err := mode.run(ctx, key.DecryptCBC, row.OPc)
	if err != nil {
		clear(k)
		return Subscriber{}, err
	}
	return Subscriber{K: k, OPc: opc}, nil
}

// SealRow is what a sender does, for rehearsals and tests.
func SealRow(ctx context.Context, key Cipher, random io.Reader, form Form, s Subscriber, iv []byte, b Binding) (Row, error) {
	if err := b.check(); err != nil {
		return Row{}, err
	}
	if len(s.K) != keySize || len(s.OPc) != keySize {
		return Row{}, fmt.Errorf("%w: K and OPc have 16 bytes", ErrInput)
	}
	if form == AESGCM {
		aead, ok := key.(AEAD)
		if !ok || len(iv) > 0 {
			return Row{}, fmt.Errorf("%w: the form aes-gcm is under an AES key and draws its nonce", ErrInput)
		}
		plain := append(append(make([]byte, 0, 2*keySize), s.K...), s.OPc...)
		defer clear(plain)
		sealed, err := seal(ctx, aead, random, b.AAD(), plain)
		return Row{Sealed: sealed}, err
	}
	mode, err := modeOf(key, form, iv)
	if err != nil {
		return Row{}, err
	}
	row := Row{IV: iv}
	if row.K, err = mode.run(ctx, key.EncryptCBC, s.K); err != nil {
		return Row{}, err
	}
	row.OPc, err = mode.run(ctx, key.EncryptCBC, s.OPc)
	return row, err
}

// mode is how the blocks of a field follow each other. ECB is CBC of each block
// alone from zeros.
type mode struct {
	iv    []byte
	piece int // bytes that CBC runs over
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
	if form == AESECB || form == DES3ECB {
		return mode{iv, size}, nil
	}
	return mode{iv, keySize}, nil
}

func (m mode) run(ctx context.Context, cbc func(ctx context.Context, iv, data []byte) ([]byte, error), field []byte) ([]byte, error) {
	out := make([]byte, 0, len(field))
	for len(field) > 0 {
		part, err := cbc(ctx, m.iv, field[:m.piece])
		if err != nil {
			clear(out)
			return nil, err
		}
		out = append(out, part...)
		clear(part)
		field = field[m.piece:]
	}
	return out, nil
}
