package uicc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/usim"
)

// sja2 is a kind as its profile says it.
func sja2() *uicc.Kind {
	return &uicc.Kind{Name: "blank", Title: "blank", ADM: 10, Programming: []uicc.SIMFile{
		{Path: "7FFF/6F07", Value: "imsi"}, {Path: "7FFF/6FAD", Value: "ad"}, {Path: "7FFF/6F78", Value: "acc"}, {Path: "7FFF/6F46", Value: "spn", If: "spn"},
		{Path: "7FFF/6F62", Value: "home-network"}, {Path: "7FFF/6F40", Record: 1, Value: "msisdn", If: "msisdn"},
		{Path: "A515/6F22", Value: "ota", SecurityDomain: new(0xFE), KeySet: 1, Key: "kic", If: "ota"}, {Path: "A515/6F22", Value: "ota", SecurityDomain: new(0xFE), KeySet: 1, Key: "kid", If: "ota"},
		{Path: "A515/6F20", Value: "keys", Prefix: "14"}, {Path: "7FFF/AF22", Value: "keys", Prefix: "14"}, {Path: "7FFF/AF20", Value: "keys", Prefix: "14"},
	}}
}

func blank() usim.Profile {
	return usim.Profile{Kind: usim.DelegatedBlank, ICCID: "8998350000000000010", ADM1: "12345678", SQN: setSQN - 64}
}

func subscription(t testing.TB) uicc.Subscription {
	return uicc.Subscription{ICCID: "8998350000000000010", IMSI: "432350123456789", MNCDigits: 2, SPN: "Irancell", ACC: 0x0004, K: unhex(t, setK), OPc: unhex(t, setOPc), PIN1: []byte("0000")}
}

// TestProgram writes a blank, which then answers as its standard's vector says.
func TestProgram(t *testing.T) {
	ctx := t.Context()
	c, r := opened(t, blank())
	s, adm := subscription(t), []byte("12345678")
	wrong := s
	wrong.ICCID = "8998350000000000028"
	if p, err := c.Program(ctx, sja2(), adm, wrong); !errors.Is(err, uicc.ErrOtherCard) || p.Written != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, cmd := range r.sent {
		if cmd[2:4] == "20" || cmd[2:4] == "D6" || cmd[2:4] == "DC" {
			t.Errorf("another card was written to: %s", cmd[:8])
		}
	}
	if _, err := c.Program(ctx, &uicc.Kind{Name: "operator", Title: "x"}, adm, s); !errors.Is(err, uicc.ErrNotBlank) {
		t.Error(err)
	}
	var bad *uicc.PINError
	if _, err := c.Program(ctx, sja2(), []byte("87654321"), s); !errors.As(err, &bad) {
		t.Error(err)
	}
	p, err := c.Program(ctx, sja2(), adm, s)
	must(t, err)
	if p.Written+p.Right != 8 || p.Written < 6 { // AF22 is A515/6F20 under another name
		t.Errorf("%+v", p)
	}
	if p, err = c.Program(ctx, sja2(), adm, s); err != nil || p.Written != 0 || p.Right != 8 {
		t.Errorf("again: %+v, %v", p, err)
	}
	if _, err := c.Read(ctx, "7FFF/AF20"); !errors.Is(err, uicc.ErrNotAllowed) {
		t.Errorf("key files stay open: %v", err)
	}
	must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
	if imsi, err := c.IMSI(ctx); err != nil || imsi != s.IMSI {
		t.Error(imsi, err)
	}
	a, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN))
	if err != nil || fmt.Sprintf("%X", []byte(a.RES)) != strings.ToUpper(setRES) {
		t.Errorf("the programmed card gives another answer: %v", err)
	}
}

// TestProgramISIM: a blank's ISIM gets the key too, by a profile that says so, and a
// card without ISIM is written without it.
func TestProgramISIM(t *testing.T) {
	ctx := t.Context()
	k := sja2()
	last := len(k.Programming) - 1
	keys := k.Programming[last]
	keys.Application = "isim"
	k.Programming = slices.Insert(slices.Clone(k.Programming), last, keys,
		uicc.SIMFile{Path: "7FFF/6F02", Application: "isim", Value: "impi"}, uicc.SIMFile{Path: "7FFF/6F03", Application: "isim", Value: "domain"},
		uicc.SIMFile{Path: "7FFF/6F04", Application: "isim", Record: 1, Value: "impu"})
	must(t, k.Check())
	s, adm := subscription(t), []byte("12345678")
	for _, with := range []bool{true, false} {
		b := blank()
		if with {
			b.ISIM, b.IMPI, b.Domain, b.IMPU = true, "a@ims.example", "ims.example", "sip:a@ims.example"
		}
		c, _ := opened(t, b)
		want := 8
		if with {
			want = 12
		}
		p, err := c.Program(ctx, k, adm, s)
		if err != nil || p.Written+p.Right != want || c.Application() != uicc.USIM {
			t.Fatalf("ISIM %t: %+v, %v", with, p, err)
		}
		if p, err = c.Program(ctx, k, adm, s); err != nil || p.Written != 0 || p.Right != want {
			t.Errorf("ISIM %t, again: %+v, %v", with, p, err)
		}
		if !with {
			continue
		}
		list, err := c.Directory(ctx)
		must(t, err)
		i := slices.IndexFunc(list, func(e uicc.Entry) bool { return e.Is(uicc.ISIM) })
		must(t, c.SelectApplication(ctx, list[i].AID))
		must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
		const home = "ims.mnc035.mcc432.3gppnetwork.org" // TS 23.003 clause 13.2
		for path, text := range map[string]string{"7FFF/6F02": "432350123456789@" + home, "7FFF/6F03": home} {
			if b, err := c.Read(ctx, path); err != nil || !bytes.HasPrefix(b, append([]byte{0x80, byte(len(text))}, text...)) {
				t.Errorf("%s: %s, %v", path, b, err)
			}
		}
		if b, err := c.ReadRecord(ctx, "7FFF/6F04", 1); err != nil || !bytes.Contains(b, []byte("sip:432350123456789@"+home)) {
			t.Errorf("IMPU: %s, %v", b, err)
		}
		a, err := c.Authenticate(ctx, array(t, setRAND), array(t, setAUTN))
		if err != nil || fmt.Sprintf("%X", []byte(a.RES)) != strings.ToUpper(setRES) {
			t.Errorf("the ISIM gives another answer: %v", err)
		}
	}
	k.Programming[0].Application, k.Programming[0].Path = "isim", "A515/6F20"
	if k.Check() == nil {
		t.Error("a file of the ISIM outside of it")
	}
}

// torn loses the card after a number of writes.
type torn struct {
	apdu.Card
	writes, limit int
}

func (c *torn) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[1] == 0xD6 || command[1] == 0xDC {
		if c.writes++; c.writes > c.limit {
			return nil, apdu.ErrInDoubt
		}
	}
	return c.Card.Transmit(ctx, command)
}

// TestProgramResumes: pulled out before any write, the next try ends it.
func TestProgramResumes(t *testing.T) {
	ctx := t.Context()
	for limit := 0; ; limit++ {
		p := blank()
		ch, err := usim.New(usim.Config{Memory: nvm.InMemory(), Profile: &p})
		must(t, err)
		c, err := uicc.Open(ctx, &torn{Card: usim.Terminal{Card: ch}, limit: limit})
		must(t, err)
		_, err = c.Program(ctx, sja2(), []byte("12345678"), subscription(t))
		if err == nil {
			if limit < 6 {
				t.Errorf("only %d writes", limit)
			}
			return
		}
		if !errors.Is(err, apdu.ErrInDoubt) {
			t.Fatal(err)
		}
		ch.Reset()
		c, err = uicc.Open(ctx, usim.Terminal{Card: ch})
		must(t, err)
		done, err := c.Program(ctx, sja2(), []byte("12345678"), subscription(t))
		if err != nil || done.Written+done.Right != 8 || done.Right < limit {
			t.Errorf("after %d writes: %+v, %v", limit, done, err)
		}
	}
}

// TestKinds: what a profile must not say.
func TestKinds(t *testing.T) {
	must(t, sja2().Check())
	for name, change := range map[string]func(*uicc.Kind){
		"no name": func(k *uicc.Kind) { k.Name = "" }, "no key": func(k *uicc.Kind) { k.ADM = 0 }, "the ICCID": func(k *uicc.Kind) { k.Programming[0].Path = "3F00/2FE2" },
		"a value": func(k *uicc.Kind) { k.Programming[0].Value = "imei" }, "a path": func(k *uicc.Kind) { k.Programming[0].Path = "6F07" },
		"a prefix": func(k *uicc.Kind) { k.Programming[0].Prefix = "1" }, "an offset in a record": func(k *uicc.Kind) { k.Programming[5].Offset = 2 }, "an ATR": func(k *uicc.Kind) { k.ATRs = []string{"3B9"} },
		"no security domain": func(k *uicc.Kind) { k.Programming[6].SecurityDomain = nil }, "a large one": func(k *uicc.Kind) { k.Programming[6].SecurityDomain = new(256) },
		"a domain of no key": func(k *uicc.Kind) { k.Programming[0].SecurityDomain = new(0) },
	} {
		k := sja2()
		change(k)
		if k.Check() == nil {
			t.Error(name)
		}
	}
	k := uicc.Kind{ATRs: []string{"3B9F96801F87??"}}
	if !k.Fits(unhex(t, "3B9F96801F8780")) || k.Fits(unhex(t, "3B9F96801F86")) || k.Fits(unhex(t, "3B9F96801F868000")) || !(&uicc.Kind{}).Fits(nil) {
		t.Error("answers to reset")
	}
}
