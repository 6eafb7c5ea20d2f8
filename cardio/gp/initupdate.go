package gp

import (
	"fmt"

	"cardbureau/cardio/apdu"
)

// InitializeUpdate is the answer to INITIALIZE UPDATE (Amendment D table
// 7-3; of SCP02, GPC_SPE_034 E.5.1).
type InitializeUpdate struct {
	KeyDiversificationData [10]byte
	KeyVersion             byte   // of the key set the card chose
	SCP                    byte   // 02 or 03
	I                      byte   // SCP03's options, Amendment D table 5-1; SCP02 does not say them, and this is 0
	CardChallenge          []byte // 6 bytes in SCP02
	CardCryptogram         []byte
	SequenceCounter        []byte // SCP03: 3 bytes where the challenge is pseudo-random, otherwise nil; SCP02: 2 bytes
}

// Mode is that of SCP03: S16 where i says so, otherwise S8.
func (iu InitializeUpdate) Mode() Mode { return ModeOf(iu.I) }

// PseudoRandom reports whether the challenge of a card with SCP03 follows from
// its sequence counter.
func (iu InitializeUpdate) PseudoRandom() bool { return iu.I&iBitPseudoRandom != 0 }

// Offers reports whether the options of a card with SCP03 allow the level.
func (iu InitializeUpdate) Offers(l Level) bool {
	return l.Valid() &&
		(!l.RMAC() || iu.I&iBitRMAC != 0) &&
		(!l.RENC() || iu.I&(iBitRMAC|iBitREncipher) == iBitRMAC|iBitREncipher)
}

// InitializeUpdateCommand asks for a session with a key version (00: the
// card's first) and the host challenge: 8 bytes, or 16 for SCP03 in S16 mode. The
// key identifier is 00, as SCP03 wants it and SCP02 allows.
func InitializeUpdateCommand(keyVersion byte, hostChallenge []byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0x50, P1: keyVersion, Data: hostChallenge, Ne: apdu.MaxShortNe}
}

// ParseInitializeUpdate reads the response data (without status word): 28
// bytes for SCP02; for SCP03 29 in S8 mode and 45 in S16 mode, and 3 more where
// i says that the challenge is pseudo-random. Another protocol is
// ErrUnsupported.
func ParseInitializeUpdate(b []byte) (InitializeUpdate, error) {
	var iu InitializeUpdate
	const fixed = 13
	if len(b) <= fixed {
		return iu, fmt.Errorf("%w: INITIALIZE UPDATE gave %d bytes", ErrMalformed, len(b))
	}
	copy(iu.KeyDiversificationData[:], b)
	iu.KeyVersion, iu.SCP = b[10], b[11]
	switch iu.SCP {
	case 2:
		const size = 28
		if len(b) != size {
			return InitializeUpdate{}, fmt.Errorf("%w: INITIALIZE UPDATE gave %d bytes, SCP02 calls for %d", ErrMalformed, len(b), size)
		}
		iu.SequenceCounter, iu.CardChallenge, iu.CardCryptogram = b[12:14:14], b[14:20:20], b[20:size:size]
		return iu, nil
	case 3:
		iu.I = b[12]
	default:
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
