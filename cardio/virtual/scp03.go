package virtual

import (
	"bytes"
	"crypto/subtle"
	"io"
	"slices"

	"cardbureau/cardio/apdu"
)

// Security levels (GPC_SPE_014 section 7.1.2.1, table 7-5).
const (
	levelCMAC byte = 0x01
	levelCENC byte = 0x02
	levelRMAC byte = 0x10
	levelRENC byte = 0x20
)

// Derivation constants (GPC_SPE_014 table 4-1).
const (
	deriveCardCryptogram byte = 0x00
	deriveHostCryptogram byte = 0x01
	deriveCardChallenge  byte = 0x02
	deriveSessionENC     byte = 0x04
	deriveSessionMAC     byte = 0x06
	deriveSessionRMAC    byte = 0x07
)

// length is how many bytes challenges, cryptograms and MACs have: 8 in S8
// mode, 16 in S16 mode.
func (l link) length() int {
	if l.protocol == 3 && l.i&SCP03S16 != 0 {
		return 16
	}
	return 8
}

type phase byte

const (
	closed    phase = iota
	initiated       // INITIALIZE UPDATE was answered
	open            // EXTERNAL AUTHENTICATE succeeded
)

// session is one secure channel session; it lives in RAM. What stands below
// the data encryption key is SCP03's; SCP02 has its own.
type session struct {
	phase phase
	level byte
	begun bool    // by BEGIN R-MAC SESSION
	keys  *keySet // that the session was opened with
	dek   dataKey // of that set, also after PUT KEY replaced it
	scp02 *scp02  // nil in SCP03

	enc, mac, rmac *aesKey
	length         int    // of challenges, cryptograms and MACs: 8 (S8 mode) or 16 (S16 mode)
	host, card     []byte // challenges
	chaining       [16]byte
	counter        uint64
	dataOnly       bool // QuirkCountDataOnly
}

// initializeUpdate is INITIALIZE UPDATE (GPC_SPE_014 section 7.1.1), in SCP02
// up to the challenge. In SCP03 the sequence counter of a key set begins at 000000, advances by one before
// every use, successful or not, and is committed before the answer: no
// pseudo-random challenge is ever given twice.
func (c *Chip) initializeUpdate(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	c.closeSession()
	if cmd.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	l := c.link()
	length := l.length()
	if len(cmd.Data) != length {
		return nil, apdu.SWWrongLength
	}
	if d := c.actingDomain(); !d.usable() {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	k := c.channelKeys().keySet(cmd.P1)
	if k == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if k.failures >= c.reg.limit {
		return nil, apdu.SWAuthenticationMethodBlocked
	}
	if l.protocol == 2 {
		return c.initializeUpdate02(k, bytes.Clone(cmd.Data))
	}
	s := session{
		phase: initiated, keys: k, dek: staticDEK{k.dekKey}, length: length, host: bytes.Clone(cmd.Data),
		dataOnly: c.reg.has(QuirkCountDataOnly),
	}
	pseudo := l.i&SCP03PseudoRandomChallenge != 0
	if pseudo {
		if k.sequence >= 0xFFFFFF {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		k.sequence++
		c.channelKeys().putCounters(k)
		s.card = k.encKey.derive(deriveCardChallenge, length*8, sequenceBytes(k), c.invoker())
	} else {
		s.card = make([]byte, length)
		if _, err := io.ReadFull(c.random, s.card); err != nil {
			return nil, apdu.SWNoPreciseDiagnosis
		}
	}
	bits := k.macKey.size * 8
	s.enc = mustAESKey(k.encKey.derive(deriveSessionENC, bits, s.host, s.card))
	s.mac = mustAESKey(k.macKey.derive(deriveSessionMAC, bits, s.host, s.card))
	s.rmac = mustAESKey(k.macKey.derive(deriveSessionRMAC, bits, s.host, s.card))

	out := make([]byte, 0, 48)
	out = append(out, l.kdd...)
	out = append(out, k.version, 0x03, l.i)
	out = append(out, s.card...)
	out = append(out, s.mac.derive(deriveCardCryptogram, s.length*8, s.host, s.card)...)
	if pseudo {
		out = append(out, sequenceBytes(k)...)
	}
	c.session = s
	return out, apdu.SWSuccess
}

func sequenceBytes(k *keySet) []byte {
	return []byte{byte(k.sequence >> 16), byte(k.sequence >> 8), byte(k.sequence)}
}

// externalAuthenticate is EXTERNAL AUTHENTICATE (GPC_SPE_014 section 7.1.2;
// GPC_SPE_034 v2.3.1 section E.5.2).
// It must follow INITIALIZE UPDATE at once. The failure is counted and
// committed before anything is compared, so that cutting the power during the
// comparison wins no try.
func (c *Chip) externalAuthenticate(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	s := c.session
	c.closeSession()
	if s.phase != initiated {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if cmd.P2 != 0 || !c.link().offers(cmd.P1) {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) != 2*s.length {
		return nil, apdu.SWWrongLength
	}
	if !slices.Contains(c.channelKeys().keys, s.keys) || s.scp02 != nil && uint32(s.scp02.sequence) != s.keys.sequence {
		return nil, apdu.SWConditionsOfUseNotSatisfied // another channel was quicker
	}
	s.keys.failures++
	c.channelKeys().putCounters(s.keys)
	if err := c.mem.Commit(); err != nil {
		return nil, apdu.SWMemoryFailure
	}
	if subtle.ConstantTimeCompare(s.hostCryptogram(), cmd.Data[:s.length]) != 1 {
		return nil, apdu.SWAuthenticationFailed
	}
	if !s.authentic(cmd) {
		return nil, s.wrongMAC()
	}
	s.keys.failures = 0
	if s.scp02 != nil {
		s.keys.sequence++
	}
	c.channelKeys().putCounters(s.keys)
	s.phase, s.level = open, cmd.P1
	c.session = s
	return nil, apdu.SWSuccess
}

// offers says whether channels have a security level, given their parameter i.
func (l link) offers(level byte) bool {
	if l.protocol == 2 {
		switch level {
		case 0x00, 0x01, 0x03:
			return true
		case 0x10, 0x11, 0x13:
			return l.i&SCP02ResponseMAC != 0
		}
		return false
	}
	switch level {
	case 0x00, 0x01, 0x03:
		return true
	case 0x11, 0x13:
		return l.i&SCP03ResponseMAC != 0
	case 0x33:
		return l.i&SCP03ResponseEncryption == SCP03ResponseEncryption
	}
	return false
}

func (s *session) hostCryptogram() []byte {
	if s.scp02 != nil {
		return s.scp02.hostCryptogram()
	}
	return s.mac.derive(deriveHostCryptogram, s.length*8, s.host, s.card)
}

// authentic checks the C-MAC of EXTERNAL AUTHENTICATE, whose data is never
// enciphered, and with it begins the chain of R-MACs of SCP02.
func (s *session) authentic(cmd apdu.Command) bool {
	t := s.scp02
	if t == nil {
		return s.verify(cmd)
	}
	if !t.verify(cmd, cmd.Data[:s.length], cmd.Data[s.length:]) {
		return false
	}
	t.rmacICV = t.cmac
	return true
}

// wrongMAC is the status word of a wrong C-MAC or padding: SCP02 has no other
// for it than that of its conditions (GPC_SPE_034 v2.3.1 table 11-10).
func (s *session) wrongMAC() apdu.StatusWord {
	if s.scp02 != nil {
		return apdu.SWSecurityStatusNotSatisfied
	}
	return apdu.SWSecureMessagingIncorrect
}

// verify checks the C-MAC at the end of the data field over the chaining
// value, the header with the secure messaging bit, Lc as sent and the data
// before the MAC (GPC_SPE_014 section 6.2.4), and moves the chaining
// value on when it is right.
func (s *session) verify(cmd apdu.Command) bool {
	n := len(cmd.Data)
	end := n - s.length
	if end < 0 {
		return false
	}
	head := []byte{cmd.CLA&0xFC | 0x04, cmd.INS, cmd.P1, cmd.P2}
	if cmd.Extended {
		head = append(head, 0, byte(n>>8), byte(n))
	} else {
		head = append(head, byte(n))
	}
	mac := s.mac.cmac(s.chaining[:], head, cmd.Data[:end])
	if subtle.ConstantTimeCompare(mac[:s.length], cmd.Data[end:]) != 1 {
		return false
	}
	s.chaining = mac
	return true
}

// unwrap takes the protection off a command of an open session. The
// encryption counter advances for every command, with data or without
// (GPC_SPE_014 section 6.2.6).
func (s *session) unwrap(cmd apdu.Command) (apdu.Command, bool) {
	if s.scp02 != nil {
		return s.scp02.unwrap(cmd, s.level)
	}
	if !s.verify(cmd) {
		return cmd, false
	}
	cmd.Data = cmd.Data[:len(cmd.Data)-s.length]
	cmd.CLA &^= 0x04
	if !s.dataOnly || len(cmd.Data) > 0 {
		s.counter++
	}
	if s.level&levelCENC != 0 && len(cmd.Data) > 0 {
		if len(cmd.Data)%16 != 0 {
			return cmd, false
		}
		plain, ok := unpad(s.enc.decryptCBC(s.icv(0), cmd.Data))
		if !ok || len(plain) == 0 { // a command without data is not enciphered
			return cmd, false
		}
		cmd.Data = plain
	}
	return cmd, true
}

// icv is the initial chaining vector of the current command (top 00) or its
// response (top 80): the counter, enciphered (GPC_SPE_014 sections 6.2.6 and
// 6.2.7).
func (s *session) icv(top byte) [16]byte {
	var b [16]byte
	b[0] = top
	for i, n := 15, s.counter; n > 0; i, n = i-1, n>>8 {
		b[i] = byte(n)
	}
	s.enc.block.Encrypt(b[:], b[:])
	return b
}

// wrap protects a response. A status word that is an error, which is all but
// 9000, 62xx and 63xx, goes out bare and alone (GPC_SPE_014 section 6.2.5).
func (s *session) wrap(data []byte, sw apdu.StatusWord) []byte {
	if s.level&levelRMAC == 0 {
		return data
	}
	if !sw.OK() && sw.SW1() != 0x62 && sw.SW1() != 0x63 {
		return nil
	}
	if s.scp02 != nil {
		return s.scp02.wrap(data, sw)
	}
	if s.level&levelRENC != 0 && len(data) > 0 {
		data = s.enc.encryptCBC(s.icv(0x80), pad(data))
	}
	mac := s.rmac.cmac(s.chaining[:], data, []byte{byte(sw >> 8), byte(sw)})
	out := make([]byte, 0, len(data)+s.length)
	return append(append(out, data...), mac[:s.length]...)
}
