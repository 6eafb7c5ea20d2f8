package emv_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/internal/xdatest"
	"cardbureau/cardio/emv/xda"
	"cardbureau/cardio/tlv"
)

// eccKeys are the keys of all test cards of a suite: authority, issuer, card.
var eccKeys = map[byte]func() [3]xdatest.Key{
	xdatest.P256: sync.OnceValue(func() [3]xdatest.Key { return threeKeys(xdatest.P256) }),
	xdatest.P521: sync.OnceValue(func() [3]xdatest.Key { return threeKeys(xdatest.P521) }),
}

func threeKeys(suite byte) [3]xdatest.Key {
	return [3]xdatest.Key{xdatest.NewKey(suite, false), xdatest.NewKey(suite, false), xdatest.NewKey(suite, false)}
}

const eccIndex = 0xE1

// eccFacts make a test card one of XDA.
type eccFacts struct {
	suite  byte
	pdol   string
	issuer func(*xdatest.Issuer)
	icc    func(*xdatest.ICC)
}

// extendedCard are the facts of a card of XDA that is right.
func extendedCard(suite byte) facts {
	f := standard()
	f.aip, f.cvm = 0x9C, "00000000 00000000 4103 4203 1F00"
	f.ecc = &eccFacts{suite: suite}
	return f
}

// replace puts certificates and key of elliptic curves in the place of RSA's.
func (e *eccFacts) replace(d map[uint16][]byte, signed []byte) {
	k := eccKeys[e.suite]()
	aip, _ := tlv.Find(d[0x9104], 0x82)
	data := join(signed, tlv.Encode(0x82, aip), tlv.Encode(0x9F06, aid))
	if e.pdol != "" {
		data = append(data, obj(0x9F38, e.pdol)...)
		d[0x9102] = tlv.Encode(0xA5, tlv.Encode(0x50, []byte("BANK SEPAH")), obj(0x87, "01"), obj(0x9F38, e.pdol))
	}
	issuer := xdatest.NewIssuer(k[1], aid[:5], eccIndex)
	if e.issuer != nil {
		e.issuer(&issuer)
	}
	icc := xdatest.NewICC(k[2], xda.HashSHA256, data)
	if e.icc != nil {
		e.icc(&icc)
	}
	for _, id := range []uint16{0x0304, 0x0305, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205} {
		delete(d, id)
	}
	d[0x0301] = tlv.Encode(0x70, []byte{0x8F, 1, eccIndex})
	d[0x0302] = tlv.Encode(0x70, tlv.Encode(0x90, issuer.Signed(k[0])))
	d[0x0303] = tlv.Encode(0x70, tlv.Encode(0x9F46, icc.Signed(k[1])))
	d[0x9104] = join(tlv.Encode(0x82, aip), obj(0x94, "08010100 10010201 18010300"))
	d[0x8105] = k[2].D
}

// extendedTerminal is a terminal that can do XDA too.
func extendedTerminal(h *host, suite byte) *emv.Terminal {
	t := terminal(h)
	t.Capabilities[2] |= emv.CanXDA
	t.ECCKeys = func(rid []byte, index byte) (ecsdsa.PublicKey, bool) {
		return ecsdsa.PublicKey{Suite: ecsdsa.Suite(suite), X: eccKeys[suite]()[0].X}, bytes.Equal(rid, aid[:5]) && index == eccIndex
	}
	return t
}

// recording keeps what a card was sent, and changes what it answers.
type recording struct {
	apdu.Card
	p1      []byte                     // of GENERATE ACs
	change  func(answer []byte) []byte // of GENERATE AC
	read    func(answer []byte) []byte // of READ RECORD
	options func(answer []byte) []byte // of GET PROCESSING OPTIONS
}

func (r *recording) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	out, err := r.Card.Transmit(ctx, command)
	if len(command) > 4 && command[1] == 0xA8 && r.options != nil && err == nil {
		out = r.options(bytes.Clone(out))
	}
	if len(command) > 4 && command[1] == 0xB2 && r.read != nil && err == nil {
		out = r.read(bytes.Clone(out))
	}
	if len(command) > 4 && command[1] == 0xAE {
		r.p1 = append(r.p1, command[2])
		if r.change != nil && err == nil {
			out = r.change(bytes.Clone(out))
		}
	}
	return out, err
}

// TestExtended: online and offline, on both curves, with and without PDOL.
func TestExtended(t *testing.T) {
	for name, test := range map[string]struct {
		suite   byte
		pdol    string
		offline bool
	}{
		"P-256, online": {xdatest.P256, "", false}, "P-521, online": {xdatest.P521, "", false},
		"P-256, PDOL": {xdatest.P256, "9F3303 9F3704", false}, "P-521, PDOL, offline": {xdatest.P521, "9F3303", true},
		"P-256, offline": {xdatest.P256, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := extendedCard(test.suite)
			f.ecc.pdol = test.pdol
			f.cvm = standard().cvm   // its enciphered PIN is RSA's: passed over, and nothing is missing
			p1 := []byte{0x48, 0x48} // this card goes online always
			if test.offline {
				f.upper, f.iac = 2, [3]string{"FC70BC9800", "0000000000", "FC70BC9800"}
				p1 = []byte{0x48}
			}
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			card := &recording{Card: f.card(t)}
			term := extendedTerminal(h, test.suite)
			r := run(t, term, card, emv.Transaction{Amount: 5000})
			if !r.Approved || r.Online == test.offline || len(r.Failures()) > 0 || !bytes.Equal(card.p1, p1) {
				t.Fatalf("%v %+v, GENERATE AC %X", r, r.Failures(), card.p1)
			}
			if c, ok := r.Check(emv.CheckXDA); !ok || c.Outcome != emv.Passed || !r.TVR.Has(emv.XDASelected) || !r.TSI.Has(emv.DidDataAuthentication) {
				t.Errorf("%+v %v %v", c, r.TVR, r.TSI)
			}
			if len(r.First.AC) != 8 || len(r.First.Signed) != 1+ecsdsa.Suite(test.suite).SignatureBytes() || r.First.Signed[0] != 0x15 {
				t.Errorf("signed %X", r.First.Signed)
			}
		})
	}
}

// TestExtendedDeclined: an AAC is asked for with a signature too, and nobody
// verifies it.
func TestExtendedDeclined(t *testing.T) {
	f := extendedCard(xdatest.P256)
	f.iac[1] = "FFFFFFFFFF"
	card := &recording{Card: f.card(t)}
	r := run(t, extendedTerminal(nil, xdatest.P256), card, emv.Transaction{Amount: 5000})
	if c, _ := r.Check(emv.CheckXDA); r.Approved || !bytes.Equal(card.p1, []byte{0x08}) || r.First.Signed == nil || c.Outcome != emv.NotDone || r.TVR.Has(emv.XDAFailed) {
		t.Errorf("%v, GENERATE AC %X, %+v", r, card.p1, c)
	}
	if key, err := r.Application.ECCKey(extendedTerminal(nil, xdatest.P256).ECCKeys, today); err != nil || r.Application.VerifyExtended(key, r.First, nil) != nil {
		t.Errorf("the AAC's signature: %v", err)
	}
}

// TestExtendedFails: each thing that is wrong sets its bit and no other, and the
// issuer decides.
func TestExtendedFails(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			b[at] ^= 1
			return b
		}
	}
	inAnswer := func(tag tlv.Tag, at int) func([]byte) []byte {
		return func(b []byte) []byte {
			v, ok := tlv.Path(b[:len(b)-2], 0x77, tag)
			i := bytes.Index(b, v)
			if !ok || i < 0 {
				return b
			}
			return flip(i + at)(b)
		}
	}
	for name, test := range map[string]struct {
		change func(*eccFacts)
		id     uint16 // record that is changed after signing
		record func([]byte) []byte
		answer func([]byte) []byte
		forged bool // the cryptogram is
		term   func(*emv.Terminal)
		bit    emv.TVRBit
	}{
		"issuer's certificate": {id: 0x0302, record: flip(40), bit: emv.ECCRecoveryFailed},
		"card's certificate":   {id: 0x0303, record: flip(50), bit: emv.ECCRecoveryFailed},
		"record":               {id: 0x0201, record: func(b []byte) []byte { return bytes.Replace(b, []byte{0x9F, 7, 2, 0xFF}, []byte{0x9F, 7, 2, 0xFE}, 1) }, bit: emv.ECCRecoveryFailed},
		"AIP":                  {id: 0x9104, record: flip(3), bit: emv.ECCRecoveryFailed},
		"signature":            {answer: inAnswer(0x9F4B, 20), bit: emv.XDAFailed},
		"format of signature":  {answer: inAnswer(0x9F4B, 0), bit: emv.XDAFailed},
		"AC":                   {answer: inAnswer(0x9F26, 3), forged: true, bit: emv.XDAFailed},
		"issuer data":          {answer: inAnswer(0x9F10, 30), forged: true, bit: emv.XDAFailed},
		"issuer's expired":     {change: func(e *eccFacts) { e.issuer = func(c *xdatest.Issuer) { c.Expiry = "20270228" } }, bit: emv.ECCRecoveryFailed},
		"card's expired":       {change: func(e *eccFacts) { e.icc = func(c *xdatest.ICC) { c.Expiry = "202703010959" } }, bit: emv.ECCRecoveryFailed},
		"RID":                  {change: func(e *eccFacts) { e.issuer = func(c *xdatest.Issuer) { c.RID = []byte{0xA0, 0, 0, 0, 3} } }, bit: emv.ECCRecoveryFailed},
		"index":                {change: func(e *eccFacts) { e.issuer = func(c *xdatest.Issuer) { c.Index = 1 } }, bit: emv.ECCRecoveryFailed},
		"hash indicator":       {change: func(e *eccFacts) { e.icc = func(c *xdatest.ICC) { c.Indicator = 0x01 } }, bit: emv.ECCRecoveryFailed},
		"unknown authority":    {id: 0x0301, record: flip(4), bit: emv.ECCKeyMissing},
		"no authority at all":  {term: func(t *emv.Terminal) { t.ECCKeys = nil }, bit: emv.ECCKeyMissing},
		"other authority": {term: func(t *emv.Terminal) {
			t.ECCKeys = func([]byte, byte) (ecsdsa.PublicKey, bool) {
				return ecsdsa.PublicKey{Suite: ecsdsa.SuiteP256, X: eccKeys[xdatest.P256]()[2].X}, true
			}
		}, bit: emv.ECCRecoveryFailed},
	} {
		t.Run(name, func(t *testing.T) {
			f := extendedCard(xdatest.P256)
			f.upper = 9
			if test.change != nil {
				test.change(f.ecc)
			}
			if test.record != nil {
				f.records = map[uint16]func([]byte) []byte{test.id: test.record}
			}
			for _, c := range []struct {
				denial, online string
				first          byte // kind
				p1             []byte
			}{
				{"0000000000", "0000000000", emv.TC, []byte{0x48}}, // a TC goes online
				{"0000000000", "FFFFFFFFFF", emv.ARQC, []byte{0x88, 0x48}},
				{"0000000106", "0000000000", emv.TC, []byte{0x48}},
				{"0000000106", "FFFFFFFFFF", emv.ARQC, []byte{0x88, 0x08}},
			} {
				denied := c.denial != "0000000000"
				if denied && test.bit == emv.ECCKeyMissing { // seen before the first GENERATE AC
					c.first, c.p1 = emv.AAC, []byte{0x08}
				}
				f.iac = [3]string{"0000000000", c.denial, c.online}
				h := &host{t: t, f: f, csu: approve, arc: "00"}
				card := &recording{Card: f.card(t), change: test.answer}
				term := extendedTerminal(h, xdatest.P256)
				if test.term != nil {
					test.term(term)
				}
				if test.forged { // no issuer approves another cryptogram
					term.Online = func(_ context.Context, r emv.Request) (emv.Response, error) {
						h.asked, h.last = 1, r
						return emv.Response{ARC: "05"}, nil
					}
					if c.first == emv.ARQC {
						c.p1 = []byte{0x88, 0x08}
					}
				}
				r := run(t, term, card, emv.Transaction{Amount: 5000})
				if r.First.Kind() != c.first || !bytes.Equal(card.p1, c.p1) || r.Online == denied || r.Approved != (!denied && !test.forged) {
					t.Errorf("%v, first %s, GENERATE AC %X", r, emv.KindName(r.First.Kind()), card.p1)
				}
				for _, bit := range []emv.TVRBit{emv.ECCKeyMissing, emv.ECCRecoveryFailed, emv.XDAFailed} {
					if r.TVR.Has(bit) != (bit == test.bit) {
						t.Errorf("%v", r)
					}
				}
				if check, _ := r.Check(emv.CheckXDA); check.Outcome != emv.Failed {
					t.Errorf("%+v", check)
				}
				if !denied && !emv.TVR(h.last.Data[emv.TagTVR]).Has(test.bit) {
					t.Errorf("the issuer was not told: %X", h.last.Data[emv.TagTVR])
				}
			}
		})
	}
}

// TestExtendedOnTheSecond: a signature that is wrong at the second cryptogram alone
// declines what the issuer has approved.
func TestExtendedOnTheSecond(t *testing.T) {
	f := extendedCard(xdatest.P256)
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	n := 0
	card := &recording{Card: f.card(t), change: func(b []byte) []byte {
		if n++; n == 2 {
			b[len(b)-3] ^= 1
		}
		return b
	}}
	r := run(t, extendedTerminal(h, xdatest.P256), card, emv.Transaction{Amount: 5000})
	if r.Approved || !r.Online || r.Second.Kind() != emv.TC || !r.TVR.Has(emv.XDAFailed) {
		t.Errorf("%v", r)
	}
}

// TestExtendedUnableOnline: where XDA failed and nobody can be asked, the terminal
// declines, whatever the default codes are.
func TestExtendedUnableOnline(t *testing.T) {
	for name, test := range map[string]struct {
		iac string
		typ byte
		p1  []byte
	}{
		"TC, no line": {"0000000000", 0x22, []byte{0x48}}, "ARQC, no line": {"FFFFFFFFFF", 0x22, []byte{0x88, 0x08}}, "offline only": {"FFFFFFFFFF", 0x23, []byte{0x48}},
	} {
		f := extendedCard(xdatest.P256)
		f.upper, f.iac = 9, [3]string{"0000000000", "0000000000", test.iac}
		f.ecc.icc = func(c *xdatest.ICC) { c.Expiry = "202001010000" }
		term := extendedTerminal(nil, xdatest.P256)
		term.Type = test.typ
		card := &recording{Card: f.card(t)}
		if r := run(t, term, card, emv.Transaction{Amount: 5000}); r.Approved || r.ARC != "Z3" || !bytes.Equal(card.p1, test.p1) {
			t.Errorf("%s: %v, ARC %s, GENERATE AC %X", name, r, r.ARC, card.p1)
		}
	}
}

// TestFallback: what is chosen of what card and terminal have in common.
func TestFallback(t *testing.T) {
	f := extendedCard(xdatest.P256)
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	r := run(t, terminal(h), f.card(t), emv.Transaction{Amount: 5000}) // without XDA
	if !r.TVR.Has(emv.NoDataAuthentication) || r.TVR.Has(emv.XDASelected) || r.First.Signed != nil || !r.Approved {
		t.Errorf("a terminal without XDA: %v", r)
	}
	f = standard()
	h.f = f
	for can, check := range map[byte]string{0xCC: emv.CheckCDA, 0xC4: emv.CheckDDA, 0x84: emv.CheckSDA} {
		term := extendedTerminal(h, xdatest.P256)
		term.Capabilities[2] = can
		r := run(t, term, f.card(t), emv.Transaction{Amount: 5000})
		if c, ok := r.Check(check); !ok || c.Outcome != emv.Passed || r.TVR.Has(emv.XDASelected) || !r.Approved {
			t.Errorf("a card without XDA, %02X: %v", can, r)
		}
	}
	// XDA goes before CDA, even with a card that has RSA's certificates alone.
	card := &recording{Card: f.card(t), options: func(b []byte) []byte {
		b[4] |= emv.AIPXDA
		return b
	}}
	if r, err := extendedTerminal(h, xdatest.P256).Run(t.Context(), card, emv.Transaction{Amount: 5000}); !errors.Is(err, apdu.SWConditionsOfUseNotSatisfied) || !r.TVR.Has(emv.XDASelected) {
		t.Errorf("%v %v", r, err)
	}
	app := proofOf(t, standard())
	if _, err := app.ECCKey(func([]byte, byte) (ecsdsa.PublicKey, bool) { return ecsdsa.PublicKey{Suite: ecsdsa.SuiteP256}, true }, today); !errors.Is(err, xda.ErrFormat) {
		t.Errorf("RSA's certificate: %v", err)
	}
}

// TestExtendedProof is the parts by themselves.
func TestExtendedProof(t *testing.T) {
	ctx, f, term := t.Context(), extendedCard(xdatest.P521), extendedTerminal(nil, xdatest.P521)
	app := proofOf(t, f)
	key, err := app.ECCKey(term.ECCKeys, today)
	if err != nil || !bytes.Equal(key.X, eccKeys[xdatest.P521]()[2].X) {
		t.Fatal(err)
	}
	data := emv.Data{emv.TagUnpredictable: {1, 2, 3, 4}}
	first, _, err := app.GenerateSigned(ctx, emv.ARQC, emv.SignXDA, emv.TagCDOL1, data)
	if err != nil || app.VerifyExtended(key, first, nil) != nil {
		t.Fatal(err)
	}
	second, sent, err := app.GenerateSigned(ctx, emv.AAC, emv.SignXDA, emv.TagCDOL2, data)
	if err != nil || app.VerifyExtended(key, second, sent) != nil {
		t.Fatal(err)
	}
	if err := app.VerifyExtended(key, second, nil); !errors.Is(err, emv.ErrAuthentication) || !errors.Is(err, ecsdsa.ErrSignature) {
		t.Errorf("the second's as the first's: %v", err)
	}
	if _, err := app.ECCKey(term.ECCKeys, time.Date(2031, 12, 31, 23, 59, 0, 0, time.UTC)); !errors.Is(err, xda.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	if _, err := app.ECCKey(nil, today); !errors.Is(err, emv.ErrAuthority) {
		t.Errorf("no authority: %v", err)
	}
	for _, tag := range []tlv.Tag{emv.TagICCCert, emv.TagIssuerCert, emv.TagCAIndex} {
		delete(app.Data, tag)
		if _, err := app.ECCKey(term.ECCKeys, today); !errors.Is(err, emv.ErrMissing) {
			t.Errorf("without %X: %v", uint32(tag), err)
		}
	}
}
