package lds

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"pgregory.net/rapid"
)

// CMAC of RFC 4493 section 4 and, for the longer keys, SP 800-38B appendix D.
func TestCMAC(t *testing.T) {
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for _, c := range []struct {
		key  string
		n    int
		want string
	}{
		{"2b7e151628aed2a6abf7158809cf4f3c", 0, "bb1d6929e9593728"},
		{"2b7e151628aed2a6abf7158809cf4f3c", 16, "070a16b46b4d4144"},
		{"2b7e151628aed2a6abf7158809cf4f3c", 40, "dfa66747de9ae630"},
		{"2b7e151628aed2a6abf7158809cf4f3c", 64, "51f0bebf7e3b9d92"},
		{"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", 0, "d17ddf46adaacde5"},
		{"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", 16, "9e99a7bf31e71090"},
		{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", 0, "028962f61b7bf89e"},
		{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", 16, "28a7023f452e8f82"},
	} {
		m, err := AES128.mac(unhex(t, c.key))
		if err != nil {
			t.Fatal(err)
		}
		got := m.sum(message[:c.n])
		wantHex(t, "the MAC", got[:], c.want)
	}
}

func session(t interface{ Fatal(...any) }, c Cipher, card apdu.Card) *SecureMessaging {
	s, err := sessionFrom(card, c, []byte("a shared secret that everyone knows"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the chip protects, the terminal reads, whatever the cipher, length and
// status word; and a single changed bit is found.
func TestAnswersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]Cipher{TripleDES, AES128, AES192, AES256}).Draw(t, "cipher")
		data := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "data")
		sw := rapid.SampledFrom([]apdu.StatusWord{0x9000, 0x6282, 0x6A82, 0x63C2}).Draw(t, "status")
		odd := rapid.Bool().Draw(t, "odd")
		chip, terminal := session(t, c, nil), session(t, c, nil)
		if _, err := terminal.Wrap([]apdu.Command{{INS: 0xB0, Ne: 1}}); err != nil {
			t.Fatal(err)
		}
		increment(chip.ssc)
		r := apdu.Response{Data: protect(chip, odd, data, sw), SW: sw}
		got, err := terminal.Unwrap([]apdu.Response{r}, 1)
		if err != nil || got[0].SW != sw || !bytes.Equal(got[0].Data, data) {
			t.Fatalf("got %v, %v", got, err)
		}
		again := session(t, c, nil)
		bad := bytes.Clone(r.Data)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := again.Unwrap([]apdu.Response{{Data: bad, SW: sw}}, 1); !errors.Is(err, ErrSecureMessaging) {
			t.Fatalf("a changed bit: %v", err)
		}
		if _, err := again.Wrap([]apdu.Command{{INS: 0xB0, Ne: 1}}); !errors.Is(err, ErrSessionOver) {
			t.Fatalf("the session goes on: %v", err)
		}
	})
}

// Answers of a chip, or of someone between, that must end the session.
func TestAnswersThatEndTheSession(t *testing.T) {
	genuine := func() []byte {
		s := session(t, AES128, nil)
		increment(s.ssc)
		return protect(s, false, []byte("data"), apdu.SWSuccess)
	}()
	swapped := append(bytes.Clone(genuine[len(genuine)-14:len(genuine)-10]), genuine[:len(genuine)-14]...)
	for name, r := range map[string]apdu.Response{
		"unprotected success": {SW: apdu.SWSuccess, Data: nil},
		"unprotected data":    {SW: apdu.SWSuccess, Data: []byte("plain")},
		"unprotected refusal": {SW: apdu.SWSecureMessagingIncorrect},
		"no MAC":              {SW: apdu.SWSuccess, Data: genuine[:len(genuine)-10]},
		"no status":           {SW: apdu.SWSuccess, Data: append(bytes.Clone(genuine[:len(genuine)-14]), genuine[len(genuine)-10:]...)},
		"another order":       {SW: apdu.SWSuccess, Data: append(swapped, genuine[len(genuine)-10:]...)},
		"a refusal outside":   {SW: apdu.SWFileNotFound, Data: genuine},
		"something after":     {SW: apdu.SWSuccess, Data: append(bytes.Clone(genuine), 0x99, 2, 0x90, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			card := answers{hex.EncodeToString(r.Bytes())}
			s := session(t, AES128, &card)
			raw, _ := selectFile(FileCOM).Bytes()
			if _, err := s.Transmit(context.Background(), raw); !errors.Is(err, ErrSecureMessaging) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Transmit(context.Background(), raw); !errors.Is(err, ErrSessionOver) {
				t.Errorf("and after it %v", err)
			}
		})
	}
	card := answers{hex.EncodeToString(genuine) + "9000", hex.EncodeToString(genuine) + "9000"}
	s := session(t, AES128, &card)
	if _, err := s.Exchange(context.Background(), []apdu.Command{{INS: 0xB0, Ne: 4}, {INS: 0xB0, Ne: 4}}); !errors.Is(err, ErrSecureMessaging) {
		t.Errorf("a replayed answer: %v", err)
	}
}

func TestCommandsThatCannotBeWrapped(t *testing.T) {
	s := session(t, AES128, nil)
	for _, cla := range []byte{0x80, 0x0C, 0x40} {
		if _, err := s.Wrap([]apdu.Command{{CLA: cla, INS: 0xB0, Ne: 1}}); err == nil {
			t.Errorf("class %02X is wrapped", cla)
		}
	}
	s.Close()
	if _, err := s.Wrap(nil); !errors.Is(err, ErrSessionOver) {
		t.Errorf("after Close: %v", err)
	}
}

// What the chip offers and this package does not speak is named; of what it
// speaks, the strongest is taken.
func TestChoosingPACE(t *testing.T) {
	info := func(mapping, cipher, version, parameter int) []byte {
		oid, _ := asn1.Marshal(append(append(asn1.ObjectIdentifier{}, oidPACE...), mapping, cipher))
		return tlv.Encode(0x30, oid, []byte{2, 1, byte(version)}, []byte{2, 1, byte(parameter)})
	}
	for name, c := range map[string]struct {
		infos     [][]byte
		cipher    Cipher // 0: refused
		parameter int
		ambiguous bool
	}{
		"nothing":                  {nil, 0, 0, false},
		"integrated mapping":       {[][]byte{info(4, 2, 2, 12)}, 0, 0, false},
		"chip authentication's":    {[][]byte{info(6, 2, 2, 12)}, 0, 0, false},
		"modular Diffie-Hellman":   {[][]byte{info(1, 2, 2, 0)}, 0, 0, false},
		"an unknown parameter":     {[][]byte{info(2, 2, 2, 31)}, 0, 0, false},
		"version 1":                {[][]byte{info(2, 2, 1, 12)}, 0, 0, false},
		"an unknown cipher":        {[][]byte{info(2, 9, 2, 12)}, 0, 0, false},
		"the strongest of several": {[][]byte{info(2, 1, 2, 13), info(4, 4, 2, 12), info(2, 4, 2, 16), info(2, 2, 2, 12)}, AES256, 16, false},
		"two curves":               {[][]byte{info(2, 2, 2, 12), info(2, 2, 2, 13)}, AES128, 12, true},
	} {
		t.Run(name, func(t *testing.T) {
			infos, err := ParseSecurityInfos(tlv.Encode(0x31, c.infos...))
			if err != nil {
				t.Fatal(err)
			}
			p, curve, ambiguous, err := infos.usablePACE()
			if c.cipher == 0 {
				if !errors.Is(err, ErrNotSupported) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || p.Cipher != c.cipher || curve.ID != c.parameter || ambiguous != c.ambiguous {
				t.Errorf("got %v on %v, ambiguous %v, %v", p.Cipher, curve, ambiguous, err)
			}
		})
	}
}

func TestPasswords(t *testing.T) {
	a, err1 := MRZ("L898902C", "690806", "940623")
	b, err2 := MRZInformation("L898902C<369080619406236")
	if err1 != nil || err2 != nil || !bytes.Equal(a.secret, b.secret) {
		t.Errorf("two ways to one password: %v, %v", err1, err2)
	}
	if _, err := MRZInformation("D23145890734" + check("D23145890734") + "34071279507122"); err != nil {
		t.Errorf("a long document number: %v", err)
	}
	for _, bad := range []string{"", "12a456", "123", "L898902C<369080619406237"} {
		if _, err := CAN(bad); !errors.Is(err, ErrPassword) {
			t.Errorf("CAN of %d characters: %v", len(bad), err)
		}
		if _, err := MRZInformation(bad); !errors.Is(err, ErrPassword) {
			t.Errorf("MRZ information of %d characters: %v", len(bad), err)
		}
	}
	if _, err := MRZ("l898902c", "690806", "940623"); !errors.Is(err, ErrPassword) {
		t.Errorf("small letters: %v", err)
	}
	a.Zero()
	if !a.IsZero() {
		t.Error("Zero leaves the password")
	}
}

func FuzzSecurityInfos(f *testing.F) {
	f.Add(unhex(f, "31143012060A04007F0007020204020202010202010D"))
	f.Fuzz(func(t *testing.T, der []byte) {
		infos, err := ParseSecurityInfos(der)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		_, _, _, _ = infos.usablePACE()
		_, _, _ = infos.ChipAuthKey()
	})
}

func FuzzUnwrap(f *testing.F) {
	s := session(f, AES128, nil)
	increment(s.ssc)
	f.Add(protect(s, false, []byte("data"), apdu.SWSuccess), uint16(0x9000))
	f.Fuzz(func(t *testing.T, data []byte, sw uint16) {
		for c := TripleDES; c <= AES256; c++ {
			s := session(t, c, nil)
			r, err := s.Unwrap([]apdu.Response{{Data: data, SW: apdu.StatusWord(sw)}}, 1)
			if err == nil && (c != AES128 || r[0].SW != apdu.SWSuccess) {
				t.Fatal("an answer that no chip protected was taken")
			}
		}
	})
}

// FuzzChip lets a chip answer anything to PACE and to what follows.
func FuzzChip(f *testing.F) {
	f.Add([]byte("\x02\x90\x00\x16\x7C\x12\x80\x100123456789abcdef\x90\x00"))
	password, err := CAN("123456")
	if err != nil {
		f.Fatal(err)
	}
	infos, err := ParseSecurityInfos(unhex(f, "31143012060A04007F0007020204020202010202010C"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		ctx := context.Background()
		if _, err := OpenPACE(ctx, &tape{stream}, password, infos); err == nil {
			t.Fatal("a chip without the password was let in")
		}
		_, _, _ = ReadCardAccess(ctx, &tape{stream})
	})
}

// tape answers from a stream of length-prefixed responses.
type tape struct{ b []byte }

func (t *tape) Transmit(context.Context, []byte) ([]byte, error) {
	if len(t.b) == 0 {
		return nil, nil
	}
	n := min(int(t.b[0]), len(t.b)-1)
	out := t.b[1 : 1+n]
	t.b = t.b[1+n:]
	return out, nil
}
