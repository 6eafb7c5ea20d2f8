package emv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
)

var approve = emv.CSU{0, emv.CSUApproves | emv.CSUResetCounter}

func run(t *testing.T, term *emv.Terminal, card apdu.Card, tx emv.Transaction) *emv.Result {
	t.Helper()
	r, err := term.Run(t.Context(), card, tx)
	if err != nil {
		t.Fatal(err, r)
	}
	if s := fmt.Sprintf("%v %+v %#v", r, r, r.Application.Data); strings.Contains(s, pan) {
		t.Error("the result shows the PAN")
	}
	return r
}

// TestOnline is the transaction of every kind of card and terminal that ends with
// the issuer's approval.
func TestOnline(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*facts)
		can    byte
		check  string
	}{
		"CDA, 3DES, ARPC 2": {func(*facts) {}, 0xC8, emv.CheckCDA},
		"DDA":               {func(*facts) {}, 0xC0, emv.CheckDDA},
		"SDA":               {func(*facts) {}, 0x80, emv.CheckSDA},
		"AES":               {func(f *facts) { f.aes = true }, 0xC8, emv.CheckCDA},
		"ARPC 1":            {func(f *facts) { f.control = 0x80 }, 0xC8, emv.CheckCDA},
		"without PSE":       {func(f *facts) { f.noPSE = true }, 0xC8, emv.CheckCDA},
	} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			test.change(&f)
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			term := terminal(h)
			term.Capabilities[2] = test.can
			card := f.card(t)
			r := run(t, term, card, emv.Transaction{Amount: 5000})
			if !r.Approved || !r.Online || h.asked != 1 || len(r.Failures()) > 0 {
				t.Fatalf("%v %+v", r, r.Failures())
			}
			for _, c := range []string{test.check, emv.CheckHolder, emv.CheckIssuer, emv.CheckSecond} {
				if got, ok := r.Check(c); !ok || got.Outcome != emv.Passed {
					t.Errorf("%s: %+v", c, got)
				}
			}
			if want := (emv.TSI{emv.DidDataAuthentication | emv.DidVerification | emv.DidCardRisk | emv.DidIssuerAuth | emv.DidTerminalRisk}); r.TSI != want {
				t.Errorf("TSI %v, want %v", r.TSI, want)
			}
			if r.CVM != [3]byte{0x44, 0x03, 0x02} {
				t.Errorf("CVM results %X", r.CVM)
			}
			d, err := emv.ParseCCDData(r.Second.IAD)
			if err != nil {
				t.Fatal(err)
			}
			if done, ok := d.CVR.PINVerified(); !done || !ok || !d.CVR.IssuerAuthenticated() || d.CVR.PINTries() != 3 || d.CVR.First() != emv.ARQC {
				t.Errorf("CVR %X", d.CVR)
			}
			if kind, asked := d.CVR.Second(); kind != emv.TC || !asked || d.CVR.CDA() != (test.check == emv.CheckCDA) || d.CVR.DDA() != (test.check == emv.CheckDDA) {
				t.Errorf("CVR %X", d.CVR)
			}
			if atc, last, err := r.Application.Counters(t.Context()); err != nil || atc != 1 || last != 1 {
				t.Errorf("%d, %d, %v", atc, last, err)
			}
		})
	}
}

// TestIssuerSaysNo: declined, wrong ARPC, no line.
func TestIssuerSaysNo(t *testing.T) {
	f := standard()
	for name, test := range map[string]struct {
		host *host
		bit  emv.TVRBit
		arc  string
	}{
		"declined":   {&host{f: f, csu: emv.CSU{}, arc: "05"}, 0, "05"},
		"wrong ARPC": {&host{f: f, csu: approve, arc: "00", wrong: true}, emv.IssuerAuthFailed, "00"},
		"no line":    {nil, 0, "Z3"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.host != nil {
				test.host.t = t
			}
			r := run(t, terminal(test.host), f.card(t), emv.Transaction{Amount: 200000})
			if r.Approved || r.ARC != test.arc || r.Second == nil || r.Second.Kind() != emv.AAC || test.bit != 0 && !r.TVR.Has(test.bit) {
				t.Errorf("%v, ARC %s", r, r.ARC)
			}
		})
	}
}

// TestOffline: a card that may approves by itself, and one that expired does not.
func TestOffline(t *testing.T) {
	f := standard()
	f.upper, f.iac = 2, [3]string{"FC70BC9800", "0000000000", "FC70BC9800"}
	card := f.card(t)
	h := &host{t: t, f: f, csu: approve, arc: "00"}
	var outcome []bool
	for range 3 {
		card.Reset()
		r := run(t, terminal(h), card, emv.Transaction{Amount: 5000})
		outcome = append(outcome, r.Approved && !r.Online && r.First.Kind() == emv.TC)
	}
	if fmt.Sprint(outcome) != "[true true false]" || h.asked != 1 {
		t.Errorf("%v, asked %d times", outcome, h.asked)
	}
}

// TestAltered: a byte of a record, of the certificates, of the signature.
func TestAltered(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 0x01
			return b
		}
	}
	usage := func(b []byte) []byte {
		return bytes.Replace(b, []byte{0x9F, 0x07, 2, 0xFF}, []byte{0x9F, 0x07, 2, 0xFE}, 1)
	}
	for name, test := range map[string]struct {
		id     uint16
		change func([]byte) []byte
		fails  [3]bool // SDA, DDA, CDA
	}{
		"signed record":        {0x0201, usage, [3]bool{true, true, true}},
		"issuer's certificate": {0x0302, flip(40), [3]bool{true, true, true}},
		"issuer's remainder":   {0x0301, flip(-1), [3]bool{true, true, true}},
		"SSAD":                 {0x0303, flip(-1), [3]bool{true, false, false}},
		"ICC certificate":      {0x0304, flip(-30), [3]bool{false, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			f.records = map[uint16]func([]byte) []byte{test.id: test.change}
			card := f.card(t)
			for i, can := range []byte{0x80, 0x40, 0x08} {
				card.Reset()
				term := terminal(nil)
				term.Capabilities[2] = can
				r := run(t, term, card, emv.Transaction{Amount: 5000})
				bit := []emv.TVRBit{emv.SDAFailed, emv.DDAFailed, emv.CDAFailed}[i]
				if r.TVR.Has(bit) != test.fails[i] || test.fails[i] && r.Approved {
					t.Errorf("%02X: %v", can, r)
				}
			}
		})
	}
}

// TestExpiredCertificates: neither authority key nor time may be others.
func TestExpiredCertificates(t *testing.T) {
	f := standard()
	f.certEnd = "0227" // of the month before
	app := proofOf(t, f)
	if _, err := app.AuthenticateStatic(terminal(nil).CAKeys, today); !errors.Is(err, emv.ErrAuthentication) {
		t.Errorf("an expired certificate: %v", err)
	}
	f = standard()
	f.tagList = []byte{0x82, 0x5A}
	if _, err := proofOf(t, f).StaticData(); !errors.Is(err, emv.ErrAuthentication) {
		t.Errorf("a tag list: %v", err)
	}
}

// proofOf reads a card as its proof does.
func proofOf(t *testing.T, f facts) *emv.Application {
	t.Helper()
	app, err := emv.Select(t.Context(), f.card(t), aid)
	if err == nil {
		err = app.Initiate(t.Context(), nil)
	}
	if err == nil {
		err = app.ReadRecords(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// TestProof is the parts by themselves, and the APDUs that they cost.
func TestProof(t *testing.T) {
	ctx, f := t.Context(), standard()
	app := proofOf(t, f)
	term := terminal(nil)
	if len(app.Records) != 8 || app.PAN() != pan || !app.Records[1].Signed || app.Records[2].Signed {
		t.Errorf("%v", app.Records)
	}
	dac, err := app.AuthenticateStatic(term.CAKeys, today)
	if err != nil || dac != [2]byte{0xDA, 0xC0} {
		t.Error(dac, err)
	}
	data := emv.Data{emv.TagUnpredictable: {1, 2, 3, 4}}
	if n, err := app.AuthenticateDynamic(ctx, term.CAKeys, today, nil, data); err != nil || len(n) != 8 {
		t.Error(n, err)
	}
	if n, err := app.PINTries(ctx); n != 3 || err != nil {
		t.Error(n, err)
	}
	if atc, last, err := app.Counters(ctx); atc != 1 || last != 0 || err != nil {
		t.Error(atc, last, err)
	}
	if _, err := app.GetData(ctx, emv.TagLogFormat); !errors.Is(err, emv.ErrNotFound) {
		t.Errorf("a transaction log: %v", err)
	}
	key, err := app.ICCKey(term.CAKeys, today)
	if err != nil {
		t.Fatal(err)
	}
	c, sent, err := app.GenerateAC(ctx, emv.ARQC, true, emv.TagCDOL1, data)
	if err != nil || c.Kind() != emv.ARQC || len(sent) != 29 {
		t.Fatal(c, err)
	}
	if _, err := app.VerifyCombined(key, &c, []byte{1, 2, 3, 5}, nil); !errors.Is(err, emv.ErrAuthentication) {
		t.Errorf("another unpredictable number: %v", err)
	}
	if _, err := app.VerifyCombined(key, &c, data[emv.TagUnpredictable], nil); err != nil || len(c.AC) != 8 {
		t.Error(err)
	}
	in := emv.Request{Sent: sent, AIP: app.AIP, ATC: c.ATC, IAD: c.IAD}.Input()
	if want := mac(false, session(false, masterAC, append(bytes.Clone(c.ATC), make([]byte, 6)...)), in); !bytes.Equal(c.AC, want) {
		t.Error("the ARQC is wrong")
	}
	if _, _, err := app.GenerateAC(ctx, emv.AAC, false, emv.TagCDOL2, data); err != nil {
		t.Error(err)
	}
	list, err := emv.ReadPPSE(ctx, app.Card)
	if err != nil || len(list) != 1 || !bytes.Equal(list[0].AID, aid) || list[0].Label != "BANK SEPAH" {
		t.Errorf("%v %v", list, err)
	}
}

// TestPIN: wrong ones are counted, until the PIN is blocked.
func TestPIN(t *testing.T) {
	for name, can := range map[string]byte{"enciphered": emv.CanEncipheredPIN, "plain": emv.CanPlaintextPIN} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			card := f.card(t)
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			term := terminal(h)
			term.Capabilities[1] = can
			wrong := 0
			asked := []emv.PINRequest{}
			term.PIN = func(_ context.Context, r emv.PINRequest) (*emv.PINBlock, error) {
				asked = append(asked, r)
				b := emv.PINBlock(pinBlock)
				if len(asked) <= wrong {
					b[1] ^= 0x11
				}
				return &b, nil
			}
			wrong = 2
			r := run(t, term, card, emv.Transaction{Amount: 1})
			if !r.Approved || len(asked) != 3 || !asked[2].Again || asked[2].Tries != 1 || r.CVM[2] != 2 {
				t.Errorf("%v %+v", r, asked)
			}
			card.Reset()
			wrong, asked = 9, nil
			r = run(t, term, card, emv.Transaction{Amount: 1})
			if !r.TVR.Has(emv.PINTriesExceeded) || !r.TVR.Has(emv.VerificationFailed) || len(asked) != 3 {
				t.Errorf("%v %+v", r, asked)
			}
			card.Reset()
			asked = nil
			r = run(t, term, card, emv.Transaction{Amount: 1})
			if !r.TVR.Has(emv.PINTriesExceeded) || len(asked) != 0 {
				t.Errorf("%v %+v", r, asked)
			}
		})
	}
	if b, err := emv.NewPINBlock([]byte("1234")); err != nil || !bytes.Equal(b[:], pinBlock) || strings.Contains(fmt.Sprintf("%v %x %+v %#v", b, b, b, &b), "1234") {
		t.Errorf("%v %v", b, err)
	}
	for _, bad := range []string{"123", "1234567890123", "12a4"} {
		if _, err := emv.NewPINBlock([]byte(bad)); err == nil {
			t.Errorf("%d characters were taken", len(bad))
		}
	}
}

// TestMethods is the choice of a method by conditions and capabilities.
func TestMethods(t *testing.T) {
	cases := []struct {
		name string
		cvm  string
		can  byte
		tx   emv.Transaction
		want [3]byte
		bit  emv.TVRBit
	}{
		{"signature", "00000000000000001E03", 0x20, emv.Transaction{}, [3]byte{0x1E, 3, 0}, 0},
		{"no CVM", "00000000000000001F00", 0x08, emv.Transaction{}, [3]byte{0x1F, 0, 2}, 0},
		{"fail", "00000000000000000000", 0xF8, emv.Transaction{}, [3]byte{0, 0, 1}, emv.VerificationFailed},
		{"unknown, then none", "000000000000000060001F00", 0x08, emv.Transaction{}, [3]byte{0x1F, 0, 2}, emv.UnrecognizedCVM},
		{"under X", "000003E800000000 1F06 0006", 0x08, emv.Transaction{Amount: 999}, [3]byte{0x1F, 6, 2}, 0},
		{"not under X", "000003E800000000 1F06 1E00", 0x28, emv.Transaction{Amount: 1000}, [3]byte{0x1E, 0, 0}, 0},
		{"cash", "0000000000000000 4204 1F00", 0x48, emv.Transaction{Type: emv.Cash}, [3]byte{0x42, 4, 0}, emv.OnlinePINEntered},
		{"cashback", "0000000000000000 0205 1F00", 0x48, emv.Transaction{Type: emv.Cashback, Other: 5, Amount: 6}, [3]byte{2, 5, 0}, emv.OnlinePINEntered},
		{"nothing fits", "0000000000000000 0201", 0x48, emv.Transaction{}, [3]byte{0x3F, 0, 1}, emv.VerificationFailed},
		{"PIN without pad", "0000000000000000 0100", 0x08, emv.Transaction{}, [3]byte{0x3F, 0, 1}, emv.PINPadMissing},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			f := standard()
			f.cvm = test.cvm
			term := terminal(nil)
			term.Capabilities[1] = test.can
			r := run(t, term, f.card(t), test.tx)
			if r.CVM != test.want || test.bit != 0 && !r.TVR.Has(test.bit) {
				t.Errorf("CVM results %X, TVR %v", r.CVM, r.TVR)
			}
		})
	}
}

// TestRestrictions: dates, versions, usage.
func TestRestrictions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*facts, *emv.Terminal)
		bit    emv.TVRBit
	}{
		"expired":  {func(f *facts, _ *emv.Terminal) { f.expiry = "270228" }, emv.Expired},
		"too soon": {func(_ *facts, t *emv.Terminal) { t.Now = func() time.Time { return today.AddDate(-1, 0, 0) } }, emv.NotYetEffective},
		"version":  {func(_ *facts, t *emv.Terminal) { t.Applications[0].Version = 2 }, emv.VersionsDiffer},
		"abroad": {func(f *facts, t *emv.Terminal) {
			t.Country = 276
			f.records = map[uint16]func([]byte) []byte{0x0201: func(b []byte) []byte {
				return bytes.Replace(b, []byte{0x9F, 0x07, 2, 0xFF}, []byte{0x9F, 0x07, 2, 0xAB}, 1)
			}}
		}, emv.ServiceNotAllowed},
		"forced":         {func(*facts, *emv.Terminal) {}, emv.ForcedByTheTrader},
		"random":         {func(_ *facts, t *emv.Terminal) { t.Applications[0].Target, t.Applications[0].Threshold = 99, 10000 }, emv.SelectedAtRandom},
		"floor":          {func(_ *facts, t *emv.Terminal) { t.Applications[0].FloorLimit = 1 }, emv.OverFloorLimit},
		"floor, unasked": {func(f *facts, t *emv.Terminal) { f.aip &^= emv.AIPRisk; t.Applications[0].FloorLimit = 1 }, emv.OverFloorLimit},
		"no way":         {func(_ *facts, t *emv.Terminal) { t.Capabilities[2] = 0 }, emv.NoDataAuthentication},
	} {
		t.Run(name, func(t *testing.T) {
			f, term := standard(), terminal(nil)
			test.change(&f, term)
			r := run(t, term, f.card(t), emv.Transaction{Amount: 5000, ForceOnline: name == "forced"})
			if !r.TVR.Has(test.bit) {
				t.Errorf("%v", r)
			}
		})
	}
}
