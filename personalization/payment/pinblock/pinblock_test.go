package pinblock

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestKnownAnswers are the blocks of the shared vectors.
func TestKnownAnswers(t *testing.T) {
	raw, err := os.ReadFile("testdata/payment.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		PINBlock []struct {
			Format                                              int
			PAN, PIN, Clear, ClearPrefix, Key, Fill, Enciphered string
		} `json:"pinBlock"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || len(v.PINBlock) != 4 {
		t.Fatalf("%d vectors, %v", len(v.PINBlock), err)
	}
	for _, c := range v.PINBlock {
		if c.Format == 4 {
			k, _ := hex.DecodeString(c.Key)
			fill, _ := hex.DecodeString(c.Fill)
			block, err := aes.NewCipher(k)
			if err != nil {
				t.Fatal(err)
			}
			got, err := EncodeAES(block, []byte(c.PIN), c.PAN, bytes.NewReader(fill))
			if err != nil || hex.EncodeToString(got) != c.Enciphered {
				t.Errorf("format 4: %x %v", got, err)
			}
			if pin, err := DecodeAES(block, got, c.PAN); err != nil || string(pin) != c.PIN {
				t.Errorf("format 4 opened: %v", err)
			}
			if _, err := DecodeAES(block, got, "1234567890123456788"); !errors.Is(err, ErrBlock) {
				t.Errorf("format 4 for another account: %v", err)
			}
			continue
		}
		got, err := Encode(c.Format, []byte(c.PIN), c.PAN, rand.Reader)
		if err != nil || c.Clear != "" && hex.EncodeToString(got) != c.Clear || !strings.HasPrefix(hex.EncodeToString(got), c.ClearPrefix) {
			t.Errorf("format %d: %x %v", c.Format, got, err)
		}
		if pin, err := Decode(c.Format, got, c.PAN); err != nil || string(pin) != c.PIN {
			t.Errorf("format %d opened: %v", c.Format, err)
		}
	}
}

func TestAllFormatsAndLengths(t *testing.T) {
	const pan = "5892100000000016"
	block, _ := aes.NewCipher(make([]byte, 16))
	for n := 4; n <= 12; n++ {
		pin := []byte("907461538290"[:n])
		for format := range 4 {
			b, err := Encode(format, pin, pan, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Decode(format, b, pan); err != nil || !bytes.Equal(got, pin) {
				t.Errorf("format %d, %d digits: %v", format, n, err)
			}
		}
		b, err := EncodeAES(block, pin, pan, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeAES(block, b, pan); err != nil || !bytes.Equal(got, pin) {
			t.Errorf("format 4, %d digits: %v", n, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, pin := range []string{"", "123", "1234567890123", "12a4"} {
		if _, err := Encode(2, []byte(pin), "", rand.Reader); !errors.Is(err, ErrPIN) {
			t.Errorf("a PIN of %d characters: %v", len(pin), err)
		}
	}
	if _, err := Encode(0, []byte("1234"), "123456789012", rand.Reader); !errors.Is(err, ErrPAN) {
		t.Error(err)
	}
	if _, err := Encode(5, []byte("1234"), "", rand.Reader); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	for _, b := range []string{"241234ffffffff", "341234ffffffffff", "231234ffffffffff", "24123affffffffff", "241234fffffffff0"} {
		raw, _ := hex.DecodeString(b)
		if _, err := Decode(2, raw, ""); !errors.Is(err, ErrBlock) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(0, []byte{0x04, 0x12, 0x61, 0xaa, 0xaa, 0xed, 0xcb, 0xa9}, "5555555551234567")
	block, _ := aes.NewCipher(make([]byte, 16))
	f.Fuzz(func(t *testing.T, format int, b []byte, pan string) {
		if pin, err := Decode(format, b, pan); err == nil && check(pin) != nil {
			t.Error("a PIN that is none was decoded")
		}
		_, _ = DecodeAES(block, b, pan)
	})
}
