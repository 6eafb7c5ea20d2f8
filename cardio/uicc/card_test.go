package uicc_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/usim"
)

// Set 1 of 3GPP TS 35.208, and its AUTN.
const (
	setK    = "465b5ce8b199b49faa5f0a2ee238a6bc"
	setOPc  = "cd63cb71954a9f4e48a5994e37a02baf"
	setRAND = "23553cbe9637a89d218ae64dae47bf35"
	setAUTN = "55f328b43577b9b94a9ffac354dfafb3"
	setRES  = "a54211d5e3ba50bf"
	setCK   = "b40ba9a3c58b2a05bbf0d987b21bf8cb"
	setIK   = "f769bcd751044604127672711c6d3441"
	setSQN  = 0xff9bb4d0b607
)

// recorder notes the commands that reach a card.
type recorder struct {
	apdu.Card
	sent []string
}

func (r *recorder) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	r.sent = append(r.sent, strings.ToUpper(hex.EncodeToString(command)))
	return r.Card.Transmit(ctx, command)
}

func operators(t testing.TB) usim.Profile {
	return usim.Profile{
		ICCID: "8998110000000000012", IMSI: "432110000000001", MSISDN: "+989101234567", SPN: "Hamrah-e Aval", ACC: 0x0002,
		K: usim.Secret(unhex(t, setK)), OPc: usim.Secret(unhex(t, setOPc)), SQN: setSQN - 64, ISIM: true, IMPI: "432110000000001@ims", Domain: "ims",
	}
}

func chip(t testing.TB, p usim.Profile) (*usim.Chip, *recorder) {
	t.Helper()
	c, err := usim.New(usim.Config{Memory: nvm.InMemory(), Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	return c, &recorder{Card: usim.Terminal{Card: c}}
}

func opened(t testing.TB, p usim.Profile) (*uicc.Card, *recorder) {
	t.Helper()
	_, r := chip(t, p)
	c, err := uicc.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func array(t testing.TB, s string) [16]byte {
	t.Helper()
	return [16]byte(unhex(t, s))
}

// TestOperatorsSIM is read as a USIM and as a SIM.
func TestOperatorsSIM(t *testing.T) {
	ctx := t.Context()
	c, _ := opened(t, operators(t))
	if c.Application() != uicc.USIM || len(c.AID()) < 7 {
		t.Errorf("opened as %v %X", c.Application(), c.AID())
	}
	_, r := chip(t, operators(t))
	old, err := uicc.OpenSIM(ctx, r)
	must(t, err)
	for _, c := range []*uicc.Card{c, old} {
		if s, err := c.ICCID(ctx); err != nil || s != "8998110000000000012" {
			t.Errorf("%v: ICCID %s, %v", c.Application(), s, err)
		}
		if _, err := c.IMSI(ctx); err == nil {
			t.Errorf("%v: the IMSI was read without PIN1", c.Application())
		}
		must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
		if s, err := c.IMSI(ctx); err != nil || s != "432110000000001" {
			t.Errorf("%v: IMSI %s, %v", c.Application(), s, err)
		}
		if s, err := c.MSISDN(ctx); err != nil || s != "+989101234567" {
			t.Errorf("%v: number %s, %v", c.Application(), s, err)
		}
		b, err := c.Read(ctx, uicc.PathSPN)
		must(t, err)
		if spn, err := uicc.DecodeSPN(b); err != nil || spn.Name != "Hamrah-e Aval" {
			t.Errorf("%v: %+v, %v", c.Application(), spn, err)
		}
		if b, err = c.Read(ctx, uicc.PathACC); err != nil || fmt.Sprintf("%X", b) != "0002" {
			t.Errorf("%v: %X, %v", c.Application(), b, err)
		}
		if b, err = c.Read(ctx, uicc.PathAD); err != nil {
			t.Error(err)
		} else if ad, err := uicc.DecodeAD(b); err != nil || ad.MNCDigits != 2 {
			t.Errorf("%v: %+v, %v", c.Application(), ad, err)
		}
	}
	list, err := c.Directory(ctx)
	if err != nil || len(list) != 2 || !list[0].Is(uicc.USIM) {
		t.Errorf("%+v, %v", list, err)
	}
	must(t, c.SelectApplication(ctx, unhex(t, "A0000000871004")))
	if c.Application() != uicc.ISIM {
		t.Error("the ISIM is not selected")
	}
	if err := c.SelectApplication(ctx, unhex(t, "A0000000871002AA")); !errors.Is(err, uicc.ErrNotAllowed) && !errors.Is(err, uicc.ErrNoApplication) {
		t.Error(err)
	}
	must(t, c.SelectApplication(ctx, unhex(t, "A000000087"))) // in part: the first
	f, err := c.SelectPath(ctx, "3F00/7FFF/6F07")
	if err != nil || f.Type != uicc.Transparent || f.Size != 9 || f.SFI != 7 || f.LifeCycle != 5 || f.AccessFile == 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err = c.Select(ctx, uicc.PathMSISDN); err != nil || f.Type != uicc.LinearFixed || f.RecordLength != 28 || f.Records != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err = c.Select(ctx, "3F00"); err != nil || f.Type != uicc.MF || len(f.PINs) != 3 || !f.PINs[0].Enabled {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestPINs: tries are read first, the last is not spent, and a wrong one is told.
func TestPINs(t *testing.T) {
	ctx := t.Context()
	for _, old := range []bool{false, true} {
		_, r := chip(t, operators(t))
		open := uicc.Open
		if old {
			open = uicc.OpenSIM
		}
		c, err := open(ctx, r)
		must(t, err)
		if n, err := c.Tries(ctx, uicc.PIN1); err != nil || n != 3 {
			t.Errorf("%d tries, %v", n, err)
		}
		var wrong *uicc.PINError
		for left := 2; left >= 1; left-- {
			if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("1111"), false); !errors.As(err, &wrong) || wrong.Left != left {
				t.Errorf("%v: %v, want %d left", c.Application(), err, left)
			}
		}
		before := len(r.sent)
		if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("1111"), false); !errors.Is(err, uicc.ErrLastTry) {
			t.Error(err)
		}
		for _, s := range r.sent[before:] {
			if strings.Contains(s, "31313131") {
				t.Error("the last try was spent")
			}
		}
		if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("1111"), true); !errors.Is(err, uicc.ErrPINBlocked) {
			t.Error(err)
		}
		if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), true); !errors.Is(err, uicc.ErrPINBlocked) {
			t.Error(err)
		}
		wrong = nil
		if err := c.UnblockPIN(ctx, uicc.PIN1, []byte("99999999"), []byte("2468"), false); !errors.As(err, &wrong) || wrong.Left != 9 {
			t.Errorf("%v: %v, want 9 tries of the unblock key left", c.Application(), err)
		}
		must(t, c.UnblockPIN(ctx, uicc.PIN1, []byte("11111111"), []byte("2468"), false))
		must(t, c.ChangePIN(ctx, uicc.PIN1, []byte("2468"), []byte("13579"), false))
		must(t, c.DisablePIN(ctx, []byte("13579"), false))
		if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("13579"), false); !errors.Is(err, uicc.ErrPINDisabled) {
			t.Errorf("%v: %v", c.Application(), err)
		}
		must(t, c.EnablePIN(ctx, []byte("13579"), false))
		must(t, c.VerifyPIN(ctx, uicc.PIN2, []byte("5678"), false))
		for _, bad := range []string{"", "123", "123456789", "12a4"} {
			if err := c.VerifyPIN(ctx, uicc.PIN1, []byte(bad), false); !errors.Is(err, uicc.ErrPINFormat) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	for text, want := range map[string]string{"3838383838383838": "3838383838383838", "12345678": "3132333435363738", "1234": "31323334FFFFFFFF"} {
		if b, err := uicc.ParseADM(text); err != nil || fmt.Sprintf("%X", b) != want {
			t.Errorf("%s: %X, %v", text, b, err)
		}
	}
}

// TestUnblockKey: its last try is not spent unasked either, nor that of ADM1 where the
// card does not tell how many are left.
func TestUnblockKey(t *testing.T) {
	ctx := t.Context()
	for _, open := range []func(context.Context, apdu.Card) (*uicc.Card, error){uicc.Open, uicc.OpenSIM} {
		_, r := chip(t, operators(t))
		c, err := open(ctx, r)
		must(t, err)
		for left := 9; left >= 1; left-- {
			var wrong *uicc.PINError
			if err := c.UnblockPIN(ctx, uicc.PIN1, []byte("99999999"), []byte("2468"), false); !errors.As(err, &wrong) || wrong.Left != left {
				t.Fatalf("%v: %v, want %d left", c.Application(), err, left)
			}
		}
		before := len(r.sent)
		if err := c.UnblockPIN(ctx, uicc.PIN1, []byte("99999999"), []byte("2468"), false); !errors.Is(err, uicc.ErrLastTry) {
			t.Error(err)
		}
		for _, s := range r.sent[before:] {
			if strings.Contains(s, "39393939") {
				t.Error("the last try of the unblock key was spent")
			}
		}
		if n, err := c.UnblockTries(ctx, uicc.PIN1); err != nil || n != 1 {
			t.Errorf("%d tries, %v", n, err)
		}
		must(t, c.UnblockPIN(ctx, uicc.PIN1, []byte("11111111"), []byte("2468"), true))
		if n, err := c.UnblockTries(ctx, uicc.PIN1); err != nil || n != 10 {
			t.Errorf("%d tries, %v", n, err)
		}
	}
	_, r := chip(t, blank())
	c, err := uicc.OpenSIM(ctx, r)
	must(t, err)
	if err := c.VerifyADM(ctx, []byte("12345678"), false); !errors.Is(err, uicc.ErrLastTry) {
		t.Error(err)
	}
	must(t, c.VerifyADM(ctx, []byte("12345678"), true))
}

// TestAuthenticate answers set 1 of TS 35.208, once; then the sequence number is used.
func TestAuthenticate(t *testing.T) {
	ctx := t.Context()
	c, _ := opened(t, operators(t))
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	a, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN))
	must(t, err)
	if hex.EncodeToString([]byte(a.RES)) != setRES || hex.EncodeToString([]byte(a.CK)) != setCK || hex.EncodeToString([]byte(a.IK)) != setIK || a.AUTS != nil {
		t.Error("another answer than the standard's")
	}
	if s := fmt.Sprintf("%v %+v %x %s", a.RES, a, a.CK, a.IK); strings.Contains(s, setRES) || strings.Contains(s, setCK) || strings.Contains(s, "165 66") {
		t.Errorf("secrets are printed: %s", s)
	}
	a.Zero()
	if strings.Trim(hex.EncodeToString([]byte(a.RES)), "0") != "" {
		t.Error("RES is still there")
	}
	if a, err = c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN)); err != nil || len(a.AUTS) != 14 || a.RES != nil {
		t.Errorf("a replayed vector: %v, %v", a, err)
	}
	forged := array(t, setAUTN)
	forged[15] ^= 1
	if _, err := c.Authenticate(ctx, array(t, setRAND), forged); !errors.Is(err, uicc.ErrMAC) {
		t.Error(err)
	}
	g, err := c.AuthenticateGSM(ctx, array(t, setRAND))
	if err != nil || len(g.SRES) != 4 || len(g.Kc) != 8 {
		t.Errorf("GSM context: %v", err)
	}
	_, r := chip(t, operators(t))
	old, err := uicc.OpenSIM(ctx, r)
	must(t, err)
	must(t, old.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	again, err := old.AuthenticateGSM(ctx, array(t, setRAND))
	if err != nil || string(again.SRES) != string(g.SRES) || string(again.Kc) != string(g.Kc) {
		t.Errorf("class A0 gives another answer, %v", err)
	}
	if _, err := old.Authenticate(ctx, array(t, setRAND), array(t, setAUTN)); !errors.Is(err, uicc.ErrNoContext) {
		t.Error(err)
	}
	c, _ = opened(t, operators(t))
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	if a, err := c.Bootstrap(ctx, array(t, setRAND), array(t, setAUTN)); !errors.Is(err, uicc.ErrMAC) && (err != nil || len(a.RES) == 0 && len(a.AUTS) == 0) {
		t.Errorf("bootstrapping: %v, %v", a, err)
	}
}

// TestToolkit: a card that wants to show a menu is declined, and its answers count all
// the same.
func TestToolkit(t *testing.T) {
	ctx := t.Context()
	p := operators(t)
	p.Proactive = [][]byte{unhex(t, "D009810301260082028182"), unhex(t, "D009810301250082028182")}
	c, _ := opened(t, p)
	must(t, c.Profile(ctx))
	if s, err := c.ICCID(ctx); err != nil || s != p.ICCID {
		t.Error(s, err)
	}
	if !c.Pending() {
		t.Error("no toolkit command waits")
	}
	must(t, c.Decline(ctx))
	if c.Pending() {
		t.Error("a toolkit command still waits")
	}
}
