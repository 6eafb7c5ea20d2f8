package uicc_test

import (
	"bytes"
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

// TestEncodeTUAK has the known answer of pySim's own test of EF.USIM_AUTH_KEY.
func TestEncodeTUAK(t *testing.T) {
	k, topc := unhex(t, "000102030405060708090a0b0c0d0e0f"), unhex(t, "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f")
	got, err := uicc.EncodeTUAK(k, topc, &uicc.TUAKParameters{MAC: 16, RES: 16, Keys: 16, Iterations: 4})
	if want := "160a04101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f000102030405060708090a0b0c0d0e0f"; err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, %v", got, err)
	}
	got, err = uicc.EncodeTUAK(make([]byte, 32), topc, &uicc.TUAKParameters{MAC: 8, RES: 4, Keys: 32, Iterations: 1})
	if err != nil || len(got) != 67 || got[0] != 0x56 || got[1] != 0x40 {
		t.Errorf("%x, %v", got, err)
	}
	for _, p := range []*uicc.TUAKParameters{nil, {}, {MAC: 8, RES: 5, Keys: 16, Iterations: 1}, {MAC: 4, RES: 8, Keys: 16, Iterations: 1}, {MAC: 8, RES: 8, Keys: 16, Iterations: 256}} {
		if _, err := uicc.EncodeTUAK(k, topc, p); !errors.Is(err, uicc.ErrValue) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// sja5 has TUAK too, and its keys over the air in all sets.
func sja5() *uicc.Kind {
	k := sja2()
	k.Algorithms = []string{uicc.Milenage, uicc.TUAK}
	for i := range k.Programming {
		if k.Programming[i].Value == "keys" {
			k.Programming[i].If = uicc.Milenage
		}
	}
	k.Programming = append(k.Programming, uicc.SIMFile{Path: "7FFF/AF20", Value: uicc.TUAK, If: uicc.TUAK})
	return k
}

// tuakSubscription has set 1 of TS 35.233.
func tuakSubscription(t testing.TB) uicc.Subscription {
	s := subscription(t)
	s.K, s.OPc = bytes.Repeat([]byte{0xAB}, 16), unhex(t, "bd04d9530e87513c5d837ac2ad954623a8e2330c115305a73eb45d1f40cccbff")
	s.TUAK = &uicc.TUAKParameters{MAC: 8, RES: 4, Keys: 16, Iterations: 1}
	return s
}

// TestProgramTUAK writes an SJA5, which then answers as TS 35.233 says, and has an SJA2
// refused before anything is sent.
func TestProgramTUAK(t *testing.T) {
	ctx := t.Context()
	p := blank()
	p.Kind, p.SQN = usim.DelegatedSJA5, 0x111111111111-32
	c, _ := opened(t, p)
	done, err := c.Program(ctx, sja5(), []byte("12345678"), tuakSubscription(t))
	if err != nil || done.OTA != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	// SQN ⊕ f5, AMF and f1 of the set.
	autn := unhex(t, "608e0f8a8145"+"ffff"+"f9a54e6aeaa8618d")
	a, err := c.Authenticate(ctx, array(t, strings.Repeat("42", 16)), [16]byte(autn))
	if err != nil || fmt.Sprintf("%x", []byte(a.RES)) != "657acd64" {
		t.Errorf("the programmed card gives another answer: %v", err)
	}
	if done, err = c.Program(ctx, sja5(), []byte("12345678"), tuakSubscription(t)); err != nil || done.Written != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	c, r := opened(t, blank())
	before := len(r.sent)
	var refused *uicc.AlgorithmError
	if _, err := c.Program(ctx, sja2(), []byte("12345678"), tuakSubscription(t)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "kind blank cannot authenticate by TUAK") {
		t.Errorf("an SJA2 for TUAK: %v", err)
	}
	if len(r.sent) != before {
		t.Error("a card that is refused was sent something")
	}
}

// TestProgramOTA writes the keys over the air that the subscription has in the records
// that hold the blank's own, leaves the others and the counters alone, and says how
// many; pulled out before any write, the next try ends it.
func TestProgramOTA(t *testing.T) {
	ctx := t.Context()
	s := subscription(t)
	s.OTA = map[string]uicc.Secret{"KIC1": []byte("the KIc of set 1"), "KID1": []byte("the KID of set 1")}
	for limit := 0; ; limit++ {
		p := blank()
		mem := nvm.InMemory()
		ch, err := usim.New(usim.Config{Memory: mem, Profile: &p})
		must(t, err)
		before := mem.Dump()
		c, err := uicc.Open(ctx, &torn{Card: usim.Terminal{Card: ch}, limit: limit})
		must(t, err)
		_, err = c.Program(ctx, sja2(), []byte("12345678"), s)
		if err != nil {
			if !errors.Is(err, apdu.ErrInDoubt) {
				t.Fatal(err)
			}
			ch.Reset()
			c, err = uicc.Open(ctx, usim.Terminal{Card: ch})
			must(t, err)
			done, err := c.Program(ctx, sja2(), []byte("12345678"), s)
			if err != nil || done.OTA != 2 || done.Right < limit || done.Unread != 0 {
				t.Fatalf("after %d writes: %+v, %v", limit, done, err)
			}
		}
		keys, counters := otaFiles(mem.Dump())
		was, wasCounters := otaFiles(before)
		// Domain FE, set 1, triple DES with 16 bytes, checksums of 8: KIc, then KID.
		first := string(unhex(t, "fe0110")) + "the KIc of set 1" + strings.Repeat("\xFF", 16)
		second := string(unhex(t, "fe0111")) + "the KID of set 1" + strings.Repeat("\xFF", 16)
		if keys != first+second+was[2*35:] || counters != wasCounters || counters == "" {
			t.Errorf("after %d writes: %X", limit, keys)
		}
		if err == nil && limit > 7 {
			return
		}
	}
}

// otaFiles are EF.0348_KEY and EF.0348_COUNT of a software SIM's memory.
func otaFiles(dump map[string][]byte) (keys, counters string) {
	for name, value := range dump {
		switch {
		case strings.Contains(name, "data") && strings.HasSuffix(name, "A515/6F22"):
			keys = string(value)
		case strings.Contains(name, "data") && strings.HasSuffix(name, "A515/6F23"):
			counters = string(value)
		}
	}
	return keys, counters
}

// TestProgramOTARefused: what a kind has no place for, what it demands, and a card
// without room are said in a sentence, and keys are in none.
func TestProgramOTARefused(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]func(*uicc.Kind, *uicc.Subscription){
		"no place":  func(_ *uicc.Kind, s *uicc.Subscription) { s.OTA["KIK3"] = []byte("sixteen byte key") },
		"demanded":  func(k *uicc.Kind, s *uicc.Subscription) { k.Programming[6].If = ""; delete(s.OTA, "KIC1") },
		"too short": func(_ *uicc.Kind, s *uicc.Subscription) { s.OTA["KIC1"] = []byte("12345678") },
		"AES for DES": func(_ *uicc.Kind, s *uicc.Subscription) {
			s.OTA["KIC1"] = []byte("thirty two bytes of a key of AES")
		},
		"no room": func(k *uicc.Kind, _ *uicc.Subscription) { k.Programming[6].SecurityDomain = new(0x55) },
	} {
		s := subscription(t)
		s.OTA = map[string]uicc.Secret{"KIC1": []byte("sixteen byte key"), "KID1": []byte("sixteen byte key")}
		k := sja2()
		change(k, &s)
		c, _ := opened(t, blank())
		if _, err := c.Program(ctx, k, []byte("12345678"), s); !errors.Is(err, uicc.ErrValue) || strings.Contains(err.Error(), "sixteen byte") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// closed is a card on which nobody reads the keys over the air.
type closed struct {
	apdu.Card
	current bool
}

func (c *closed) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch {
	case command[1] == 0xA4:
		c.current = bytes.Contains(command, []byte{0x6F, 0x22})
	case command[1] == 0xB2 && c.current:
		return []byte{0x69, 0x82}, nil
	}
	return c.Card.Transmit(ctx, command)
}

// TestProgramUnreadable: keys that the card lets nobody read are written where the
// profile names their records, and said to be unread.
func TestProgramUnreadable(t *testing.T) {
	p := blank()
	mem := nvm.InMemory()
	ch, err := usim.New(usim.Config{Memory: mem, Profile: &p})
	must(t, err)
	c, err := uicc.Open(t.Context(), &closed{Card: usim.Terminal{Card: ch}})
	must(t, err)
	s := subscription(t)
	s.OTA = map[string]uicc.Secret{"KIC1": []byte("the KIc of set 1"), "KID1": []byte("the KID of set 1")}
	k := sja2()
	if _, err := c.Program(t.Context(), k, []byte("12345678"), s); !errors.Is(err, apdu.SWSecurityStatusNotSatisfied) {
		t.Errorf("records that are not named and not read: %v", err)
	}
	k.Programming[6].Record, k.Programming[7].Record = 1, 2
	done, err := c.Program(t.Context(), k, []byte("12345678"), s)
	if err != nil || done.Unread != 2 || done.OTA != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	if keys, _ := otaFiles(mem.Dump()); !strings.Contains(keys, "the KIc of set 1") || !strings.Contains(keys, "the KID of set 1") {
		t.Error("not written")
	}
}

// everyPurpose is a card whose first key over the air is for every purpose, until it is
// written.
type everyPurpose struct {
	apdu.Card
	keys    bool
	written bool
}

func (c *everyPurpose) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch command[1] {
	case 0xA4:
		c.keys = bytes.Contains(command, []byte{0x6F, 0x22})
	case 0xDC:
		c.written = c.written || c.keys && command[2] == 1
	}
	answer, err := c.Card.Transmit(ctx, command)
	if command[1] == 0xB2 && c.keys && command[2] == 1 && !c.written && len(answer) > 3 {
		answer[2] |= 0x03
	}
	return answer, err
}

// TestProgramOverEveryPurpose: a key for every purpose of the set gives way to the first
// key that comes; no second stands beside it.
func TestProgramOverEveryPurpose(t *testing.T) {
	p := blank()
	mem := nvm.InMemory()
	ch, err := usim.New(usim.Config{Memory: mem, Profile: &p})
	must(t, err)
	c, err := uicc.Open(t.Context(), &everyPurpose{Card: usim.Terminal{Card: ch}})
	must(t, err)
	s := subscription(t)
	s.OTA = map[string]uicc.Secret{"KIC1": []byte("the KIc of set 1"), "KID1": []byte("the KID of set 1")}
	done, err := c.Program(t.Context(), sja2(), []byte("12345678"), s)
	if err != nil || done.OTA != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	keys, _ := otaFiles(mem.Dump())
	if !strings.HasPrefix(keys, string(unhex(t, "fe0110"))+"the KIc of set 1") || strings.Count(keys, "the KI") != 2 {
		t.Errorf("%X", keys)
	}
}

// TestProgramMeasures: a file without room is found before the first is written.
func TestProgramMeasures(t *testing.T) {
	c, r := opened(t, blank()) // an SJA2, whose AF20 is too short for TUAK
	_, err := c.Program(t.Context(), sja5(), []byte("12345678"), tuakSubscription(t))
	if !errors.Is(err, uicc.ErrValue) || !strings.Contains(err.Error(), "7FFF/AF20") || !strings.HasSuffix(err.Error(), "nothing was written") {
		t.Error(err)
	}
	for _, cmd := range r.sent {
		if cmd[2:4] == "D6" || cmd[2:4] == "DC" {
			t.Errorf("it was written to: %s", cmd[:8])
		}
	}
}

// TestProgramWithTheLastTry: it is spent only where that was said.
func TestProgramWithTheLastTry(t *testing.T) {
	ctx := t.Context()
	c, _ := opened(t, blank())
	s := subscription(t)
	for range 2 {
		var bad *uicc.PINError
		if _, err := c.Program(ctx, sja2(), []byte("87654321"), s); !errors.As(err, &bad) {
			t.Fatal(err)
		}
	}
	if _, err := c.Program(ctx, sja2(), []byte("12345678"), s); !errors.Is(err, uicc.ErrLastTry) {
		t.Error(err)
	}
	s.LastTry = true
	if _, err := c.Program(ctx, sja2(), []byte("12345678"), s); err != nil {
		t.Error(err)
	}
}
