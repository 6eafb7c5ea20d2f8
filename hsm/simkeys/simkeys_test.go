package simkeys

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"cardbureau/hsm"
)

// soft is a key in memory that does what the token's do.
type soft struct{ cipher.Block }

func (s soft) EncryptCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(s.Block, iv).CryptBlocks(out, data)
	return out, nil
}

func (s soft) DecryptCBC(_ context.Context, iv, data []byte) ([]byte, error) {
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(s.Block, iv).CryptBlocks(out, data)
	return out, nil
}

type softAES struct{ soft }

func (s softAES) gcm() cipher.AEAD {
	g, err := cipher.NewGCM(s.Block)
	if err != nil {
		panic(err)
	}
	return g
}

func (s softAES) SealGCM(_ context.Context, nonce, aad, plain []byte) ([]byte, error) {
	return s.gcm().Seal(nil, nonce, plain, aad), nil
}

func (s softAES) OpenGCM(_ context.Context, nonce, aad, sealed []byte) ([]byte, error) {
	out, err := s.gcm().Open(nil, nonce, sealed, aad)
	if err != nil {
		return nil, hsm.ErrAuthentication
	}
	return out, nil
}

var (
	aesKey = []byte("0123456789abcdef0123456789abcdef")
	desKey = []byte("0123456789abcdef01234567")
	own    = Binding{ICCID: "8998110000000000012", Batch: "2025-11"}
)

func keys(t testing.TB) (softAES, soft) {
	t.Helper()
	a, err := aes.NewCipher(aesKey)
	if err != nil {
		t.Fatal(err)
	}
	d, err := des.NewTripleDESCipher(desKey)
	if err != nil {
		t.Fatal(err)
	}
	return softAES{soft{a}}, soft{d}
}

func subscriber() Subscriber {
	return Subscriber{K: []byte("KKKKKKKK11111111"), OPc: []byte("OOOOOOOO22222222")}
}

func TestWrap(t *testing.T) {
	key, _ := keys(t)
	ctx := t.Context()
	for _, bureau := range []bool{false, true} {
		s := subscriber()
		s.Bureau = bureau
		w, err := Wrap(ctx, key, rand.Reader, s, own)
		if err != nil || len(w) != WrappedSize {
			t.Fatal(len(w), err)
		}
		got, err := Open(ctx, key, w, own)
		if err != nil || !bytes.Equal(got.K, s.K) || !bytes.Equal(got.OPc, s.OPc) || got.Bureau != bureau {
			t.Fatal(err)
		}
		if _, err := got.Algorithm(); err != nil {
			t.Error(err)
		}
		for name, other := range map[string]Binding{
			"ICCID": {"8998110000000000013", own.Batch}, "batch": {own.ICCID, "2025-12"},
		} {
			if _, err := Open(ctx, key, w, other); !errors.Is(err, hsm.ErrAuthentication) {
				t.Errorf("another %s: %v", name, err)
			}
		}
		for i := range w {
			bad := bytes.Clone(w)
			bad[i] ^= 1
			if _, err := Open(ctx, key, bad, own); !errors.Is(err, hsm.ErrAuthentication) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
		got.Zero()
		if !bytes.Equal(got.K, make([]byte, 16)) {
			t.Error("not zero")
		}
	}
	for _, b := range []Binding{{}, {ICCID: "89", Batch: "1"}, {ICCID: "899811000000000001F", Batch: "1"}, {ICCID: own.ICCID}, {ICCID: own.ICCID, Batch: "a|b"}, {ICCID: own.ICCID, Batch: strings.Repeat("a", 65)}} {
		if _, err := Wrap(ctx, key, rand.Reader, subscriber(), b); !errors.Is(err, ErrInput) {
			t.Errorf("%+v: %v", b, err)
		}
		if _, err := Open(ctx, key, make([]byte, WrappedSize), b); !errors.Is(err, ErrInput) {
			t.Errorf("%+v: %v", b, err)
		}
	}
	if _, err := Wrap(ctx, key, rand.Reader, Subscriber{K: make([]byte, 16)}, own); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %x", subscriber(), subscriber(), subscriber(), subscriber().K); strings.Contains(s, "KKKK") || strings.Contains(s, hex.EncodeToString([]byte("KKKK"))) || strings.Contains(s, "75 75") {
		t.Error("a key is printed")
	}
}

// TestRows: what openssl enciphers is opened, and so is our own.
func TestRows(t *testing.T) {
	a, d := keys(t)
	ctx := t.Context()
	iv := map[Form][]byte{AESCBC: []byte("iviviviviviviviv"), DES3CBC: []byte("iviviviv")}
	ciphers := map[Form]string{AESECB: "-aes-256-ecb", AESCBC: "-aes-256-cbc", DES3ECB: "-des-ede3", DES3CBC: "-des-ede3-cbc"}
	for _, form := range []Form{AESGCM, AESECB, AESCBC, DES3ECB, DES3CBC} {
		t.Run(string(form), func(t *testing.T) {
			var key, wrong Cipher = a, d
			value := aesKey
			if form.DES3() {
				key, wrong, value = d, a, desKey
			}
			row, err := SealRow(ctx, key, rand.Reader, form, subscriber(), iv[form], own)
			if err != nil {
				t.Fatal(err)
			}
			if name := ciphers[form]; name != "" {
				row.K, row.OPc = openssl(t, name, value, iv[form], subscriber().K), openssl(t, name, value, iv[form], subscriber().OPc)
			}
			got, err := OpenRow(ctx, key, form, row, own)
			if err != nil || !bytes.Equal(got.K, subscriber().K) || !bytes.Equal(got.OPc, subscriber().OPc) || got.Bureau {
				t.Fatal(err)
			}
			if _, err := OpenRow(ctx, wrong, form, row, own); !errors.Is(err, ErrInput) {
				t.Errorf("a key of another type: %v", err)
			}
			for name, bad := range map[string]Row{
				"nothing": {}, "half": {K: row.K, Sealed: row.Sealed}, "IV": {K: row.K, OPc: row.OPc, Sealed: row.Sealed, IV: []byte{1}},
			} {
				if name == "half" && form == AESGCM {
					continue
				}
				if _, err := OpenRow(ctx, key, form, bad, own); err == nil {
					t.Error(name)
				}
			}
		})
	}
	row, _ := SealRow(ctx, a, rand.Reader, AESGCM, subscriber(), nil, own)
	if _, err := OpenRow(ctx, a, AESGCM, row, Binding{own.ICCID, "other"}); !errors.Is(err, hsm.ErrAuthentication) {
		t.Error(err)
	}
	// A row under a transport key is no wrapped key, and the other way round.
	w, _ := Wrap(ctx, a, rand.Reader, subscriber(), own)
	if _, err := OpenRow(ctx, a, AESGCM, Row{Sealed: w}, own); !errors.Is(err, hsm.ErrAuthentication) {
		t.Error(err)
	}
	if _, err := OpenRow(ctx, a, "rot13", Row{K: row.K}, own); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
}

func openssl(t *testing.T, name string, key, iv, plain []byte) []byte {
	t.Helper()
	args := []string{"enc", name, "-nopad", "-K", hex.EncodeToString(key)}
	if iv != nil {
		args = append(args, "-iv", hex.EncodeToString(iv))
	}
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(plain)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzOpen: no bytes but those of Wrap open.
func FuzzOpen(f *testing.F) {
	key, _ := keys(f)
	w, err := Wrap(f.Context(), key, rand.Reader, subscriber(), own)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Open(t.Context(), key, b, own); err == nil && !bytes.Equal(b, w) {
			t.Error("forged")
		}
		_, _ = OpenRow(t.Context(), key, AESGCM, Row{Sealed: b}, own)
		_, _ = OpenRow(t.Context(), key, AESCBC, Row{K: b, OPc: b, IV: b}, own)
	})
}
