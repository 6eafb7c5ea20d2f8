package lds_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/tlv"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holds checks that a signature verifies, and that none does with one bit
// changed in it or in the challenge.
func holds(t *testing.T, key *lds.ActiveKey, challenge, signature []byte) {
	t.Helper()
	if err := key.Verify(challenge, signature); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{challenge, signature} {
		for _, at := range []int{0, len(b) / 2, len(b) - 1} {
			b[at] ^= 1
			if err := key.Verify(challenge, signature); !errors.Is(err, lds.ErrActiveAuthentication) {
				t.Errorf("a bit in byte %d of %d changed: %v", at, len(b), err)
			}
			b[at] ^= 1
		}
	}
	for _, bad := range [][]byte{nil, signature[1:], append([]byte{0}, signature...), bytes.Repeat([]byte{0xFF}, len(signature)), make([]byte, len(signature))} {
		if err := key.Verify(challenge, bad); !errors.Is(err, lds.ErrActiveAuthentication) {
			t.Errorf("%d bytes that are no signature: %v", len(bad), err)
		}
	}
}

// TestActiveBouncyCastle is a known answer of the Bouncy Castle library's
// tests (ISO9796Test, a passport's key).
func TestActiveBouncyCastle(t *testing.T) {
	key, err := lds.ParseActiveKey(fromHex(t, "30819f300d06092a864886f70d010101050003818d0030818902818100"+
		"CDCBDABBF93BE8E8294E32B055256BBD0397735189BF75816341BB0D488D05D627991221DF7D59835C76A4BB4808ADEEB779E7794504E956ADC2A661B46904CD"+
		"C71337DD29DDDD454124EF79CFDD7BC2C21952573CEFBA485CC38C6BD2428809B5A31A898A6B5648CAA4ED678D9743B589134B7187478996300EDBA16271A861"+
		"0203010001"), nil)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, key, make([]byte, 8), fromHex(t, "482E20D1EDDED34359C38F5E7C01203F9D6B2641CDCA5C404D49ADAEDE034C7481D781D043722587761C90468DE69C65"+
		"85A1E8B9C322F90E1B580EEDAB3F6007D0C366CF92B4DB8B41C8314929DCE2BE889C0129123484D2FD3D12763D2EBFD12AC8E51D7061AFCA1A53DEDEC7B9A617472A78C952CCC72467AE008E5F132994"))
}

// openssl runs OpenSSL with files in a folder of its own.
func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	c := exec.Command("openssl", args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

func read(t *testing.T, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawSign has OpenSSL make an RSA key of a number of bits and sign F with it
// as it stands: the private operation is what decryption is. The key comes back as SubjectPublicKeyInfo.
func rawSign(t *testing.T, bits string, f func(size int) []byte) (spki, signature []byte) {
	t.Helper()
	dir := t.TempDir()
	openssl(t, dir, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:"+bits, "-out", "key.pem")
	openssl(t, dir, "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "public.der")
	spki = read(t, dir, "public.der")
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), f(public.(*rsa.PublicKey).Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl(t, dir, "pkeyutl", "-decrypt", "-inkey", "key.pem", "-pkeyopt", "rsa_padding_mode:none", "-in", "f", "-out", "sig")
	return spki, read(t, dir, "sig")
}

// TestActiveAppendixF is the worked example of 9303-11 appendix F, whose F
// OpenSSL signs: the example names no key.
func TestActiveAppendixF(t *testing.T) {
	challenge := fromHex(t, "F173589974BF40C6")
	spki, signature := rawSign(t, "1024", func(int) []byte {
		return fromHex(t, "6A9D2784A67F8E7C659973EA1AEA25D95B6C8F91E5002F369F0FBDCE8A3CEC1991B543F1696546C5524CF23A5303CD6C98599F40B79F377B5F3A1406B3B4D8F967"+
			"84D23AA88DB7E1032A405E69325FA91A6E86F5C71AEA978264C4A207446DAD4E7292E2DCDA3024B47DA8C063AA1E6D22FBD976AB0FE73D94D2D9C6D88127BC")
	})
	key, err := lds.ParseActiveKey(spki, nil)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, key, challenge, signature)
	// ISO/IEC 9796-2 lets the signer give n − s.
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature)
	if err := key.Verify(challenge, s.Sub(public.(*rsa.PublicKey).N, s).FillBytes(make([]byte, 128))); err != nil {
		t.Errorf("n − s: %v", err)
	}
}

// TestActiveTrailers has every trailer and padding, signed by OpenSSL, and what
// must be refused although the private key made it.
func TestActiveTrailers(t *testing.T) {
	challenge := []byte("12345678")
	for name, c := range map[string]struct {
		bits    string
		hash    crypto.Hash
		trailer []byte
		header  []byte
		good    bool
	}{
		"SHA-1, BC":        {"1024", crypto.SHA1, []byte{0xBC}, []byte{0x6A}, true},
		"SHA-1, 33CC":      {"1024", crypto.SHA1, []byte{0x33, 0xCC}, []byte{0x6A}, true},
		"SHA-224":          {"1024", crypto.SHA224, []byte{0x38, 0xCC}, []byte{0x6A}, true},
		"SHA-256":          {"2048", crypto.SHA256, []byte{0x34, 0xCC}, []byte{0x6A}, true},
		"SHA-384":          {"1280", crypto.SHA384, []byte{0x36, 0xCC}, []byte{0x6A}, true},
		"SHA-512":          {"1536", crypto.SHA512, []byte{0x35, 0xCC}, []byte{0x6A}, true},
		"a shorter M1":     {"1024", crypto.SHA256, []byte{0x34, 0xCC}, []byte{0x6B, 0xBB, 0xBB, 0xBA}, true},
		"another hash":     {"1024", crypto.SHA256, []byte{0x38, 0xCC}, []byte{0x6A}, false},
		"RIPEMD-160":       {"1024", crypto.SHA1, []byte{0x31, 0xCC}, []byte{0x6A}, false},
		"another trailer":  {"1024", crypto.SHA1, []byte{0xAC}, []byte{0x6A}, false},
		"total recovery":   {"1024", crypto.SHA1, []byte{0xBC}, []byte{0x4A}, false},
		"padding of zeros": {"1024", crypto.SHA1, []byte{0xBC}, []byte{0x6B, 0x00, 0xBA}, false},
	} {
		t.Run(name, func(t *testing.T) {
			spki, signature := rawSign(t, c.bits, func(size int) []byte {
				m1 := make([]byte, size-len(c.header)-c.hash.Size()-len(c.trailer))
				if _, err := rand.Read(m1); err != nil {
					t.Fatal(err)
				}
				h := c.hash.New()
				h.Write(m1)
				h.Write(challenge)
				return append(h.Sum(append(bytes.Clone(c.header), m1...)), c.trailer...)
			})
			key, err := lds.ParseActiveKey(spki, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.good {
				holds(t, key, challenge, signature)
			} else if err := key.Verify(challenge, signature); !errors.Is(err, lds.ErrActiveAuthentication) {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

// activeInfo is DG14's content with an ActiveAuthenticationInfo.
func activeInfo(t testing.TB, arc int) []byte {
	return tlv.Encode(0x31, tlv.Encode(0x30, der(t, asn1.ObjectIdentifier{2, 23, 136, 1, 1, 5}), der(t, 1),
		der(t, asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 1, 1, 4, 1, arc})))
}

// TestActiveECDSA has plain signatures by OpenSSL on curves of NIST and
// Brainpool.
func TestActiveECDSA(t *testing.T) {
	challenge := []byte("\x01\x02\x03\x04\x05\x06\x07\x08")
	for name, c := range map[string]struct {
		curve, digest string
		arc, size     int
	}{
		"P-256, SHA-256":           {"prime256v1", "sha256", 3, 32},
		"P-256, SHA-1":             {"prime256v1", "sha1", 1, 32},
		"P-521, SHA-512":           {"secp521r1", "sha512", 5, 66},
		"brainpoolP224r1, SHA-224": {"brainpoolP224r1", "sha224", 2, 28},
		"brainpoolP384r1, SHA-384": {"brainpoolP384r1", "sha384", 4, 48},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			openssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+c.curve, "-pkeyopt", "ec_param_enc:explicit", "-out", "key.pem")
			openssl(t, dir, "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "public.der")
			if err := os.WriteFile(filepath.Join(dir, "m"), challenge, 0o600); err != nil {
				t.Fatal(err)
			}
			openssl(t, dir, "dgst", "-"+c.digest, "-sign", "key.pem", "-out", "sig", "m")
			var sig struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(read(t, dir, "sig"), &sig); err != nil {
				t.Fatal(err)
			}
			plain := append(sig.R.FillBytes(make([]byte, c.size)), sig.S.FillBytes(make([]byte, c.size))...)
			infos, err := lds.ParseSecurityInfos(activeInfo(t, c.arc))
			if err != nil {
				t.Fatal(err)
			}
			key, err := lds.ParseActiveKey(read(t, dir, "public.der"), infos)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, key, challenge, plain)
		})
	}
}

// TestActiveKeysRefused: keys and algorithms that cannot be used, by name.
func TestActiveKeysRefused(t *testing.T) {
	spki := func(key any) []byte {
		b, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := spki(&private.PublicKey)
	infos := func(arc int) *lds.SecurityInfos {
		s, err := lds.ParseSecurityInfos(activeInfo(t, arc))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	even := new(big.Int).Lsh(big.NewInt(1), 1023)
	small := new(big.Int).SetBit(big.NewInt(1), 767, 1)
	huge := new(big.Int).SetBit(big.NewInt(1), 9000, 1)
	for name, c := range map[string]struct {
		spki []byte
		dg14 *lds.SecurityInfos
		want error
	}{
		"nothing":                     {nil, nil, lds.ErrMalformed},
		"bytes behind":                {append(bytes.Clone(point), 0), infos(3), lds.ErrMalformed},
		"an even modulus":             {spki(&rsa.PublicKey{N: even, E: 65537}), nil, lds.ErrMalformed},
		"768 bits":                    {spki(&rsa.PublicKey{N: small, E: 65537}), nil, lds.ErrMalformed},
		"9001 bits":                   {spki(&rsa.PublicKey{N: huge, E: 65537}), nil, lds.ErrMalformed},
		"a curve without DG14":        {point, nil, lds.ErrMalformed},
		"a curve without its info":    {point, &lds.SecurityInfos{}, lds.ErrMalformed},
		"ECDSA with RIPEMD-160":       {point, infos(6), lds.ErrNotSupported},
		"Ed25519, as no chip has one": {fromHex(t, "302a300506032b6570032100"+"19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"), nil, lds.ErrNotSupported},
	} {
		if _, err := lds.ParseActiveKey(c.spki, c.dg14); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := lds.ParseSecurityInfos(tlv.Encode(0x31, tlv.Encode(0x30, der(t, asn1.ObjectIdentifier{2, 23, 136, 1, 1, 5}), der(t, 1)))); !errors.Is(err, lds.ErrMalformed) {
		t.Errorf("an info without an algorithm: %v", err)
	}
}

// FuzzActive takes DG15's key, DG14 and the answer from a hostile chip.
func FuzzActive(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		f.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(spki, []byte{0x31, 0}, make([]byte, 128))
	h := sha1.Sum(nil)
	f.Add(fromHex(f, "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
		activeInfo(f, 3), append(h[:], make([]byte, 44)...))
	f.Fuzz(func(t *testing.T, spki, dg14, answer []byte) {
		infos, err := lds.ParseSecurityInfos(dg14)
		if err != nil {
			infos = nil
		}
		key, err := lds.ParseActiveKey(spki, infos)
		if err != nil {
			return
		}
		challenge := []byte("\x11\x22\x33\x44\x55\x66\x77\x88")
		if len(spki) > 600 {
			return // big exponentiations
		}
		if err := key.Verify(challenge, answer); err != nil && !errors.Is(err, lds.ErrActiveAuthentication) {
			t.Fatal(err)
		}
	})
}
