package lds_test

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/lds/proof"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/tlv"
)

func passwords(t testing.TB) (byCAN, byMRZ lds.Password) {
	t.Helper()
	byCAN, err := lds.CAN(can)
	if err != nil {
		t.Fatal(err)
	}
	if byMRZ, err = lds.MRZ(number, birth, expiry); err != nil {
		t.Fatal(err)
	}
	return byCAN, byMRZ
}

// A genuine document passes every check, by every way in, with short and with
// extended reads, with and without knowledge of what was written.
func TestInspectGenuine(t *testing.T) {
	d := newDocument(t, 17_000)
	byCAN, byMRZ := passwords(t)
	for name, o := range map[string]lds.Options{
		"PACE with CAN":         {Password: byCAN},
		"PACE with MRZ":         {Password: byMRZ},
		"BAC":                   {Password: byMRZ, BAC: true},
		"extended reads":        {Password: byCAN, Block: 2000},
		"the maker's proof":     {Password: byCAN, Expected: d.files},
		"the maker's, by BAC":   {Password: byMRZ, BAC: true, Expected: d.files},
		"the maker's, extended": {Password: byCAN, Block: 2000, Expected: d.files},
	} {
		t.Run(name, func(t *testing.T) {
			o.Trust = d.trust
			card := &counter{Card: d.card(t, false)}
			doc, report := lds.Inspect(context.Background(), card, o)
			if !report.OK() {
				t.Fatalf("refused:\n%s", report)
			}
			for n, file := range doc.Groups {
				if !bytes.Equal(file, d.files[lds.FileDG(n)]) {
					t.Errorf("DG%d is another", n)
				}
			}
			if len(doc.Groups) != 4 || !report.Held(lds.CheckChip) || !report.Held(lds.CheckHash(2)) {
				t.Errorf("%d groups\n%s", len(doc.Groups), report)
			}
			t.Logf("%d commands", card.n)
			if face, err := datagroup.ParseDG2(doc.Groups[2]); err != nil || len(face[0].Image) != 17_000 {
				t.Errorf("the portrait: %v", err)
			}
			if s := fmt.Sprintf("%v %+v %#v %v", doc, *doc, doc, o.Password); strings.Contains(s, "RAZY") || strings.Contains(s, can) {
				t.Error("printing shows what is personal")
			}
		})
	}
}

// Chip authentication with 3DES is another command and another session.
func TestInspectTripleDES(t *testing.T) {
	d := newDocumentWith(t, 600, lds.TripleDES)
	byCAN, _ := passwords(t)
	doc, report := lds.Inspect(context.Background(), d.card(t, false), lds.Options{Password: byCAN, Trust: d.trust})
	if !report.OK() || !report.Held(lds.CheckChip) || doc.Session.Cipher() != lds.TripleDES {
		t.Errorf("refused:\n%s", report)
	}
}

// A document in the making, before it is locked, reads the same.
func TestInspectBeforeLock(t *testing.T) {
	d := newDocument(t, 600)
	byCAN, _ := passwords(t)
	_, report := lds.Inspect(context.Background(), d.card(t, true), lds.Options{Password: byCAN, Trust: d.trust, Expected: d.files})
	if !report.OK() {
		t.Errorf("refused:\n%s", report)
	}
}

// What is wrong with a document is said, check by check; the rest still
// holds.
func TestInspectFindsWhatIsWrong(t *testing.T) {
	good := newDocument(t, 600)
	byCAN, byMRZ := passwords(t)
	wrong, _ := lds.CAN("271829")
	wrongMRZ, _ := lds.MRZ(number, birth, "310416")
	with := func(id uint16, file []byte) document {
		d := good
		d.files = maps.Clone(good.files)
		d.files[id] = file
		return d
	}
	altered := func(id uint16, at int) document {
		file := bytes.Clone(good.files[id])
		if at < 0 {
			at += len(file)
		}
		file[at] ^= 1
		return with(id, file)
	}
	swapped := good
	swapped.secrets = maps.Clone(good.secrets)
	swapped.secrets[0x8004] = bytes.Repeat([]byte{7}, 32)
	strangers, _ := sod.NewTrust()
	for name, c := range map[string]struct {
		d    document
		o    lds.Options
		fail string
		want error
	}{
		"a wrong CAN":        {good, lds.Options{Password: wrong}, lds.CheckPACE, lds.ErrAccessDenied},
		"a wrong MRZ":        {good, lds.Options{Password: wrongMRZ}, lds.CheckPACE, lds.ErrAccessDenied},
		"a wrong MRZ by BAC": {good, lds.Options{Password: wrongMRZ, BAC: true}, lds.CheckBAC, lds.ErrAccessDenied},
		"a CAN for BAC":      {good, lds.Options{Password: byCAN, BAC: true}, lds.CheckBAC, lds.ErrPassword},
		"another portrait":   {altered(0x0102, -1), lds.Options{Password: byCAN}, lds.CheckHash(2), nil},
		"another name":       {altered(0x0101, -20), lds.Options{Password: byCAN}, lds.CheckHash(1), nil},
		"another chip":       {swapped, lds.Options{Password: byMRZ}, lds.CheckChip, lds.ErrChipAuthentication},
		"no trust":           {good, lds.Options{Password: byCAN, Trust: strangers}, sod.CheckChain, sod.ErrUntrusted},
		"years later":        {good, lds.Options{Password: byCAN, At: time.Now().AddDate(20, 0, 0)}, sod.CheckValidity, sod.ErrExpired},
		"COM lists less":     {with(0x011E, []byte("\x60\x14\x5F\x01\x040108\x5F\x36\x06040000\x5C\x02\x61\x75")), lds.Options{Password: byCAN}, lds.CheckCOM, nil},
		"not what was meant": {altered(0x010B, -1), lds.Options{Password: byCAN, Expected: good.files}, lds.CheckExpected, nil},
		"PACE not confirmed": {with(lds.FileCardAccess, weaker(t, good.files[lds.FileCardAccess])), lds.Options{Password: byCAN}, lds.CheckCardAccess, nil},
		"SOD is no SOD":      {with(0x011D, []byte{0x77, 2, 5, 0}), lds.Options{Password: byCAN}, lds.CheckSOD, sod.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if c.o.Trust == nil {
				c.o.Trust = c.d.trust
			}
			_, report := lds.Inspect(context.Background(), c.d.card(t, false), c.o)
			if report.OK() || report.Held(c.fail) || !slices.ContainsFunc(report.Failed(), func(f proof.Check) bool { return f.Name == c.fail && f.Reason != "" }) {
				t.Fatalf("want a reason at %s, got\n%s", c.fail, report)
			}
			if c.want != nil && !errors.Is(report.Err(), c.want) {
				t.Errorf("got %v, want %v", report.Err(), c.want)
			}
			for _, secret := range []string{"RAZY", "رازی", number, birth, expiry, can, pin} {
				if strings.Contains(report.String(), secret) {
					t.Error("the report tells what is personal or secret")
				}
			}
		})
	}
}

// weaker adds PACE with 3DES to EF.CardAccess, as one would who wants it
// chosen.
func weaker(t testing.TB, cardAccess []byte) []byte {
	_, rest, err := tlv.Next(cardAccess)
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	return tlv.Encode(0x31, cardAccess[2:], info(t, asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 4, 2, 1}, 2, 12))
}

// A reader that loses its card at any command is told apart from a card that
// fails: the report carries the doubt.
func TestInspectWhenTheCardIsLost(t *testing.T) {
	d := newDocument(t, 600)
	byCAN, _ := passwords(t)
	total := &counter{Card: d.card(t, false)}
	if _, report := lds.Inspect(context.Background(), total, lds.Options{Password: byCAN, Trust: d.trust}); !report.OK() {
		t.Fatal(report)
	}
	for at := 1; at <= total.n; at++ {
		card := &counter{Card: d.card(t, false), between: func(n int, _ []byte) []byte {
			if n >= at {
				return []byte{} // the reader lost the card
			}
			return nil
		}}
		_, report := lds.Inspect(context.Background(), card, lds.Options{Password: byCAN, Trust: d.trust})
		if report.OK() || !errors.Is(report.Err(), apdu.ErrInDoubt) {
			t.Errorf("lost at command %d:\n%s", at, report)
		}
	}
}

// The holder's PIN, inside secure messaging only.
func TestPIN(t *testing.T) {
	d := newDocument(t, 600)
	byCAN, _ := passwords(t)
	ctx := context.Background()
	card := d.card(t, false)
	_, infos, err := lds.ReadCardAccess(ctx, card)
	if err != nil {
		t.Fatal(err)
	}
	sm, err := lds.OpenPACE(ctx, card, byCAN, infos)
	if err != nil {
		t.Fatal(err)
	}
	if err := lds.SelectApplication(ctx, sm); err != nil {
		t.Fatal(err)
	}
	var wrong *lds.PINError
	if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, []byte("000000")); !errors.As(err, &wrong) || wrong.Tries != 2 {
		t.Fatalf("a wrong PIN: %v", err)
	}
	if err := lds.ChangePIN(ctx, sm, lds.HolderPIN, []byte(pin), []byte("135792")); err != nil {
		t.Fatal(err)
	}
	if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, []byte("135792")); err != nil {
		t.Fatal(err)
	}
	if got, err := lds.ReadFile(ctx, sm, fileServices); err != nil || !bytes.Equal(got, d.files[fileServices]) {
		t.Fatalf("the services file: %v", err)
	}
	for range 3 {
		err = lds.VerifyPIN(ctx, sm, lds.HolderPIN, []byte("000000"))
	}
	if !errors.Is(err, lds.ErrPINBlocked) {
		t.Errorf("three wrong ones: %v", err)
	}
	if err := lds.ResetRetry(ctx, sm, lds.HolderPIN, []byte(puk), []byte("246802")); err != nil {
		t.Fatal(err)
	}
	if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, []byte("246802")); err != nil {
		t.Error(err)
	}
	if err := lds.VerifyPIN(ctx, sm, lds.HolderPIN, []byte("24a")); !errors.Is(err, lds.ErrPINFormat) {
		t.Errorf("no digits: %v", err)
	}
}

// Files of known and unknown size are read in as few commands as their bytes
// allow, and a missing one does not end the session.
func TestReadsInOneExchange(t *testing.T) {
	d := newDocument(t, 17_000)
	byCAN, _ := passwords(t)
	ctx := context.Background()
	chip := d.card(t, false)
	_, infos, err := lds.ReadCardAccess(ctx, chip)
	if err != nil {
		t.Fatal(err)
	}
	card := &counter{Card: chip}
	sm, err := lds.OpenPACE(ctx, card, byCAN, infos)
	if err != nil {
		t.Fatal(err)
	}
	if err := lds.SelectApplication(ctx, sm); err != nil {
		t.Fatal(err)
	}
	card.n = 0
	size := len(d.files[0x0102])
	got, err := lds.Reader{Card: sm}.Files(ctx, lds.File{ID: 0x0102, Size: size}, lds.File{ID: 0x0101}, lds.File{ID: 0x011E})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[0], d.files[0x0102]) || !bytes.Equal(got[1], d.files[0x0101]) || !bytes.Equal(got[2], d.files[0x011E]) {
		t.Error("the files are others")
	}
	if least := (size+sm.MaxRead()-1)/sm.MaxRead() + 1 + 2 + 2; card.n != least {
		t.Errorf("%d commands, %d would do", card.n, least)
	}
	var missing *lds.FileError
	if out, err := (lds.Reader{Card: sm}).Files(ctx, lds.File{ID: 0x0101}, lds.File{ID: 0x010F}, lds.File{ID: 0x011E}); !errors.As(err, &missing) ||
		missing.File != 0x010F || !errors.Is(err, apdu.SWFileNotFound) || len(out) != 1 {
		t.Errorf("a missing file: %v, %d read", err, len(out))
	}
	if _, err := lds.ReadFile(ctx, sm, 0x011E); err != nil {
		t.Errorf("the session must outlive a missing file: %v", err)
	}
}

// BenchmarkProof is the maker's proof of a whole document, the software card's
// work included.
func BenchmarkProof(b *testing.B) {
	d := newDocument(b, 17_000)
	byCAN, _ := passwords(b)
	chip := d.card(b, false)
	for _, block := range []int{0, 2000} {
		b.Run(fmt.Sprintf("block%d", block), func(b *testing.B) {
			for b.Loop() {
				chip.Reset()
				_, report := lds.Inspect(context.Background(), chip, lds.Options{Password: byCAN, Trust: d.trust, Expected: d.files, Block: block})
				if !report.OK() {
					b.Fatal(report)
				}
			}
		})
	}
}
