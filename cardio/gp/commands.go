package gp

import (
	"context"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Sender sends one command and returns the whole response. Plain and Secure
// make one.
type Sender func(ctx context.Context, c apdu.Command) (apdu.Response, error)

// Plain sends to a card as it is.
func Plain(card apdu.Card) Sender {
	return func(ctx context.Context, c apdu.Command) (apdu.Response, error) {
		return apdu.Send(ctx, card, c)
	}
}

// Secure sends to a card through a secure channel, one command at a time.
func Secure(channel Channel, card apdu.Card) Sender {
	return func(ctx context.Context, c apdu.Command) (apdu.Response, error) {
		wrapped, err := channel.Wrap(ctx, []apdu.Command{c})
		if err != nil {
			return apdu.Response{}, err
		}
		r, err := apdu.SendRaw(ctx, card, wrapped[0])
		if err != nil {
			return apdu.Response{}, err
		}
		opened, err := channel.Unwrap(ctx, [][]byte{r.Bytes()})
		if err != nil {
			return apdu.Response{}, err
		}
		return opened[0], nil
	}
}

// must sends and turns any status word but 9000 into an *apdu.StatusError.
func must(ctx context.Context, send Sender, c apdu.Command) ([]byte, error) {
	r, err := send(ctx, c)
	if err != nil {
		return nil, err
	}
	if !r.SW.OK() {
		return nil, &apdu.StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: r.SW}
	}
	return r.Data, nil
}

// ISDAID is the AID of the issuer security domain that the specification
// assigns (GPC_SPE_034 table H-1 and 11.9): cards may have another one, which
// SelectISD finds.
var ISDAID = []byte{0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00}

// SelectCommand selects an application by its AID, 5 to 16 bytes
// (GPC_SPE_034 11.9).
func SelectCommand(aid []byte) apdu.Command {
	return apdu.Command{INS: 0xA4, P1: 0x04, Data: aid, Ne: apdu.MaxShortNe}
}

// SelectISDCommand selects the issuer security domain, whatever its AID, by
// an empty one.
func SelectISDCommand() apdu.Command { return SelectCommand(nil) }

// SelectDomain selects a security domain, the issuer's for an empty AID, and
// returns the response data. A card that is CARD_LOCKED answers with a warning
// (6283, GPC_SPE_034 11.9.3.2), which is taken: locked. Any other status word but
// 9000 is an *apdu.StatusError.
func SelectDomain(ctx context.Context, send Sender, aid []byte) (fci []byte, locked bool, err error) {
	c := SelectCommand(aid)
	r, err := send(ctx, c)
	if err != nil {
		return nil, false, err
	}
	locked = r.SW == apdu.SWSelectedFileInvalidated
	if !r.SW.OK() && !locked {
		return nil, false, &apdu.StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: r.SW}
	}
	return r.Data, locked, nil
}

// GetDataCommand asks for a data object (GPC_SPE_034 11.3). tag is P1 P2,
// for example TagCPLC.
func GetDataCommand(tag uint16) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0xCA, P1: byte(tag >> 8), P2: byte(tag), Ne: apdu.MaxShortNe}
}

// Tags of GET DATA (GPC_SPE_034 11.3 and H; CPLC is older practice that the
// specification mentions only).
const (
	TagCPLC            uint16 = 0x9F7F
	TagKeyInformation  uint16 = 0x00E0
	TagCardRecognition uint16 = 0x0066
	TagIIN             uint16 = 0x0042
	TagCIN             uint16 = 0x0045
	TagSequenceCounter uint16 = 0x00C1
)

// InstallForPersonalizationCommand directs the STORE DATA commands that follow
// to an application (GPC_SPE_034 11.5.2.3.6).
func InstallForPersonalizationCommand(aid []byte) apdu.Command {
	data := make([]byte, 0, len(aid)+6)
	data = append(data, 0, 0, byte(len(aid)))
	data = append(data, aid...)
	data = append(data, 0, 0, 0)
	return apdu.Command{CLA: 0x80, INS: 0xE6, P1: 0x20, Data: data, Ne: apdu.MaxShortNe}
}

// Life cycle states of a card (GPC_SPE_034 table 11-6).
const (
	CardOpReady     byte = 0x01
	CardInitialized byte = 0x07
	CardSecured     byte = 0x0F
	CardLocked      byte = 0x7F
	CardTerminated  byte = 0xFF
)

// Life cycle states of an application (GPC_SPE_034 table 11-4). An
// application's own states are SELECTABLE with bits 4 to 7 of its choosing.
const (
	ApplicationInstalled  byte = 0x03
	ApplicationSelectable byte = 0x07
	ApplicationLocked     byte = 0x80 // bit; the other bits are ignored in a lock
)

// SetCardStatusCommand moves the card to another life cycle state
// (GPC_SPE_034 11.10). Some moves are final: the caller has been told.
func SetCardStatusCommand(state byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0xF0, P1: 0x80, P2: state}
}

// SetApplicationStatusCommand sets the life cycle state of an application or
// supplementary security domain (GPC_SPE_034 11.10): ApplicationLocked locks
// it, any state without that bit unlocks it to the state it had.
func SetApplicationStatusCommand(aid []byte, state byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: 0xF0, P1: 0x40, P2: state, Data: aid}
}

// ReadCPLC reads and parses the card's production life cycle data.
func ReadCPLC(ctx context.Context, send Sender) (CPLC, error) {
	data, err := must(ctx, send, GetDataCommand(TagCPLC))
	if err != nil {
		return CPLC{}, fmt.Errorf("read CPLC: %w", err)
	}
	return ParseCPLC(data)
}

// ReadKeyInformation reads which keys the selected security domain has.
func ReadKeyInformation(ctx context.Context, send Sender) ([]KeyInformation, error) {
	data, err := must(ctx, send, GetDataCommand(TagKeyInformation))
	if err != nil {
		return nil, fmt.Errorf("read key information: %w", err)
	}
	return ParseKeyInformation(data)
}

// ReadCardRecognition reads what the card says of its specification version
// and secure channels.
func ReadCardRecognition(ctx context.Context, send Sender) (CardRecognition, error) {
	data, err := must(ctx, send, GetDataCommand(TagCardRecognition))
	if err != nil {
		return CardRecognition{}, fmt.Errorf("read card recognition data: %w", err)
	}
	return ParseCardRecognition(data)
}
