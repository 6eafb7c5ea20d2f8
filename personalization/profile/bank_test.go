package profile_test

import (
	"context"
	"crypto/des"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv/ecsdsa"
	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
)

// bankImage is a payment application's part of a card image: real records and a
// real key, signatures that nobody checks here.
var bankImage = sync.OnceValues(func() (map[string][]byte, map[string][]byte) {
	set, err := profile.Load(profiles.FS)
	if err != nil {
		panic(err)
	}
	s := set.Payment(set.Products["identity-bank-contactless"])
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	card := payment.Card{PAN: "5892100000000016", Sequence: 1, Name: "AHMADI/ALI", Effective: day, Expiry: day.AddDate(5, 0, 0)}
	k := payment.Certificates{
		CAIndex: 1, Issuer: make([]byte, 248), IssuerRemainder: make([]byte, 35), IssuerExponent: []byte{1, 0, 1},
		Static: make([]byte, 247), ICC: make([]byte, 247), ICCExponent: []byte{1, 0, 1},
	}
	open, err := payment.Elements(s, card, payment.Verification{CVV: "327"}, k)
	if err != nil {
		panic(err)
	}
	ecc, _, err := ecsdsa.GenerateKey(ecsdsa.SuiteP256, rand.Reader)
	if err != nil {
		panic(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 1408)
	if err != nil {
		panic(err)
	}
	fill := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 88)) }
	keys := make([]byte, 48)
	for i := range keys {
		keys[i] = byte(i)
	}
	return open, map[string][]byte{
		"emv-keys": keys, "emv-dn": keys[:16], "emv-pin-block": {0x24, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		"emv-p": fill(key.Primes[0]), "emv-q": fill(key.Primes[1]), "emv-dp": fill(key.Precomputed.Dp),
		"emv-dq": fill(key.Precomputed.Dq), "emv-qinv": fill(key.Precomputed.Qinv),
		"emv-d": ecc.D,
	}
})

// xdaImage is what is open of bankImage on a card with XDA of a scheme.
func xdaImage(s *payment.Scheme) map[string][]byte {
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	card := payment.Card{PAN: "5892100000000016", Sequence: 1, Name: "AHMADI/ALI", Effective: day, Expiry: day.AddDate(5, 0, 0)}
	// Formats 12 and 14 (EMV 4.4 Book 2, 12.2): fixed fields, a coordinate, a signature.
	key, signature := 32, 64
	if s.ICCSuite() == ecsdsa.SuiteP521 {
		key, signature = 66, 130
	}
	certificates := payment.Certificates{CAIndex: s.CA.Index, Issuer: make([]byte, 21+key+signature), ICC: make([]byte, 49+key+signature)}
	open, err := payment.Elements(s, card, payment.Verification{CVV: "327"}, certificates)
	if err != nil {
		panic(err)
	}
	return open
}

// kcvsDES are the key check values of triple DES keys, one after another.
func kcvsDES(keys []byte) (out []byte) {
	for ; len(keys) >= 16; keys = keys[16:] {
		c, err := des.NewTripleDESCipher(append(append([]byte{}, keys[:16]...), keys[:8]...))
		if err != nil {
			panic(err)
		}
		b := make([]byte, 8)
		c.Encrypt(b, b)
		out = append(out, b[:3]...)
	}
	return out
}

// TestBetweenApplications: torn after the payment application is complete and
// before the identity is begun, a card is in doubt, not a blank.
func TestBetweenApplications(t *testing.T) {
	set := shippedSet(t)
	p := newProduct(t, set, "identity-bank")
	failed := fmt.Errorf("the line died")
	p.run.Prove = func(context.Context, *profile.Applet, string) error { return failed }
	err := p.run.Execute(t.Context())
	var se *profile.StepError
	if !errors.As(err, &se) || !se.Written {
		t.Fatalf("%v: a written card counts as untouched", err)
	}
	if se.Step != "virtual-payment/proof" {
		t.Errorf("the first proof is %s", se.Step)
	}
}

// TestInterfaces: a contact card has no PPSE, and nothing of the bank's answers over
// the contactless interface; a contactless one has both directories, each where it
// belongs.
func TestInterfaces(t *testing.T) {
	const pse, ppse, app = "315041592E5359532E4444463031", "325041592E5359532E4444463031", "F0000003641010"
	set := shippedSet(t)
	for name, want := range map[string][2]map[string]apdu.StatusWord{ // over contacts, and over the air
		"identity-bank":             {{pse: 0x9000, ppse: 0x6A82, app: 0x9000}, {pse: 0x6A82, ppse: 0x6A82, app: 0x6A82}},
		"identity-bank-kmc":         {{pse: 0x9000, ppse: 0x6A82, app: 0x9000}, {pse: 0x6A82, ppse: 0x6A82, app: 0x6A82}},
		"identity-bank-xda":         {{pse: 0x9000, ppse: 0x6A82, app: 0x9000}, {pse: 0x6A82, ppse: 0x6A82, app: 0x6A82}},
		"identity-bank-xda-p521":    {{pse: 0x9000, ppse: 0x6A82, app: 0x9000}, {pse: 0x6A82, ppse: 0x6A82, app: 0x6A82}},
		"identity-bank-contactless": {{pse: 0x9000, ppse: 0x9000, app: 0x9000}, {pse: 0x6A82, ppse: 0x9000, app: 0x9000}},
	} {
		p := newProduct(t, set, name)
		if err := p.run.Execute(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, reset := range []func() []byte{p.chip.Reset, p.chip.ResetContactless} {
			for aid, sw := range want[i] {
				reset()
				name, err := hex.DecodeString(aid)
				if err != nil {
					t.Fatal(err)
				}
				got, err := apdu.Send(t.Context(), p.chip, apdu.Command{INS: 0xA4, P1: 4, Data: name, Ne: 256})
				if err != nil || got.SW != sw {
					t.Errorf("interface %d, %s: %v, %v, want %v", i, aid, got.SW, err, sw)
				}
			}
		}
	}
}
