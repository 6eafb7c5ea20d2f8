package uicc

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Classes of commands.
const (
	classUICC = 0x00
	classCAT  = 0x80 // toolkit
	classGSM  = 0xA0 // TS 51.011
)

// usimAID is a USIM's AID without what its maker adds (TS 101 220 annex E).
var usimAID = []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02}

// Application is what a card is used as.
type Application int

// Applications.
const (
	SIM  Application = iota // second generation, class A0
	USIM                    // TS 31.102
	ISIM                    // TS 31.103
)

func (a Application) String() string { return [...]string{"SIM", "USIM", "ISIM"}[a] }

// Status words beyond those of package apdu (TS 102 221 clause 10.2.1, TS 31.102
// clause 7.3, TS 51.011 clause 9.4).
const (
	swMAC           apdu.StatusWord = 0x9862 // authentication error, incorrect MAC
	swNoContext     apdu.StatusWord = 0x9864 // authentication error, security context not supported
	swCHVWrong      apdu.StatusWord = 0x9804 // A0: unsuccessful verification, at least one try left
	swCHVBlocked    apdu.StatusWord = 0x9840 // A0: unsuccessful, none left, or blocked
	swCHVNone       apdu.StatusWord = 0x9802 // A0: no CHV initialized
	swCHVState      apdu.StatusWord = 0x9808 // A0: in contradiction with the CHV's status
	swNoEF          apdu.StatusWord = 0x9400 // A0: no EF selected
	swOutOfRange    apdu.StatusWord = 0x9402 // A0: out of range (invalid address)
	swFileNotFound  apdu.StatusWord = 0x9404 // A0: file ID not found
	swWrongType     apdu.StatusWord = 0x9408 // A0: file is inconsistent with the command
	swBusyToolkit   apdu.StatusWord = 0x9300 // toolkit busy, command cannot be executed now
	swMemoryProblem apdu.StatusWord = 0x9240
)

// Errors of this package; errors.Is tells them apart.
var (
	ErrNoApplication = errors.New("the card has no such application")
	ErrMalformed     = errors.New("the card's data is malformed")
	ErrBusy          = errors.New("the card is busy with a toolkit command")
	ErrNotFound      = errors.New("the card has no such file")
)

// Card is a SIM that is used as one application. It is not safe for concurrent use.
type Card struct {
	guard *guard
	app   Application
	aid   []byte // of USIM or ISIM
	last  *FCP   // of what was selected last
	p2    byte   // of SELECT in class 00: what the card is asked to return
	pin1  byte   // reference of PIN1, as the card's PIN status template has it
	// pin1Off: that template says that PIN1 is disabled.
	pin1Off bool
	// pending is the length of a toolkit command that waits to be fetched, 0: none.
	pending int
}

// Open finds out what a card is and selects its USIM; a card that knows no class 00 is
// a SIM of the second generation. The card is fresh from a reset.
func Open(ctx context.Context, raw apdu.Card) (*Card, error) {
	c := &Card{guard: newGuard(raw), app: USIM, p2: returnFCP}
	_, err := c.selectUICC(ctx, 0x00, []byte{0x3F, 0x00})
	var sw apdu.StatusWord
	if errors.As(err, &sw) && (sw == apdu.SWClassNotSupported || sw == apdu.SWInstructionNotSupported) {
		c.app = SIM
		_, err := c.Select(ctx, dirMF)
		return c, err
	}
	if err != nil {
		return nil, fmt.Errorf("the SIM's master file: %w", err)
	}
	list, err := c.Directory(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return nil, err
	}
	for _, a := range list {
		if a.Is(USIM) {
			return c, c.SelectApplication(ctx, a.AID)
		}
	}
	if err != nil { // without a list that can be read, the first USIM is asked for by its name
		if serr := c.SelectApplication(ctx, usimAID); serr == nil || !errors.Is(serr, ErrNoApplication) {
			return c, serr
		}
	}
	// A UICC without a USIM is used as a SIM, if it has one.
	c.app = SIM
	if _, err := c.Select(ctx, dirMF); err != nil {
		return nil, fmt.Errorf("%w: EF.DIR names no USIM, and class A0 answers: %w", ErrNoApplication, err)
	}
	return c, nil
}

// OpenSIM uses a card as a SIM of the second generation, which many UICCs are too.
func OpenSIM(ctx context.Context, raw apdu.Card) (*Card, error) {
	c := &Card{guard: newGuard(raw), app: SIM}
	_, err := c.Select(ctx, dirMF)
	return c, err
}

// Application is what the card is used as.
func (c *Card) Application() Application { return c.app }

// AID is the identifier of the application that is selected, nil for a SIM.
func (c *Card) AID() []byte { return c.aid }

// SelectApplication selects an application by its AID, in full or in part, at least
// the RID (TS 102 221 clause 11.1.1). ErrNoApplication.
func (c *Card) SelectApplication(ctx context.Context, aid []byte) error {
	f, err := c.selectUICC(ctx, 0x04, aid)
	if errors.Is(err, apdu.SWFileNotFound) {
		return fmt.Errorf("%w: %X", ErrNoApplication, aid)
	}
	if err != nil {
		return err
	}
	if len(f.PINs) == 0 {
		f.PINs = c.statusPINs(ctx)
	}
	c.last, c.aid, c.app, c.pin1 = f, f.AID, USIM, f.pin1()
	c.pin1Off = f.disabled(c.pin1)
	if len(c.aid) == 0 {
		c.aid = append([]byte(nil), aid...)
	}
	if (Entry{AID: c.aid}).Is(ISIM) {
		c.app = ISIM
	}
	return nil
}

// class is that of ordinary commands.
func (c *Card) class() byte {
	if c.app == SIM {
		return classGSM
	}
	return classUICC
}

// send sends a command to its end: continuations of T=0 and of class A0, a toolkit
// command that is announced noted and not an error. An error status is an
// *apdu.StatusError.
func (c *Card) send(ctx context.Context, cmd apdu.Command) ([]byte, error) {
	wanted := cmd.Ne
	if cmd.CLA == classGSM && len(cmd.Data) > 0 {
		cmd.Ne = 0 // the answer is fetched, as 9Fxx says
	}
	r, err := apdu.Send(ctx, c.guard, cmd)
	if err != nil {
		return nil, err
	}
	if cmd.CLA == classGSM && r.SW.SW1() == 0x9F && wanted > 0 {
		r, err = apdu.Send(ctx, c.guard, apdu.Command{CLA: classGSM, INS: insGetResponse, Ne: length(r.SW.SW2())})
		if err != nil {
			return nil, err
		}
	}
	switch {
	case r.SW.OK():
		return r.Data, nil
	case r.SW.SW1() == 0x91: // success, and the card wants to tell something
		c.pending = length(r.SW.SW2())
		return r.Data, nil
	case r.SW.SW1() == 0x92 && r.SW < swMemoryProblem, r.SW.SW1() == 0x9F:
		return r.Data, nil // success after retries; success with an answer that nobody wants
	case r.SW == swBusyToolkit:
		return nil, fmt.Errorf("%w: %w", ErrBusy, statusError(cmd, r.SW))
	}
	return nil, statusError(cmd, r.SW)
}

func statusError(cmd apdu.Command, sw apdu.StatusWord) error {
	return &apdu.StatusError{Header: [4]byte{cmd.CLA, cmd.INS, cmd.P1, cmd.P2}, SW: sw}
}

// length is that of SW2, where 00 means 256.
func length(sw2 byte) int {
	if sw2 == 0 {
		return apdu.MaxShortNe
	}
	return int(sw2)
}

// Pending reports whether the card has a toolkit command waiting.
func (c *Card) Pending() bool { return c.pending > 0 }

// Decline fetches what toolkit commands wait and answers each that it is beyond the
// terminal's capabilities (TS 102 223 clause 8.12.7): a desk shows no menus, and tells
// no card where it is. It stops after 16.
func (c *Card) Decline(ctx context.Context) error {
	for range 16 {
		if c.pending == 0 {
			return nil
		}
		n := c.pending
		c.pending = 0
		command, err := c.send(ctx, apdu.Command{CLA: c.toolkitClass(), INS: insFetch, Ne: n})
		if err != nil {
			return fmt.Errorf("a toolkit command: %w", err)
		}
		details, err := toolkitDetails(command)
		if err != nil {
			return err
		}
		// Command details, device identities terminal to UICC, result 30.
		answer := append(append([]byte{0x81, 0x03}, details...), 0x82, 0x02, 0x82, 0x81, 0x83, 0x01, 0x30)
		if _, err := c.send(ctx, apdu.Command{CLA: c.toolkitClass(), INS: insTerminalResponse, Data: answer}); err != nil {
			return fmt.Errorf("the answer to a toolkit command: %w", err)
		}
	}
	if c.pending != 0 {
		return fmt.Errorf("%w: it has more than 16 toolkit commands", ErrBusy)
	}
	return nil
}

// Profile tells the card that this terminal takes toolkit commands, and shows none
// (TERMINAL PROFILE, TS 102 223 clause 5.2): some cards begin to work after it alone.
func (c *Card) Profile(ctx context.Context) error {
	_, err := c.send(ctx, apdu.Command{CLA: c.toolkitClass(), INS: insTerminalProfile, Data: make([]byte, 4)})
	return err
}

func (c *Card) toolkitClass() byte {
	if c.app == SIM {
		return classGSM
	}
	return classCAT
}

// toolkitDetails are the three bytes of a proactive command's details (TS 102 223
// clause 8.6): D0, length, then 81 or 01 with length 3.
func toolkitDetails(b []byte) ([]byte, error) {
	if len(b) > 2 && b[0] == 0xD0 {
		skip := 2
		if b[1] == 0x81 {
			skip = 3
		}
		if len(b) >= skip+5 && b[skip]&0x7F == 0x01 && b[skip+1] == 3 {
			return b[skip+2 : skip+5], nil
		}
	}
	return nil, fmt.Errorf("%w: a toolkit command", ErrMalformed)
}
