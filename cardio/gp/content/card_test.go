package content_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/cap/captest"
	"cardbureau/cardio/gp/content"
	"cardbureau/cardio/virtual"
)

// The software card shares no code with the host: what passes between the two
// is the standard.

const level = gp.LevelFull

var maxData = gp.MaxPlainData(gp.S8, level, false)

func key(first byte) []byte {
	out := make([]byte, 16)
	for i := range out {
		out[i] = first + byte(i)
	}
	return out
}

func newCard(t *testing.T, change func(*virtual.Blank)) *virtual.Chip {
	t.Helper()
	blank := virtual.LDSBlank(virtual.NewSerial(7, 4711), virtual.Keys{Version: 0x30, ENC: key(0), MAC: key(0x40), DEK: key(0x80)})
	blank.LoadFiles, blank.Applications = nil, nil
	if change != nil {
		change(&blank)
	}
	c, err := virtual.New(virtual.Config{Blank: &blank})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open opens a channel of a security domain, the issuer's for nil.
func open(t *testing.T, card apdu.Card, domain []byte) gp.Channel {
	t.Helper()
	ctx := t.Context()
	fci, _, err := gp.SelectDomain(ctx, gp.Plain(card), domain)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gp.ParseFCI(fci)
	if err != nil {
		t.Fatal(err)
	}
	challenge := make([]byte, 8)
	_, _ = rand.Read(challenge)
	answer, err := apdu.Must(ctx, card, gp.InitializeUpdateCommand(0, challenge))
	if err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(answer)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := gp.NewSoftwareKeys(key(0), key(0x40), key(0x80))
	if err != nil {
		t.Fatal(err)
	}
	channel, authenticate, err := gp.OpenSCP03(ctx, keys, iu, challenge, f.AID, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apdu.Exchange(ctx, card, []apdu.Item{{Command: authenticate}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(channel.Close)
	return channel
}

func list(t *testing.T, channel gp.Channel, card apdu.Card) *content.Inventory {
	t.Helper()
	inv, err := content.Read(t.Context(), gp.Secure(channel, card))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// do plans on what the card lists and carries it out.
func do(t *testing.T, channel gp.Channel, card apdu.Card, plan func(*content.Inventory) (*content.Plan, error)) *gp.Receipt {
	t.Helper()
	p, err := plan(list(t, channel, card))
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := p.Do(t.Context(), channel, card)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func listed(entries []gp.RegistryEntry, aid []byte) *gp.RegistryEntry {
	for i := range entries {
		if bytes.Equal(entries[i].AID, aid) {
			return &entries[i]
		}
	}
	return nil
}

var applet = captest.File{Package: packageAID, Applet: appletAID, Imports: []captest.Import{captest.Framework}, Code: 2000}

// TestLife loads, installs, selects, locks, unlocks and deletes.
func TestLife(t *testing.T) {
	ctx := t.Context()
	card := newCard(t, nil)
	channel := open(t, card, nil)
	instance := unhex("F000000001AA")
	load := func(inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanLoad(made(t, applet), content.LoadOptions{MaxData: maxData, Hash: crypto.SHA256, Parameters: gp.LoadParameters{Code: 4000}})
	}
	do(t, channel, card, load)
	inv := list(t, channel, card)
	file := listed(inv.LoadFiles, packageAID)
	if file == nil || len(file.Modules) != 1 || !bytes.Equal(file.Modules[0], appletAID) || !bytes.Equal(file.Version, []byte{1, 0}) {
		t.Fatalf("%+v", file)
	}
	if _, err := load(inv); !errors.Is(err, content.ErrThere) {
		t.Error(err)
	}
	do(t, channel, card, func(inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanInstall(content.InstallOptions{
			MaxData: maxData, LoadFile: packageAID, Module: appletAID, Instance: instance, Selectable: true,
			Parameters: gp.InstallParameters{Application: []byte{1, 2, 3}, NonVolatile: 100},
		})
	})
	if a := listed(list(t, channel, card).Applications, instance); a == nil || gp.ApplicationStateName(a.LifeCycle) != "SELECTABLE" || !bytes.Equal(a.LoadFile, packageAID) {
		t.Fatalf("%+v", a)
	}
	if _, err := list(t, channel, card).PlanDelete(packageAID, false, nil, maxData); !errors.Is(err, content.ErrInUse) {
		t.Error(err)
	}
	if _, err := apdu.Must(ctx, card, gp.SelectCommand(instance)); err != nil {
		t.Error(err)
	}
	channel = open(t, card, nil)
	do(t, channel, card, func(inv *content.Inventory) (*content.Plan, error) { return inv.PlanLock(instance) })
	if a := listed(list(t, channel, card).Applications, instance); gp.ApplicationStateName(a.LifeCycle) != "LOCKED" {
		t.Errorf("%+v", a)
	}
	do(t, channel, card, func(inv *content.Inventory) (*content.Plan, error) { return inv.PlanUnlock(instance) })
	do(t, channel, card, func(inv *content.Inventory) (*content.Plan, error) {
		return inv.PlanDelete(packageAID, true, nil, maxData)
	})
	inv = list(t, channel, card)
	if listed(inv.LoadFiles, packageAID) != nil || listed(inv.Applications, instance) != nil {
		t.Errorf("%+v", inv)
	}
}

// TestCardLock locks a whole card and unlocks it again.
func TestCardLock(t *testing.T) {
	card := newCard(t, nil)
	for _, state := range []byte{gp.CardInitialized, gp.CardSecured, gp.CardLocked, gp.CardSecured, gp.CardLocked, gp.CardTerminated} {
		channel := open(t, card, nil)
		p, err := list(t, channel, card).PlanCard(state)
		if err != nil {
			t.Fatalf("%s: %v", gp.CardStateName(state), err)
		}
		if _, err := p.Do(t.Context(), channel, card); err != nil {
			t.Fatalf("%s: %v", gp.CardStateName(state), err)
		}
	}
	if _, err := apdu.Must(t.Context(), card, gp.SelectCommand(appletAID)); err == nil {
		t.Error("a terminated card answers")
	}
}

// TestRefusedByTheCard: what the host was not told of, or asked for
// nevertheless, ends in a status word, and nothing of it stays.
func TestRefusedByTheCard(t *testing.T) {
	wrongHash := func(p *content.Plan) {
		c := &p.Steps[0].Commands[0]
		c.Data = bytes.Clone(c.Data)
		c.Data[20] ^= 1 // in the hash, behind two AIDs of 5 and 0 bytes
	}
	for name, test := range map[string]struct {
		blank func(*virtual.Blank)
		file  captest.File
		spoil func(*content.Plan)
		want  apdu.StatusWord
	}{
		"wrong hash":    {nil, applet, wrongHash, apdu.SWWrongData},
		"wrong order":   {nil, applet, func(p *content.Plan) { c := p.Steps[1].Commands; c[2], c[3] = c[3], c[2] }, apdu.SWIncorrectP1P2},
		"not announced": {nil, applet, func(p *content.Plan) { p.Steps = p.Steps[1:] }, apdu.SWConditionsOfUseNotSatisfied},
		"card full":     {func(b *virtual.Blank) { b.LoadMemory = 1000 }, applet, nil, apdu.SWNotEnoughMemory},
		"a newer card":  {nil, captest.File{Package: packageAID, Applet: appletAID, Imports: []captest.Import{{AID: captest.Framework.AID, Major: 1, Minor: 99}}}, nil, apdu.SWConditionsOfUseNotSatisfied},
	} {
		t.Run(name, func(t *testing.T) {
			card := newCard(t, test.blank)
			channel := open(t, card, nil)
			inv := list(t, channel, card)
			inv.Resources = nil // a card that does not say what it has left
			p, err := inv.PlanLoad(made(t, test.file), content.LoadOptions{MaxData: maxData, Hash: crypto.SHA256})
			if err != nil {
				t.Fatal(err)
			}
			if test.spoil != nil {
				test.spoil(p)
			}
			_, err = p.Do(t.Context(), channel, card)
			var f *content.Failure
			if !errors.Is(err, test.want) || !errors.As(err, &f) || f.Doubt || !f.Undone {
				t.Fatalf("%v (%+v), want %v", err, f, test.want)
			}
			if listed(list(t, open(t, card, nil), card).LoadFiles, packageAID) != nil {
				t.Error("the package is there")
			}
		})
	}
}

// TestFullCardIsToldBefore: a card that says what it has left is not sent what
// does not fit.
func TestFullCardIsToldBefore(t *testing.T) {
	card := newCard(t, func(b *virtual.Blank) { b.LoadMemory = 1000 })
	inv := list(t, open(t, card, nil), card)
	if inv.Resources == nil || inv.Resources.NonVolatile != 1000 {
		t.Fatalf("%+v", inv.Resources)
	}
	if _, err := inv.PlanLoad(made(t, applet), content.LoadOptions{MaxData: maxData}); !errors.Is(err, content.ErrFull) {
		t.Error(err)
	}
}

// TestTornAnywhere tears the card at each command of loading and installing,
// before and after it: what the failure says of the card is what the card says
// afterwards.
func TestTornAnywhere(t *testing.T) {
	small := captest.File{Package: packageAID, Applet: appletAID, Code: 700}
	plans := map[string]func(*content.Inventory) (*content.Plan, error){
		"load": func(inv *content.Inventory) (*content.Plan, error) {
			return inv.PlanLoad(made(t, small), content.LoadOptions{MaxData: maxData})
		},
		"install": func(inv *content.Inventory) (*content.Plan, error) {
			return inv.PlanInstall(content.InstallOptions{MaxData: maxData, LoadFile: packageAID, Module: appletAID, Selectable: true})
		},
		"delete": func(inv *content.Inventory) (*content.Plan, error) {
			return inv.PlanDelete(packageAID, true, nil, maxData)
		},
	}
	prepared := map[string][]string{"load": nil, "install": {"load"}, "delete": {"load", "install"}}
	for name, plan := range plans {
		for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence, virtual.Garbage} {
			for at := 1; ; at++ {
				card := newCard(t, nil)
				channel := open(t, card, nil)
				for _, before := range prepared[name] {
					do(t, channel, card, plans[before])
				}
				inv := list(t, channel, card)
				p, err := plan(inv)
				if err != nil {
					t.Fatal(err)
				}
				if at > p.Commands() {
					break
				}
				what := fmt.Sprintf("%s, fault %d at command %d of %d", name, fault, at, p.Commands())
				_, err = p.Do(t.Context(), channel, &virtual.Faulty{Chip: card, At: at, Fault: fault})
				var f *content.Failure
				if !errors.As(err, &f) {
					t.Fatalf("%s: %v", what, err)
				}
				card.Reset()
				after := list(t, open(t, card, nil), card)
				if f.Undone && (listed(after.LoadFiles, packageAID) != nil) != (listed(inv.LoadFiles, packageAID) != nil) {
					t.Errorf("%s: %v, but the card is changed", what, err)
				}
				// A bit turned in a status word is a status word, which nothing
				// protects; every other loss is doubt.
				if !f.Doubt && fault != virtual.Garbage {
					t.Errorf("%s: %v, without doubt", what, err)
				}
				if f.Doubt && !f.Undone && at < p.Commands() && fault != virtual.Garbage {
					t.Errorf("%s: %v, though the load cannot be finished", what, err)
				}
			}
		}
	}
}

// TestDelegated loads with a token and a DAP block, and verifies the receipt:
// what the host signs the card verifies, and the other way round.
func TestDelegated(t *testing.T) {
	ctx := context.Background()
	card := newCard(t, func(b *virtual.Blank) {
		b.ISDPrivileges = virtual.PrivilegeTokenVerification | virtual.PrivilegeReceiptGeneration
	})
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := gp.SignWith(token, gp.SchemeECDSA)
	if err != nil {
		t.Fatal(err)
	}
	channel := open(t, card, nil)
	send := gp.Secure(channel, card)
	must := func(c apdu.Command, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r, err := send(ctx, c)
		if err != nil || !r.SW.OK() {
			t.Fatalf("%v: %v, %v", c, r.SW, err)
		}
		return r.Data
	}
	if err := gp.CheckPutKeyResponse(must(gp.PutPublicKeys(0, 0x70, 1, token.Public())), 0x70, nil); err != nil {
		t.Fatal(err)
	}
	dek, err := gp.NewSoftwareCipher(key(0x80))
	if err != nil {
		t.Fatal(err)
	}
	receiptKey, err := gp.NewKeyComponent(ctx, dek, key(0x11))
	if err != nil {
		t.Fatal(err)
	}
	must(gp.ReplaceKeyCommand(0, 0x71, 1, []gp.KeyComponent{receiptKey}), nil)

	f := made(t, applet)
	// So long that what the token is over has more than 127 bytes.
	o := content.LoadOptions{MaxData: maxData, Hash: crypto.SHA256, Parameters: gp.LoadParameters{Signature: &gp.SignatureReference{Provider: make([]byte, 100)}}}
	hash, err := cap.Hash(o.Hash, f.LoadFileDataBlock(cap.BlockOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := gp.InstallForLoad{LoadFile: packageAID, Hash: hash, Parameters: o.Parameters}.TokenData()
	if err != nil {
		t.Fatal(err)
	}
	if o.Token, err = authority.Sign(ctx, signed); err != nil {
		t.Fatal(err)
	}
	receipt := do(t, channel, card, func(inv *content.Inventory) (*content.Plan, error) { return inv.PlanLoad(f, o) })
	if receipt == nil {
		t.Fatal("no receipt")
	}
	c, err := gp.NewSoftwareCipher(key(0x11))
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Verify(ctx, gp.MACWith(c), gp.ConfirmedLoad(packageAID, gp.ISDAID)); err != nil {
		t.Error(err)
	}
	if err := receipt.Verify(ctx, gp.MACWith(c), gp.ConfirmedLoad(appletAID, gp.ISDAID)); !errors.Is(err, gp.ErrReceipt) {
		t.Error(err)
	}
	// A token for something else is refused, and so is the deletion with it.
	p, err := list(t, channel, card).PlanDelete(packageAID, true, o.Token, maxData)
	if err != nil {
		t.Fatal(err)
	}
	var failure *content.Failure
	if _, err := p.Do(ctx, channel, card); !errors.As(err, &failure) || failure.Doubt {
		t.Errorf("deleted with another's token: %v", err)
	}
}
