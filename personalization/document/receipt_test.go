package document

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

func receipt() Receipt {
	return Receipt{
		Bureau: "کارت\u200cخانه bureau-01", Kind: Paired, Card: "7KXW2M4BC", At: time.Date(2026, 11, 26, 10, 35, 0, 0, time.UTC), Development: true,
		Pairing: &PairingReceipt{
			ID: "0198c0de-7a11-7000-8000-000000000001", Operator: "43211", LastFour: "4567", Salt: bytes.Repeat([]byte{0x01, 0xAB}, 16), Pending: true,
		},
		Statement: []byte(`{"v":1,"kind":"pair","card":"7KXW2M4BC"}`), Signature: bytes.Repeat([]byte{0xC3}, 64),
	}
}

// drawReceipt has the judges read a receipt.
func drawReceipt(t *testing.T, r Receipt) (text, info string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receipt.pdf")
	var b bytes.Buffer
	if err := r.WritePDF(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// pdftotext says in format characters which way a run goes.
	text = strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Cf, c) {
			return -1
		}
		return c
	}, norm.NFKC.String(judge(t, "pdftotext", path, "-")))
	return text, judge(t, "pdfinfo", path) + judge(t, "pdffonts", path)
}

func TestReceiptOfPairing(t *testing.T) {
	r := receipt()
	r.Pairing.Pending = false
	done, _ := drawReceipt(t, r)
	wants(t, done, "جفت شد.")
	r.Pairing.Pending = true
	text, info := drawReceipt(t, r)
	wants(t, text, "7KXW2M4BC", "43211", "4567", r.Pairing.ID, "2026-11-26", "۱۴۰۵/۰۹/۰۵", "۱۴:۰۵", "bureau-01",
		"همراه اول", "رسید کارت شناسایی", strings.TrimSpace(strings.Repeat("01ab 01ab ", 8)), `"kind":"pair"`, "cardbureau desk block 7KXW2M4BC")
	if !strings.Contains(strings.Join(strings.Fields(text), ""), strings.TrimRight(base64.StdEncoding.EncodeToString(r.Signature), "=")) { // poppler takes the padding for Persian
		t.Errorf("no signature in\n%s", text)
	}
	if strings.ContainsAny(text, "?\uFFFD") {
		t.Errorf("a letter has no glyph in\n%s", text)
	}
	wants(t, info, "Title: Receipt 7KXW2M4BC", "(A5)", "Pages: 1", "Encrypted: no")
}

func TestReceiptOfEachDeed(t *testing.T) {
	for deed, words := range map[Deed]string{Activated: "فعال", PINSet: "رمز", BlockLifted: "مسدودی"} {
		r := receipt()
		r.Kind, r.Pairing, r.Development = deed, nil, false
		r.Statement, r.Signature = nil, nil
		text, info := drawReceipt(t, r)
		wants(t, text, "7KXW2M4BC", words, "امضا")
		wants(t, info, "Pages: 1")
		if strings.Contains(text, hex.EncodeToString([]byte{1, 0xAB})) || strings.ContainsAny(text, "?\uFFFD") {
			t.Error(text)
		}
	}
	r := receipt()
	r.Kind = Activated
	if r.WritePDF(&bytes.Buffer{}) == nil {
		t.Error("a receipt of an activation tells of a pairing")
	}
}

// Every sentence has a glyph for every letter of it.
func TestReceiptHasNoBoxes(t *testing.T) {
	for _, s := range append([]string{onLoss, onSalt, onPIN, onSigned, noSignature, pairingBegun, developmentFa}, deeds[Activated], deeds[Paired], deeds[PINSet], deeds[BlockLifted]) {
		for _, r := range visual(s) {
			if glyph(r) == 0 || r == noGlyph {
				t.Errorf("%+q in %s", r, s)
			}
		}
	}
}

// A statement that is not ASCII can be had back from paper.
func TestReceiptKeepsStatementBytes(t *testing.T) {
	if got := plainOr64([]byte("{سلام}")); got != "base64 "+base64.StdEncoding.EncodeToString([]byte("{سلام}")) {
		t.Error(got)
	}
}

func TestReceiptIsReproducible(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(receipt().WritePDF(&a), receipt().WritePDF(&b)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same receipt gives other bytes")
	}
	if err := receipt().WritePDF(fullDisk{}); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}
