package profile

import (
	"bytes"
	"context"
	"crypto/des"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/mrtd"
	"cardbureau/cardio/virtual/nvm"
	profiles "cardbureau/firmware-profiles"
)

// softKeys opens channels with keys in memory: the public test keys of a
// bench card, so that this package is tested without a token.
type softKeys struct {
	opened []byte
	fixed  bool // the same host challenge each time
}

func keyOf(version byte) []byte { return bytes.Repeat([]byte{version}, 16) }

func (k *softKeys) HostChallenge(_ context.Context, mode gp.Mode) ([]byte, error) {
	b := make([]byte, mode)
	if k.fixed {
		return b, nil
	}
	_, err := rand.Read(b)
	return b, err
}

func (k *softKeys) Open(ctx context.Context, req OpenRequest) (Channel, []byte, error) {
	k.opened = append(k.opened, req.Keys.Version)
	iu, err := gp.ParseInitializeUpdate(req.InitializeUpdate)
	if err != nil {
		return nil, nil, err
	}
	key := keyOf(req.Keys.Version)
	keys, err := gp.NewSoftwareKeys(key, key, key)
	if err != nil {
		return nil, nil, err
	}
	s, authenticate, err := gp.OpenSCP03(ctx, keys, iu, req.HostChallenge, req.AID, req.Level)
	if err != nil {
		return nil, nil, err
	}
	return &softChannel{s}, authenticate, nil
}

type softChannel struct{ *gp.SCP03 }

var secrets = map[string][]byte{
	"bac": bytes.Repeat([]byte{1}, 32), "pace-mrz": bytes.Repeat([]byte{2}, 20), "pace-can": []byte("123456"),
	"chip-authentication": append(make([]byte, 31), 7), "pairing-key": append(make([]byte, 31), 8), "receipt-key": append(make([]byte, 31), 9), "pin": []byte("\x03482913"), "puk": []byte("\x0a71839204"),
}

func (c *softChannel) EncipherSecrets(ctx context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, n := range names {
		v, err := c.EncipherDEK(ctx, gp.Pad(secrets[n]))
		if err != nil {
			return nil, err
		}
		out[n] = v
	}
	return out, nil
}

func (c *softChannel) SecretKCVs(_ context.Context, names []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, n := range names {
		out[n] = kcvsOf(secrets[n])
	}
	return out, nil
}

// kcvsOf are the key check values of 3DES keys of 16 bytes.
func kcvsOf(keys []byte) (out []byte) {
	for k := range slices.Chunk(keys, 16) {
		c, err := des.NewTripleDESCipher(append(bytes.Clone(k), k[:8]...))
		if err != nil {
			panic(err)
		}
		block := make([]byte, 8)
		c.Encrypt(block, block)
		out = append(out, block[:3]...)
	}
	return out
}

func (c *softChannel) PutKey(ctx context.Context, replace, with KeySet) (apdu.Command, func([]byte) error, error) {
	dek, err := gp.NewSoftwareCipher(keyOf(replace.Version))
	if err != nil {
		return apdu.Command{}, nil, err
	}
	var parts []gp.KeyComponent
	for range 3 {
		k, err := gp.NewKeyComponent(ctx, dek, keyOf(with.Version))
		if err != nil {
			return apdu.Command{}, nil, err
		}
		parts = append(parts, k)
	}
	check := func(r []byte) error { return gp.CheckPutKeyResponse(r, with.Version, parts) }
	return gp.ReplaceKeyCommand(replace.Version, with.Version, 1, parts), check, nil
}

// loadedOnce are the shipped profiles with the invented dialect. Tests copy what
// they change.
func loadedOnce(t testing.TB) *Set {
	t.Helper()
	set, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var loaded = sync.OnceValues(func() (*Set, error) { return Load(profiles.FS, os.DirFS("testdata/dialect")) })

// bench is one software card with the shipped profile.
type bench struct {
	chip   *virtual.Chip
	mem    *nvm.Memory
	run    *Run
	keys   *softKeys
	proofs []string
	events []string
}

func newBench(t testing.TB) *bench { return newBenchOf(t, virtual.SCP03Full) }

// newBenchOf is a bench with a chip and a profile with the options i.
func newBenchOf(t testing.TB, i byte) *bench {
	t.Helper()
	set := loadedOnce(t)
	chip := *set.Chips["virtual-gp"]
	chip.Keys = maps.Clone(chip.Keys)
	chip.GlobalPlatform.I = Hex{i}
	key := keyOf(0x30)
	blank := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	blank.SCP = i
	b := &bench{mem: nvm.InMemory(), keys: &softKeys{}}
	var err error
	b.chip, err = virtual.New(virtual.Config{Memory: b.mem, Blank: &blank, Applets: map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return mrtd.New() }}})
	if err != nil {
		t.Fatal(err)
	}
	b.run = &Run{
		Chip: &chip, Applets: []*Applet{set.Applets["virtual-lds"]}, Card: b.chip, Keys: b.keys,
		Element: func(name string) ([]byte, error) {
			if name == "binding" {
				return nil, ErrNoElement
			}
			if name == "dg2" {
				return bytes.Repeat([]byte("portrait"), 1500), nil
			}
			return []byte("content of " + name), nil
		},
		Prove: func(_ context.Context, _ *Applet, stage string) error { b.proofs = append(b.proofs, stage); return nil },
		Journal: func(_ context.Context, e Event, steps []string, _ bool) error {
			for _, s := range steps {
				b.events = append(b.events, fmt.Sprintf("%s %s", s, e))
			}
			return nil
		},
	}
	return b
}

func TestRunPersonalizesAndLocks(t *testing.T) {
	personalizesAndLocks(t, newBench(t))
}

// TestRunInS16Mode: the profile's i decides the challenge's length and what
// fits into a block.
func TestRunInS16Mode(t *testing.T) {
	personalizesAndLocks(t, newBenchOf(t, virtual.SCP03Full|virtual.SCP03S16))
}

func personalizesAndLocks(t *testing.T, b *bench) {
	t.Helper()
	if err := b.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.proofs); got != "[lds locked]" {
		t.Errorf("proofs: %s", got)
	}
	if !bytes.Equal(b.keys.opened, []byte{0x30, 0x31}) {
		t.Errorf("channels with key versions %X", b.keys.opened)
	}
	p, err := b.run.Probe(t.Context())
	if err != nil || !p.Complete || p.Done != "secure" {
		t.Errorf("probes say %+v, %v", p, err)
	}
	if b.events[0] != "open intent" {
		t.Errorf("first event %q", b.events[0])
	}
}

// TestCrashAtEveryAPDU tears the card out before and after every APDU: what the
// card then shows must be enough to finish it.
func TestCrashAtEveryAPDU(t *testing.T) {
	tornEverywhere(t, newBench, func(t *testing.T, where string, b *bench) {
		p, err := b.run.Probe(t.Context())
		if err != nil || !p.Complete {
			t.Fatalf("%s: the card ended as %+v, %v", where, p, err)
		}
		if b.proofs[len(b.proofs)-1] != "locked" || len(b.proofs) < 2 {
			t.Fatalf("%s: proofs %v", where, b.proofs)
		}
	})
}

// tornEverywhere makes a card for each APDU and fault, tears it there, has it
// finished as another process would, and gives it to check.
func tornEverywhere(t *testing.T, fresh func(testing.TB) *bench, check func(t *testing.T, where string, b *bench)) {
	whole := fresh(t)
	count := &virtual.Faulty{Chip: whole.chip}
	whole.run.Card = count
	if err := whole.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence} {
		for at := 1; at <= count.Count(); at++ {
			b := fresh(t)
			b.run.Card = &virtual.Faulty{Chip: b.chip, At: at, Fault: fault}
			err := b.run.Execute(t.Context())
			where := fmt.Sprintf("fault %d at APDU %d (%v)", fault, at, err)
			var se *StepError
			if !errors.As(err, &se) {
				t.Fatal(where)
			}
			b.chip.Reset()
			b.run.Card, b.run.captured = b.chip, nil
			if se.Written {
				err = b.run.Resume(t.Context())
			} else {
				err = b.run.Execute(t.Context())
			}
			if err != nil {
				t.Fatalf("%s, then: %v", where, err)
			}
			check(t, where, b)
		}
	}
}

func TestWrongKeysAreNeverTried(t *testing.T) {
	b := newBench(t)
	b.run.Chip.Keys["transport"] = KeySet{Version: 0x30, Set: "x/1", Bits: 128}
	wrong := &wrongKeys{softKeys: b.keys}
	b.run.Keys = wrong
	count := &virtual.Faulty{Chip: b.chip}
	b.run.Card = count
	err := b.run.Execute(t.Context())
	var se *StepError
	if !errors.Is(err, gp.ErrCardCryptogram) || !errors.As(err, &se) || se.Written {
		t.Fatalf("got %v", err)
	}
	if count.Count() != 2 {
		t.Errorf("%d APDUs were sent, EXTERNAL AUTHENTICATE must not be", count.Count())
	}
}

type wrongKeys struct{ *softKeys }

func (k *wrongKeys) Open(ctx context.Context, req OpenRequest) (Channel, []byte, error) {
	req.Keys.Version = 0x77
	return k.softKeys.Open(ctx, req)
}
