package gp_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cardbureau/cardio/gp"
)

// openssl runs the judge and returns what it printed.
func openssl(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: nobody from outside can judge")
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSignatures has each kind of signature verified by openssl, and refused
// over other data.
func TestSignatures(t *testing.T) {
	ctx := context.Background()
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	pss := func(salt string) []string {
		return []string{"-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:" + salt}
	}
	for name, test := range map[string]struct {
		key     crypto.Signer
		scheme  gp.Scheme
		size    int
		digest  string
		options []string
	}{
		"RSA 1,024":  {rsaKey(t, 1024), gp.SchemeRSA1, 128, "-sha1", nil},
		"RSA 2,048":  {rsaKey(t, 2048), gp.SchemeRSA2, 256, "-sha256", pss("32")},
		"RSA longer": {rsaKey(t, 2176), gp.SchemeRSA2Long, 272, "-sha512", pss("64")},
		"P-256":      {ec(elliptic.P256()), gp.SchemeECDSA, 64, "-sha256", nil},
		"P-384":      {ec(elliptic.P384()), gp.SchemeECDSA, 96, "-sha384", nil},
		"P-521":      {ec(elliptic.P521()), gp.SchemeECDSA, 132, "-sha512", nil},
	} {
		scheme, err := gp.SchemeOf(test.key.Public())
		if err != nil || scheme != test.scheme {
			t.Fatalf("%s: scheme %d, %v", name, scheme, err)
		}
		a, err := gp.SignWith(test.key, scheme)
		if err != nil {
			t.Fatal(err)
		}
		data, err := gp.InstallForLoad{LoadFile: unhex(t, "a000000001"), Domain: gp.ISDAID, Hash: make([]byte, 32)}.TokenData()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := a.Sign(ctx, data)
		if err != nil || len(signature) != test.size {
			t.Fatalf("%s: %d bytes, %v", name, len(signature), err)
		}
		dir := t.TempDir()
		der, err := x509.MarshalPKIXPublicKey(test.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		write := func(file string, b []byte) string {
			file = filepath.Join(dir, file)
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
		if scheme == gp.SchemeECDSA {
			var v struct{ R, S *big.Int }
			v.R, v.S = new(big.Int).SetBytes(signature[:test.size/2]), new(big.Int).SetBytes(signature[test.size/2:])
			if signature, err = asn1.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		args := append([]string{"dgst", test.digest, "-verify", write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
			"-signature", write("signature", signature)}, test.options...)
		if out, err := openssl(t, data, args...); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		data[len(data)-1] ^= 1
		if out, err := openssl(t, data, args...); err == nil {
			t.Errorf("%s over other data: %s", name, out)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gp.SchemeOf(ed.Public()); err == nil {
		t.Error("Ed25519 has a scheme")
	}
	if _, err := gp.SchemeOf(ec(elliptic.P224()).Public()); err == nil {
		t.Error("P-224 has a scheme")
	}
	for _, err := range []error{
		func() error { _, err := gp.SignWith(ed, gp.SchemeRSA1); return err }(),
		func() error { _, err := gp.SignWith(ec(elliptic.P256()), gp.SchemeRSA2); return err }(),
		func() error { _, err := gp.SignWith(rsaKey(t, 1024), gp.SchemeECDSA); return err }(),
	} {
		if err == nil {
			t.Error("a key signs by another key's scheme")
		}
	}
}

// TestMACs compares with openssl: the last block of CBC is the full triple DES
// MAC, and a retail MAC is single DES (triple DES with one key three times)
// with the last block enciphered again.
func TestMACs(t *testing.T) {
	ctx := context.Background()
	key := unhex(t, "000102030405060708090a0b0c0d0e0f")
	cbc := func(key, padded []byte) []byte {
		out, err := openssl(t, padded, "enc", "-des-ede3-cbc", "-nopad", "-K", hex.EncodeToString(key), "-iv", "0000000000000000")
		if err != nil {
			t.Fatal(err, out)
		}
		return []byte(out)
	}
	des := func(key []byte) gp.DESCipher {
		c, err := gp.NewSoftwareDESCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	sign := func(a gp.Authority, data []byte) []byte {
		mac, err := a.Sign(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		return mac
	}
	two := append(bytes.Clone(key), key[:8]...)
	one := bytes.Repeat(key[:8], 3)
	for n := range 20 {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i + n)
		}
		padded := append(bytes.Clone(data), 0x80)
		for len(padded)%8 != 0 {
			padded = append(padded, 0)
		}
		want := cbc(two, padded)
		equal(t, "triple DES MAC", sign(gp.TripleDESMACWith(des(key)), data), want[len(want)-8:])
		equal(t, "triple DES MAC with 24 bytes", sign(gp.TripleDESMACWith(des(two)), data), want[len(want)-8:])
		last := bytes.Clone(padded[len(padded)-8:])
		if len(padded) > 8 {
			chain := cbc(one, padded[:len(padded)-8])
			for i := range last {
				last[i] ^= chain[len(chain)-8+i]
			}
		}
		equal(t, "retail MAC", sign(gp.RetailMACWith(des(key)), data), cbc(two, last))
	}
	c, err := gp.NewSoftwareCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	mac, err := gp.MACWith(c).Sign(ctx, []byte("load file"))
	if err != nil || len(mac) != aes.BlockSize {
		t.Fatalf("%x, %v", mac, err)
	}
	out, err := openssl(t, []byte("load file"), "mac", "-cipher", "AES-128-CBC", "-macopt", "hexkey:"+hex.EncodeToString(key), "CMAC")
	if err != nil || !strings.EqualFold(strings.TrimSpace(out), hex.EncodeToString(mac)) {
		t.Errorf("CMAC %x, openssl says %s %v", mac, out, err)
	}
}

// TestReceipts verifies receipts made by openssl's CMAC over bytes that are
// laid out here by hand (GPC_SPE_034 C.5).
func TestReceipts(t *testing.T) {
	ctx := context.Background()
	file, app, domain := unhex(t, "a000000001"), unhex(t, "a0000002471001"), gp.ISDAID
	key := "0f0e0d0c0b0a09080706050403020100"
	head := "020102" + "0455aa55aa"
	reset := gp.PrivilegeCardReset
	c, err := gp.NewSoftwareCipher(unhex(t, key))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		what gp.Confirmed
		more string
		text string
	}{
		"load":            {gp.ConfirmedLoad(file, domain), "", "05a000000001" + "08a000000151000000"},
		"install":         {gp.ConfirmedInstall(file, app), "", "05a000000001" + "07a0000002471001"},
		"extradition":     {gp.ConfirmedExtradition(domain, app, file), "", "08a000000151000000" + "07a0000002471001" + "05a000000001"},
		"delete":          {gp.ConfirmedDelete(app), "", "07a0000002471001"},
		"with a token":    {gp.ConfirmedDelete(app), "0177" + "02cafe", "07a0000002471001"},
		"registry update": {gp.ConfirmedRegistryUpdate(domain, gp.InstallForRegistryUpdate{Application: app, Privileges: &reset}), "", "08a000000151000000" + "07a0000002471001" + "00" + "0104" + "00"},
	} {
		signed := unhex(t, head+test.more+test.text)
		out, err := openssl(t, signed, "mac", "-cipher", "AES-128-CBC", "-macopt", "hexkey:"+key, "CMAC")
		if err != nil {
			t.Fatal(err, out)
		}
		confirmation := unhex(t, "10"+strings.TrimSpace(out)+head+test.more)
		r, err := gp.ParseReceipt(append([]byte{byte(len(confirmation))}, confirmation...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := r.Verify(ctx, gp.MACWith(c), test.what); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantError(t, r.Verify(ctx, gp.MACWith(c), append(test.what[:len(test.what):len(test.what)], 0)), gp.ErrReceipt)
		r.Counter++
		wantError(t, r.Verify(ctx, gp.MACWith(c), test.what), gp.ErrReceipt)
	}
}
