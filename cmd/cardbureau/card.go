package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/pcsc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
)

type cardCommand struct {
	Inspect cardInspect `cmd:"" help:"Say what a card tells anyone, without keys: chip, life cycle data, key versions, access control."`
	Verify  cardVerify  `cmd:"" help:"Check a card as a border reader does; a reason for each check. Exit status 0 only when all hold."`
	Content cardContent `cmd:"" help:"Packages and applications on a card: list, load, install, delete, lock."`
	Resume  cardResume  `cmd:"" help:"Finish a blank in doubt that is in the reader. Exit status 4 when it still is."`
	Trace   cardTrace   `cmd:"" help:"Print a trace of APDUs, check its form, and add it up."`
}

type cardInspect struct {
	readerFlag
}

func (cardInspect) Example() string {
	return `cardbureau card inspect --reader "ACS *" --data /srv/bureau`
}

// cardReport is what a card tells without keys. What it does not tell is
// empty, and Notes say why.
type cardReport struct {
	Reader      string            `json:"reader"`
	ATR         string            `json:"atr"`
	Chip        string            `json:"chip,omitempty"` // profile
	ChipTitle   string            `json:"chipTitle,omitempty"`
	Virtual     bool              `json:"virtual,omitempty"`
	Serial      string            `json:"serial,omitempty"` // of the blank, as the stock names it
	CardManager string            `json:"cardManager,omitempty"`
	CPLC        map[string]string `json:"cplc,omitempty"`
	Keys        []cardKey         `json:"keys,omitempty"`
	Recognition *recognition      `json:"recognition,omitempty"`
	CardAccess  []securityInfo    `json:"cardAccess,omitempty"`
	PACE        bool              `json:"pace"`
	BAC         bool              `json:"bac"`
	Application bool              `json:"application"` // of ICAO 9303, selectable without access control
	Stock       *stockRow         `json:"stock,omitempty"`
	Notes       []string          `json:"notes,omitempty"`

	cplc gp.CPLC
}

// cardKey is a key that the card manager has, by its number.
type cardKey struct {
	Version string `json:"version"` // 2 hexadecimal digits
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Bits    int    `json:"bits"`
}

// recognition is the card recognition data (GPC_SPE_034 H.2).
type recognition struct {
	Version  string   `json:"version"`
	Channels []string `json:"channels"`
}

// securityInfo is a protocol that EF.CardAccess offers (9303-11 section 9.2).
type securityInfo struct {
	Protocol  string `json:"protocol"`
	OID       string `json:"oid"`
	Version   int    `json:"version,omitempty"`
	Parameter *int   `json:"parameter,omitempty"` // standardized domain parameters
}

// stockRow is what the stock has about a blank.
type stockRow struct {
	State      string `json:"state"`
	Batch      string `json:"batch,omitempty"`
	FailedKeys []int  `json:"failedKeyVersions,omitempty"`
}

func (r *cardReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (c cardInspect) Run(ctx context.Context, g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	r := &cardReport{Reader: conn.Reader(), ATR: fmt.Sprintf("%X", conn.ATR())}
	if err := r.access(ctx, conn); err != nil {
		return err
	}
	if err := conn.Reset(ctx, true); err != nil {
		return err
	}
	if err := r.manager(ctx, conn, set, conn.ATR()); err != nil {
		return err
	}
	r.stock(ctx, g)
	if g.JSON {
		return printJSON(r)
	}
	r.print(os.Stdout)
	return nil
}

// answered tells a card that refuses from one that is lost: nil goes on.
func answered(err error) error {
	if errors.Is(err, apdu.ErrInDoubt) || errors.Is(err, pcsc.ErrRemoved) || errors.Is(err, pcsc.ErrReaderStuck) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// access finds out how the identity application is opened. The card is fresh
// from a reset.
func (r *cardReport) access(ctx context.Context, card apdu.Card) error {
	_, infos, err := lds.ReadCardAccess(ctx, card)
	switch {
	case err == nil:
		r.CardAccess = describeInfos(infos)
		r.PACE = len(infos.PACE) > 0
	case answered(err) != nil:
		return err
	case !errors.Is(err, lds.ErrNoCardAccess):
		r.note("EF.CardAccess: %v", err)
	}
	if err := lds.SelectApplication(ctx, card); err != nil {
		return answered(err)
	}
	r.Application = true
	// BAC begins with a challenge of 8 bytes (9303-11 section 4.3.2).
	challenge, err := apdu.Send(ctx, card, apdu.Command{INS: 0x84, Ne: 8})
	if err != nil {
		return err
	}
	r.BAC = challenge.SW.OK() && len(challenge.Data) == 8
	return nil
}

func describeInfos(infos *lds.SecurityInfos) []securityInfo {
	var out []securityInfo
	for _, p := range infos.PACE {
		mapping := map[lds.Mapping]string{
			lds.GenericMapping: "generic mapping", lds.IntegratedMapping: "integrated mapping",
			lds.ChipAuthenticationMapping: "chip authentication mapping",
		}[p.Mapping]
		s := securityInfo{Protocol: "PACE, " + agreement(p.EC) + ", " + mapping + ", " + p.Cipher.String(), OID: p.OID.String(), Version: p.Version}
		if p.Parameter >= 0 {
			s.Parameter = &p.Parameter
		}
		out = append(out, s)
	}
	for _, a := range infos.ChipAuth {
		out = append(out, securityInfo{
			Protocol: "chip authentication, " + agreement(a.EC) + ", " + a.Cipher.String(), OID: a.OID.String(), Version: a.Version,
		})
	}
	for _, k := range infos.PublicKeys {
		s := securityInfo{Protocol: "chip authentication key"}
		if k.KeyID >= 0 {
			s.Protocol += fmt.Sprintf(" %d", k.KeyID)
		}
		out = append(out, s)
	}
	for _, o := range infos.Other {
		out = append(out, securityInfo{Protocol: "not known here", OID: o.String()})
	}
	return out
}

func agreement(ec bool) string {
	if ec {
		return "ECDH"
	}
	return "DH"
}

// manager asks the card manager what it tells without keys.
func (r *cardReport) manager(ctx context.Context, card apdu.Card, set *profile.Set, atr []byte) error {
	fci, locked, err := gp.SelectDomain(ctx, gp.Plain(card), nil)
	if err != nil {
		r.note("the card has no card manager that can be selected: %v", err)
		return answered(err)
	}
	if locked {
		r.note("the card is CARD_LOCKED")
	}
	if f, err := gp.ParseFCI(fci); err == nil {
		r.CardManager = strings.ToUpper(hex.EncodeToString(f.AID))
	}
	send := gp.Plain(card)
	if r.cplc, err = gp.ReadCPLC(ctx, send); err != nil {
		r.note("CPLC: %v", err)
		if err := answered(err); err != nil {
			return err
		}
	} else {
		r.Serial, r.CPLC = r.cplc.Serial(), cplcFields(r.cplc)
		chip, err := set.Identify(atr, be16(r.cplc.ICFabricator), be16(r.cplc.ICType))
		if err != nil {
			r.note("%v", err)
		} else {
			r.Chip, r.ChipTitle, r.Virtual = chip.Name, chip.Title, chip.IsVirtual()
		}
	}
	keys, err := gp.ReadKeyInformation(ctx, send)
	if err != nil {
		r.note("key information: %v", err)
		if err := answered(err); err != nil {
			return err
		}
	}
	r.Keys = append(r.Keys, cardKeys(keys)...)
	data, err := gp.ReadCardRecognition(ctx, send)
	if err != nil {
		r.note("card recognition data: %v", err)
		return answered(err)
	}
	r.Recognition = &recognition{Version: data.Version, Channels: []string{}}
	for _, o := range data.Channels {
		r.Recognition.Channels = append(r.Recognition.Channels, fmt.Sprintf("SCP%02X i=%02X", o.SCP, o.I))
	}
	return nil
}

func be16(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }

// stock looks the blank up, where there is a data folder.
func (r *cardReport) stock(ctx context.Context, g *globals) {
	if r.Serial == "" {
		return
	}
	if _, err := bureau.LoadConfig(g.Data); err != nil {
		r.note("no stock is asked: %v", err)
		return
	}
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoVault: true})
	if err != nil {
		r.note("the stock cannot be asked: %v", err)
		return
	}
	defer b.Close()
	blank, err := b.Store.BlankBySerial(ctx, r.Serial)
	switch {
	case errors.Is(err, store.ErrUnlistedBlank):
		r.Stock = &stockRow{State: "unlisted"}
	case err != nil:
		r.note("the stock cannot be asked: %v", err)
	default:
		r.Stock = &stockRow{State: string(blank.State), Batch: blank.Batch, FailedKeys: blank.FailedKeyVersions}
	}
}

func (r *cardReport) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("Reader", "%s", r.Reader)
	line("ATR", "%s", r.ATR)
	switch {
	case r.Virtual:
		line("Chip", "%s: %s (a software card)", r.Chip, r.ChipTitle)
	case r.Chip != "":
		line("Chip", "%s: %s", r.Chip, r.ChipTitle)
	default:
		line("Chip", "no profile fits")
	}
	if r.Serial != "" {
		line("Serial number", "%s", r.Serial)
	}
	if r.CardManager != "" {
		line("Card manager", "%s", r.CardManager)
	}
	if r.CPLC != nil {
		for _, f := range cplcOrder {
			line("CPLC", "%-26s %s", f.text, r.CPLC[f.name])
		}
	}
	for _, k := range r.Keys {
		line("Key", "version %s number %d, %s %d bits", k.Version, k.ID, k.Type, k.Bits)
	}
	if r.Recognition != nil {
		line("GlobalPlatform", "%s, %s", r.Recognition.Version, strings.Join(r.Recognition.Channels, ", "))
	}
	for _, s := range r.CardAccess {
		text := s.Protocol
		if s.Parameter != nil {
			text += fmt.Sprintf(", domain parameters %d", *s.Parameter)
		}
		line("EF.CardAccess", "%s (%s)", text, s.OID)
	}
	line("PACE", "%s", offered(r.PACE))
	line("BAC", "%s", offered(r.BAC))
	if r.Stock != nil {
		text := r.Stock.State
		if r.Stock.Batch != "" {
			text += ", batch " + r.Stock.Batch
		}
		for _, v := range r.Stock.FailedKeys {
			text += fmt.Sprintf(", authentication under key version %02X failed once", v)
		}
		line("Stock", "%s", text)
	}
	for _, n := range r.Notes {
		line("Note", "%s", n)
	}
}

func offered(yes bool) string {
	if yes {
		return "offered"
	}
	return "not offered"
}
