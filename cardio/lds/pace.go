package lds

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/ec"
	"cardbureau/cardio/tlv"
)

// ReadCardAccess reads EF.CardAccess as Reader.CardAccess does.
func ReadCardAccess(ctx context.Context, card apdu.Card) ([]byte, *SecurityInfos, error) {
	return Reader{Card: card}.CardAccess(ctx)
}

// CardAccess reads EF.CardAccess from the master file, where it is free
// to read (9303-11 section 9.2.11), and takes it apart. The raw bytes are
// what DG14 must repeat. A chip without the file gives ErrNoCardAccess. The
// master file is selected where it is not current already.
func (r Reader) CardAccess(ctx context.Context) ([]byte, *SecurityInfos, error) {
	read := func() ([]byte, error) {
		out, err := r.Files(ctx, File{ID: FileCardAccess})
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
	raw, err := read()
	if sw := apdu.StatusWord(0); err != nil && errors.As(err, &sw) {
		if _, mfErr := apdu.Must(ctx, r.Card, selectMF()); mfErr != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrNoCardAccess, mfErr)
		}
		if raw, err = read(); err != nil && errors.As(err, &sw) {
			return nil, nil, fmt.Errorf("%w: %w", ErrNoCardAccess, err)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	infos, err := ParseSecurityInfos(raw)
	if err != nil {
		return nil, nil, &FileError{FileCardAccess, err}
	}
	return raw, infos, nil
}

// OpenPACE opens the chip by password-authenticated connection establishment
// (9303-11 section 4.4) in the strongest way that EF.CardAccess offers and
// this package speaks, and starts secure messaging. The master file must be
// current, no application selected. A refusal of the password is
// ErrAccessDenied; chips may slow down after one, so it is not repeated here.
func OpenPACE(ctx context.Context, card apdu.Card, password Password, infos *SecurityInfos) (*SecureMessaging, error) {
	return openPACE(ctx, card, password, infos, rand.Reader)
}

func openPACE(ctx context.Context, card apdu.Card, password Password, infos *SecurityInfos, random io.Reader) (*SecureMessaging, error) {
	if password.IsZero() {
		return nil, fmt.Errorf("%w: none is given", ErrPassword)
	}
	info, curve, ambiguous, err := infos.usablePACE()
	if err != nil {
		return nil, err
	}
	p := pace{card: card, info: info, curve: curve, random: random}
	if err := p.set(ctx, password.reference, ambiguous); err != nil {
		return nil, fmt.Errorf("PACE: MSE:Set AT: %w", err)
	}
	secret, err := p.run(ctx, password.secret)
	if err != nil {
		return nil, fmt.Errorf("PACE: %w", err)
	}
	defer clear(secret)
	return sessionFrom(card, info.Cipher, secret)
}

// pace is one run of the protocol with generic mapping.
type pace struct {
	card   apdu.Card
	info   PACEInfo
	curve  *ec.Curve
	random io.Reader
}

// set is MSE:Set AT (9303-11 section 4.4.4.1). The domain parameter is named
// only where the object identifier does not say it.
func (p *pace) set(ctx context.Context, reference byte, ambiguous bool) error {
	oid, err := oidContent(p.info.OID)
	if err != nil {
		return err
	}
	data := tlv.Append(nil, 0x80, oid)
	data = tlv.Append(data, 0x83, []byte{reference})
	if ambiguous {
		data = tlv.Append(data, 0x84, []byte{byte(p.info.Parameter)})
	}
	_, err = apdu.Must(ctx, p.card, apdu.Command{INS: 0x22, P1: 0xC1, P2: 0xA4, Data: data})
	return err
}

// run is the four steps of GENERAL AUTHENTICATE; it returns the shared
// secret K.
func (p *pace) run(ctx context.Context, k []byte) ([]byte, error) {
	c := p.curve
	z, err := p.step(ctx, true, 0, nil, 0x80)
	if err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	s, err := p.nonce(k, z)
	if err != nil {
		return nil, err
	}
	defer clear(s)
	// Map the nonce: G~ = s·G + H.
	mapKey, mapPoint, err := p.pair(nil)
	if err != nil {
		return nil, err
	}
	defer clear(mapKey)
	chipMap, err := p.step(ctx, true, 0x81, mapPoint, 0x82)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	h, err := c.Mult(mapKey, chipMap)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	sg, err := c.BaseMult(c.Scalar(s))
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	generator, err := c.Add(sg, h)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	// Agree on a key over G~.
	key, point, err := p.pair(generator)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	chipPoint, err := p.step(ctx, true, 0x83, point, 0x84)
	if err != nil {
		return nil, fmt.Errorf("key agreement: %w", err)
	}
	if bytes.Equal(chipPoint, point) {
		return nil, fmt.Errorf("key agreement: %w: the chip gave this terminal's key back", ErrMalformed)
	}
	shared, err := c.Mult(key, chipPoint)
	if err != nil {
		return nil, fmt.Errorf("key agreement: %w", err)
	}
	defer clear(shared)
	// Show each other the session key by tokens over the other's point.
	macKey := p.info.Cipher.derive(c.XOf(shared), counterMAC)
	defer clear(macKey)
	own, err := p.token(macKey, chipPoint)
	if err != nil {
		return nil, err
	}
	got, err := p.step(ctx, false, 0x85, own, 0x86)
	if err != nil {
		return nil, fmt.Errorf("mutual authentication: %w", denied(err))
	}
	want, err := p.token(macKey, point)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return nil, fmt.Errorf("mutual authentication: %w: the chip's token is wrong", ErrAccessDenied)
	}
	return bytes.Clone(c.XOf(shared)), nil
}

// nonce deciphers z under KDF_π(K), CBC with a zero IV. The chip chooses its
// length, a multiple of the cipher's block (9303-11 4.4.3.3): 8 bytes will do
// with 3DES.
func (p *pace) nonce(k, z []byte) ([]byte, error) {
	key := p.info.Cipher.derive(k, counterPi)
	defer clear(key)
	block, err := p.info.Cipher.block(key)
	if err != nil {
		return nil, err
	}
	if n := len(z); n == 0 || n > 64 || n%block.BlockSize() != 0 {
		return nil, fmt.Errorf("%w: a nonce of %d bytes", ErrMalformed, n)
	}
	s := make([]byte, len(z))
	cipher.NewCBCDecrypter(block, make([]byte, block.BlockSize())).CryptBlocks(s, z)
	return s, nil
}

// pair makes an ephemeral key over a generator, nil for the curve's own.
func (p *pace) pair(generator []byte) (key, point []byte, err error) {
	if key, err = p.curve.NewScalar(p.random); err != nil {
		return nil, nil, err
	}
	if generator == nil {
		point, err = p.curve.BaseMult(key)
	} else {
		point, err = p.curve.Mult(key, generator)
	}
	return key, point, err
}

// token is T = MAC(KSmac, 7F49{06 oid, 86 point}) (9303-11 section 4.4.3.4).
func (p *pace) token(macKey, point []byte) ([]byte, error) {
	oid, err := oidContent(p.info.OID)
	if err != nil {
		return nil, err
	}
	mac, err := p.info.Cipher.mac(macKey)
	if err != nil {
		return nil, err
	}
	input := tlv.Encode(0x7F49, tlv.Encode(0x06, oid), tlv.Encode(0x86, point))
	if p.info.Cipher == TripleDES {
		input = pad(input, 8)
	}
	t := mac.sum(input)
	return t[:], nil
}

// step is one GENERAL AUTHENTICATE: 7C{sent value} out, 7C{want …} back.
func (p *pace) step(ctx context.Context, chained bool, sent tlv.Tag, value []byte, want tlv.Tag) ([]byte, error) {
	data := []byte{0x7C, 0}
	if value != nil {
		data = tlv.Encode(0x7C, tlv.Encode(sent, value))
	}
	c := apdu.Command{INS: 0x86, Data: data, Ne: apdu.MaxShortNe}
	if chained {
		c.CLA = 0x10
	}
	answer, err := apdu.Must(ctx, p.card, c)
	if err != nil {
		return nil, err
	}
	got, ok := tlv.Path(answer, 0x7C, want)
	if !ok {
		return nil, fmt.Errorf("%w: the answer lacks data object %02X", ErrMalformed, uint32(want))
	}
	return got, nil
}

// oidContent is an object identifier's DER without tag and length.
func oidContent(oid asn1.ObjectIdentifier) ([]byte, error) {
	der, err := asn1.Marshal(oid)
	if err != nil {
		return nil, err
	}
	_, _, size, err := tlv.Header(der)
	if err != nil {
		return nil, err
	}
	return der[size:], nil
}
