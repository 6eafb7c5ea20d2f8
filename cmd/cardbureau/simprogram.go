package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/hsm/aka"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

type simProgram struct {
	readerFlag
	ICCID     string `arg:"" help:"Serial number of the SIM that belongs to the order."`
	Kind      string `help:"Kind of the SIM: a profile of sims/." required:""`
	PIN1      bool   `help:"The blank asks for its PIN1: a further line of standard input." name:"sim-pin"`
	MNC       int    `help:"Digits of the network code." name:"mnc-digits" default:"2"`
	SPN       string `help:"Name of the service provider." name:"spn"`
	ACC       uint16 `help:"Access control classes, a bit each; 0: one that comes of the IMSI's last digit." name:"acc"`
	Algorithm string `help:"Algorithm of keys that the bureau draws, milenage (if you say nothing) or tuak; a SIM that has keys of the other one is refused." enum:",milenage,tuak" default:""`
	LastTry   bool   `help:"Give the administrative key even where it has one try left: if it is wrong, the blank is lost for good." name:"last-try"`
	Batch     string `help:"Batch under which the bureau keeps the SIM's keys; without it, a name that is drawn."`
	Operator  string `help:"Who programs it, for the audit." default:"${user}"`
}

func (simProgram) Example() string {
	return "cardbureau sim program 8998350000000000010 --kind sysmocom-sja2 --reader \"ACS *\" --data /srv/bureau"
}

func (c simProgram) Run(ctx context.Context, g *globals) error {
	iccid, err := pairing.ParseICCID(c.ICCID)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	lines := &asked{bufio.NewReader(os.Stdin)}
	line, err := lines.line(ctx, "IMSI: ")
	if err != nil {
		return err
	}
	imsi, err := pairing.ParseIMSI(strings.TrimSpace(string(line)))
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	if line, err = lines.line(ctx, "Administrative key: "); err != nil {
		return err
	}
	adm, err := uicc.ParseADM(strings.TrimSpace(string(line)))
	clear(line)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	defer clear(adm)
	var pin []byte
	if c.PIN1 {
		if pin, err = lines.line(ctx, "PIN1 of the SIM: "); err != nil {
			return err
		}
		defer clear(pin)
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return err
	}
	defer b.Close()
	kind := b.Profiles.SIMs[c.Kind]
	if kind == nil {
		return &exitError{exitUsage, fmt.Sprintf("no kind of SIM is named %q: there are %s", c.Kind, strings.Join(slices.Sorted(maps.Keys(b.Profiles.SIMs)), ", "))}
	}
	if len(kind.Programming) == 0 {
		return &exitError{exitUsage, uicc.ErrNotBlank.Error()}
	}
	actor, err := b.Actor(ctx, "operator", c.Operator, "cli")
	if err != nil {
		return err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	if !kind.Fits(conn.ATR()) {
		return fmt.Errorf("the SIM in %s is not of kind %s by its answer to reset", conn.Reader(), kind.Name)
	}
	card, err := uicc.Open(ctx, conn)
	if err != nil {
		return err
	}
	if have, err := card.ICCID(ctx); err != nil {
		return err
	} else if have != c.ICCID { // before keys are made for it
		return uicc.ErrOtherCard
	}
	p, err := c.write(ctx, b, card, kind, iccid, imsi, adm, pin, actor)
	if errors.Is(err, uicc.ErrLastTry) {
		return fmt.Errorf("the SIM in %s has one try left for its administrative key or PIN1, which is not spent unasked: nothing was written; ask its vendor, then give --last-try for the administrative key", conn.Reader())
	}
	if errors.Is(err, apdu.SWSecurityStatusNotSatisfied) && !c.PIN1 {
		if _, perr := card.Tries(ctx, uicc.PIN1); perr == nil {
			return fmt.Errorf("the SIM in %s asks for its PIN1: run the command again with --sim-pin, and give it after the administrative key: %w", conn.Reader(), err)
		}
	}
	if err != nil {
		return fmt.Errorf("the SIM in %s: %w", conn.Reader(), err)
	}
	if g.JSON {
		return printJSON(map[string]any{"iccid": c.ICCID, "written": p.Written, "right": p.Right, "unread": p.Unread, "otaKeys": p.OTA})
	}
	fmt.Printf("SIM %s: %s\n", c.ICCID, programmed(p))
	return nil
}

// programmed says what was done to a blank.
func programmed(p uicc.Programmed) string {
	said := fmt.Sprintf("%s written, %d right before; read back", counted(p.Written, "file"), p.Right)
	if p.Unread > 0 {
		said += fmt.Sprintf(" but for %d that the card lets nobody read", p.Unread)
	}
	if p.OTA == 0 {
		return said + "; no keys over the air came for it: it keeps those that its vendor gave it"
	}
	return fmt.Sprintf("%s; %d of the files are keys over the air", said, p.OTA)
}

// write makes the SIM's keys, once, and programs it.
func (c simProgram) write(ctx context.Context, b *bureau.Bureau, card *uicc.Card, kind *uicc.Kind, iccid pairing.ICCID, imsi pairing.IMSI, adm, pin []byte, actor store.Actor) (p uicc.Programmed, err error) {
	centre := b.SIMCentre()
	keys, err := centre.Keys(ctx, iccid)
	if errors.Is(err, pairing.ErrNotOwn) {
		if err := c.mayDraw(kind); err != nil {
			return p, err
		}
		batch := c.Batch
		if batch == "" {
			batch = "desk-" + store.NewID().String() // not the ICCID: batches stand in the audit
		}
		if _, err = centre.Register(ctx, batch, []pairing.ICCID{iccid}, c.tuak(), actor); err == nil {
			keys, err = centre.Keys(ctx, iccid)
		}
	}
	if err != nil {
		return p, err
	}
	chip, err := card.ICCID(ctx)
	if err != nil {
		return p, err
	}
	secret, err := b.Vault.SIMProgram(ctx, vault.SIMProgramRequest{Keys: keys, Chip: chip})
	if err != nil {
		return p, err
	}
	defer secret.Zero()
	s := uicc.Subscription{
		ICCID: c.ICCID, IMSI: imsi.Digits(), MNCDigits: c.MNC, SPN: c.SPN, ACC: c.ACC,
		K: uicc.Secret(secret.K), OPc: uicc.Secret(secret.OPc), OTA: map[string]uicc.Secret{}, PIN1: pin, LastTry: c.LastTry,
	}
	for name, k := range secret.OTA {
		s.OTA[name] = uicc.Secret(k)
	}
	if t := secret.TUAK; t != nil {
		if t.CK != t.IK {
			return p, errors.New("the subscription's CK and IK have different lengths, for which blanks have no place: nothing was written")
		}
		s.TUAK = &uicc.TUAKParameters{MAC: t.MAC, RES: t.RES, Keys: t.CK, Iterations: t.Iterations}
	}
	if err := c.agrees(&s); err != nil {
		return p, err
	}
	if s.ACC == 0 {
		s.ACC = 1 << (s.IMSI[len(s.IMSI)-1] - '0') // TS 22.011 clause 4.2: a class by the last digit
	}
	if p, err = card.Program(ctx, kind, adm, s); err != nil {
		return p, err
	}
	return p, b.Store.Audit(ctx, actor, "sim.programmed", keys.Batch, fmt.Sprintf("files-%d", p.Written))
}

// mayDraw says why the bureau draws no keys for a blank of a kind. It is asked before: a
// SIM whose keys are drawn can be in no file any more.
func (c simProgram) mayDraw(kind *uicc.Kind) error {
	algorithm := c.Algorithm
	if algorithm == "" {
		algorithm = uicc.Milenage
	}
	switch {
	case !kind.Has(algorithm):
		return &uicc.AlgorithmError{Kind: kind.Name, Algorithm: algorithm}
	case kind.WantsOTA():
		return fmt.Errorf("kind %s demands keys over the air, and the bureau draws none: they come in an operator's file of purpose programming (cardbureau sim import); nothing was written", kind.Name)
	}
	return nil
}

// agrees refuses keys of another algorithm than the one that was asked for.
func (c simProgram) agrees(s *uicc.Subscription) error {
	if c.Algorithm != "" && c.Algorithm != s.Algorithm() {
		return fmt.Errorf("the bureau has keys of this SIM already, and they are of %s: nothing was written", strings.ToUpper(s.Algorithm()))
	}
	return nil
}

// tuak are the parameters of keys that the bureau draws; nil: they are of MILENAGE.
func (c simProgram) tuak() *aka.TUAKParameters {
	if c.Algorithm != uicc.TUAK {
		return nil
	}
	p := aka.DefaultTUAK()
	return &p
}
