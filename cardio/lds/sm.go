package lds

import (
	"context"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Data objects of secure messaging (9303-11 section 9.8.4).
const (
	tagEncrypted    tlv.Tag = 0x87 // padding indicator 01 ‖ cryptogram, even INS
	tagEncryptedOdd tlv.Tag = 0x85 // cryptogram alone, odd INS
	tagLe           tlv.Tag = 0x97
	tagStatus       tlv.Tag = 0x99
	tagMAC          tlv.Tag = 0x8E
)

// SecureMessaging is a session with a chip (9303-11 section 9.8). It is an
// apdu.Card: plain commands go in, plain answers come out. The send sequence counter
// does not depend on answers, so that Exchange wraps a whole batch ahead.
// It is not safe for concurrent use. After the first error other than a
// protected status word the session is over.
type SecureMessaging struct {
	card    apdu.Card
	cipher  Cipher
	block   cipher.Block
	mac     macer
	ssc     []byte // one cipher block; of the last command or answer
	over    error
	scratch []byte
}

// newSecureMessaging starts a session; ssc is taken over.
func newSecureMessaging(card apdu.Card, c Cipher, ksEnc, ksMAC, ssc []byte) (*SecureMessaging, error) {
	block, err := c.block(ksEnc)
	if err != nil {
		return nil, err
	}
	mac, err := c.mac(ksMAC)
	if err != nil {
		return nil, err
	}
	return &SecureMessaging{card: card, cipher: c, block: block, mac: mac, ssc: ssc}, nil
}

// sessionFrom derives the session keys of a shared secret and starts with a
// counter of zero, as PACE and chip authentication do (9303-11 9.8.6.2).
func sessionFrom(card apdu.Card, c Cipher, secret []byte) (*SecureMessaging, error) {
	enc, mac := c.derive(secret, counterEnc), c.derive(secret, counterMAC)
	defer clear(enc)
	defer clear(mac)
	size := 16
	if c == TripleDES {
		size = 8
	}
	return newSecureMessaging(card, c, enc, mac, make([]byte, size))
}

// Cipher is the session's cipher.
func (s *SecureMessaging) Cipher() Cipher { return s.cipher }

// Card is what carries the session.
func (s *SecureMessaging) Card() apdu.Card { return s.card }

// MaxRead is the greatest Ne of a command whose protected answer still fits
// into 256 bytes: 223 with AES, 231 with 3DES.
func (s *SecureMessaging) MaxRead() int {
	const overhead = 4 + 10 + 4 // DO99, DO8E, and 87 81 L 01
	size := s.block.BlockSize()
	return (apdu.MaxShortNe-overhead)/size*size - 1
}

// Close ends the session on this side; the chip notices at its next reset or
// at the first command that is not protected.
func (s *SecureMessaging) Close() {
	if s.over == nil {
		s.over = ErrSessionOver
	}
	s.block, s.mac = nil, nil
	clear(s.scratch)
}

// Transmit wraps a plain command, sends it and returns the plain answer:
// apdu.Card.
func (s *SecureMessaging) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c, err := apdu.Parse(command)
	if err != nil {
		return nil, err
	}
	raw, err := s.Wrap([]apdu.Command{c})
	if err != nil {
		return nil, err
	}
	r, err := apdu.SendRaw(ctx, s.card, raw[0])
	if err != nil {
		s.end(err)
		return nil, err
	}
	plain, err := s.Unwrap([]apdu.Response{r}, 1)
	if err != nil {
		return nil, err
	}
	return plain[0].Bytes(), nil
}

// Exchange wraps a batch, sends it as one exchange and returns the plain
// answers. It stops at the first status word that is not in expect (none
// given means 9000), with that answer as the last one and an
// *apdu.ExchangeError; a protected status word does not end the session.
func (s *SecureMessaging) Exchange(ctx context.Context, batch []apdu.Command, expect ...apdu.StatusWord) ([]apdu.Response, error) {
	raw, err := s.Wrap(batch)
	if err != nil {
		return nil, err
	}
	items := make([]apdu.Item, len(raw))
	for i, b := range raw {
		items[i] = apdu.Item{Command: b, Expect: expect}
	}
	responses, sendErr := apdu.Exchange(ctx, s.card, items)
	var status *apdu.StatusError
	if sendErr != nil && !errors.As(sendErr, &status) {
		s.end(sendErr)
		return nil, sendErr
	}
	plain, err := s.Unwrap(responses, len(responses))
	if err != nil {
		return plain, err
	}
	for i, r := range plain { // the protected status word is the one that counts
		if !expected(r.SW, expect) {
			return plain[:i+1], &apdu.ExchangeError{Index: i, Err: statusError(batch[i], r.SW)}
		}
	}
	if sendErr != nil { // outer and protected status words differ
		return plain, s.end(sendErr)
	}
	return plain, nil
}

func expected(sw apdu.StatusWord, expect []apdu.StatusWord) bool {
	if len(expect) == 0 {
		return sw.OK()
	}
	for _, e := range expect {
		if e == sw {
			return true
		}
	}
	return false
}

// Wrap protects a batch of commands in order, without moving the counter:
// whoever sends them gives the answers to Unwrap before wrapping again.
func (s *SecureMessaging) Wrap(batch []apdu.Command) ([][]byte, error) {
	if s.over != nil {
		return nil, s.over
	}
	start := append([]byte(nil), s.ssc...)
	defer func() { s.ssc = start }()
	out := make([][]byte, len(batch))
	for i, c := range batch {
		increment(s.ssc)
		raw, err := s.wrap(c)
		if err != nil {
			return nil, err
		}
		out[i] = raw
		increment(s.ssc)
	}
	return out, nil
}

// Unwrap verifies and decrypts the answers to the first commands of the batch
// that Wrap protected last; sent says how many of them were sent. The first
// answer that fails ends the session; the plain answers before it are
// returned.
func (s *SecureMessaging) Unwrap(responses []apdu.Response, sent int) ([]apdu.Response, error) {
	if s.over != nil {
		return nil, s.over
	}
	if len(responses) != sent {
		return nil, s.end(fmt.Errorf("%w: %d answers to %d commands", ErrSecureMessaging, len(responses), sent))
	}
	out := make([]apdu.Response, 0, len(responses))
	for _, r := range responses {
		increment(s.ssc)
		increment(s.ssc)
		plain, err := s.unwrap(r)
		if err != nil {
			return out, s.end(err)
		}
		out = append(out, plain)
	}
	return out, nil
}

// end closes the session for a reason and returns it.
func (s *SecureMessaging) end(err error) error {
	if s.over == nil {
		s.over = fmt.Errorf("%w: %w", ErrSessionOver, err)
	}
	return err
}

// wrap protects one command; the counter is already this command's.
func (s *SecureMessaging) wrap(c apdu.Command) ([]byte, error) {
	if c.CLA&0xE0 != 0 || c.CLA&0x0C != 0 {
		return nil, fmt.Errorf("lds: class %02X cannot be wrapped in secure messaging", c.CLA)
	}
	c.CLA |= 0x0C // header authenticated
	size := s.block.BlockSize()
	m := append(s.scratch[:0], s.ssc...)
	m = pad(append(m, c.CLA, c.INS, c.P1, c.P2), size)
	objects := len(m)
	if len(c.Data) > 0 {
		padded := len(c.Data)/size*size + size
		if c.INS&1 == 0 {
			m = append(tlv.AppendHeader(m, tagEncrypted, padded+1), 0x01)
		} else {
			m = tlv.AppendHeader(m, tagEncryptedOdd, padded)
		}
		at := len(m)
		m = append(append(m, c.Data...), 0x80)
		for len(m)-at < padded {
			m = append(m, 0)
		}
		cipher.NewCBCEncrypter(s.block, s.iv()).CryptBlocks(m[at:], m[at:])
	}
	extended := c.Extended || c.Ne > apdu.MaxShortNe
	if c.Ne > 0 {
		if extended {
			m = tlv.Append(m, tagLe, []byte{byte(c.Ne >> 8), byte(c.Ne)})
		} else {
			m = tlv.Append(m, tagLe, []byte{byte(c.Ne)})
		}
	}
	end := len(m)
	m = pad(m, size) // also after a header alone, as appendix D.4 words it
	tag := s.mac.sum(m)
	s.scratch = m
	data := make([]byte, 0, end-objects+10)
	data = append(data, m[objects:end]...)
	wrapped := apdu.Command{CLA: c.CLA, INS: c.INS, P1: c.P1, P2: c.P2, Extended: extended,
		Data: tlv.Append(data, tagMAC, tag[:]), Ne: apdu.MaxShortNe}
	if extended || len(wrapped.Data) > apdu.MaxShortData {
		wrapped.Ne = apdu.MaxExtendedNe
	}
	return wrapped.Bytes()
}

// unwrap verifies and decrypts one answer; the counter is already the
// answer's.
func (s *SecureMessaging) unwrap(r apdu.Response) (apdu.Response, error) {
	if len(r.Data) == 0 {
		return apdu.Response{}, fmt.Errorf("%w: the chip answered without protection: %w", ErrSecureMessaging, r.SW)
	}
	var encrypted, status, mac []byte
	var odd bool
	signed := 0 // bytes that the MAC covers
	for rest := r.Data; len(rest) > 0; {
		o, next, err := tlv.Next(rest)
		if err != nil {
			return apdu.Response{}, fmt.Errorf("%w: %w", ErrSecureMessaging, err)
		}
		if mac != nil {
			return apdu.Response{}, fmt.Errorf("%w: data after the MAC", ErrSecureMessaging)
		}
		switch {
		case (o.Tag == tagEncrypted || o.Tag == tagEncryptedOdd) && encrypted == nil && status == nil:
			encrypted, odd = o.Value, o.Tag == tagEncryptedOdd
		case o.Tag == tagStatus && status == nil && len(o.Value) == 2:
			status = o.Value
		case o.Tag == tagMAC && len(o.Value) == 8:
			mac = o.Value
			signed = len(r.Data) - len(rest)
		default:
			return apdu.Response{}, fmt.Errorf("%w: an unexpected data object %X", ErrSecureMessaging, uint32(o.Tag))
		}
		rest = next
	}
	if mac == nil || status == nil {
		return apdu.Response{}, fmt.Errorf("%w: the answer lacks its status or its MAC", ErrSecureMessaging)
	}
	size := s.block.BlockSize()
	m := append(s.scratch[:0], s.ssc...)
	m = pad(append(m, r.Data[:signed]...), size)
	s.scratch = m
	want := s.mac.sum(m)
	if subtle.ConstantTimeCompare(want[:], mac) != 1 {
		return apdu.Response{}, fmt.Errorf("%w: the MAC of the answer is wrong", ErrSecureMessaging)
	}
	out := apdu.Response{SW: apdu.StatusWord(status[0])<<8 | apdu.StatusWord(status[1])}
	if out.SW != r.SW && !r.SW.OK() {
		return apdu.Response{}, fmt.Errorf("%w: the status word outside is not the protected one", ErrSecureMessaging)
	}
	if encrypted == nil {
		return out, nil
	}
	if !odd {
		if len(encrypted) == 0 || encrypted[0] != 0x01 {
			return apdu.Response{}, fmt.Errorf("%w: an unknown padding indicator", ErrSecureMessaging)
		}
		encrypted = encrypted[1:]
	}
	if len(encrypted) == 0 || len(encrypted)%size != 0 {
		return apdu.Response{}, fmt.Errorf("%w: a cryptogram of %d bytes", ErrSecureMessaging, len(encrypted))
	}
	data := make([]byte, len(encrypted))
	cipher.NewCBCDecrypter(s.block, s.iv()).CryptBlocks(data, encrypted)
	data, ok := unpad(data)
	if !ok {
		return apdu.Response{}, fmt.Errorf("%w: the padding of the answer is wrong", ErrSecureMessaging)
	}
	out.Data = data
	return out, nil
}

// iv is E(KSenc, SSC) with AES and zero with 3DES (9303-11 9.8.6).
func (s *SecureMessaging) iv() []byte {
	iv := make([]byte, s.block.BlockSize())
	if s.cipher != TripleDES {
		s.block.Encrypt(iv, s.ssc)
	}
	return iv
}

func increment(counter []byte) {
	for i := len(counter) - 1; i >= 0; i-- {
		counter[i]++
		if counter[i] != 0 {
			return
		}
	}
}
