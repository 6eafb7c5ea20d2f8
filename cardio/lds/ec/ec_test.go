package ec

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The mapping of the worked example in 9303-11 appendix G.1: both sides'
// mapping keys, the shared point H, and s·G + H.
func TestGenericMappingAppendixG(t *testing.T) {
	c, err := ByID(13)
	if err != nil {
		t.Fatal(err)
	}
	terminal := unhex(t, "7F4EF07B9EA82FD78AD689B38D0BC78CF21F249D953BC46F4C6E19259C010F99")
	chip := unhex(t, "04824FBA91C9CBE26BEF53A0EBE7342A3BF178CEA9F45DE0B70AA601651FBA3F5730D8C879AAA9C9F73991E61B58F4D52EB87A0A0C709A49DC63719363CCD13C54")
	public, err := c.BaseMult(terminal)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "047ACF3EFC982EC45565A4B155129EFBC74650DCBFA6362D896FC70262E0C2CC5E544552DCB6725218799115B55C9BAA6D9F6BC3A9618E70C25AF71777A9C4922D"); !bytes.Equal(public, want) {
		t.Errorf("terminal's mapping key %X, want %X", public, want)
	}
	h, err := c.Mult(terminal, chip)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "60332EF2450B5D247EF6D3868397D398852ED6E8CAF6FFEEF6BF85CA57057FD5"); !bytes.Equal(c.XOf(h), want) {
		t.Errorf("H has x %X, want %X", c.XOf(h), want)
	}
	sg, err := c.BaseMult(c.Scalar(unhex(t, "3F00C4D39D153F2B2A214A078D899B22")))
	if err != nil {
		t.Fatal(err)
	}
	g, err := c.Add(sg, h)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "048CED63C91426D4F0EB1435E7CB1D74A46723A0AF21C89634F65A9AE87A9265E28C879506743F8611AC33645C5B985C80B5F09A0B83407C1B6A4D857AE76FE522"); !bytes.Equal(g, want) {
		t.Errorf("mapped generator %X, want %X", g, want)
	}
}

// Every curve: N·G is infinity, Diffie-Hellman agrees, (a+b)·G = a·G + b·G,
// and points off the curve are refused.
func TestAllCurves(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			minus := new(big.Int).Sub(c.N, big.NewInt(1)).FillBytes(make([]byte, c.ScalarSize()))
			last, err := c.BaseMult(minus)
			if err != nil {
				t.Fatal(err)
			}
			one := c.Scalar([]byte{1})
			base, _ := c.BaseMult(one)
			if _, err := c.Add(last, base); !errors.Is(err, ErrInfinity) {
				t.Errorf("(N−1)·G + G gave %v, want infinity", err)
			}
			a, _ := c.NewScalar(rand.Reader)
			b, _ := c.NewScalar(rand.Reader)
			pa, _ := c.BaseMult(a)
			pb, _ := c.BaseMult(b)
			ab, err1 := c.Mult(a, pb)
			ba, err2 := c.Mult(b, pa)
			if err1 != nil || err2 != nil || !bytes.Equal(ab, ba) {
				t.Errorf("the shared points differ (%v, %v)", err1, err2)
			}
			sum := new(big.Int).Add(new(big.Int).SetBytes(a), new(big.Int).SetBytes(b))
			both, _ := c.BaseMult(c.Scalar(append([]byte{0}, sum.FillBytes(make([]byte, c.ScalarSize()+1))...)))
			if added, err := c.Add(pa, pb); err != nil || !bytes.Equal(added, both) {
				t.Errorf("a·G + b·G is not (a+b)·G (%v)", err)
			}
			if doubled, err := c.Add(pa, pa); err != nil {
				t.Errorf("P + P: %v", err)
			} else if twice, _ := c.Mult(c.Scalar([]byte{2}), pa); !bytes.Equal(doubled, twice) {
				t.Error("P + P is not 2·P")
			}
			bad := bytes.Clone(pa)
			bad[len(bad)-1] ^= 1
			if err := c.Check(bad); !errors.Is(err, ErrPoint) {
				t.Errorf("a point off the curve: %v", err)
			}
			if err := c.Check(pa[:len(pa)-1]); !errors.Is(err, ErrPoint) {
				t.Errorf("a short point: %v", err)
			}
			if err := c.Check([]byte{0}); !errors.Is(err, ErrPoint) {
				t.Errorf("infinity: %v", err)
			}
			if c.standard() != nil { // math/big must agree with nistec
				slow, _ := prime{c}.mult(a, pb)
				if !bytes.Equal(slow, ab) {
					t.Error("nistec and math/big disagree")
				}
			}
		})
	}
}

// OpenSSL signs, this package verifies, on every curve that OpenSSL has, with
// the key's parameters written as a name and in full.
func TestECDSAAgainstOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	names := map[string]string{"P-192": "prime192v1", "P-224": "secp224r1", "P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}
	dir := t.TempDir()
	message := []byte("read it back")
	digest := sha256.Sum256(message)
	file := filepath.Join(dir, "message")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command(openssl, args...).Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	for _, c := range All() {
		name := c.Name
		if n, ok := names[name]; ok {
			name = n
		}
		for _, form := range []string{"named_curve", "explicit"} {
			t.Run(c.Name+"/"+form, func(t *testing.T) {
				key := filepath.Join(dir, c.Name+form)
				run("ecparam", "-name", name, "-param_enc", form, "-genkey", "-noout", "-out", key)
				sig := run("dgst", "-sha256", "-sign", key, file)
				var spki struct {
					Algorithm struct {
						OID        asn1.ObjectIdentifier
						Parameters asn1.RawValue
					}
					Key asn1.BitString
				}
				if _, err := asn1.Unmarshal(run("ec", "-in", key, "-pubout", "-outform", "DER"), &spki); err != nil {
					t.Fatal(err)
				}
				found, err := FromParameters(spki.Algorithm.Parameters.FullBytes)
				if err != nil || found != c {
					t.Fatalf("FromParameters gave %v, %v", found, err)
				}
				if err := c.VerifyECDSA(spki.Key.Bytes, digest[:], sig); err != nil {
					t.Error(err)
				}
				digest := digest
				digest[0] ^= 1
				if err := c.VerifyECDSA(spki.Key.Bytes, digest[:], sig); !errors.Is(err, ErrSignature) {
					t.Errorf("another digest: %v", err)
				}
			})
		}
	}
}

// A base point of one's own makes a key for any public point (CVE-2020-0601):
// explicit parameters must be a known curve in every number.
func TestForeignParametersAreRefused(t *testing.T) {
	c := P256()
	other, err := c.BaseMult(c.Scalar([]byte{7}))
	if err != nil {
		t.Fatal(err)
	}
	var e ecParameters
	e.Version = 1
	e.Field.Type, e.Field.Prime = oidPrimeField, c.P
	e.Curve.A, e.Curve.B = c.A.Bytes(), c.B.Bytes()
	e.Base, e.Order, e.Cofactor = other, c.N, big.NewInt(1)
	der, err := asn1.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FromParameters(der); !errors.Is(err, ErrUnknownCurve) {
		t.Errorf("a foreign base point: %v", err)
	}
	e.Base = append([]byte{2 + byte(c.Y.Bit(0))}, c.X.FillBytes(make([]byte, 32))...)
	if der, err = asn1.Marshal(e); err != nil {
		t.Fatal(err)
	}
	if found, err := FromParameters(der); err != nil || found != c {
		t.Errorf("a compressed base point: %v", err)
	}
	e.Cofactor = big.NewInt(2)
	if der, err = asn1.Marshal(e); err != nil {
		t.Fatal(err)
	}
	if _, err := FromParameters(der); !errors.Is(err, ErrUnknownCurve) {
		t.Errorf("a cofactor of 2: %v", err)
	}
}

func FuzzFromParameters(f *testing.F) {
	f.Add([]byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	f.Fuzz(func(t *testing.T, der []byte) {
		if c, err := FromParameters(der); (c == nil) == (err == nil) {
			t.Fatal("neither a curve nor an error")
		}
	})
}

func BenchmarkP256Mult(b *testing.B) {
	c := P256()
	k, _ := c.NewScalar(rand.Reader)
	p, _ := c.BaseMult(k)
	for b.Loop() {
		if _, err := c.Mult(k, p); err != nil {
			b.Fatal(err)
		}
	}
}
