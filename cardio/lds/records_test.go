package lds_test

import (
	"bytes"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
)

const ownPIN = "753190"

// holderSession enters a card and gives the holder's own PIN.
func holderSession(t *testing.T, card apdu.Card, first bool) *lds.SecureMessaging {
	t.Helper()
	byCAN, _ := passwords(t)
	sm := enter(t.Context(), t, card, byCAN)
	err := error(nil)
	if first {
		err = lds.ChangePIN(t.Context(), sm, lds.HolderPIN, []byte(pin), []byte(ownPIN))
	} else {
		err = lds.VerifyPIN(t.Context(), sm, lds.HolderPIN, []byte(ownPIN))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sm
}

// held are the records of a file.
func held(t *testing.T, card apdu.Card) (out [][]byte) {
	t.Helper()
	places, err := lds.ReadRecords(t.Context(), card, filePairing)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		if p.Record != nil {
			out = append(out, p.Record)
		}
	}
	return out
}

// has reports whether a file holds a record.
func has(records [][]byte, want []byte) bool {
	for _, r := range records {
		if bytes.Equal(r, want) {
			return true
		}
	}
	return false
}

func filled(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// TestRecords keeps one, two and three records in turn, drops one, and refuses a
// fourth without touching the three.
func TestRecords(t *testing.T) {
	ctx := t.Context()
	sm := holderSession(t, newDocument(t, 500).card(t, false), true)
	a, b, c, d := filled(1, 400), filled(2, lds.MaxRecord), filled(3, 1), filled(4, 193)
	for i, want := range [][][]byte{{}, {a}, {a, b}, {c, b, a}, {a, c}, {c, d, a}, {d}, {a, b, c}} {
		for range 2 {
			if n, err := lds.KeepRecords(ctx, sm, filePairing, want); err != nil || n != 3 {
				t.Fatalf("%d: %d places, %v", i, n, err)
			}
		}
		now := held(t, sm)
		for _, w := range want {
			if !has(now, w) {
				t.Errorf("%d: a record of %d bytes is missing", i, len(w))
			}
		}
		if len(now) != len(want) {
			t.Errorf("%d: %d records, not %d", i, len(now), len(want))
		}
	}
	if _, err := lds.KeepRecords(ctx, sm, filePairing, [][]byte{a, b, c, d}); !errors.Is(err, lds.ErrNoPlace) {
		t.Error(err)
	}
	if _, err := lds.KeepRecords(ctx, sm, filePairing, [][]byte{a, b, filled(9, lds.MaxRecord+1)}); err == nil {
		t.Error("a record that is too long was taken")
	}
	if now := held(t, sm); len(now) != 3 || !has(now, a) || !has(now, b) || !has(now, c) {
		t.Errorf("a refusal left %d records", len(now))
	}
}

// TestRecordsTorn cuts writes at every command. Records that were there and are
// wanted are there whatever happens, no half one is, and the same again completes it.
func TestRecordsTorn(t *testing.T) {
	ctx := t.Context()
	document := newDocument(t, 500)
	a, b, c, d := filled(1, 300), filled(2, 400), filled(3, 500), filled(4, 350)
	for name, way := range map[string]struct{ before, after, stay [][]byte }{
		"a second":          {[][]byte{a}, [][]byte{a, b}, [][]byte{a}},
		"one for another":   {[][]byte{a, b, c}, [][]byte{a, d, c}, [][]byte{a, c}},
		"one less":          {[][]byte{a, b, c}, [][]byte{b, c}, [][]byte{b, c}},
		"all for the first": {[][]byte{a, b, c}, [][]byte{d}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			chip := document.card(t, false)
			for cut := 0; ; cut++ {
				chip.Reset()
				counted := &counter{Card: chip}
				sm := holderSession(t, counted, cut == 0)
				if _, err := lds.KeepRecords(ctx, sm, filePairing, way.before); err != nil {
					t.Fatal(err)
				}
				counted.n = 0
				counted.between = func(n int, _ []byte) []byte {
					if n > cut {
						return []byte{0x6F, 0x00}
					}
					return nil
				}
				_, failed := lds.KeepRecords(ctx, sm, filePairing, way.after)
				counted.between = nil
				chip.Reset()
				sm = holderSession(t, counted, false)
				now := held(t, sm)
				for _, w := range way.stay {
					if !has(now, w) {
						t.Fatalf("cut %d: a record that stays was lost", cut)
					}
				}
				for _, r := range now {
					if !has(way.before, r) && !has(way.after, r) {
						t.Fatalf("cut %d: a record of %d bytes that nobody wrote", cut, len(r))
					}
				}
				if _, err := lds.KeepRecords(ctx, sm, filePairing, way.after); err != nil || len(held(t, sm)) != len(way.after) {
					t.Fatalf("cut %d: again: %v", cut, err)
				}
				if failed == nil {
					return
				}
			}
		})
	}
}

// FuzzParseRecords: whatever a file holds, its records are within their places.
func FuzzParseRecords(f *testing.F) {
	one := append([]byte{0x53, 0x82, 0x00, 0x02, 0xD2, 0x84}, make([]byte, lds.PlaceSize-6)...)
	f.Add(one)
	f.Add(append(bytes.Clone(one), make([]byte, 2*lds.PlaceSize)...))
	f.Add(append([]byte{0x53, 0x82, 0x03, 0xFD}, make([]byte, lds.PlaceSize-4)...))
	f.Add([]byte{0x53})
	f.Fuzz(func(t *testing.T, b []byte) {
		places, err := lds.ParseRecords(b)
		if err != nil {
			if !errors.Is(err, lds.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if len(places)*lds.PlaceSize != len(b) {
			t.Errorf("%d places in %d bytes", len(places), len(b))
		}
		for _, p := range places {
			if p.Record != nil && (p.Broken || len(p.Record) == 0 || len(p.Record) > lds.MaxRecord) {
				t.Errorf("a record of %d bytes, broken %v", len(p.Record), p.Broken)
			}
		}
	})
}
