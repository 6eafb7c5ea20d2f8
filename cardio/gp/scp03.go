package gp

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"

	"cardbureau/cardio/apdu"
)

// SCP03 is one secure channel session (Amendment D section 6). It is not safe
// for concurrent use.
//
// Neither C-MAC nor C-ENC depends on responses, so a whole card can be
// wrapped as one batch. A batch that the card left halfway (see
// apdu.Exchange) ends the session: host and card no longer agree on the MAC
// chaining value.
type SCP03 struct {
	level             Level
	mode              Mode
	senc, smac, srmac Cipher
	dek               Cipher
	chain             [blockSize]byte // MAC chaining value
	counter           uint64          // of the last command, for the encryption counter block
	countDataOnly     bool
	expected          []expectation
	err               error // why the session is over
}

// expectation is what the response to one wrapped command depends on.
type expectation struct {
	chain   [blockSize]byte
	counter uint64
}

// Option adapts a session to a card that departs from Amendment D.
type Option func(*SCP03)

// CountDataOnly advances the encryption counter only for commands that carry
// data, as cards of Amendment D 1.0 do. Without it every command counts.
func CountDataOnly() Option { return func(s *SCP03) { s.countDataOnly = true } }

// OpenSCP03 checks what the card proved in INITIALIZE UPDATE and returns the
// session with the EXTERNAL AUTHENTICATE command to send, already protected.
// hostChallenge is what INITIALIZE UPDATE carried, 8 bytes in S8 mode and 16 in
// S16 mode; aid is that of the application it went to and is needed when the
// card's challenge is pseudo-random. The session is open once the card has answered 9000.
//
// It returns ErrCardCryptogram or ErrCardChallenge when the card is not the
// one the keys are for: the command must then not be sent, as the card counts
// failures. ErrUnsupported says that the card does not offer the level, or is
// in another mode than the host challenge was made for.
func OpenSCP03(ctx context.Context, keys StaticKeys, iu InitializeUpdate, hostChallenge, aid []byte, level Level, options ...Option) (session *SCP03, externalAuthenticate []byte, err error) {
	mode := iu.Mode()
	n := int(mode)
	switch {
	case iu.SCP != 3:
		return nil, nil, fmt.Errorf("%w: the card answers with SCP%02X, not SCP03", ErrUnsupported, iu.SCP)
	case len(hostChallenge) != n || len(iu.CardChallenge) != n || len(iu.CardCryptogram) != n:
		return nil, nil, fmt.Errorf("%w: a card with i=%02X has challenges and cryptograms of %d bytes", ErrUnsupported, iu.I, n)
	case !level.Valid():
		return nil, nil, fmt.Errorf("%w: SCP03 has no level %s", ErrUnsupported, level)
	case !iu.Offers(level):
		return nil, nil, fmt.Errorf("%w: the card (i=%02X) does not offer level %s", ErrUnsupported, iu.I, level)
	}
	s := &SCP03{level: level, mode: mode, dek: keys.DEK()}
	for _, o := range options {
		o(s)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	kdfContext := make([]byte, 0, 2*n)
	kdfContext = append(append(kdfContext, hostChallenge...), iu.CardChallenge...)
	if s.smac, err = keys.DeriveSession(ctx, DeriveSMAC, kdfContext); err != nil {
		return nil, nil, fmt.Errorf("derive S-MAC: %w", err)
	}
	want, err := Cryptogram(ctx, s.smac, mode, DeriveCardCryptogram, kdfContext)
	if err != nil {
		return nil, nil, fmt.Errorf("card cryptogram: %w", err)
	}
	if subtle.ConstantTimeCompare(want, iu.CardCryptogram) != 1 {
		return nil, nil, ErrCardCryptogram
	}
	if iu.PseudoRandom() {
		if want, err = CardChallenge(ctx, keys.ENC(), mode, iu.SequenceCounter, aid); err != nil {
			return nil, nil, fmt.Errorf("card challenge: %w", err)
		}
		if subtle.ConstantTimeCompare(want, iu.CardChallenge) != 1 {
			return nil, nil, ErrCardChallenge
		}
	}
	if level.CENC() {
		if s.senc, err = keys.DeriveSession(ctx, DeriveSENC, kdfContext); err != nil {
			return nil, nil, fmt.Errorf("derive S-ENC: %w", err)
		}
	}
	if level.RMAC() {
		if s.srmac, err = keys.DeriveSession(ctx, DeriveSRMAC, kdfContext); err != nil {
			return nil, nil, fmt.Errorf("derive S-RMAC: %w", err)
		}
	}
	host, err := Cryptogram(ctx, s.smac, mode, DeriveHostCryptogram, kdfContext)
	if err != nil {
		return nil, nil, fmt.Errorf("host cryptogram: %w", err)
	}
	auth := apdu.Command{CLA: 0x84, INS: 0x82, P1: byte(level), Data: host}
	externalAuthenticate, input, err := s.withoutMAC(auth)
	if err != nil {
		return nil, nil, err
	}
	// The MAC chain begins with zeros.
	macs, err := chainedCMACs(ctx, s.smac, s.chain, [][]byte{input})
	if err != nil {
		return nil, nil, fmt.Errorf("C-MAC: %w", err)
	}
	s.chain = macs[0]
	copy(externalAuthenticate[len(input):], macs[0][:s.mode])
	return s, externalAuthenticate, nil
}

// Level is the session's security level.
func (s *SCP03) Level() Level { return s.level }

// Wrap protects a batch of commands at the session's level. When it fails,
// the session stands as before the call.
func (s *SCP03) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	out := make([][]byte, len(commands))
	if !s.level.CMAC() {
		for i, c := range commands {
			raw, err := c.Bytes()
			if err != nil {
				return nil, fmt.Errorf("command %d: %w", i+1, err)
			}
			out[i] = raw
		}
		s.expected = append(s.expected, make([]expectation, len(commands))...)
		return out, nil
	}
	counters, ivs, err := s.commandIVs(ctx, commands)
	if err != nil {
		return nil, err
	}
	data := make([][]byte, len(commands))
	for i, c := range commands {
		if most := MaxPlainData(s.mode, s.level, true); len(c.Data) > most {
			return nil, fmt.Errorf("command %d: %d bytes of data, at most %d can be protected", i+1, len(c.Data), most)
		}
		data[i] = c.Data
		if ivs != nil && len(c.Data) > 0 {
			data[i] = pad(c.Data)
		}
	}
	if ivs != nil {
		if data, err = encipherAll(ctx, s.senc, blockSize, ivs, data); err != nil {
			return nil, err
		}
	}
	inputs := make([][]byte, len(commands))
	for i, c := range commands {
		c.Data = data[i]
		if s.level.RMAC() {
			c.Ne = protectedNe(c.Ne, s.mode)
		}
		if out[i], inputs[i], err = s.withoutMAC(c); err != nil {
			return nil, fmt.Errorf("command %d: %w", i+1, err)
		}
	}
	macs, err := chainedCMACs(ctx, s.smac, s.chain, inputs)
	if err != nil {
		return nil, fmt.Errorf("C-MAC: %w", err)
	}
	expected := make([]expectation, len(commands))
	for i := range commands {
		copy(out[i][len(inputs[i]):], macs[i][:s.mode])
		expected[i] = expectation{chain: macs[i], counter: counters[i]}
	}
	if n := len(macs); n > 0 {
		s.chain = macs[n-1]
	}
	if n := len(counters); n > 0 {
		s.counter = counters[n-1]
	}
	if s.level.RMAC() {
		s.expected = append(s.expected, expected...)
	} else {
		s.expected = append(s.expected, make([]expectation, len(commands))...)
	}
	return out, nil
}

// commandIVs numbers the commands and, where they are enciphered, makes all
// their initial vectors in one call (Amendment D 6.2.6).
func (s *SCP03) commandIVs(ctx context.Context, commands []apdu.Command) (counters []uint64, ivs []byte, err error) {
	counters = make([]uint64, len(commands))
	counter := s.counter
	blocks := make([]byte, blockSize*len(commands))
	for i, c := range commands {
		if !s.countDataOnly || len(c.Data) > 0 {
			counter++
		}
		counters[i] = counter
		binary.BigEndian.PutUint64(blocks[i*blockSize+8:], counter)
	}
	if !s.level.CENC() || len(commands) == 0 {
		return counters, nil, nil
	}
	if ivs, err = s.senc.EncryptECB(ctx, blocks); err != nil {
		return nil, nil, fmt.Errorf("initial vectors: %w", err)
	}
	if len(ivs) != len(blocks) {
		return nil, nil, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(ivs), len(blocks))
	}
	return counters, ivs, nil
}

// withoutMAC encodes a command with room for its C-MAC, and returns with it
// what the C-MAC runs over behind the chaining value (Amendment D 6.2.4): the
// header with the secure messaging bit and logical channel zero, Lc with the
// MAC counted in, and the data. The room begins where that ends.
func (s *SCP03) withoutMAC(c apdu.Command) (raw, input []byte, err error) {
	n := len(c.Data)
	data := make([]byte, n+int(s.mode))
	copy(data, c.Data)
	c.Data = data
	c.CLA = secureClass(c.CLA)
	if raw, err = c.Bytes(); err != nil {
		return nil, nil, err
	}
	head := 5
	if raw[4] == 0 {
		head = 7
	}
	input = append(make([]byte, 0, head+n), raw[:head+n]...)
	input[0] = withoutChannel(c.CLA)
	return raw, input, nil
}

// EncipherDEK enciphers keys or sensitive data, a multiple of 16 bytes, under
// the static DEK (Amendment D 6.2.8: AES-CBC with a zero initial vector).
func (s *SCP03) EncipherDEK(ctx context.Context, data []byte) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.dek.EncryptCBC(ctx, make([]byte, blockSize), data)
}

// EncipherAllDEK is EncipherDEK of several pieces, each by itself, in as few
// operations as there are blocks in the longest, or pieces.
func (s *SCP03) EncipherAllDEK(ctx context.Context, data [][]byte) ([][]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return encipherAll(ctx, s.dek, blockSize, make([]byte, blockSize*len(data)), data)
}

// Close ends the session and forgets its keys. The static keys belong to the
// caller.
func (s *SCP03) Close() {
	if s.err == nil {
		s.err = ErrClosed
	}
	for _, c := range []Cipher{s.senc, s.smac, s.srmac} {
		if closer, ok := c.(io.Closer); ok {
			_ = closer.Close()
		}
	}
	clear(s.chain[:])
	s.expected = nil
}

// secureClass sets the secure messaging indication in a class byte: bit 3 for
// logical channels 0 to 3, bit 6 for the others (GPC_SPE_034 11.1.4).
func secureClass(cla byte) byte {
	if cla&0x40 != 0 {
		return cla | 0x20
	}
	return cla | 0x04
}

// withoutChannel is the class byte that goes into the C-MAC: logical channel
// zero (Amendment D 6.2.4).
func withoutChannel(cla byte) byte {
	if cla&0x40 != 0 {
		return cla&0x90 | 0x04
	}
	return cla &^ 0x03
}

// protectedNe leaves room for the R-MAC and padding.
func protectedNe(ne int, mode Mode) int {
	if ne <= apdu.MaxShortNe {
		return apdu.MaxShortNe
	}
	return min(ne+int(mode)+blockSize, apdu.MaxExtendedNe)
}

// MaxPlainData is the greatest number of data bytes in one command that still
// fits, once protected, into a short (255 bytes) or extended (65,535 bytes)
// Lc: for a short enciphered one 239 in S8 mode and 223 in S16 mode.
func MaxPlainData(mode Mode, level Level, extended bool) int {
	if extended {
		return PlainDataWithin(apdu.MaxExtendedData, mode, level)
	}
	return PlainDataWithin(apdu.MaxShortData, mode, level)
}

// PlainDataWithin is MaxPlainData for a card that takes at most limit bytes of
// data in one command.
func PlainDataWithin(limit int, mode Mode, level Level) int {
	if level.CMAC() {
		limit -= int(mode)
	}
	if level.CENC() {
		limit = limit/blockSize*blockSize - 1 // padding takes at least one byte
	}
	return limit
}

// pad appends 80 and zeros up to a whole number of AES blocks (ISO/IEC 9797-1
// method 2).
func pad(data []byte) []byte { return padBlocks(data, blockSize) }

// padBlocks is pad for blocks of size bytes.
func padBlocks(data []byte, size int) []byte {
	out := make([]byte, (len(data)/size+1)*size)
	copy(out, data)
	out[len(data)] = 0x80
	return out
}

// Pad pads sensitive data for EncipherDEK of SCP03: 80, then zeros up to a
// multiple of 16 bytes.
func Pad(data []byte) []byte { return pad(data) }

// PadDES pads sensitive data for EncipherDEK of SCP02: 80, then zeros up to a
// multiple of 8 bytes.
func PadDES(data []byte) []byte { return padBlocks(data, desBlock) }
