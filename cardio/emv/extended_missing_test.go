package emv_test

import (
	"errors"
	"testing"

	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/internal/xdatest"
	"cardbureau/cardio/tlv"
)

// TestExtendedMissing: a card without its certificate lacks data, and one that does
// not sign has not authenticated itself.
func TestExtendedMissing(t *testing.T) {
	f := extendedCard(xdatest.P256)
	f.records = map[uint16]func([]byte) []byte{0x0303: func([]byte) []byte { return obj(0x70, "9F460100") }}
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	if _, err := extendedTerminal(h, xdatest.P256).Run(t.Context(), f.card(t), emv.Transaction{Amount: 5000}); !errors.Is(err, emv.ErrFormat) {
		t.Errorf("a certificate of one byte: %v", err)
	}
	f.records = nil
	card := &recording{Card: f.card(t), change: func(b []byte) []byte {
		list, err := tlv.Parse(b[:len(b)-2])
		if err != nil {
			t.Fatal(err)
		}
		inner, _ := tlv.Parse(list[0].Value)
		var out []byte
		for _, o := range inner {
			if o.Tag != 0x9F4B {
				out = tlv.Append(out, o.Tag, o.Value)
			}
		}
		return append(tlv.Encode(0x77, out), 0x90, 0)
	}}
	r := run(t, extendedTerminal(h, xdatest.P256), card, emv.Transaction{Amount: 5000})
	if !r.TVR.Has(emv.XDAFailed) || !r.Approved || !r.Online {
		t.Errorf("unsigned: %v", r)
	}
}

// TestExtendedDataMissing: that a certificate is missing is said whether the
// authority's key is known or not, and nothing is missing where it alone is unknown.
func TestExtendedDataMissing(t *testing.T) {
	for name, test := range map[string]struct {
		lost    tlv.Tag
		unknown bool
		bit     emv.TVRBit
	}{
		"index": {0x8F, false, emv.ECCKeyMissing}, "issuer's certificate": {0x90, false, emv.ECCRecoveryFailed},
		"card's certificate": {0x9F46, false, emv.ECCRecoveryFailed}, "nothing": {0, true, emv.ECCKeyMissing},
		"issuer's certificate, unknown authority": {0x90, true, emv.ECCKeyMissing}, "card's certificate, unknown authority": {0x9F46, true, emv.ECCKeyMissing},
	} {
		f := extendedCard(xdatest.P256)
		h := &host{t: t, f: f, csu: approve, arc: "00"}
		term := extendedTerminal(h, xdatest.P256)
		if test.unknown {
			term.ECCKeys = nil
		}
		card := &recording{Card: f.card(t), read: func(b []byte) []byte {
			if _, ok := tlv.Path(b[:len(b)-2], 0x70, test.lost); ok {
				return []byte{0x70, 0, 0x90, 0}
			}
			return b
		}}
		r := run(t, term, card, emv.Transaction{Amount: 5000})
		if r.TVR.Has(emv.DataMissing) != (test.lost != 0) || !r.TVR.Has(test.bit) {
			t.Errorf("%s: %v", name, r)
		}
	}
}
