package gp_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/gp"
)

// Diversifications in use, by the names that the known answers give them.
var diversifications = map[string]gp.Diversification{
	"emv":   {Cipher: "3des-ecb", Input: "kdd[4..9] F0 key kdd[4..9] 0F key"},
	"visa2": {Cipher: "3des-ecb", Input: "kdd[0..1] kdd[4..7] F0 key kdd[0..1] kdd[4..7] 0F key"},
	"kdf3":  {Cipher: "aes-cmac", Input: "counter 000000 key 00 kdd"},
}

var kinds = []byte{gp.KeyENC, gp.KeyMAC, gp.KeyDEK}

func TestDiversificationCheckValues(t *testing.T) {
	ctx := context.Background()
	for _, v := range vectors(t).DiversificationKcv {
		d := diversifications[v.Scheme]
		for i, kind := range kinds {
			var key, kcv []byte
			if d.Cipher == gp.DiversifyDES3ECB {
				key = derive(t, d, softwareDES(t, v.Master), kind, v.KeyDiversificationData, 16)
				kcv, _ = gp.DESKCV(ctx, softwareDES(t, key))
			} else {
				key = derive(t, d, softwareAES(t, v.Master), kind, v.KeyDiversificationData, 16)
				kcv, _ = gp.KCV(ctx, softwareAES(t, key))
			}
			equal(t, fmt.Sprintf("%s: KCV of key %d", v.Scheme, kind), kcv, v.KCV[i])
		}
	}
}

func TestDiversificationKeys(t *testing.T) {
	all := vectors(t)
	if len(all.DiversificationKcv) != len(diversifications) {
		t.Error("not every diversification has a known answer")
	}
	v := all.DiversificationKdf3Aes256
	for _, size := range []int{16, 24, 32} {
		got := derive(t, diversifications["kdf3"], softwareAES(t, v.Master), gp.KeyENC, v.KeyDiversificationData, size)
		equal(t, fmt.Sprintf("key of %d bytes", size), got, v.Key[:size])
	}
	k := all.KMC
	for i, want := range [][]byte{k.ENC, k.MAC, k.DEK} {
		got := derive(t, diversifications["emv"], softwareDES(t, k.KMC), kinds[i], k.KeyData, 16)
		equal(t, fmt.Sprintf("EMV CPS key %d", i+1), got, want)
	}
	ecb := gp.Diversification{Cipher: "aes-ecb", Input: "kdd key 0000000000 kdd key FFFFFFFFFF"}
	key := derive(t, ecb, softwareAES(t, v.Master), gp.KeyMAC, v.KeyDiversificationData, 24)
	long := derive(t, ecb, softwareAES(t, v.Master), gp.KeyMAC, v.KeyDiversificationData, 32)
	if !bytes.Equal(key, long[:24]) || bytes.Equal(long[:16], long[16:]) {
		t.Errorf("aes-ecb gave %x and %x", key, long)
	}
}

func softwareDES(t testing.TB, key []byte) *gp.SoftwareDESCipher {
	t.Helper()
	c, err := gp.NewSoftwareDESCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func softwareAES(t testing.TB, key []byte) *gp.SoftwareCipher {
	t.Helper()
	c, err := gp.NewSoftwareCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func derive(t testing.TB, d gp.Diversification, master gp.BlockCipher, kind byte, kdd []byte, size int) []byte {
	t.Helper()
	key, err := d.Derive(context.Background(), master, kind, kdd, size)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDiversificationMistakes(t *testing.T) {
	for _, test := range []struct{ cipher, input, says string }{
		{"", "kdd", "names no cipher"},
		{"des", "kdd", `"des" is not known`},
		{"none", "kdd", "takes no input"},
		{"aes-cmac", "", "no input"},
		{"aes-cmac", "key 00", "does not use kdd"},
		{"aes-cmac", "kdd 0", `"0" is no part`},
		{"aes-cmac", "kdd uid", `"uid" is no part`},
		{"aes-cmac", "kdd kdd[4..10]", "not inside kdd"},
		{"aes-cmac", "kdd kdd[5..4]", "not inside kdd"},
		{"aes-cmac", "kdd kdd[4-5]", "no range"},
		{"aes-cmac", "kdd kdd[4..5", "no range"},
		{"aes-cmac", "kdd kdd[..5]", "no range"},
		{"aes-cmac", "kdd kdd[-1..5]", "no range"},
		{"aes-cmac", strings.Repeat("kdd ", 26), "260 bytes"},
		{"aes-cmac", strings.Repeat("kdd ", 65), "65 words"},
		{"3des-ecb", "kdd", "comes to 10"},
		{"3des-ecb", "kdd key 00000000 counter", "the input holds the whole key"},
		{"aes-ecb", "kdd key 0000000000 0000000000000000", "comes to 24"},
	} {
		err := gp.Diversification{Cipher: test.cipher, Input: test.input}.Validate()
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %q: %v, want something that says %q", test.cipher, test.input, err, test.says)
		}
	}
	for name, d := range diversifications {
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (gp.Diversification{Cipher: "none"}).Validate(); err != nil {
		t.Error(err)
	}
	kdd := make([]byte, 10)
	for _, test := range []struct {
		d    gp.Diversification
		kind byte
		kdd  []byte
		size int
	}{
		{gp.Diversification{Cipher: "none"}, 1, kdd, 16},
		{diversifications["kdf3"], 0, kdd, 16},
		{diversifications["kdf3"], 4, kdd, 16},
		{diversifications["kdf3"], 1, kdd[:9], 16},
		{diversifications["kdf3"], 1, kdd, 20},
		{diversifications["emv"], 1, kdd, 24},
		{gp.Diversification{Cipher: "aes-cmac", Input: "kdd key"}, 1, kdd, 24},
		{gp.Diversification{Cipher: "aes-ecb", Input: "kdd key 0000000000"}, 1, kdd, 24},
	} {
		if got, err := test.d.Inputs(test.kind, test.kdd, test.size); err == nil {
			t.Errorf("%+v gave %x", test, got)
		}
	}
	ctx := context.Background()
	if _, err := diversifications["emv"].Derive(ctx, softwareAES(t, make([]byte, 16)), 1, kdd, 16); err == nil {
		t.Error("3des-ecb with an AES key")
	}
	if _, err := diversifications["kdf3"].Derive(ctx, softwareDES(t, make([]byte, 16)), 1, kdd, 16); err == nil {
		t.Error("aes-cmac with a triple DES key")
	}
}

// FuzzDiversification: what is valid gives inputs of the promised lengths, and
// nothing panics.
func FuzzDiversification(f *testing.F) {
	for _, d := range diversifications {
		f.Add(d.Cipher, d.Input)
	}
	f.Add("aes-ecb", "kdd[0..9] key 0000000000")
	f.Add("none", " ")
	f.Add("3des-ecb", "kdd[00..9] kdd[4..300] kdd[..] kdd[ counter ZZ 0")
	f.Fuzz(func(t *testing.T, cipher, input string) {
		d := gp.Diversification{Cipher: cipher, Input: input}
		invalid := d.Validate()
		kdd := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		for _, size := range []int{16, 24, 32} {
			inputs, err := d.Inputs(gp.KeyDEK, kdd, size)
			if err != nil {
				continue
			}
			if invalid != nil {
				t.Fatalf("invalid (%v), and yet it gives %x", invalid, inputs)
			}
			if cipher == gp.DiversifyAESCMAC && len(inputs) != (size+15)/16 || cipher != gp.DiversifyAESCMAC && (len(inputs) != 1 || len(inputs[0]) < size) {
				t.Fatalf("a key of %d bytes from %x", size, inputs)
			}
		}
	})
}
