package gp

import (
	"fmt"

	"cardbureau/cardio/apdu"
)

// InitializeUpdate is the answer to INITIALIZE UPDATE (Amendment D table
// 7-3).
type InitializeUpdate struct {
	KeyDiversificationData [10]byte
	KeyVersion             byte // of the key set the card chose
	SCP                    byte // 03
	I                      byte // the protocol's options, Amendment D table 5-1
	CardChallenge          []byte
	CardCryptogram         []byte
	SequenceCounter        []byte // 3 bytes where the challenge is pseudo-random, otherwise nil
}

// Mode is S16 where i says so, otherwise S8.
func (iu InitializeUpdate) Mode() Mode { return ModeOf(iu.I) }

// PseudoRandom reports whether the card's challenge follows from its
// sequence counter.
func (iu InitializeUpdate) PseudoRandom() bool { return iu.I&iBitPseudoRandom != 0 }

// Offers reports whether the card's options allow the level.
func (iu InitializeUpdate) Offers(l Level) bool {
	return l.Valid() &&
		(!l.RMAC() || iu.I&iBitRMAC != 0) &&
		(!l.RENC() || iu.I&(iBitRMAC|iBitREncipher) == iBitRMAC|iBitREncipher)
}

// InitializeUpdateCommand asks for a session with a key version (00: the
// card's first) and an 8-byte host challenge. The key identifier is 00, as
// SCP03 wants it.
func InitializeUpdateCommand(keyVersion byte, hostChallenge []byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0x50, P1: keyVersion, Data: hostChallenge, Ne: apdu.MaxShortNe}
}

// ParseInitializeUpdate reads the response data (without status word): 29
// bytes in S8 mode and 45 in S16 mode, and 3 more where i says that the
// challenge is pseudo-random. Another protocol than SCP03 is ErrUnsupported.
func ParseInitializeUpdate(b []byte) (InitializeUpdate, error) {
	var iu InitializeUpdate
	const fixed = 13
	if len(b) < fixed {
		return iu, fmt.Errorf("%w: INITIALIZE UPDATE gave %d bytes", ErrMalformed, len(b))
	}
	copy(iu.KeyDiversificationData[:], b)
	iu.KeyVersion, iu.SCP, iu.I = b[10], b[11], b[12]
	if iu.SCP != 3 {
		return InitializeUpdate{}, fmt.Errorf("%w: the card answers with SCP%02X", ErrUnsupported, iu.SCP)
	}
	n := int(iu.Mode())
	want := fixed + 2*n
	if iu.PseudoRandom() {
		want += sequenceCounterLen
	}
	if len(b) != want {
		return InitializeUpdate{}, fmt.Errorf("%w: INITIALIZE UPDATE gave %d bytes, i=%02X calls for %d", ErrMalformed, len(b), iu.I, want)
	}
	iu.CardChallenge, b = b[fixed:fixed+n:fixed+n], b[fixed+n:]
	iu.CardCryptogram, b = b[:n:n], b[n:]
	if iu.PseudoRandom() {
		iu.SequenceCounter = b[:sequenceCounterLen:sequenceCounterLen]
	}
	return iu, nil
}
