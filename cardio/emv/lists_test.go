package emv_test

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // EMV's
	"errors"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/tlv"
)

// TestVelocity: limits in the records, and the card's counters.
func TestVelocity(t *testing.T) {
	limits := func(lower, upper byte) func([]byte) []byte {
		return func(b []byte) []byte {
			return addTo(t, b, append(tlv.Encode(0x9F14, []byte{lower}), tlv.Encode(0x9F23, []byte{upper})...))
		}
	}
	for name, test := range map[string]struct {
		lower, upper byte
		want         []emv.TVRBit // set
		not          []emv.TVRBit
	}{
		"under both": {3, 5, []emv.TVRBit{emv.NewCard}, []emv.TVRBit{emv.OverLowerOffline, emv.OverUpperOffline}},
		"over one":   {0, 5, []emv.TVRBit{emv.NewCard, emv.OverLowerOffline}, []emv.TVRBit{emv.OverUpperOffline}},
		"over both":  {0, 0, []emv.TVRBit{emv.NewCard, emv.OverLowerOffline, emv.OverUpperOffline}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			f.records = map[uint16]func([]byte) []byte{0x0202: limits(test.lower, test.upper)}
			card := f.card(t)
			r := run(t, terminal(&host{t: t, f: f, csu: approve, arc: "00"}), card, emv.Transaction{Amount: 1})
			for _, b := range test.want {
				if !r.TVR.Has(b) {
					t.Errorf("%v lacks %04X", r.TVR, b)
				}
			}
			for _, b := range test.not {
				if r.TVR.Has(b) {
					t.Errorf("%v has %04X", r.TVR, b)
				}
			}
		})
	}
	f := standard()
	f.records = map[uint16]func([]byte) []byte{0x0202: limits(3, 5)}
	mute := &without{f.card(t), []byte{0x80, 0xCA, 0x9F, 0x13}}
	if r := run(t, terminal(nil), mute, emv.Transaction{Amount: 1}); !r.TVR.Has(emv.OverUpperOffline) || !r.TVR.Has(emv.OverLowerOffline) || r.TVR.Has(emv.NewCard) {
		t.Errorf("a card without counters: %v", r.TVR)
	}
}

// without is a card that does not know one command.
type without struct {
	apdu.Card
	header []byte
}

func (w *without) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if bytes.HasPrefix(command, w.header) {
		return []byte{0x6A, 0x88}, nil
	}
	return w.Card.Transmit(ctx, command)
}

// TestTCHash: a card that wants the hash of what a list names, its own or the
// terminal's.
func TestTCHash(t *testing.T) {
	for name, own := range map[string]bool{"the card's list": true, "the terminal's": false} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			f.records = map[uint16]func([]byte) []byte{0x0202: func(b []byte) []byte {
				b = replaceTag(t, b, 0x8C, unhex("9814 9F3704"))
				if own {
					b = addTo(t, b, obj(0x97, "9F0206 5F3401"))
				}
				return b
			}}
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			term := terminal(h)
			term.Applications[0].TDOL = unhex("9F0206")
			r := run(t, term, f.card(t), emv.Transaction{Amount: 1})
			hashed := unhex("000000000001")
			if own {
				hashed = append(hashed, 1)
			}
			want := sha1.Sum(hashed) //nolint:gosec // EMV's
			if !r.Approved || !bytes.Equal(h.last.Sent[:20], want[:]) || r.TVR.Has(emv.DefaultTDOLUsed) == own {
				t.Errorf("%v", r)
			}
		})
	}
}

// TestPINKey: a key of its own for PINs, which has no static data under its
// certificate.
func TestPINKey(t *testing.T) {
	issuer, icc := pairs()[1], pairs()[2]
	cert, rem, err := oda.ICCCertificate{PAN: pan, Expiry: "1231", Key: icc.PublicKey}.Sign(t.Context(), issuer.PublicKey, issuer.sign)
	if err != nil || rem != nil {
		t.Fatal(err)
	}
	f := standard()
	f.records = map[uint16]func([]byte) []byte{
		0x0306: func([]byte) []byte { return tlv.Encode(0x70, tlv.Encode(0x9F2D, cert)) },
		0x0305: func(b []byte) []byte { return addTo(t, b, tlv.Encode(0x9F2E, icc.Exponent)) },
		0x9104: func([]byte) []byte { return append(obj(0x82, "7D00"), obj(0x94, "08010100 10010201 18010600")...) },
	}
	r := run(t, terminal(&host{t: t, f: f, csu: approve, arc: "00"}), f.card(t), emv.Transaction{Amount: 1})
	if !r.Approved || r.CVM != [3]byte{0x44, 3, 2} {
		t.Errorf("%v, CVM results %X", r, r.CVM)
	}
}

// TestTypes: terminals that are offline only or online only.
func TestTypes(t *testing.T) {
	f := standard()
	f.upper, f.iac = 9, [3]string{"FC70BC9800", "0000000000", "FC70BC9800"}
	for kind, want := range map[byte]byte{0x21: emv.ARQC, 0x22: emv.TC, 0x23: emv.TC, 0x26: emv.TC, 0x24: emv.ARQC} {
		term := terminal(&host{t: t, f: f, csu: approve, arc: "00"})
		term.Type = kind
		r := run(t, term, f.card(t), emv.Transaction{Amount: 1})
		if r.First.Kind() != want || !r.Approved {
			t.Errorf("%02X: %v", kind, r)
		}
	}
	// The default codes decide where nobody can be asked.
	term := terminal(nil)
	term.Type, term.Capabilities[2] = 0x23, 0
	if r := run(t, term, f.card(t), emv.Transaction{Amount: 1}); r.First.Kind() != emv.AAC || r.Approved {
		t.Errorf("%v", r)
	}
	// Denied before the card is asked for anything better.
	term = terminal(nil)
	term.Applications[0].Denial = [5]byte{0, 0x80}
	term.Applications[0].Version = 9
	if r := run(t, term, f.card(t), emv.Transaction{Amount: 1}); r.First.Kind() != emv.AAC || r.ARC != "Z1" {
		t.Errorf("%v", r)
	}
}

// TestLies: a kernel does not take a better cryptogram than it asked for, nor a
// cryptogram that was exchanged under CDA.
func TestLies(t *testing.T) {
	f := standard()
	lie := func(change func([]byte) []byte) *liar { return &liar{f.card(t), change} }
	better := lie(func(b []byte) []byte {
		return bytes.Replace(b, []byte{0x9F, 0x27, 1, 0x80}, []byte{0x9F, 0x27, 1, 0x40}, 1)
	})
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	term := terminal(h)
	if _, err := term.Run(t.Context(), better, emv.Transaction{Amount: 200000}); !errors.Is(err, emv.ErrCryptogram) {
		t.Errorf("TC for ARQC: %v", err)
	}
	counter := lie(func(b []byte) []byte {
		return bytes.Replace(b, []byte{0x9F, 0x36, 2, 0, 1}, []byte{0x9F, 0x36, 2, 0, 2}, 1)
	})
	r := run(t, term, counter, emv.Transaction{Amount: 200000})
	if !r.TVR.Has(emv.CDAFailed) || r.Approved || r.ARC != "Z1" || h.asked != 0 {
		t.Errorf("another counter under CDA: %v, ARC %s, asked %d", r, r.ARC, h.asked)
	}
	if s := fmt.Sprintf("%v %+v %#v", h.last, h.last, h.last); len(s) > 100 {
		t.Error("a request prints")
	}
}

// liar changes what its card answers to GENERATE AC.
type liar struct {
	apdu.Card
	change func([]byte) []byte
}

func (l *liar) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	b, err := l.Card.Transmit(ctx, command)
	if len(command) > 1 && command[1] == 0xAE {
		b = l.change(b)
	}
	return b, err
}
