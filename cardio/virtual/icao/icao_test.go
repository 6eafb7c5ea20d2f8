package icao

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCMAC has the examples of NIST SP 800-38B appendix D.1.
func TestCMAC(t *testing.T) {
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	c := NewCMAC(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		if got := c.Sum(message[:n]); hex.EncodeToString(got[:]) != want {
			t.Errorf("CMAC of %d bytes: %x, want %s", n, got, want)
		}
	}
}

func TestPadding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "data")
		block := rapid.SampledFrom([]int{8, 16}).Draw(t, "block")
		p := Pad(data, block)
		if len(p)%block != 0 || len(p) <= len(data) || len(p) > len(data)+block {
			t.Fatalf("%d bytes padded to %d", len(data), len(p))
		}
		back, ok := Unpad(p)
		if !ok || !bytes.Equal(back, data) {
			t.Fatalf("unpadded to %X", back)
		}
	})
	for _, bad := range []string{"", "0000", "0100", "81"} {
		if _, ok := Unpad(unhex(t, bad)); ok {
			t.Errorf("%q is accepted as padded", bad)
		}
	}
}

// FuzzUnwrap gives protected bytes to a session that made none of them.
func FuzzUnwrap(f *testing.F) {
	f.Add(unhex(f, "0CA4020C158709016375432908C044F68E08BF8B92D635FF24F800"))
	f.Add(unhex(f, "0CB000000D9701048E08ED6705417E96BA5500"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, err := apdu.Parse(b)
		if err != nil {
			return
		}
		for _, s := range []*Session{NewSessionAES([]byte("a")), NewSession3DES([]byte("b"), make([]byte, 8))} {
			if _, err := s.Unwrap(cmd); !errors.Is(err, ErrObjects) && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrChecksum) {
				t.Fatalf("%v", err)
			}
		}
	})
}

// TestRoom: the greatest plain answer fits the outer length, and one byte
// more does not.
func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSessionAES([]byte("a"))
		if rapid.Bool().Draw(t, "3DES") {
			s = NewSession3DES([]byte("b"), make([]byte, 8))
		}
		c := apdu.Command{INS: rapid.SampledFrom([]byte{0xB0, 0xB1}).Draw(t, "ins"),
			Ne: rapid.OneOf(rapid.IntRange(0, 600), rapid.IntRange(33000, 65536)).Draw(t, "ne")}
		c.Extended = c.Ne > 256 || c.Ne == 0 && rapid.Bool().Draw(t, "extended")
		tag := tagCryptogram
		if c.INS == 0xB1 {
			tag = tagCryptogramOddINS
		}
		n, outer := s.room(c, tag), c.Ne
		switch {
		case c.Ne == 0 && c.Extended:
			outer = 65536
		case c.Ne == 0:
			outer = 256
		}
		if got := len(s.Wrap(c.INS, make([]byte, n), apdu.SWSuccess)); n > 0 && got > outer {
			t.Fatalf("%d plain bytes become %d, outer Ne is %d", n, got, outer)
		}
		if got := len(s.Wrap(c.INS, make([]byte, n+1), apdu.SWSuccess)); got <= outer {
			t.Fatalf("%d plain bytes would fit too: %d of %d", n+1, got, outer)
		}
	})
	short := apdu.Command{INS: 0xB0, Ne: 256}
	if n := NewSessionAES(nil).room(short, tagCryptogram); n != 223 {
		t.Errorf("AES: %d plain bytes in a short answer, readers count on 223", n)
	}
	if n := NewSession3DES(nil, make([]byte, 8)).room(short, tagCryptogram); n != 231 {
		t.Errorf("3DES: %d plain bytes in a short answer, want 231", n)
	}
}

// TestAnswerBAC is Doc 9303-11 appendix D.3: the chip's side, with the
// counter that secure messaging begins at.
func TestAnswerBAC(t *testing.T) {
	kEnc, kMAC := unhex(t, "ab94fdecf2674fdfb9b391f85d7f76f2"), unhex(t, "7962d9ece03d1acd4c76089dce131543")
	data := unhex(t, "72c29c2371cc9bdb65b779b8e8d37b29ecc154aa56a8799fae2f498f76ed92f25f1448eea8ad90a7")
	challenge, kIC := unhex(t, "4608f91988702212"), unhex(t, "0b4f80323eb3191cb04970cb4052790b")
	answer, s, err := AnswerBAC(bytes.NewReader(kIC), kEnc, kMAC, challenge, data)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "46b9342a41396cd7386bf5803104d7cedc122b9132139baf2eedc94ee178534f2f2d235d074d7449"); !bytes.Equal(answer, want) {
		t.Errorf("answer %X, want %X", answer, want)
	}
	if !bytes.Equal(s.ssc, unhex(t, "887022120c06c226")) {
		t.Errorf("SSC %X", s.ssc)
	}
	challenge[0] ^= 1
	if _, _, err := AnswerBAC(bytes.NewReader(kIC), kEnc, kMAC, challenge, data); !errors.Is(err, ErrRefused) {
		t.Errorf("another challenge: %v", err)
	}
	challenge[0] ^= 1
	data[39] ^= 1
	if _, _, err := AnswerBAC(bytes.NewReader(kIC), kEnc, kMAC, challenge, data); !errors.Is(err, ErrRefused) {
		t.Errorf("a wrong MAC: %v", err)
	}
}
