package record

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// now is the moment of all tests.
var now = time.Date(2026, 3, 21, 9, 0, 0, 0, time.UTC)

// signer is a registry's key of a test.
type signer struct {
	kid string
	alg jose.SignatureAlgorithm
	key any
	pub any
}

func (s signer) trust() TrustKey {
	return TrustKey{
		KeyID: s.kid, Algorithm: string(s.alg), JWK: jose.JSONWebKey{Key: s.pub},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0), Permits: []string{AnyPermit},
	}
}

// sign makes a compact JWS with the given typ.
func (s signer) sign(t testing.TB, payload []byte, typ string) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithHeader(jose.HeaderKey("kid"), s.kid)
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	sg, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := sg.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var keys = sync.OnceValue(func() (k struct{ es, ps, ed signer }) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	k.es = signer{"reg-es", jose.ES256, ec, &ec.PublicKey}
	k.ps = signer{"reg-ps", jose.PS256, rs, &rs.PublicKey}
	k.ed = signer{"reg-ed", jose.EdDSA, priv, pub}
	return k
})

// intake is the bureau's key of a test; it opens with go-jose.
type intake struct{ key *ecdsa.PrivateKey }

var intakeKey = sync.OnceValue(func() intake {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return intake{k}
})

func (i intake) OpenJWE(_ context.Context, compact string) ([]byte, error) {
	jwe, err := jose.ParseEncryptedCompact(compact, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJWE, err)
	}
	plain, err := jwe.Decrypt(i.key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJWE, err)
	}
	return plain, nil
}

func (i intake) seal(t testing.TB, inner, cty string) string {
	t.Helper()
	opts := &jose.EncrypterOptions{}
	if cty != "" {
		opts = opts.WithContentType(jose.ContentType(cty))
	}
	enc, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: &i.key.PublicKey}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := enc.Encrypt([]byte(inner))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func verifier(t testing.TB, change ...func(*TrustKey)) *Verifier {
	t.Helper()
	k := keys()
	entries := []TrustKey{k.es.trust(), k.ps.trust(), k.ed.trust()}
	for _, f := range change {
		for i := range entries {
			f(&entries[i])
		}
	}
	trust, err := NewTrust(time.Time{}, entries)
	if err != nil {
		t.Fatal(err)
	}
	return &Verifier{Trust: trust, Audience: "bureau-1", Now: func() time.Time { return now }, Opener: intakeKey()}
}

func jpegOf(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var portrait = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 413, 531), image.YCbCrSubsampleRatio420), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
})

// good is a record that every check accepts.
func good() Record {
	return Record{
		Schema: Schema, RecordID: "0f8fad5b-d9cb-469f-a165-70867728950e", Revision: 1,
		Audience: "bureau-1", IssuedAt: now.Add(-time.Hour), ExpiresAt: now.AddDate(0, 1, 0), Reason: "first",
		Person: Person{
			UniqueID:    "100200300401",
			Name:        Names{Local: Name{Family: "رضایی", Given: "محمد"}, Latin: Name{Family: "Rezai", Given: "Mohammad"}},
			Sex:         "M",
			BirthDate:   BirthDate{1990, 5, 17},
			Nationality: "AFG",
			Photo:       Photo{MediaType: "image/jpeg", Data: portrait()},
		},
		Residence: Residence{Permit: "amayesh", ValidFrom: Date{2025, 6, 1}, ValidUntil: Date{2027, 6, 1}, Office: "TH-0012"},
	}
}

func payloadOf(t testing.TB, r Record) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signed(t testing.TB, r Record) string {
	return keys().es.sign(t, payloadOf(t, r), mediaType)
}

// wantCode fails unless err is a refusal with the code.
func wantCode(t testing.TB, err error, code string) *Refusal {
	t.Helper()
	var ref *Refusal
	if !errors.As(err, &ref) {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	if ref.Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	if _, known := codeIndex[ref.Code]; !known {
		t.Fatalf("code %s is not in the table", ref.Code)
	}
	return ref
}
