package gp

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"

	"cardbureau/cardio/apdu"
)

// SCP02 is one session of Secure Channel Protocol '02' with explicit
// initiation (GPC_SPE_034 appendix E). It is not safe for concurrent use.
//
// As with SCP03, commands do not depend on responses, so a whole card can be
// wrapped as one batch, and a batch that the card left halfway ends the
// session.
type SCP02 struct {
	level             Level
	i                 byte
	keys              StaticDESKeys
	counter           []byte // sequence counter, 2 bytes
	senc, smac, srmac DESCipher
	dek               DESCipher      // made when it is first used
	icv               [desBlock]byte // the C-MAC before
	ricv              [desBlock]byte // the R-MAC before
	expected          [][]byte       // per response to come: the command's part of the R-MAC's input
	err               error          // why the session is over
}

// validSCP02 reports whether SCP02 knows the level (GPC_SPE_034 E.5.2).
func (l Level) validSCP02() bool {
	switch l {
	case LevelNone, LevelCMAC, LevelCENC, LevelRMAC, LevelCMACRMAC, LevelCENCRMAC:
		return true
	}
	return false
}

// OpenSCP02 checks what the card proved in INITIALIZE UPDATE and returns the
// session with the EXTERNAL AUTHENTICATE command to send, already protected. i
// is the card's option byte, which its answer does not say. hostChallenge is the
// 8 bytes that INITIALIZE UPDATE carried; aid is that of the application it went
// to and is needed when i says that the card's challenge follows the well-known
// algorithm. The session is open once the card has answered 9000.
//
// It returns ErrCardCryptogram or ErrCardChallenge when the card is not the
// one the keys are for: the command must then not be sent, as the card counts
// failures. ErrUnsupported says that i or the level is one that this package
// or the card does not offer. The keys stay in use until the session is closed.
func OpenSCP02(ctx context.Context, keys StaticDESKeys, iu InitializeUpdate, i byte, hostChallenge, aid []byte, level Level) (session *SCP02, externalAuthenticate []byte, err error) {
	p := Protocol{SCP: 2, I: i}
	if err := p.Check(); err != nil {
		return nil, nil, err
	}
	switch {
	case iu.SCP != 2 || len(iu.SequenceCounter) != 2 || len(iu.CardChallenge) != 6 || len(iu.CardCryptogram) != desBlock:
		return nil, nil, fmt.Errorf("%w: the card's answer is not one of SCP02", ErrUnsupported)
	case len(hostChallenge) != desBlock:
		return nil, nil, fmt.Errorf("%w: SCP02 has host challenges of 8 bytes, not %d", ErrUnsupported, len(hostChallenge))
	case !level.validSCP02():
		return nil, nil, fmt.Errorf("%w: SCP02 has no level %s", ErrUnsupported, level)
	case !p.Offers(level):
		return nil, nil, fmt.Errorf("%w: the card (%v) does not offer level %s", ErrUnsupported, p, level)
	}
	s := &SCP02{level: level, i: i, keys: keys, counter: append([]byte(nil), iu.SequenceCounter...)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.senc, err = s.derive(ctx, KeyENC, DeriveSCP02ENC); err != nil {
		return nil, nil, fmt.Errorf("derive S-ENC: %w", err)
	}
	card := append(append(make([]byte, 0, desBlock), iu.SequenceCounter...), iu.CardChallenge...)
	want, err := SCP02Cryptogram(ctx, s.senc, hostChallenge, card)
	if err != nil {
		return nil, nil, fmt.Errorf("card cryptogram: %w", err)
	}
	if subtle.ConstantTimeCompare(want, iu.CardCryptogram) != 1 {
		return nil, nil, ErrCardCryptogram
	}
	if s.smac, err = s.derive(ctx, KeyMAC, DeriveSCP02CMAC); err != nil {
		return nil, nil, fmt.Errorf("derive S-MAC: %w", err)
	}
	if i&scp02PseudoRandom != 0 {
		if want, err = SCP02CardChallenge(ctx, s.smac, aid); err != nil {
			return nil, nil, fmt.Errorf("card challenge: %w", err)
		}
		if subtle.ConstantTimeCompare(want, iu.CardChallenge) != 1 {
			return nil, nil, ErrCardChallenge
		}
	}
	if level.RMAC() {
		if s.srmac, err = s.derive(ctx, KeyMAC, DeriveSCP02RMAC); err != nil {
			return nil, nil, fmt.Errorf("derive S-RMAC: %w", err)
		}
	}
	host, err := SCP02Cryptogram(ctx, s.senc, card, hostChallenge)
	if err != nil {
		return nil, nil, fmt.Errorf("host cryptogram: %w", err)
	}
	auth := apdu.Command{CLA: 0x84, INS: 0x82, P1: byte(level), Data: host}
	if externalAuthenticate, err = withRoom(auth, desBlock).Bytes(); err != nil {
		return nil, nil, err
	}
	// The first C-MAC of a session has a zero ICV, which is not enciphered.
	n := len(externalAuthenticate) - desBlock
	if s.icv, err = retailMAC(ctx, s.smac, s.icv, false, externalAuthenticate[:n]); err != nil {
		return nil, nil, fmt.Errorf("C-MAC: %w", err)
	}
	copy(externalAuthenticate[n:], s.icv[:])
	s.ricv = s.icv // E.4.5: R-MACs chain from this C-MAC
	return s, externalAuthenticate, nil
}

// derive makes a session key from a static key, or from the base key of a card
// that has but one.
func (s *SCP02) derive(ctx context.Context, kind byte, constant uint16) (DESCipher, error) {
	if s.i&scp02ThreeKeys == 0 {
		kind = KeyENC
	}
	return s.keys.DeriveSession(ctx, kind, constant, s.counter)
}

// Level is the session's security level.
func (s *SCP02) Level() Level { return s.level }

// Wrap protects a batch of commands at the session's level. When it fails,
// the session stands as before the call.
func (s *SCP02) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	out := make([][]byte, len(commands))
	expected := make([][]byte, len(commands))
	for i, c := range commands {
		if most := maxPlainDES(s.level); len(c.Data) > most || c.Extended || c.Ne > apdu.MaxShortNe {
			return nil, fmt.Errorf("command %d: %v cannot be protected: SCP02 takes short commands with at most %d bytes of data", i+1, c, most)
		}
		if s.level.RMAC() {
			expected[i] = stripped(c)
		}
	}
	if !s.level.CMAC() {
		for i, c := range commands {
			if s.level.RMAC() {
				c.Ne = apdu.MaxShortNe // room for the R-MAC
			}
			raw, err := c.Bytes()
			if err != nil {
				return nil, fmt.Errorf("command %d: %w", i+1, err)
			}
			out[i] = raw
		}
		s.expected = append(s.expected, expected...)
		return out, nil
	}
	data := make([][]byte, len(commands))
	for i, c := range commands {
		data[i] = c.Data
		if s.level.CENC() && len(c.Data) > 0 {
			data[i] = PadDES(c.Data)
		}
	}
	if s.level.CENC() {
		var err error
		if data, err = encipherAll(ctx, s.senc, desBlock, make([]byte, desBlock*len(data)), data); err != nil {
			return nil, err
		}
	}
	icv := s.icv
	for i, c := range commands {
		// The MAC is over the data in the clear, with the Lc that it has then.
		var err error
		if icv, err = retailMAC(ctx, s.smac, icv, s.i&scp02EncipherICV != 0, macInput(c)); err != nil {
			return nil, fmt.Errorf("C-MAC: %w", err)
		}
		c.CLA = secureClass(c.CLA)
		c.Data = data[i]
		if s.level.RMAC() {
			c.Ne = apdu.MaxShortNe
		}
		c = withRoom(c, desBlock)
		copy(c.Data[len(data[i]):], icv[:])
		if out[i], err = c.Bytes(); err != nil {
			return nil, fmt.Errorf("command %d: %w", i+1, err)
		}
	}
	s.icv = icv
	s.expected = append(s.expected, expected...)
	return out, nil
}

// macInput is what the C-MAC runs over behind its ICV (GPC_SPE_034 E.4.4, on the
// modified APDU): the header with the secure messaging bit and logical channel
// zero, Lc with the MAC counted in, and the data in the clear.
func macInput(c apdu.Command) []byte {
	out := make([]byte, 0, 5+len(c.Data))
	out = append(out, withoutChannel(secureClass(c.CLA)), c.INS, c.P1, c.P2, byte(len(c.Data)+desBlock))
	return append(out, c.Data...)
}

// stripped is the command as the R-MAC takes it (GPC_SPE_034 E.4.5): without
// what secure messaging adds, on logical channel zero, with Lc always there.
func stripped(c apdu.Command) []byte {
	out := make([]byte, 0, 5+len(c.Data))
	out = append(out, withoutChannel(secureClass(c.CLA))&^0x04, c.INS, c.P1, c.P2, byte(len(c.Data)))
	return append(out, c.Data...)
}

// withRoom appends n zero bytes to a command's data.
func withRoom(c apdu.Command, n int) apdu.Command {
	data := make([]byte, len(c.Data)+n)
	copy(data, c.Data)
	c.Data = data
	return c
}

// EncipherDEK enciphers keys or sensitive data, a multiple of 8 bytes, under
// the session key S-DEK (GPC_SPE_034 E.4.7: triple DES ECB).
func (s *SCP02) EncipherDEK(ctx context.Context, data []byte) ([]byte, error) {
	dek, err := s.DEK(ctx)
	if err != nil {
		return nil, err
	}
	return dek.EncryptECB(ctx, data)
}

// EncipherAllDEK is EncipherDEK of several pieces, in one operation.
func (s *SCP02) EncipherAllDEK(ctx context.Context, data [][]byte) ([][]byte, error) {
	all := bytes.Join(data, nil)
	defer clear(all)
	done, err := s.EncipherDEK(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(done) != len(all) {
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(done), len(all))
	}
	out := make([][]byte, len(data))
	for i, d := range data {
		out[i], done = done[:len(d):len(d)], done[len(d):]
	}
	return out, nil
}

// DEK is the session key S-DEK, for what wraps keys under it. The session
// closes it.
func (s *SCP02) DEK(ctx context.Context) (_ DESCipher, err error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.dek == nil {
		if s.dek, err = s.derive(ctx, KeyDEK, DeriveSCP02DEK); err != nil {
			s.dek = nil
			return nil, fmt.Errorf("derive S-DEK: %w", err)
		}
	}
	return s.dek, nil
}

// Close ends the session and forgets its keys. The static keys belong to the
// caller.
func (s *SCP02) Close() {
	if s.err == nil {
		s.err = ErrClosed
	}
	for _, c := range []DESCipher{s.senc, s.smac, s.srmac, s.dek} {
		if closer, ok := c.(io.Closer); ok {
			_ = closer.Close()
		}
	}
	clear(s.icv[:])
	clear(s.ricv[:])
	s.expected = nil
}

// maxPlainDES is the greatest number of data bytes in one command of SCP02.
func maxPlainDES(level Level) int {
	n := apdu.MaxShortData
	if level.CMAC() {
		n -= desBlock
	}
	if level.CENC() {
		n = n/desBlock*desBlock - 1 // padding takes at least one byte
	}
	return n
}
