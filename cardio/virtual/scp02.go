package virtual

import (
	"crypto/subtle"
	"io"

	"cardbureau/cardio/apdu"
)

// SCP02 options: the parameter i (GPC_SPE_034 v2.3.1 section E.1.1, table
// E-1). A blank takes the sums of SCP02Explicit with the three that follow:
// 05, 15, 25, 35, 45, 55, 65 and 75. What is left out makes no sense with
// explicit initiation (C-MAC on the unmodified APDU, ICV of a MAC over the
// AID) or in a security domain of this card (one base key instead of three).
const (
	SCP02Explicit              byte = 0x05 // three keys, initiated by INITIALIZE UPDATE, C-MAC on the modified APDU, zero ICV
	SCP02ICVEncryption         byte = 0x10 // ICV of a C-MAC enciphered
	SCP02ResponseMAC           byte = 0x20 // R-MAC
	SCP02PseudoRandomChallenge byte = 0x40 // card challenge by the well-known algorithm
)

// Session key constants (GPC_SPE_034 v2.3.1 section E.4.1).
const (
	scp02CMAC uint16 = 0x0101
	scp02RMAC uint16 = 0x0102
	scp02DEK  uint16 = 0x0181
	scp02ENC  uint16 = 0x0182
)

// scp02 is what a session of SCP02 has instead of the keys and the chaining
// value of SCP03.
type scp02 struct {
	enc, mac, rmac *desKey
	sequence       uint16
	host, card     []byte // challenges, 8 and 6 bytes
	icvEncryption  bool

	cmac    [8]byte // the last one; zero before the first
	started bool    // there was a C-MAC
	rmacICV [8]byte // the last R-MAC, or what stands for it at first
	command []byte  // the command that the next R-MAC covers, in plain
}

// maxSequence02 is the last sequence counter a session may have.
const maxSequence02 = 0xFFFF

// initializeUpdate02 answers INITIALIZE UPDATE (GPC_SPE_034 v2.3.1 section
// E.5.1): key diversification data, key version, 02, sequence counter (2
// bytes), card challenge (6), card cryptogram (8). The counter advances when
// the authentication that follows succeeds.
func (c *Chip) initializeUpdate02(k *keySet, host []byte) ([]byte, apdu.StatusWord) {
	if k.sequence > maxSequence02 {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	n := uint16(k.sequence)
	t := &scp02{
		sequence: n, host: host, card: make([]byte, 6),
		enc:           k.des.enc.deriveSCP02(scp02ENC, n),
		mac:           k.des.mac.deriveSCP02(scp02CMAC, n),
		rmac:          k.des.mac.deriveSCP02(scp02RMAC, n),
		icvEncryption: c.link().i&SCP02ICVEncryption != 0,
	}
	if c.link().i&SCP02PseudoRandomChallenge != 0 {
		mac := t.mac.retailMAC([8]byte{}, c.invoker()) // section E.4.2.3
		copy(t.card, mac[:])
	} else if _, err := io.ReadFull(c.random, t.card); err != nil {
		return nil, apdu.SWNoPreciseDiagnosis
	}
	cryptogram := t.enc.fullMAC(t.host, t.counter(), t.card)

	out := make([]byte, 0, 28)
	out = append(out, c.link().kdd...)
	out = append(out, k.version, 0x02)
	out = append(out, t.counter()...)
	out = append(out, t.card...)
	out = append(out, cryptogram[:]...)
	c.session = session{
		phase: initiated, keys: k, length: 8, scp02: t,
		dek: sessionDEK{k.des.dek.deriveSCP02(scp02DEK, n)},
	}
	return out, apdu.SWSuccess
}

func (t *scp02) counter() []byte { return []byte{byte(t.sequence >> 8), byte(t.sequence)} }

func (t *scp02) hostCryptogram() []byte {
	mac := t.enc.fullMAC(t.counter(), t.card, t.host)
	return mac[:]
}

// icv is the initial chaining vector of the next C-MAC: zero for the first,
// then the last C-MAC, enciphered under single DES when i says so (section
// E.3.4).
func (t *scp02) icv() [8]byte {
	icv := t.cmac
	if t.started && t.icvEncryption {
		t.mac.single.Encrypt(icv[:], icv[:])
	}
	return icv
}

// verify checks a C-MAC over the header as modified, the length of data and
// MAC together, and the data in plain (section E.4.4).
func (t *scp02) verify(cmd apdu.Command, plain, mac []byte) bool {
	head := []byte{cmd.CLA | 0x04, cmd.INS, cmd.P1, cmd.P2, byte(len(plain) + 8)}
	want := t.mac.retailMAC(t.icv(), head, plain)
	if subtle.ConstantTimeCompare(want[:], mac) != 1 {
		return false
	}
	t.cmac, t.started = want, true
	return true
}

// unwrap takes the protection off a command: deciphers the data (section
// E.4.6), then verifies the C-MAC, which covers the plain data.
func (t *scp02) unwrap(cmd apdu.Command, level byte) (apdu.Command, bool) {
	end := len(cmd.Data) - 8
	if end < 0 || cmd.Extended {
		return cmd, false
	}
	plain, mac := cmd.Data[:end], cmd.Data[end:]
	if level&levelCENC != 0 && end > 0 {
		if end%8 != 0 {
			return cmd, false
		}
		var ok bool
		if plain, ok = unpadFrom(t.enc.decryptCBC(plain), 8); !ok || len(plain) == 0 {
			return cmd, false
		}
	}
	if !t.verify(cmd, plain, mac) {
		return cmd, false
	}
	cmd.Data = plain
	cmd.CLA &^= 0x04
	return cmd, true
}

// note keeps a command without its protection for the R-MAC of its answer: a
// header without secure messaging, Lc, which is 00 without data, and the data
// (section E.4.5).
func (t *scp02) note(cmd apdu.Command) {
	t.command = append([]byte{cmd.CLA &^ 0x07, cmd.INS, cmd.P1, cmd.P2, byte(len(cmd.Data))}, cmd.Data...)
}

// wrap appends the R-MAC: over the command, the length of the answer's data,
// the data and the status word, chained from R-MAC to R-MAC (section E.4.5).
func (t *scp02) wrap(data []byte, sw apdu.StatusWord) []byte {
	mac := t.rmac.retailMAC(t.rmacICV, t.command, []byte{byte(len(data))}, data, []byte{byte(sw >> 8), byte(sw)})
	t.rmacICV = mac
	return append(append(make([]byte, 0, len(data)+8), data...), mac[:]...)
}

// Commands of SCP02 with R-MAC (GPC_SPE_034 v2.3.1 sections E.5.3 and E.5.4).
const (
	insEndRMACSession   = 0x78
	insBeginRMACSession = 0x7A
	maxRMACData         = 24 // bytes of data of BEGIN R-MAC SESSION
)

func (l link) hasRMACSession() bool { return l.protocol == 2 && l.i&SCP02ResponseMAC != 0 }

// beginRMACSession is BEGIN R-MAC SESSION: P1 = 10, P2 = 01, without data or
// with a length and as many bytes, at most 24, which its C-MAC covers. From
// the next command on every answer carries an R-MAC, the first chained to the
// C-MAC of this command, to zeros when the session has no C-MAC.
func (c *Chip) beginRMACSession(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != levelRMAC || cmd.P2 != 0x01 {
		return nil, apdu.SWIncorrectP1P2
	}
	if n := len(cmd.Data); n > 0 && (int(cmd.Data[0]) != n-1 || n-1 > maxRMACData) {
		return nil, apdu.SWWrongData
	}
	if c.session.level&levelRMAC != 0 {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	t := c.session.scp02
	t.rmacICV = [8]byte{}
	if c.session.level&levelCMAC != 0 {
		t.rmacICV = t.cmac
	}
	c.session.level |= levelRMAC
	c.session.begun = true
	return nil, apdu.SWSuccess
}

// endRMACSession is END R-MAC SESSION: P1 = 00, P2 = 03 to end a session that
// BEGIN R-MAC SESSION began, or 01 to go on. Its answer is the last R-MAC.
func (c *Chip) endRMACSession(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.P1 != 0 || cmd.P2 != 0x03 && cmd.P2 != 0x01 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) != 0 {
		return nil, apdu.SWWrongLength
	}
	if !c.session.begun {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	last := c.session.scp02.rmacICV
	if cmd.P2 == 0x03 {
		c.session.level &^= levelRMAC
		c.session.begun = false
	}
	return last[:], apdu.SWSuccess
}
