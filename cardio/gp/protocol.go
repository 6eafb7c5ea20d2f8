package gp

import (
	"context"
	"fmt"
)

// Protocol is a secure channel protocol with its options: what a caller
// expects of a card.
type Protocol struct {
	SCP byte // 02 or 03
	// I is the option byte. A card with SCP03 says it in INITIALIZE UPDATE; one
	// with SCP02 does not, so that this is the only source (Card Recognition
	// Data tells it as well, GPC_SPE_034 H.2).
	I byte
}

// Bits of SCP02's option byte (GPC_SPE_034 E.1.1).
const (
	scp02ThreeKeys    = 0x01
	scp02Unmodified   = 0x02 // C-MAC on the unmodified APDU
	scp02Explicit     = 0x04
	scp02ICVOverAID   = 0x08
	scp02EncipherICV  = 0x10
	scp02RMAC         = 0x20
	scp02PseudoRandom = 0x40
)

// String is "SCP02 i=15".
func (p Protocol) String() string { return fmt.Sprintf("SCP%02X i=%02X", p.SCP, p.I) }

// Mode is how long the host challenge has to be: 8 bytes for SCP02, and for
// SCP03 as i says.
func (p Protocol) Mode() Mode {
	if p.SCP == 3 {
		return ModeOf(p.I)
	}
	return S8
}

// Check returns ErrUnsupported with a reason where this package does not
// implement the protocol or its options. Of SCP02 it implements explicit
// initiation, which excludes C-MAC on unmodified APDUs and an ICV over the AID:
// GPC_SPE_034 E.1.1 has them with implicit initiation only.
func (p Protocol) Check() error {
	switch {
	case p.SCP == 3:
		return nil
	case p.SCP != 2:
		return fmt.Errorf("%w: SCP%02X is not implemented, SCP02 and SCP03 are", ErrUnsupported, p.SCP)
	case p.I&scp02Explicit == 0:
		return fmt.Errorf("%w: %v initiates its secure channel implicitly, which is not implemented", ErrUnsupported, p)
	case p.I&scp02Unmodified != 0:
		return fmt.Errorf("%w: %v has C-MAC on the unmodified APDU, which goes with implicit initiation only", ErrUnsupported, p)
	case p.I&scp02ICVOverAID != 0:
		return fmt.Errorf("%w: %v has an ICV over the AID, which goes with implicit initiation only", ErrUnsupported, p)
	case p.I&0x80 != 0:
		return fmt.Errorf("%w: %v has an option that GPC_SPE_034 E.1.1 does not know", ErrUnsupported, p)
	}
	return nil
}

// Offers reports whether a card with this protocol can be talked to at the
// level.
func (p Protocol) Offers(l Level) bool {
	switch p.SCP {
	case 2:
		return p.Check() == nil && l.validSCP02() && (!l.RMAC() || p.I&scp02RMAC != 0)
	case 3:
		return InitializeUpdate{SCP: 3, I: p.I}.Offers(l)
	}
	return false
}

// MaxPlainData is the greatest number of data bytes in one command that still
// fits once protected. SCP02 knows short commands alone: 239 bytes enciphered,
// 247 with a C-MAC, whatever extended says. For SCP03 see the function
// MaxPlainData.
func (p Protocol) MaxPlainData(level Level, extended bool) int {
	if p.SCP == 2 {
		return maxPlainDES(level)
	}
	return MaxPlainData(p.Mode(), level, extended)
}

// Session is a secure channel whose keys this process can use: SCP02 or
// SCP03.
type Session interface {
	Channel
	// Level is the session's security level.
	Level() Level
	// EncipherDEK enciphers padded keys or sensitive data: a multiple of 16
	// bytes under the static DEK in SCP03, of 8 bytes under the session's S-DEK
	// in SCP02.
	EncipherDEK(ctx context.Context, data []byte) ([]byte, error)
	// EncipherAllDEK is EncipherDEK of several pieces, each by itself.
	EncipherAllDEK(ctx context.Context, data [][]byte) ([][]byte, error)
}

var (
	_ Session = (*SCP03)(nil)
	_ Session = (*SCP02)(nil)
)

// Keys are a card's static keys: AES for SCP03, triple DES for SCP02. One of
// both is enough.
type Keys struct {
	AES StaticKeys
	DES StaticDESKeys
}

// Open is OpenSCP02 or OpenSCP03, as the card's answer says, which must be what
// the caller expects: otherwise ErrUnsupported, and no command may be sent, as
// the card counts failures. Options are SCP03's and mean nothing to SCP02.
func Open(ctx context.Context, keys Keys, expected Protocol, iu InitializeUpdate, hostChallenge, aid []byte, level Level, options ...Option) (session Session, externalAuthenticate []byte, err error) {
	switch {
	case iu.SCP != expected.SCP:
		return nil, nil, fmt.Errorf("%w: the card answers with SCP%02X for key version %02X, SCP%02X is expected", ErrUnsupported, iu.SCP, iu.KeyVersion, expected.SCP)
	case iu.SCP == 2 && keys.DES == nil:
		return nil, nil, fmt.Errorf("%w: SCP02 needs triple DES keys, and AES keys are given", ErrUnsupported)
	case iu.SCP == 3 && keys.AES == nil:
		return nil, nil, fmt.Errorf("%w: SCP03 needs AES keys, and triple DES keys are given", ErrUnsupported)
	}
	// Returned one by one: a nil *SCP02 in an interface is not nil.
	switch iu.SCP {
	case 2:
		s, ea, err := OpenSCP02(ctx, keys.DES, iu, expected.I, hostChallenge, aid, level)
		if err != nil {
			return nil, nil, err
		}
		return s, ea, nil
	case 3:
		s, ea, err := OpenSCP03(ctx, keys.AES, iu, hostChallenge, aid, level, options...)
		if err != nil {
			return nil, nil, err
		}
		return s, ea, nil
	}
	return nil, nil, expected.Check()
}
