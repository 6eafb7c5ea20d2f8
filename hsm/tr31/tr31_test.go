package tr31

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// protection is a key that is known, as a token would hold it.
func protection(t testing.TB, isAES bool, key []byte) Protection {
	t.Helper()
	var c cipher.Block
	var err error
	if isAES {
		c, err = aes.NewCipher(key)
	} else {
		c, err = newTripleDES(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Protection{AES: isAES, Bytes: len(key), CMAC: func(data []byte) ([]byte, error) { return cmac(c, data), nil }}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCMAC has the examples of NIST SP 800-38B, annex D.1 and D.4.
func TestCMAC(t *testing.T) {
	for _, v := range []struct{ key, text, mac string }{
		{"2b7e151628aed2a6abf7158809cf4f3c", "", "bb1d6929e95937287fa37d129b756746"},
		{"2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"},
		{"2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411", "dfa66747de9ae63030ca32611497c827"},
		{"8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5", "", "b7a688e122ffaf95"},
		{"8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5", "6bc1bee22e409f96", "8e8f293136283797"},
		{"8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5", "6bc1bee22e409f96e93d7e117393172aae2d8a57", "743ddbe0ce2dc2ed"},
	} {
		mac, err := protection(t, len(v.mac) == 32, unhex(t, v.key)).CMAC(unhex(t, v.text))
		if err != nil || hex.EncodeToString(mac) != v.mac {
			t.Errorf("%s: %x, %v", v.text, mac, err)
		}
	}
}

// TestVectors opens blocks that standards print and that a payShield made, and compares
// the check values that are told with them. No block opens after any character is altered.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		p := protection(t, v.AES, unhex(t, v.KBPK))
		k, err := Unwrap(p, v.Block)
		if err != nil || hex.EncodeToString(k.Value) != v.Key {
			t.Fatalf("%s: %v", v.Source, err)
		}
		if kcv := kcvOf(t, k); !strings.HasPrefix(kcv, v.KCV) {
			t.Errorf("%s: check value %s, told %s", v.Source, kcv, v.KCV)
		}
		for i := range len(v.Block) {
			b := []byte(v.Block)
			b[i] = "0123456789ABCDEF"[(strings.IndexByte("0123456789ABCDEF", b[i])+2)%16]
			if string(b) == v.Block {
				continue
			}
			if _, err := Unwrap(p, string(b)); err == nil {
				t.Errorf("%s: character %d was altered", v.Source, i)
			}
		}
	}
}

type vector struct {
	Source, KBPK, Block, Key, KCV string
	AES                           bool
}

// kcvOf is a check value as ANSI X9.24-1:2017 has it: of triple DES zeros enciphered,
// of AES the CMAC over zeros.
func kcvOf(t *testing.T, k Key) string {
	t.Helper()
	if k.Algorithm == 'A' {
		mac, err := AESCMAC(k.Value, make([]byte, aes.BlockSize))
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(mac)
	}
	c, err := newTripleDES(k.Value)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, c.BlockSize())
	c.Encrypt(out, out)
	return hex.EncodeToString(out)
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/tr31.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		version byte
		size    int
	}{{'B', 16}, {'B', 24}, {'D', 16}, {'D', 24}, {'D', 32}} {
		kbpk := make([]byte, c.size)
		if _, err := rand.Read(kbpk); err != nil {
			t.Fatal(err)
		}
		p := protection(t, c.version == 'D', kbpk)
		for size := 1; size <= 64; size++ {
			key := bytes.Repeat([]byte{byte(size)}, size)
			h := Header{Version: c.version, Usage: "E0", Algorithm: 'T', Mode: 'X', KeyVersion: "00", Exportability: 'N'}
			for i := range size % 4 {
				h.Optional = append(h.Optional, Block{fmt.Sprintf("K%d", i), strings.Repeat("A", size%19)})
			}
			block, err := Wrap(p, h, key, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			k, err := Unwrap(p, block)
			if err != nil || !bytes.Equal(k.Value, key) || k.Usage != "E0" || len(block)%8 != 0 {
				t.Fatalf("%c, %d bytes: %v", c.version, size, err)
			}
			if s := fmt.Sprintf("%v %+v %x %s", k, k, k, k); strings.Contains(s, hex.EncodeToString(key)) && size > 4 {
				t.Error("a key prints itself")
			}
		}
		kbpk[c.size-1] ^= 2
		block, err := Wrap(p, Header{Version: c.version, Usage: "K0", Algorithm: 'A', Mode: 'B', KeyVersion: "00", Exportability: 'E'}, make([]byte, 16), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Unwrap(protection(t, c.version == 'D', kbpk), block); !errors.Is(err, ErrMAC) {
			t.Errorf("another protection key: %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := protection(t, false, make([]byte, 16))
	for block, want := range map[string]error{
		"": ErrFormat, "B0016P0TE00E0000": ErrFormat, "A0088P0TE00E0000" + strings.Repeat("0", 72): ErrVersion,
		"C0088P0TE00E0000" + strings.Repeat("0", 72): ErrVersion, "D0112P0AE00E0000" + strings.Repeat("0", 96): ErrKBPK,
		"B0079P0TE00E0000" + strings.Repeat("0", 64): ErrFormat, "B0080P0TE00E9900" + strings.Repeat("0", 64): ErrFormat,
		"B0080P0TE00E0000" + strings.Repeat("G", 64): ErrFormat, "B0080P0TE00E0000" + strings.Repeat("0", 64): ErrMAC,
	} {
		if _, err := Unwrap(p, block); !errors.Is(err, want) {
			t.Errorf("%.20s: %v, want %v", block, err, want)
		}
	}
}

// FuzzHeader: what Parse takes is as long as it says, and what Wrap writes of it Parse
// reads as the same.
func FuzzHeader(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Block)
	}
	f.Add("B0024P0TE00E0100KS0800")
	f.Add("D0040K0AB00E0200KS04PB0C00000000AAAAAAAA")
	kbpk := map[byte]Protection{'B': protection(f, false, bytes.Repeat([]byte{7, 8}, 8)), 'D': protection(f, true, make([]byte, 16))}
	f.Fuzz(func(t *testing.T, block string) {
		h, err := Parse(block)
		if err != nil {
			return
		}
		if h.size() > len(block) {
			t.Fatalf("a header of %d characters in a block of %d", h.size(), len(block))
		}
		made, err := Wrap(kbpk[h.Version], h, make([]byte, 16), bytes.NewReader(make([]byte, 64)))
		if err != nil {
			return
		}
		k, err := Unwrap(kbpk[h.Version], made)
		if err != nil {
			t.Fatalf("%q: %v", made, err)
		}
		if n := len(k.Optional); n > 0 && k.Optional[n-1].ID == "PB" {
			k.Optional = k.Optional[:n-1]
		}
		if got, want := fmt.Sprintf("%q", headerWords(k.Header)), fmt.Sprintf("%q", headerWords(h)); got != want {
			t.Errorf("%s came back as %s", want, got)
		}
	})
}

func headerWords(h Header) []string {
	out := []string{h.Usage, string(h.Algorithm), string(h.Mode), h.KeyVersion, string(h.Exportability)}
	for _, o := range h.Optional {
		out = append(out, o.ID, o.Value)
	}
	return out
}

func FuzzUnwrap(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Block)
	}
	f.Add("B0024P0TE00E0100KS0800")
	p, q := protection(f, false, make([]byte, 16)), protection(f, true, make([]byte, 32))
	f.Fuzz(func(t *testing.T, block string) {
		for _, p := range []Protection{p, q} {
			if k, err := Unwrap(p, block); err == nil && len(k.Value) == 0 {
				t.Error("a block without a key")
			}
		}
	})
}
