package profile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
)

// memoryKeys opens channels with keys in memory, so that what a profile does to
// a card is tested without a token. Each key version has a key of its own.
type memoryKeys struct{ image map[string][]byte }

func versionKey(version byte) []byte { return bytes.Repeat([]byte{version}, 16) }

func (k memoryKeys) HostChallenge(_ context.Context, mode gp.Mode) ([]byte, error) {
	return make([]byte, mode), nil
}

func (k memoryKeys) Open(ctx context.Context, req profile.OpenRequest) (profile.Channel, []byte, error) {
	iu, err := gp.ParseInitializeUpdate(req.InitializeUpdate)
	if err != nil {
		return nil, nil, err
	}
	key := versionKey(req.Keys.Version)
	var keys gp.Keys
	if req.Protocol.SCP == 2 {
		keys.DES, err = gp.NewSoftwareDESKeys(key, key, key)
	} else {
		keys.AES, err = gp.NewSoftwareKeys(key, key, key)
	}
	if err != nil {
		return nil, nil, err
	}
	var options []gp.Option
	if req.CountDataOnly {
		options = append(options, gp.CountDataOnly())
	}
	s, authenticate, err := gp.Open(ctx, keys, req.Protocol, iu, req.HostChallenge, req.AID, req.Level, options...)
	if err != nil {
		return nil, nil, err
	}
	return &memoryChannel{Session: s, image: k.image, protocol: req.Protocol}, authenticate, nil
}

type memoryChannel struct {
	gp.Session
	image    map[string][]byte
	protocol gp.Protocol
}

func (c *memoryChannel) EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	_, secrets := bankImage()
	for _, n := range names {
		block := map[byte]int{2: 8, 3: 16}[c.protocol.SCP]
		padded := bytes.Clone(secrets[n])
		if padded == nil {
			padded = append(bytes.Clone(c.image[n]), 0x80)
		} else if len(padded)%block != 0 { // EMV CPS pads only where it must
			padded = append(padded, 0x80)
		}
		for len(padded)%block != 0 {
			padded = append(padded, 0)
		}
		v, err := c.EncipherDEK(ctx, padded)
		if err != nil {
			return nil, err
		}
		out[n] = v
	}
	return out, nil
}

func (c *memoryChannel) SecretKCVs(_ context.Context, names []string) (map[string][]byte, error) {
	_, secrets := bankImage()
	out := map[string][]byte{}
	for _, n := range names {
		out[n] = kcvsDES(secrets[n])
	}
	return out, nil
}

func (c *memoryChannel) PutKey(ctx context.Context, replace, with profile.KeySet) (apdu.Command, func([]byte) error, error) {
	var parts []gp.KeyComponent
	for range 3 {
		part, err := c.component(ctx, versionKey(with.Version))
		if err != nil {
			return apdu.Command{}, nil, err
		}
		parts = append(parts, part)
	}
	check := func(r []byte) error { return gp.CheckPutKeyResponse(r, with.Version, parts) }
	return gp.ReplaceKeyCommand(replace.Replaced(), with.Version, 1, parts), check, nil
}

// component enciphers a key under the channel's DEK.
func (c *memoryChannel) component(ctx context.Context, key []byte) (p gp.KeyComponent, err error) {
	p = gp.KeyComponent{Length: len(key)}
	if p.Ciphertext, err = c.EncipherDEK(ctx, key); err != nil {
		return p, err
	}
	if c.protocol.SCP == 2 {
		cipher, err := gp.NewSoftwareDESCipher(key)
		if err != nil {
			return p, err
		}
		p.Type = gp.KeyTypeDES
		p.KCV, err = gp.DESKCV(ctx, cipher)
		return p, err
	}
	cipher, err := gp.NewSoftwareCipher(key)
	if err != nil {
		return p, err
	}
	p.Type = gp.KeyTypeAES
	p.KCV, err = gp.KCV(ctx, cipher)
	return p, err
}

// cardImage is one card's image: the same for every run.
var cardImage = map[string][]byte{
	"bac": bytes.Repeat([]byte{1}, 32), "pace-mrz": bytes.Repeat([]byte{2}, 20), "pace-can": []byte("123456"),
	"chip-authentication": append(make([]byte, 31), 7), "pairing-key": append(make([]byte, 31), 8), "receipt-key": append(make([]byte, 31), 9), "pin": []byte("\x03482913"), "puk": []byte("\x0a71839204"),
	"mrz-document-number": []byte("4KD82MRXB"), "mrz-birth-date": []byte("900101"), "mrz-expiry-date": []byte("301231"),
	"can-digits": []byte("123456"), "aa-modulus": append([]byte{0xC1}, bytes.Repeat([]byte{0x35}, 127)...),
	"aa-private-exponent": append([]byte{0x41}, bytes.Repeat([]byte{0x53}, 127)...),
}

// elementOf is a file of the image: dg2 is larger than a batch of blocks.
func elementOf(name string) ([]byte, error) {
	open, _ := bankImage()
	if b := open[name]; b != nil {
		return b, nil
	}
	if strings.Contains(name, ".") {
		return nil, profile.ErrNoElement
	}
	sizes := map[string]int{"dg2": 3000, "sod": 1500}
	n := sizes[name]
	if n == 0 {
		n = 90
	}
	return bytes.Repeat([]byte(name[len(name)-1:]), n), nil
}

// product is one shipped product with a software card of its own.
type product struct {
	run  *profile.Run
	chip *virtual.Chip
	mem  *nvm.Memory
}

func shippedSet(t testing.TB) *profile.Set {
	t.Helper()
	set, err := profile.Load(profiles.FS)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newProduct(t testing.TB, set *profile.Set, name string) *product {
	t.Helper()
	p := set.Products[name]
	var applets []*profile.Applet
	for _, a := range p.Applications {
		applets = append(applets, set.Applets[a.Applet])
	}
	out := newCard(t, set.ProductChip(p), applets...)
	if s := set.Payment(p); s != nil && s.Authenticates(payment.XDA) {
		open := xdaImage(s)
		out.run.Element = func(name string) ([]byte, error) {
			if b := open[name]; b != nil {
				return b, nil
			}
			return elementOf(name)
		}
	} else if !p.Contactless {
		out.run.Element = func(name string) ([]byte, error) {
			if slices.Contains(payment.ContactlessNames(), name) {
				return nil, profile.ErrNoElement
			}
			return elementOf(name)
		}
	}
	return out
}

// newCard is an applet's card on a software card that plays the chip, at once.
func newCard(t testing.TB, profiled *profile.Chip, applets ...*profile.Applet) *product {
	t.Helper()
	quick := *profiled
	quick.Timing.Command, quick.Timing.Byte = 0, 0
	chip := &quick
	blank, err := rehearsal.BlankWith(chip, 1, 1, func(set profile.KeySet, _ []byte) (virtual.Keys, error) {
		key := versionKey(set.Version)
		return virtual.Keys{ENC: key, MAC: key, DEK: key}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := &product{mem: nvm.InMemory()}
	if err := virtual.Manufacture(out.mem, blank); err != nil {
		t.Fatal(err)
	}
	if out.chip, err = rehearsal.NewChip(out.mem); err != nil {
		t.Fatal(err)
	}
	out.run = &profile.Run{
		Chip: chip, Applets: applets, Card: out.card(out.chip), Keys: memoryKeys{cardImage},
		Element: elementOf,
		Secrets: func(_ context.Context, names []string) (map[string][]byte, error) {
			values := map[string][]byte{}
			for _, n := range names {
				values[n] = bytes.Clone(cardImage[n])
			}
			return values, nil
		},
		Prove: func(context.Context, *profile.Applet, string) error { out.chip.Reset(); return nil },
	}
	return out
}

// card speaks the chip's protocol, as a reader does.
func (p *product) card(c apdu.Card) apdu.Card {
	if !p.chip.T0() {
		return c
	}
	return t0Card{c}
}

type t0Card struct{ card apdu.Card }

func (c t0Card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	tpdu, err := apdu.ForT0(command)
	if err != nil {
		return nil, err
	}
	return c.card.Transmit(ctx, tpdu)
}

// holds is what the card keeps, but for what counts how often it was talked to.
func (p *product) holds() map[string][]byte {
	out := p.mem.Dump()
	for k := range out {
		if strings.HasPrefix(k, "chip/count/") || strings.HasPrefix(k, "sd:") && strings.Contains(k, "/count/") {
			delete(out, k)
		}
	}
	return out
}

func differences(a, b map[string][]byte) (out []string) {
	for k := range a {
		if !bytes.Equal(a[k], b[k]) {
			out = append(out, fmt.Sprintf("%s: %d and %d bytes", k, len(a[k]), len(b[k])))
		}
	}
	for k := range b {
		if a[k] == nil {
			out = append(out, k+" is new")
		}
	}
	slices.Sort(out)
	return out
}

// TestShippedProductsSurviveEveryTear tears the card at every APDU of every
// shipped product, before and after the chip has executed it, and once without
// any answer. Resumed, it holds byte for byte what an undisturbed run leaves.
func TestShippedProductsSurviveEveryTear(t *testing.T) {
	set := shippedSet(t)
	for _, name := range slices.Sorted(maps.Keys(set.Products)) {
		t.Run(name, func(t *testing.T) {
			tearEverywhere(t, func(t testing.TB) *product { return newProduct(t, set, name) })
		})
	}
}

// TestChipsFromDataSheets: software cards that play the chips which nobody here has
// tried take the identity application by their profiles, torn everywhere.
func TestChipsFromDataSheets(t *testing.T) {
	set := shippedSet(t)
	n := 0
	for name, chip := range set.Chips {
		if chip.Untried == "" {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			tearEverywhere(t, func(t testing.TB) *product { return newCard(t, chip, set.Applets["virtual-lds"]) })
		})
	}
	if n != 2 {
		t.Errorf("%d chips are marked as untried", n)
	}
}

// TestChipQuirks: a chip with a quirk is written, torn and resumed when its
// profile names the quirk.
func TestChipQuirks(t *testing.T) {
	set := shippedSet(t)
	for _, quirk := range profile.ChipQuirks() {
		t.Run(quirk, func(t *testing.T) {
			chip := *set.Chips["virtual-gp"]
			if quirk == profile.QuirkWarningFirst {
				chip = *set.Chips["virtual-gp-t0"]
			}
			chip.Quirks = []string{quirk}
			tearEverywhere(t, func(t testing.TB) *product { return newCard(t, &chip, set.Applets["virtual-lds"]) })
			if quirk == profile.QuirkWarningFirst {
				return // no host has to know of it
			}
			p := newCard(t, &chip, set.Applets["virtual-lds"])
			unaware := *p.run.Chip
			unaware.Quirks = nil
			p.run.Chip = &unaware
			err := p.run.Execute(t.Context())
			if err == nil {
				_, err = p.run.Probe(t.Context())
			}
			if err == nil {
				t.Error("a profile that does not name the quirk did as well")
			}
		})
	}
}

func tearEverywhere(t *testing.T, fresh func(testing.TB) *product) {
	whole := fresh(t)
	count := &virtual.Faulty{Chip: whole.chip}
	whole.run.Card = whole.card(count)
	if err := whole.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := whole.holds()
	for at := 1; at <= count.Count(); at++ {
		for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence} {
			p := fresh(t)
			p.run.Card = p.card(&virtual.Faulty{Chip: p.chip, At: at, Fault: fault})
			err := p.run.Execute(t.Context())
			var se *profile.StepError
			if !errors.As(err, &se) {
				t.Fatalf("fault %d at APDU %d: %v", fault, at, err)
			}
			p.chip.Reset()
			again := &profile.Run{ // what another process would begin with
				Chip: p.run.Chip, Applets: p.run.Applets, Card: p.card(p.chip), Keys: p.run.Keys,
				Element: p.run.Element, Secrets: p.run.Secrets, Prove: p.run.Prove,
			}
			if se.Written {
				err = again.Resume(t.Context())
			} else {
				err = again.Execute(t.Context())
			}
			if err != nil {
				t.Fatalf("fault %d at APDU %d (%v), then: %v", fault, at, se, err)
			}
			if diff := differences(want, p.holds()); len(diff) > 0 {
				t.Fatalf("fault %d at APDU %d (%v): the card holds something else than after an undisturbed run: %v", fault, at, se, diff)
			}
			if progress, err := again.Probe(t.Context()); err != nil || !progress.Complete {
				t.Fatalf("fault %d at APDU %d: the card ended as %+v, %v", fault, at, progress, err)
			}
		}
	}
}
