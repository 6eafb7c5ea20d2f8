package bank

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"cardbureau/personalization/store"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestReadICC takes what a cryptogram is over out of element 55, in the order of the
// card's CDOL1, and nothing that is not whole.
func TestReadICC(t *testing.T) {
	cdol1 := unhex(t, "9F02069F370495055F2A02")
	good := []string{"9F0206000000250000", "9F370401020304", "95050000008000", "5F2A020364", "82021980", "9F36020007", "9F10069F0001020304", "9F2608" + "0102030405060708", "9F270180"}
	join := func(list []string) (out string) {
		for _, s := range list {
			out += s
		}
		return out
	}
	q := Query{ICC: unhex(t, join(good))}
	if err := q.read(cdol1); err != nil {
		t.Fatal(err)
	}
	if want := "000000250000" + "01020304" + "0000008000" + "0364" + "1980" + "0007" + "9f0001020304"; hex.EncodeToString(q.Data) != want || q.ATC != 7 || len(q.ARQC) != 8 {
		t.Errorf("%x, counter %d", q.Data, q.ATC)
	}
	for i := range good[:8] { // each is needed, but for the cryptogram information data
		less := append(append([]string{}, good[:i]...), good[i+1:]...)
		q := Query{ICC: unhex(t, join(less))}
		if err := q.read(cdol1); !errors.Is(err, ErrICC) {
			t.Errorf("without %s: %v", good[i], err)
		}
	}
	for name, change := range map[string][2]string{
		"a short amount": {good[0], "9F02050000250000"}, "a TC": {good[8], "9F270140"}, "an AAC": {good[8], "9F270100"}, "a short cryptogram": {good[7], "9F260401020304"},
		"a long counter": {good[5], "9F3603000007"}, "an object twice": {good[8], "9F36020007"}, "no BER": {good[8], "9F"},
	} {
		list := append([]string{}, good...)
		for i := range list {
			if list[i] == change[0] {
				list[i] = change[1]
			}
		}
		q := Query{ICC: unhex(t, join(list))}
		if err := q.read(cdol1); !errors.Is(err, ErrICC) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadICCOfXDA: bits that a terminal sets after the cryptogram was made are not in
// what it is over.
func TestReadICCOfXDA(t *testing.T) {
	for sent, signed := range map[string]string{
		"0100000100": "0100000000", "0100000002": "0100000000", "210080C140": "210080C040", // selected, and failed after the cryptogram
		"0100000004": "0100000004",                             // what a terminal knows before it asks for one
		"0000000102": "0000000102", "FE00000102": "FE00000102", // not selected
	} {
		q := Query{ICC: unhex(t, "9505"+sent+"82029C00"+"9F36020007"+"9F10069F0001020304"+"9F26080102030405060708")}
		if err := q.read(unhex(t, "9505")); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(q.Data[:5]); !strings.EqualFold(got, signed) {
			t.Errorf("%s: %s, want %s", sent, got, signed)
		}
	}
}

// TestCode: the card's state comes before its expiry, which is its last day whole.
func TestCode(t *testing.T) {
	last := time.Date(2031, 11, 30, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		state string
		now   time.Time
		want  string
	}{
		{"made", last, NotActivated}, {"suspended", last, Suspended}, {"revoked", last, Revoked}, {"active", last, Approved},
		{"active", last.Add(23 * time.Hour), Approved}, {"active", last.Add(25 * time.Hour), ExpiredCard}, {"suspended", last.AddDate(1, 0, 0), Suspended},
	} {
		s := &Service{Now: func() time.Time { return c.now }}
		if got := s.code(store.BankCard{State: c.state, Expires: last}); got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.state, c.now, got, c.want)
		}
	}
}

// TestCounted: the rules of transaction counters, after the database has said whether
// one was seen.
func TestCounted(t *testing.T) {
	for _, c := range []struct {
		code    string
		counter store.Verdict
		gap     int
		valid   bool
		want    string
	}{
		{Approved, store.Fresh, 1, true, Approved},
		{Approved, store.Fresh, maxJump, true, Approved},
		{Approved, store.Fresh, maxJump + 1, false, Declined},
		{Approved, store.Fresh, -window, true, Approved}, // late, and not seen before
		{Approved, store.Repeat, 0, true, Approved},
		{Approved, store.Replay, 0, false, Replayed},
		{Approved, store.Replay, -window - 1, false, Replayed},
		{NotActivated, store.Fresh, 1, true, NotActivated},
		{NotActivated, store.Fresh, maxJump + 1, true, NotActivated}, // no jump makes it better known
		{Suspended, store.Replay, 0, false, Replayed},
		{Revoked, store.Repeat, 0, true, Revoked},
	} {
		got := counted(Verdict{Code: c.code, State: "x"}, c.counter, c.gap)
		if got.Valid != c.valid || got.Code != c.want || got.ATC != string(c.counter) || got.Gap != c.gap || got.State != "x" || got.IssuerData != nil {
			t.Errorf("%s, %s, %d above: %+v", c.code, c.counter, c.gap, got)
		}
	}
}

// FuzzICC: whatever a switch sends, it is taken whole or refused.
func FuzzICC(f *testing.F) {
	f.Add([]byte{0x9F, 0x36, 2, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		q := Query{ICC: b}
		if err := q.read([]byte{0x9F, 0x02, 6}); err == nil && (len(q.ARQC) != 8 || len(q.Data) < 11) {
			t.Fatalf("%x", q.Data)
		}
	})
}
