package profile

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// invented is an applet that speaks the dialect of testdata/dialect, strictly:
// no other program knows its instructions.
type invented struct{ current string }

func (a *invented) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}

func (a *invented) Deselect(virtual.Env) {}

func (a *invented) StoreData(e virtual.Env, _, _ byte, data []byte) ([]byte, apdu.StatusWord) {
	// 7001 L { 48 bytes enciphered, two KCVs }
	if len(data) != 2+1+48+6 || data[0] != 0x70 || data[1] != 0x01 || data[2] != 54 {
		return nil, 0x6A80
	}
	plain, err := e.DecipherDEK(data[3:51])
	if err != nil || !bytes.Equal(plain[32:], append([]byte{0x80}, make([]byte, 15)...)) {
		return nil, 0x6A80
	}
	if !bytes.Equal(data[51:], kcvsOf(plain[:32])) {
		return nil, 0x6982
	}
	e.Memory().Set("keys", plain[:32])
	return nil, apdu.SWSuccess
}

// Process answers 80 and 84 with its domain's secure channel, 90 in the clear.
func (a *invented) Process(e virtual.Env, c apdu.Command) ([]byte, apdu.StatusWord) {
	channel := e.(virtual.SecureChannel)
	switch {
	case c.INS == 0x50 && c.CLA == 0x80, c.INS == 0x82 && c.CLA == 0x84:
		return channel.ProcessSecurity(c)
	case c.CLA == 0x84:
		return channel.Secured(c, func(c apdu.Command) ([]byte, apdu.StatusWord) {
			plain, err := e.DecipherDEK(c.Data)
			if c.INS != 0x43 || err != nil {
				return nil, 0x6D00
			}
			e.Memory().Set("sealed", plain)
			return nil, apdu.SWSuccess
		})
	}
	m := e.Memory()
	locked := m.Get("locked") != nil
	label := m.Get("label")
	if c.CLA != 0x90 {
		return nil, 0x6E00
	}
	if locked && c.INS != 0xF1 && c.INS != 0x60 {
		return nil, 0x6986
	}
	switch c.INS {
	case 0x10:
		if label == nil {
			label = []byte{0xCA, 0xFE}
			m.Set("label", label)
		}
		return tlv.Encode(0x71, tlv.Encode(0x80, label)), apdu.SWSuccess
	case 0x20:
		if len(c.Data) != 6 || !bytes.HasPrefix(c.Data, label) {
			return nil, 0x6A80
		}
		key := "file/" + hex.EncodeToString(c.Data[2:4])
		again := m.Get(key) != nil
		m.Set(key, make([]byte, binary.BigEndian.Uint16(c.Data[4:])))
		if again {
			return nil, 0x6201
		}
		return nil, apdu.SWSuccess
	case 0x21:
		a.current = "file/" + hex.EncodeToString(c.Data)
		if m.Get(a.current) == nil {
			return nil, 0x6A82
		}
		return nil, apdu.SWSuccess
	case 0x22:
		off, file := int(c.P1)<<8|int(c.P2), m.Get(a.current)
		if !bytes.HasPrefix(c.Data, label) || len(c.Data) > 102 || off+len(c.Data)-2 > len(file) {
			return nil, 0x6A80
		}
		m.WriteAt(a.current, off, c.Data[2:])
		return nil, apdu.SWSuccess
	case 0x30:
		if n, size, err := lengthOf(c.Data); err != nil || len(c.Data) != n+size {
			return nil, 0x6A80
		}
		m.Set(fmt.Sprintf("record/%02x%02x", c.P2, c.P1), c.Data[1:])
		return nil, apdu.SWSuccess
	case 0x40, 0x42:
		m.Set(fmt.Sprintf("object/%02x%02x%02x", c.INS, c.P1, c.P2), c.Data)
		return nil, apdu.SWSuccess
	case 0x41:
		m.WriteAt("long", int(c.P2)*64, c.Data)
		if c.P1 == 0x80 {
			m.Set("long-done", []byte{1})
		}
		return nil, apdu.SWSuccess
	case 0x50:
		if m.Get("point") != nil {
			return nil, 0x6985
		}
		m.Set("point", []byte("a point that the card drew"))
		return tlv.Encode(0x7F49, tlv.Encode(0x86, m.Get("point"))), apdu.SWSuccess
	case 0x51:
		if m.Get("point") == nil {
			return nil, 0x6A88
		}
		return tlv.Encode(0x7F49, tlv.Encode(0x86, m.Get("point"))), apdu.SWSuccess
	case 0xF0:
		m.Set("locked", []byte{1})
		return nil, apdu.SWSuccess
	case 0xF1:
		if !locked {
			return nil, 0x6985
		}
		return nil, apdu.SWSuccess
	}
	return nil, 0x6D00
}

func lengthOf(b []byte) (n, size int, err error) {
	_, n, size, err = tlv.Header(append([]byte{0x04}, b...))
	return n, size - 1, err
}

// inventedImage is what the dialect's card image holds.
var inventedImage = map[string][]byte{
	"dg1": bytes.Repeat([]byte{1}, 93), "dg2": bytes.Repeat([]byte{2}, 1234), "dg15": bytes.Repeat([]byte{15}, 160),
	"sod": bytes.Repeat([]byte{7}, 1900), "com": {0x60, 0x00},
}

func newDialectBench(t testing.TB) *bench { return newDialectBenchOf(t, loadedOnce(t), true) }

// dialectRun runs the dialect on a bench's chip.
func dialectRun(set *Set, b *bench) *Run {
	return &Run{
		Chip: set.Chips["virtual-gp"], Applets: []*Applet{set.Applets["invented"]}, Card: b.chip, Keys: b.keys,
		Element: func(name string) ([]byte, error) {
			v, ok := inventedImage[name]
			if !ok {
				return nil, fmt.Errorf("no element %s", name)
			}
			return v, nil
		},
		Secrets: func(_ context.Context, names []string) (map[string][]byte, error) {
			out := map[string][]byte{}
			for _, n := range names {
				out[n] = []byte("4KD82MRXB")
			}
			return out, nil
		},
		Prove: func(_ context.Context, _ *Applet, stage string) error {
			b.proofs = append(b.proofs, stage)
			b.chip.Reset()
			return nil
		},
	}
}

// contents are the applet's memory, for a comparison byte for byte.
func (b *bench) contents() map[string]string {
	out := map[string]string{}
	s := b.mem.Space("app:" + b.run.Applets[0].AID.String())
	for _, k := range s.Keys("") {
		out[k] = hex.EncodeToString(s.Get(k))
	}
	return out
}

// TestInventedDialect: instructions that the program has never heard of work by
// a YAML file alone.
func TestInventedDialect(t *testing.T) {
	b := newDialectBench(t)
	if err := b.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := b.contents()
	for key, want := range map[string][]byte{
		"file/aa02": inventedImage["dg2"], "file/aa1d": inventedImage["sod"], "long": inventedImage["sod"],
		"record/0101": []byte("\x5A\x094KD82MRXB"), "record/0102": {1, 2, 3, 0x80, 0, 0, 0, 0},
		"object/40df01": {0x71, 0x04}, "object/420000": []byte("a point that the card drew"), "keys": secrets["bac"],
		"locked": {1}, "long-done": {1}, "sealed": append(bytes.Clone(secrets["pin"]), 0x80, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		if got[key] != hex.EncodeToString(want) {
			t.Errorf("%s has %d digits and is not what was sent", key, len(got[key]))
		}
	}
	if p, err := b.run.Probe(t.Context()); err != nil || !p.Complete {
		t.Errorf("probes say %+v, %v", p, err)
	}
	if !slices.Equal(b.proofs, []string{"lds", "locked"}) {
		t.Errorf("proofs %v", b.proofs)
	}
}

// TestInventedDialectCrashes tears the card at every APDU: what it holds after
// a resume is what an undisturbed run leaves.
func TestInventedDialectCrashes(t *testing.T) { sameContents(t, newDialectBench) }

// sameContents tears cards everywhere and compares what they hold in the end with
// what an undisturbed run leaves.
func sameContents(t *testing.T, fresh func(testing.TB) *bench) {
	whole := fresh(t)
	if err := whole.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(whole.contents())
	tornEverywhere(t, fresh, func(t *testing.T, where string, b *bench) {
		if fmt.Sprint(b.contents()) != want {
			t.Fatalf("%s: the card holds other contents than after an undisturbed run", where)
		}
	})
}

// recorder keeps what is sent.
type recorder struct {
	card apdu.Card
	sent [][]byte
}

func (r *recorder) Transmit(ctx context.Context, c []byte) ([]byte, error) {
	r.sent = append(r.sent, bytes.Clone(c))
	return r.card.Transmit(ctx, c)
}

// TestLiveAndBatchedAreTheSame: a run that sends commands one by one gives the
// card the very bytes of one that sends batches.
func TestLiveAndBatchedAreTheSame(t *testing.T) {
	for name, fresh := range map[string]func(testing.TB) *bench{"lds": newBench, "invented": newDialectBench} {
		t.Run(name, func(t *testing.T) {
			var sent [2][][]byte
			for i, live := range []bool{false, true} {
				b := fresh(t)
				b.keys.fixed = true
				r := &recorder{card: b.chip}
				b.run.Card, b.run.Live = r, live
				if err := b.run.Execute(t.Context()); err != nil {
					t.Fatal(err)
				}
				sent[i] = r.sent
			}
			if len(sent[0]) != len(sent[1]) {
				t.Fatalf("%d commands in batches, %d one by one", len(sent[0]), len(sent[1]))
			}
			for i := range sent[0] {
				if !bytes.Equal(sent[0][i], sent[1][i]) {
					t.Fatalf("command %d differs", i+1)
				}
			}
		})
	}
}
