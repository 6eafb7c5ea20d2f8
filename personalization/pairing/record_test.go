package pairing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/statement"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rawSign(k *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, k, digest)
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}

// issuer is a key that signs records, and its public key set.
func issuer(t testing.TB) (statement.Sign, jose.JSONWebKeySet) {
	k := newKey(t)
	sign := func(tbs []byte) ([]byte, error) {
		sum := sha256.Sum256(tbs)
		return rawSign(k, sum[:])
	}
	return sign, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "sim.pairing/1", Algorithm: "ES256", Use: "sig"}}}
}

// example is a record with its transcript.
func example(t testing.TB) (Record, []byte) {
	t.Helper()
	card := newKey(t)
	s, err := NewSession(t.Context(), SessionRequest{Terminal: "desk 7", IdentityReader: "a", SIMReader: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	digest := s.Digest()
	signature, err := rawSign(card, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	point, err := card.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	seed := [16]byte{1, 2, 3}
	r := Rand(s.ID, s.Nonce, seed)
	tr := Transcript{
		Session: s.ID[:], Nonce: s.Nonce[:], Digest: digest[:], Started: s.Started.Unix(), Signature: signature, Key: point,
		Card: bytes.Repeat([]byte{5}, 32), ICCID: bytes.Repeat([]byte{6}, 32), Seed: seed[:], RAND: r[:], AUTN: make([]byte, 16),
	}
	e, encoded, err := tr.evidence()
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	return Record{
		Version: recordVersion, Issuer: "A bureau with a rather long name, department of cards", IssuedAt: 1764028800, ID: id[:], Card: tr.Card, ICCID: tr.ICCID,
		Number: Commitment(Salt{9}, MSISDN{private{"+989101234567"}}), Operator: "43211", Evidence: e, Until: "2031-11-24", StatusIndex: 77,
		Status: "https://bureau.example/v1/pairings/status",
	}, encoded
}

func TestRecord(t *testing.T) {
	sign, keys := issuer(t)
	want, transcript := example(t)
	raw, err := SignRecord(want, "sim.pairing/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 600 {
		t.Errorf("a record of %d bytes is large", len(raw))
	}
	got, err := VerifyRecord(raw, keys)
	if err != nil || fmt.Sprint(*got) != fmt.Sprint(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := VerifyRecord(bad, keys); err == nil {
			t.Fatalf("byte %d altered, and the record is good", i)
		}
	}
	_, others := issuer(t)
	if _, err := VerifyRecord(raw, others); !errors.Is(err, statement.ErrSignature) {
		t.Errorf("another key of the same name: %v", err)
	}
	if err := got.Of(want.Card); err != nil {
		t.Error(err)
	}
	if err := got.Of(want.ICCID); !errors.Is(err, ErrOtherCard) {
		t.Errorf("another card: %v", err)
	}
	if !got.HasNumber(Salt{9}, MSISDN{private{"+989101234567"}}) || got.HasNumber(Salt{8}, MSISDN{private{"+989101234567"}}) || got.HasNumber(Salt{9}, MSISDN{private{"+989101234568"}}) {
		t.Error("the commitment opens wrongly")
	}
	if _, err := got.Verify(transcript); err != nil {
		t.Error(err)
	}
	for i := range transcript {
		bad := bytes.Clone(transcript)
		bad[i] ^= 1
		if _, err := got.Verify(bad); err == nil {
			t.Fatalf("byte %d of the transcript altered, and it is good", i)
		}
	}
	long := want
	long.Status = strings.Repeat("x", MaxRecord)
	if _, err := SignRecord(long, "sim.pairing/1", sign); err == nil {
		t.Error("a record that does not fit the card was signed")
	}
}

// TestTranscriptOfAnotherChallenge: a record whose transcript's challenge is not of
// its session is refused, though all digests agree.
func TestTranscriptOfAnotherChallenge(t *testing.T) {
	r, encoded := example(t)
	var tr Transcript
	if err := statement.Decode(encoded, &tr); err != nil {
		t.Fatal(err)
	}
	tr.RAND[0] ^= 1
	var err error
	if r.Evidence, encoded, err = tr.evidence(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Verify(encoded); !errors.Is(err, ErrEvidence) {
		t.Errorf("%v", err)
	}
}

func TestIncompleteRecords(t *testing.T) {
	sign, _ := issuer(t)
	for name, spoil := range map[string]func(*Record){
		"id": func(r *Record) { r.ID = nil }, "card": func(r *Record) { r.Card = r.Card[1:] }, "operator": func(r *Record) { r.Operator = "MCI" },
		"until": func(r *Record) { r.Until = "soon" }, "issuer": func(r *Record) { r.Issuer = "" }, "evidence": func(r *Record) { r.Evidence.Challenge = nil },
		"index": func(r *Record) { r.StatusIndex = -1 },
	} {
		r, _ := example(t)
		spoil(&r)
		if _, err := SignRecord(r, "k", sign); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// judge verifies a record with other people's CBOR and cryptography.
const judge = `
import hashlib, json, sys, base64, cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
tag = cbor2.loads(open(sys.argv[1], "rb").read())
assert tag.tag == 18
protected, _, payload, signature = tag.value
head = cbor2.loads(protected)
jwk = {k["kid"]: k for k in json.load(open(sys.argv[2]))["keys"]}[head[4].decode()]
n = lambda s: int.from_bytes(base64.urlsafe_b64decode(s + "=="), "big")
key = ec.EllipticCurvePublicNumbers(n(jwk["x"]), n(jwk["y"]), ec.SECP256R1()).public_key()
der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
key.verify(der, cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(hashes.SHA256()))
r = cbor2.loads(payload)
t = cbor2.loads(open(sys.argv[3], "rb").read())
assert hashlib.sha256(open(sys.argv[3], "rb").read()).digest() == r[9][3]
assert hashlib.sha256(b"pair-rand-v1" + t[1] + t[2] + t[9]).digest()[:16] == t[10]
assert hashlib.sha256(b"pair-v1" + t[1] + t[2] + len(b"desk 7").to_bytes(2, "big") + b"desk 7").digest() == t[3]
card = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), t[6])
card.verify(utils.encode_dss_signature(int.from_bytes(t[5][:32], "big"), int.from_bytes(t[5][32:], "big")), t[3], ec.ECDSA(utils.Prehashed(hashes.SHA256())))
assert hashlib.sha256(b"pair-msisdn-v1" + bytes([9] + 31 * [0]) + b"+989101234567").digest() == r[7]
print("paired with", r[8], "until", r[10])
`

// TestPython: Python's CBOR and cryptography find record, transcript, challenge and
// commitment as this package's documentation says.
func TestPython(t *testing.T) {
	sign, keys := issuer(t)
	r, transcript := example(t)
	raw, err := SignRecord(r, "sim.pairing/1", sign)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program, jwks, tr := write("judge.py", []byte(judge)), write("jwks.json", set), write("transcript", transcript)
	out, err := exec.Command("/usr/bin/python3", program, write("good", raw), jwks, tr).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "paired with 43211 until 2031-11-24" {
		t.Fatalf("%v: %s", err, out)
	}
	raw[len(raw)/2] ^= 1
	if out, err := exec.Command("/usr/bin/python3", program, write("bad", raw), jwks, tr).CombinedOutput(); err == nil {
		t.Errorf("an altered record: %s", out)
	}
}

func FuzzVerifyRecord(f *testing.F) {
	sign, keys := issuer(f)
	r, transcript := example(f)
	raw, err := SignRecord(r, "sim.pairing/1", sign)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(transcript)
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := VerifyRecord(b, keys); err == nil && r.check() != nil {
			t.Error("an incomplete record was verified")
		}
		_, _ = r.Verify(b)
	})
}

func TestNumbersAreHidden(t *testing.T) {
	n, err := ParseMSISDN("+989101234567")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"n": n})
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %q %d %x %s", n, n, n, n, n, n, struct{ N MSISDN }{n}, b)
	if strings.Contains(out, "989101234567") || strings.Contains(out, "39313031") {
		t.Errorf("a number was printed: %s", out)
	}
	for _, bad := range []string{"", "8998110000000000013", "899811000000000001", "8998110000000000012x", "1234567890123456789"} {
		if _, err := ParseICCID(bad); !errors.Is(err, ErrNumber) || strings.Contains(err.Error(), "00000") {
			t.Errorf("ICCID %q: %v", bad, err)
		}
	}
	for _, good := range []string{"8988211000000430010", "8998110000000000012", "89981100000000000004"} {
		if _, err := ParseICCID(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"+98910123456", "989101234567", "+989101234567 ", "+979101234567"} {
		if _, err := ParseMSISDN(bad); !errors.Is(err, ErrNumber) {
			t.Errorf("MSISDN %q: %v", bad, err)
		}
	}
	i, err := ParseIMSI("432110000000001")
	if err != nil || !i.Of("43211") || i.Of("43235") || i.Of("") {
		t.Errorf("%v", err)
	}
}

func TestSession(t *testing.T) {
	now := time.Now()
	r := SessionRequest{Terminal: "desk 7", IdentityReader: "a", SIMReader: "b", Now: func() time.Time { return now }}
	begin := func() *Session {
		t.Helper()
		s, err := NewSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	s := begin()
	if err := s.use(); err != nil {
		t.Error(err)
	}
	if err := s.use(); !errors.Is(err, ErrSessionUsed) {
		t.Errorf("a second use: %v", err)
	}
	s.Removed("another reader")
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	s.Removed("b")
	if err := s.Check(); !errors.Is(err, ErrRemoved) {
		t.Errorf("removed: %v", err)
	}
	s = begin()
	now = now.Add(Life)
	if err := s.use(); !errors.Is(err, ErrSessionExpired) {
		t.Errorf("expired: %v", err)
	}
	short := begin()
	r.Lasts = 10 * time.Second
	if got := begin().Deadline().Sub(now); got != r.Lasts || short.Deadline().Sub(now) != Life {
		t.Errorf("a session of 10 s lasts %v", got)
	}
	r.Lasts = 0
	for _, bad := range []SessionRequest{
		{Terminal: "x", IdentityReader: "a", SIMReader: "b", Lasts: Life + 1}, {Terminal: "x", IdentityReader: "a", SIMReader: "b", Lasts: MinLife - 1},
		{}, {Terminal: "x", IdentityReader: "a", SIMReader: "a"}, {Terminal: strings.Repeat("x", 129), IdentityReader: "a", SIMReader: "b"},
	} {
		if _, err := NewSession(t.Context(), bad); err == nil {
			t.Errorf("%+v began a session", bad)
		}
	}
	a, b := begin(), begin()
	if a.Digest() == b.Digest() || a.ID == b.ID || a.Nonce == b.Nonce {
		t.Error("two sessions are one")
	}
	// The terminal's length is in the statement: no two sessions give the same bytes.
	b.ID, b.Nonce, b.Terminal = a.ID, a.Nonce, "desk 77"
	if a.Digest() == b.Digest() {
		t.Error("two terminals sign the same")
	}
}
