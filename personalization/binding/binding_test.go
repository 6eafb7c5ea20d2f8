package binding

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signed is a key with what signs by it.
func signed(t testing.TB) (*ecdsa.PrivateKey, Sign, jose.JSONWebKeySet) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(tbs []byte) ([]byte, error) {
		sum := sha256.Sum256(tbs)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	return key, sign, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "bank.binding/1", Algorithm: "ES256", Use: "sig"}}}
}

func payload(t testing.TB, point []byte) Payload {
	t.Helper()
	card, err := Thumbprint(point)
	if err != nil {
		t.Fatal(err)
	}
	return Payload{
		Issuer: "bureau", IssuedAt: 1764028800, Card: card, PANToken: bytes.Repeat([]byte{7}, 16), Last4: "0016", Sequence: 1,
		IBAN: bytes.Repeat([]byte{9}, 32), Rule: RuleResidence, Until: "2031-11-24", StatusIndex: 12345,
	}
}

func point(t testing.TB) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBothForms: COSE and JWS say the same, open with the bureau's key alone, and
// are of one card.
func TestBothForms(t *testing.T) {
	_, sign, keys := signed(t)
	chip := point(t)
	p := payload(t, chip)
	raw, err := COSE(p, "bank.binding/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 600 {
		t.Errorf("a binding of %d bytes is large for a card", len(raw))
	}
	text, err := JWS(p, "bank.binding/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	a, err := VerifyCOSE(raw, keys)
	if err != nil {
		t.Fatal(err)
	}
	b, err := VerifyJWS(text, keys)
	if err != nil {
		t.Fatal(err)
	}
	if a.Last4 != b.Last4 || !bytes.Equal(a.Card, b.Card) || a.StatusIndex != b.StatusIndex || a.Until != p.Until {
		t.Errorf("%+v and %+v", a, b)
	}
	if err := a.Of(chip); err != nil {
		t.Error(err)
	}
	if err := a.Of(point(t)); !errors.Is(err, ErrOtherCard) {
		t.Errorf("another card: %v", err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := VerifyCOSE(bad, keys); err == nil {
			t.Fatalf("byte %d altered, and the binding is good", i)
		}
	}
	for i := range text {
		bad := []byte(text)
		bad[i] ^= 1
		if _, err := VerifyJWS(string(bad), keys); err == nil {
			t.Fatalf("character %d altered, and the binding is good", i)
		}
	}
	_, _, others := signed(t)
	if _, err := VerifyCOSE(raw, others); !errors.Is(err, ErrSignature) {
		t.Errorf("another key of the same name: %v", err)
	}
	others.Keys[0].KeyID = "x"
	if _, err := VerifyJWS(text, others); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestIncompletePayloads(t *testing.T) {
	_, sign, _ := signed(t)
	for name, spoil := range map[string]func(*Payload){
		"card": func(p *Payload) { p.Card = nil }, "last4": func(p *Payload) { p.Last4 = "12a4" }, "until": func(p *Payload) { p.Until = "" },
		"rule": func(p *Payload) { p.Rule = "" }, "sequence": func(p *Payload) { p.Sequence = 0 }, "token": func(p *Payload) { p.PANToken = nil },
	} {
		p := payload(t, point(t))
		spoil(&p)
		if _, err := COSE(p, "k", sign); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := JWS(p, "k", sign); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJoseAgrees has José verify the JWS.
func TestJoseAgrees(t *testing.T) {
	tool, err := exec.LookPath("jose")
	if err != nil {
		t.Skip("jose (Debian package jose) is not installed")
	}
	_, sign, keys := signed(t)
	text, err := JWS(payload(t, point(t)), "bank.binding/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	jwk, err := keys.Keys[0].MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"k.jwk": jwk, "b.jws": []byte(text), "bad.jws": []byte(text[:len(text)-4] + "AAAA")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(tool, "jws", "ver", "-i", filepath.Join(dir, "b.jws"), "-k", filepath.Join(dir, "k.jwk")).CombinedOutput(); err != nil {
		t.Errorf("jose refuses the binding: %v %s", err, out)
	}
	if err := exec.Command(tool, "jws", "ver", "-i", filepath.Join(dir, "bad.jws"), "-k", filepath.Join(dir, "k.jwk")).Run(); err == nil {
		t.Error("jose takes an altered binding")
	}
}

func FuzzVerify(f *testing.F) {
	key, sign, keys := signed(f)
	_ = key
	raw, err := COSE(payload(f, point(f)), "bank.binding/1", sign)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := VerifyCOSE(b, keys); err == nil && p.check() != nil {
			t.Error("an incomplete binding was verified")
		}
		_, _ = VerifyJWS(string(b), keys)
		_ = new(big.Int)
	})
}
