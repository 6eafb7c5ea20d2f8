package oda

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // EMV's
	"errors"
	"math/big"
	"testing"
	"time"
)

// testKey is an RSA key pair of any size, made here because crypto/rsa only
// makes keys with the exponent 65537.
type testKey struct {
	PublicKey
	d *big.Int
}

func newKey(t testing.TB, bits int, e int64) testKey {
	t.Helper()
	for {
		p, err1 := rand.Prime(rand.Reader, bits/2)
		q, err2 := rand.Prime(rand.Reader, bits-bits/2)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		n, one := new(big.Int).Mul(p, q), big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(e), phi)
		if d == nil || n.BitLen() != bits {
			continue
		}
		return testKey{PublicKey{Modulus: n.Bytes(), Exponent: big.NewInt(e).Bytes()}, d}
	}
}

func (k testKey) sign(_ context.Context, block []byte) ([]byte, error) {
	x := new(big.Int).SetBytes(block)
	return x.Exp(x, k.d, new(big.Int).SetBytes(k.Modulus)).FillBytes(make([]byte, len(block))), nil
}

var at = time.Date(2030, 6, 30, 23, 59, 0, 0, time.UTC)

const pan = "5892100000000016"

// TestChain: a card under an issuer under an authority, with and without
// remainders, and each thing that may be wrong.
func TestChain(t *testing.T) {
	for _, size := range []struct {
		ca, issuer, icc int
		e               int64
	}{{1984, 1976, 1408, 3}, {1984, 1976, 1640, 65537}, {1408, 1152, 1024, 3}, {1152, 1152, 1152, 65537}} {
		ca, issuer, icc := newKey(t, size.ca, size.e), newKey(t, size.issuer, size.e), newKey(t, size.icc, size.e)
		ctx := t.Context()
		cert, rem, err := IssuerCertificate{IIN: "589210", Expiry: "0630", Serial: [3]byte{1, 2, 3}, Key: issuer.PublicKey}.Sign(ctx, ca.PublicKey, ca.sign)
		if err != nil {
			t.Fatal(err)
		}
		got, err := RecoverIssuer(ca.PublicKey, pan, cert, rem, issuer.Exponent, at)
		if err != nil || !bytes.Equal(got.Modulus, issuer.Modulus) {
			t.Fatalf("issuer: %v", err)
		}
		static := []byte("records that are signed, and the AIP")
		iccCert, iccRem, err := ICCCertificate{PAN: pan, Expiry: "0630", Key: icc.PublicKey, StaticData: static}.Sign(ctx, issuer.PublicKey, issuer.sign)
		if err != nil {
			t.Fatal(err)
		}
		back, err := RecoverICC(got, pan, static, iccCert, iccRem, icc.Exponent, at)
		if err != nil || !bytes.Equal(back.Modulus, icc.Modulus) {
			t.Fatalf("ICC: %v", err)
		}
		ssad, err := StaticData{DAC: [2]byte{0xDA, 0xC1}, Data: static}.Sign(ctx, issuer.PublicKey, issuer.sign)
		if err != nil {
			t.Fatal(err)
		}
		if dac, err := VerifyStatic(got, ssad, static); err != nil || dac != [2]byte{0xDA, 0xC1} {
			t.Fatalf("SDA: %X %v", dac, err)
		}
		altered := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)/2] ^= 1; return c }
		for name, c := range map[string]struct {
			err  error
			want error
		}{
			"expired issuer": {second(RecoverIssuer(ca.PublicKey, pan, cert, rem, issuer.Exponent, at.Add(time.Minute))), ErrExpired},
			"another issuer": {second(RecoverIssuer(ca.PublicKey, "6037991234567890", cert, rem, issuer.Exponent, at)), ErrIdentifier},
			"altered issuer": {second(RecoverIssuer(ca.PublicKey, pan, altered(cert), rem, issuer.Exponent, at)), ErrCertificate},
			"wrong CA":       {second(RecoverIssuer(issuer.PublicKey, pan, cert, rem, issuer.Exponent, at)), ErrCertificate},
			"another card":   {second(RecoverICC(got, "5892100000000024", static, iccCert, iccRem, icc.Exponent, at)), ErrIdentifier},
			"altered record": {second(RecoverICC(got, pan, altered(static), iccCert, iccRem, icc.Exponent, at)), ErrCertificate},
			"expired ICC":    {second(RecoverICC(got, pan, static, iccCert, iccRem, icc.Exponent, at.AddDate(0, 1, 0))), ErrExpired},
			"altered static": {second(VerifyStatic(got, ssad, altered(static))), ErrSignature},
		} {
			if !errors.Is(c.err, c.want) && !(errors.Is(c.err, ErrCertificate) && name == "wrong CA") {
				t.Errorf("%d bits, %s: %v, want %v", size.icc, name, c.err, c.want)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestDynamic: what a card signs, made here after tables 17 and 20.
func TestDynamic(t *testing.T) {
	icc := newKey(t, 1408, 65537)
	sign := func(dynamic, terminal []byte) []byte {
		middle := append([]byte{formatDynamic, hashSHA1, byte(len(dynamic))}, dynamic...)
		middle = append(middle, bytes.Repeat([]byte{unpredictablePad}, len(icc.Modulus)-dynamicOverhead-len(dynamic))...)
		out, err := seal(t.Context(), icc.sign, middle, terminal)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	un := []byte{1, 2, 3, 4}
	if n, err := VerifyDynamic(icc.PublicKey, sign([]byte{3, 7, 8, 9}, un), un); err != nil || !bytes.Equal(n, []byte{7, 8, 9}) {
		t.Errorf("DDA: %X %v", n, err)
	}
	if _, err := VerifyDynamic(icc.PublicKey, sign([]byte{3, 7, 8, 9}, un), []byte{1, 2, 3, 5}); !errors.Is(err, ErrSignature) {
		t.Errorf("DDA over another number: %v", err)
	}
	if _, err := VerifyDynamic(icc.PublicKey, sign([]byte{9, 7}, un), un); !errors.Is(err, ErrSignature) {
		t.Errorf("DDA without a number: %v", err)
	}
	transaction := []byte("values of CDOL1 and the answer")
	sum := sha1.Sum(transaction) //nolint:gosec // EMV's
	data := append([]byte{2, 0xAA, 0xBB, 0x80, 1, 2, 3, 4, 5, 6, 7, 8}, sum[:]...)
	c, err := VerifyCombined(icc.PublicKey, sign(data, un), un, transaction)
	if err != nil || c.CID != 0x80 || c.Cryptogram != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} || !bytes.Equal(c.DynamicNumber, []byte{0xAA, 0xBB}) {
		t.Errorf("CDA: %+v %v", c, err)
	}
	if _, err := VerifyCombined(icc.PublicKey, sign(data, un), un, transaction[1:]); !errors.Is(err, ErrSignature) {
		t.Errorf("CDA over another transaction: %v", err)
	}
	block, challenge := []byte{0x24, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, []byte("12345678")
	sealed, err := EncipherPIN(rand.Reader, icc.PublicKey, block, challenge)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := icc.sign(t.Context(), sealed)
	if plain[0] != 0x7F || !bytes.Equal(plain[1:17], append(bytes.Clone(block), challenge...)) {
		t.Error("the enciphered PIN is another")
	}
}

// TestRecoverAgreesWithTheLibrary: the RSA step is that of the Go library.
func TestRecoverAgreesWithTheLibrary(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1984)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha1.Sum([]byte("x")) //nolint:gosec // EMV's
	signature, err := rsa.SignPKCS1v15(nil, key, 0, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	plain, err := PublicKey{key.N.Bytes(), []byte{1, 0, 1}}.Recover(signature)
	if err != nil || !bytes.HasSuffix(plain, digest[:]) || plain[1] != 1 {
		t.Errorf("%X %v", plain, err)
	}
}

func FuzzRecover(f *testing.F) {
	key := newKey(f, 1024, 3)
	f.Add(make([]byte, 128), make([]byte, 4), []byte{3})
	f.Fuzz(func(_ *testing.T, cert, rem, exponent []byte) {
		_, _ = RecoverIssuer(key.PublicKey, pan, cert, rem, exponent, at)
		_, _ = RecoverICC(key.PublicKey, pan, rem, cert, rem, exponent, at)
		_, _ = VerifyStatic(key.PublicKey, cert, rem)
		_, _ = VerifyCombined(key.PublicKey, cert, rem, exponent)
	})
}
