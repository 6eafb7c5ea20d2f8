// Package pinpad has the reader itself ask for a PIN and put it into a command, so
// that no machine sees it: secure PIN entry by PC/SC Workgroup part 10, revision
// 2.02.09, over PIN_VERIFY_DIRECT and PIN_MODIFY_DIRECT. PINs are ASCII digits, as
// ISO/IEC 7816-4 commands of the identity application carry them.
//
// A reader that offers the two steps of START and FINISH alone is not supported, nor
// one that would have to protect the command: it goes to the card in plain.
package pinpad

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Control sends a control code to a reader; in cardio/pcsc a connection does.
type Control func(ctx context.Context, code uint32, in []byte) ([]byte, error)

// Tags of features (part 10, clause 2.3).
const (
	featureVerifyDirect byte = 0x06
	featureModifyDirect byte = 0x07
)

// featureRequest is CM_IOCTL_GET_FEATURE_REQUEST (part 10, clause 2.2).
const featureRequest = 3400

// ControlCode is SCARD_CTL_CODE of pcsc-lite.
func ControlCode(code uint16) uint32 { return 0x42000000 + uint32(code) }

// ErrNone says that the reader has no pin-pad that this package can use.
var ErrNone = errors.New("the reader takes no PIN by itself")

// Errors of the holder's side (part 10, clause 2.5.7: 6400, 6401, 6402, 6403).
var (
	ErrTimeout   = errors.New("no PIN was entered in time")
	ErrCancelled = errors.New("the PIN entry was cancelled at the reader")
	ErrDiffers   = errors.New("the two entries of the new PIN differ")
	ErrLength    = errors.New("the PIN that was entered is too short or too long")
)

// parseFeatures reads the answer to GET_FEATURE_REQUEST: tag, length 4, control code
// (big-endian), one after another.
func parseFeatures(b []byte) (map[byte]uint32, error) {
	out := map[byte]uint32{}
	for len(b) > 0 {
		if len(b) < 6 || b[1] != 4 {
			return nil, fmt.Errorf("the reader's list of features cannot be read at its last %d bytes", len(b))
		}
		if _, twice := out[b[0]]; !twice {
			out[b[0]] = binary.BigEndian.Uint32(b[2:6])
		}
		b = b[6:]
	}
	return out, nil
}

// Pad is a reader's pin-pad and the card in it.
type Pad struct {
	control        Control
	verify, modify uint32
	reference      byte
	timeout        byte // seconds
}

// Open asks a reader for its pin-pad; [ErrNone]. reference is P2 of the PIN.
func Open(ctx context.Context, control Control, reference byte) (*Pad, error) {
	answer, err := control(ctx, ControlCode(featureRequest), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	features, err := parseFeatures(answer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	p := &Pad{control: control, verify: features[featureVerifyDirect], modify: features[featureModifyDirect], reference: reference, timeout: 60}
	if p.verify == 0 || p.modify == 0 {
		return nil, ErrNone
	}
	return p, nil
}

// Lengths of PINs in digits: what VERIFY takes, and what is set at a pin-pad, which is
// one length so that readers need not touch Lc.
const (
	minDigits = 6
	maxDigits = 8
	newDigits = 6
)

// Fields of the structures (part 10, clauses 2.5.2 and 2.5.3, and CCID 1.10,
// bmFormatString and bmPINBlockString).
const (
	formatASCII    = 0x82 // bytes, from the offset on, left justified, ASCII
	validateByKey  = 0x02 // the validation key ends the entry
	confirmNewOnly = 0x01 // the new PIN twice, the current one not at all
	language       = 0x0429
)

// Verify has the reader put the PIN into VERIFY.
func (p *Pad) Verify(ctx context.Context) (apdu.StatusWord, error) {
	b := []byte{p.timeout, p.timeout, formatASCII, 0, 0}
	b = append(b, maxDigits, minDigits, validateByKey, 1) // wPINMaxExtraDigit 0608 and bNumberMessage
	b = binary.LittleEndian.AppendUint16(b, language)
	b = append(b, 0, 0, 0, 0) // bMsgIndex, bTeoPrologue
	return p.do(ctx, p.verify, b, []byte{0x00, 0x20, 0x00, p.reference})
}

// Change has the reader put a new PIN behind an old one into CHANGE REFERENCE DATA;
// Reset the same behind an unblocking key into RESET RETRY COUNTER.
func (p *Pad) Change(ctx context.Context, old []byte) (apdu.StatusWord, error) {
	return p.newPIN(ctx, 0x24, old)
}

// Reset is Change with RESET RETRY COUNTER.
func (p *Pad) Reset(ctx context.Context, unblockingKey []byte) (apdu.StatusWord, error) {
	return p.newPIN(ctx, 0x2C, unblockingKey)
}

func (p *Pad) newPIN(ctx context.Context, ins byte, before []byte) (apdu.StatusWord, error) {
	b := []byte{p.timeout, p.timeout, formatASCII, newDigits, 0, 0, byte(len(before))}
	b = append(b, newDigits, newDigits, confirmNewOnly, validateByKey, 2)
	b = binary.LittleEndian.AppendUint16(b, language)
	b = append(b, 0, 1, 0, 0, 0, 0) // bMsgIndex1, 2, 3, bTeoPrologue
	command := append([]byte{0x00, ins, 0x00, p.reference, byte(len(before) + newDigits)}, before...)
	command = append(command, make([]byte, newDigits)...)
	defer clear(command)
	return p.do(ctx, p.modify, b, command)
}

// do sends a structure and its command, and reads the status word.
func (p *Pad) do(ctx context.Context, code uint32, structure, command []byte) (apdu.StatusWord, error) {
	in := binary.LittleEndian.AppendUint32(structure, uint32(len(command)))
	in = append(in, command...)
	defer clear(in)
	answer, err := p.control(ctx, code, in)
	if err != nil {
		return 0, err
	}
	if len(answer) != 2 {
		return 0, fmt.Errorf("%w: the pin-pad answered %d bytes", apdu.ErrInDoubt, len(answer))
	}
	switch sw := apdu.StatusWord(answer[0])<<8 | apdu.StatusWord(answer[1]); sw {
	case 0x6400:
		return sw, ErrTimeout
	case 0x6401:
		return sw, ErrCancelled
	case 0x6402:
		return sw, ErrDiffers
	case 0x6403:
		return sw, ErrLength
	default:
		return sw, nil
	}
}
