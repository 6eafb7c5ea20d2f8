package intake_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

// encrypt wraps a signed record as a registry does.
func encrypt(t testing.TB, key any, plain string) string {
	t.Helper()
	opts := (&jose.EncrypterOptions{}).WithContentType("verified-record+jws")
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := e.Encrypt([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEncryptedRecords opens JWE with the token's intake key.
func TestEncryptedRecords(t *testing.T) {
	h := open(t)
	b, err := h.IntakeKey()
	h.must(err)
	var published jose.JSONWebKey
	h.must(json.Unmarshal(b, &published))
	if !published.IsPublic() || published.Use != "enc" {
		t.Fatalf("the published key is public: %v, use %q", published.IsPublic(), published.Use)
	}
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)

	p := h.people(4, 6)
	for i := range p {
		p[i].Bank = nil
	}
	rich := p[2]
	const account = "0150000001234567890123"
	rich.Bank = &record.Bank{
		IBAN: "IR" + record.IBANDigits("IR", account) + account, Account: "12345678",
		PAN: "5892100000000016", CardholderName: "NOT IN THIS RECORD",
	}
	wrapped := encrypt(t, published.Key, sign(t, registry, p[0]))
	parts := strings.Split(wrapped, ".")
	middle := len(parts[3]) / 2
	parts[3] = parts[3][:middle] + swap(parts[3][middle]) + parts[3][middle+1:]

	lines := []struct{ want, line string }{
		{intake.Accepted, wrapped},
		{record.JWEUnreadable, encrypt(t, another.Public(), sign(t, registry, p[1]))},
		{record.JWEUnreadable, strings.Join(parts, ".")},
		{record.NotJWS, encrypt(t, published.Key, "no record")},
		{record.NotJWS, encrypt(t, published.Key, wrapped)}, // a JWE in a JWE
		{record.UnknownKey, encrypt(t, published.Key, sign(t, stranger, p[1]))},
		{record.PANInClear, sign(t, registry, rich)},
		{intake.Accepted, encrypt(t, published.Key, sign(t, registry, rich))},
		{intake.AlreadyKnown, sign(t, registry, p[0])}, // the wrapping is not the content
		{record.LineCutOff, encrypt(t, published.Key, sign(t, registry, p[3]))[:900]},
	}
	var text []string
	for _, l := range lines {
		text = append(text, l.line)
	}
	answers := h.take(strings.NewReader(strings.Join(text, "\n")))
	if len(answers) != len(lines) {
		t.Fatalf("%d answers for %d lines", len(answers), len(lines))
	}
	for i, a := range answers {
		id := h.want(a, lines[i].want)
		if a.Status == intake.Accepted {
			h.prepare(id) // what was kept is the signed record, without its wrapping
		}
	}

	// Production takes nothing else.
	h.service.Verifier.RequireJWE = true
	h.want(h.one(sign(t, registry, p[4])), record.JWERequired)
	h.want(h.one(encrypt(t, published.Key, sign(t, registry, p[4]))), intake.Accepted)
}

// swap gives another character of the base64url alphabet.
func swap(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}
