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
	"reflect"
	"strings"
	"testing"

	"cardbureau/hsm"
	"cardbureau/hsm/aka"
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
		if err != nil {
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
		if _, err := Open(ctx, key, make([]byte, 62), b); !errors.Is(err, ErrInput) {
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
			got, err := OpenRow(ctx, key, form, Kind{}, row, own)
			if err != nil || !bytes.Equal(got.K, subscriber().K) || !bytes.Equal(got.OPc, subscriber().OPc) || got.Bureau {
				t.Fatal(err)
			}
			if _, err := OpenRow(ctx, wrong, form, Kind{}, row, own); !errors.Is(err, ErrInput) {
				t.Errorf("a key of another type: %v", err)
			}
			for name, bad := range map[string]Row{
				"nothing": {}, "half": {K: row.K, Sealed: row.Sealed}, "IV": {K: row.K, OPc: row.OPc, Sealed: row.Sealed, IV: []byte{1}},
			} {
				if name == "half" && form == AESGCM {
					continue
				}
				if _, err := OpenRow(ctx, key, form, Kind{}, bad, own); err == nil {
					t.Error(name)
				}
			}
		})
	}
	row, _ := SealRow(ctx, a, rand.Reader, AESGCM, subscriber(), nil, own)
	if _, err := OpenRow(ctx, a, AESGCM, Kind{}, row, Binding{own.ICCID, "other"}); !errors.Is(err, hsm.ErrAuthentication) {
		t.Error(err)
	}
	// A row under a transport key is no wrapped key, and the other way round.
	w, _ := Wrap(ctx, a, rand.Reader, subscriber(), own)
	if _, err := OpenRow(ctx, a, AESGCM, Kind{}, Row{Sealed: w}, own); !errors.Is(err, hsm.ErrAuthentication) {
		t.Error(err)
	}
	if _, err := OpenRow(ctx, a, "rot13", Kind{}, Row{K: row.K}, own); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
}

// TestEverySubscriber goes there and back with every algorithm and with keys for
// messages over the air, wrapped and in every form, and is bound to its purpose.
func TestEverySubscriber(t *testing.T) {
	a, d := keys(t)
	ctx := t.Context()
	secret := func(c string, n int) aka.Secret { return aka.Secret(strings.Repeat(c, n)) }
	tuak := aka.DefaultTUAK()
	tuak.Iterations = 3
	plain := subscriber()
	plain.OTA = map[string]aka.Secret{"KIC1": secret("a", 16), "KID1": secret("b", 16), "KIK3": secret("c", 32)}
	plain.Delegated = true
	for name, s := range map[string]Subscriber{
		"milenage": plain, "tuak-128": {K: secret("k", 16), OPc: secret("o", 32), TUAK: &tuak, OTA: plain.OTA},
		"tuak-256": {K: secret("k", 32), OPc: secret("o", 32), TUAK: &tuak, Bureau: true},
	} {
		same := func(what string, got Subscriber, err error) {
			t.Helper()
			if err != nil || !bytes.Equal(got.K, s.K) || !bytes.Equal(got.OPc, s.OPc) || !reflect.DeepEqual(got.TUAK, s.TUAK) || !reflect.DeepEqual(got.OTA, s.OTA) || got.Delegated != s.Delegated {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if _, err := got.Algorithm(); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		w, err := Wrap(ctx, a, rand.Reader, s, own)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Open(ctx, a, w, own)
		same("wrapped", got, err)
		kind := Kind{TUAK: s.TUAK, Delegated: s.Delegated}
		for _, form := range []Form{AESGCM, AESECB, AESCBC, DES3ECB, DES3CBC} {
			var key Cipher = a
			if form.DES3() {
				key = d
			}
			row, err := SealRow(ctx, key, rand.Reader, form, s, nil, own)
			if err != nil {
				t.Fatal(name, form, err)
			}
			got, err := OpenRow(ctx, key, form, kind, row, own)
			same(string(form), got, err)
			got.Zero()
			if form != AESGCM {
				continue
			}
			other := kind
			other.Delegated = !kind.Delegated
			if _, err := OpenRow(ctx, key, form, other, row, own); !errors.Is(err, hsm.ErrAuthentication) {
				t.Errorf("%s with another purpose: %v", name, err)
			}
			if s.TUAK != nil {
				changed := *s.TUAK
				changed.Iterations++
				other := kind
				other.TUAK = &changed
				if _, err := OpenRow(ctx, key, form, other, row, own); !errors.Is(err, hsm.ErrAuthentication) {
					t.Errorf("%s with another number of iterations: %v", name, err)
				}
			}
			if len(row.OTA) > 0 {
				row.OTA["KIC1"], row.OTA["KID1"] = row.OTA["KID1"], row.OTA["KIC1"]
				if _, err := OpenRow(ctx, key, form, kind, row, own); !errors.Is(err, hsm.ErrAuthentication) {
					t.Errorf("%s with KIC1 for KID1: %v", name, err)
				}
			}
		}
	}
	// What was wrapped before there were other algorithms still opens.
	old, err := seal(ctx, a, rand.Reader, append(own.AAD(), storage...), append([]byte{formatFirst, flagBureau}, bytes.Repeat([]byte{7}, 32)...))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Open(ctx, a, old, own); err != nil || !s.Bureau || len(s.K) != 16 || s.OPc[15] != 7 {
		t.Error(err)
	}
	long := tuak
	long.MAC = 16
	for name, s := range map[string]Subscriber{
		"a MAC for no AUTN": {K: secret("k", 16), OPc: secret("o", 32), TUAK: &long}, "TUAK with an OPc": {K: secret("k", 16), OPc: secret("o", 16), TUAK: &tuak},
		"an OTA key of no name": {K: secret("k", 16), OPc: secret("o", 16), OTA: map[string]aka.Secret{"KIC4": secret("a", 16)}},
		"a short OTA key":       {K: secret("k", 16), OPc: secret("o", 16), OTA: map[string]aka.Secret{"KIC1": secret("a", 8)}},
	} {
		if _, err := Wrap(ctx, a, rand.Reader, s, own); err == nil {
			t.Error(name)
		}
	}
	s := plain
	s.OTA = map[string]aka.Secret{"KIC1": secret("a", 24)}
	if _, err := SealRow(ctx, a, rand.Reader, AESECB, s, nil, own); !errors.Is(err, ErrInput) {
		t.Errorf("24 bytes in blocks of 16: %v", err)
	}
}

// FuzzDecode: whatever is read is written again as it was.
func FuzzDecode(f *testing.F) {
	f.Add(subscriber().encode())
	f.Add(Subscriber{K: make(aka.Secret, 32), OPc: make(aka.Secret, 32), TUAK: &aka.TUAKParameters{MAC: 8, RES: 8, CK: 16, IK: 16, Iterations: 1}}.encode())
	f.Add([]byte{2, 0, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decode(b); err == nil && b[0] == formatVersion && !bytes.Equal(s.encode(), b) {
			t.Error("not the same")
		}
	})
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
		_, _ = OpenRow(t.Context(), key, AESGCM, Kind{}, Row{Sealed: b}, own)
		_, _ = OpenRow(t.Context(), key, AESCBC, Kind{}, Row{K: b, OPc: b, IV: b}, own)
	})
}
