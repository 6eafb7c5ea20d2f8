package intake_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault/vaulttest"
)

// folder is the data folder of all tests: one database, one token. Tests keep
// apart by making people of different seeds.
var folder string

// shared is the bureau that most tests take records in with.
var shared *bureau.Bureau

func TestMain(m *testing.M) {
	if vaulttest.IsAgent() {
		vaulttest.Main(m)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "cb-intake-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	if _, err := bureau.Create(context.Background(), folder, bureau.CreateRequest{}, options()); err != nil {
		panic(err)
	}
	if shared, err = bureau.Open(context.Background(), folder, options()); err != nil {
		panic(err)
	}
	status := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "closing the bureau:", err)
		return 1
	}
	return status
}

// options make this test binary the HSM agent.
func options() bureau.Options {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return bureau.Options{Agent: []string{"env", "CARDBUREAU_TEST_HSM_AGENT=1", exe}}
}

// Signing keys of the registries in these tests, by kid. The trust file names
// all but stranger.
const (
	registry = "registry"
	expired  = "expired"  // by the trust file
	capped   = "capped"   // three records a day
	students = "students" // signs for students only
	stranger = "stranger"
)

var signers = sync.OnceValue(func() map[string]*ecdsa.PrivateKey {
	m := map[string]*ecdsa.PrivateKey{}
	for _, kid := range []string{registry, expired, capped, students, stranger} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		m[kid] = key
	}
	return m
})

func trust(t testing.TB, notAfter time.Time) *record.Trust {
	t.Helper()
	now := time.Now()
	var keys []record.TrustKey
	for _, kid := range []string{registry, expired, capped, students} {
		k := record.TrustKey{
			KeyID: kid, Algorithm: string(jose.ES256), JWK: jose.JSONWebKey{Key: signers()[kid].Public()},
			NotBefore: now.AddDate(0, -2, 0), NotAfter: now.AddDate(1, 0, 0), Permits: []string{record.AnyPermit},
		}
		switch kid {
		case expired:
			k.NotAfter = now.Add(-time.Minute)
		case capped:
			k.DailyCap = 3
		case students:
			k.Permits = []string{"student"}
		}
		keys = append(keys, k)
	}
	tr, err := record.NewTrust(notAfter, keys)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// house takes records in.
type house struct {
	bureau.Bureau
	t       testing.TB
	service *intake.Service
	actor   store.Actor
	ali     store.Actor // operators, who decide
	zahra   store.Actor
}

func open(t testing.TB) *house {
	t.Helper()
	return newHouse(t, *shared)
}

// another is what another process would be: a house with database connections
// and an HSM agent of its own.
func another(t testing.TB) *house {
	t.Helper()
	b, err := bureau.Open(t.Context(), folder, options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return newHouse(t, *b)
}

func newHouse(t testing.TB, b bureau.Bureau) *house {
	t.Helper()
	b.Trust = record.HoldTrust(trust(t, time.Time{}))
	h := &house{Bureau: b, t: t, service: b.Intake()}
	for name, a := range map[string]*store.Actor{"test": &h.actor, "ali": &h.ali, "zahra": &h.zahra} {
		var err error
		if *a, err = b.Actor(t.Context(), "operator", name, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// people are records of n invented people whom no other test has.
func (h *house) people(seed uint64, n int) []record.Record {
	out := make([]record.Record, n)
	for i := range out {
		out[i] = h.person(seed, i)
	}
	return out
}

// person is one of people, without the others: their portraits take time.
func (h *house) person(seed uint64, i int) record.Record {
	return sample.Make(sample.Options{Seed: seed, Audience: h.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}, i)
}

func payload(t testing.TB, r record.Record) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(t testing.TB, kid string, r record.Record) string {
	t.Helper()
	return signBytes(t, kid, payload(t, r))
}

func signBytes(t testing.TB, kid string, payload []byte) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithHeader(jose.HeaderKey("kid"), kid).WithType("verified-record+jws")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: signers()[kid]}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file makes a file of lines.
func file(lines ...string) io.Reader { return strings.NewReader(strings.Join(lines, "\n") + "\n") }

// take takes a file in.
func (h *house) take(in io.Reader) []intake.Answer {
	h.t.Helper()
	var out []intake.Answer
	err := h.service.AcceptAll(h.t.Context(), in, 0, h.actor, func(a intake.Answer) error {
		out = append(out, a)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// one takes one signed record in.
func (h *house) one(signed string) intake.Answer {
	h.t.Helper()
	a, err := h.service.AcceptOne(h.t.Context(), []byte(signed), h.actor)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// want fails unless an answer says what it should: a status, or the code of a
// refusal. It returns the order.
func (h *house) want(a intake.Answer, word string) uuid.UUID {
	h.t.Helper()
	got := a.Status
	if a.Code != "" {
		got = a.Code
	}
	if got != word {
		h.t.Fatalf("answer %+v, want %s", a, word)
	}
	if !a.OK() {
		return uuid.Nil
	}
	return uuid.MustParse(a.OrderID)
}

func (h *house) state(order uuid.UUID) store.OrderState {
	h.t.Helper()
	o, err := h.Store.Order(h.t.Context(), order)
	if err != nil {
		h.t.Fatal(err)
	}
	return o.State
}

func (h *house) wantState(order uuid.UUID, want store.OrderState) {
	h.t.Helper()
	if got := h.state(order); got != want {
		h.t.Fatalf("order is %s, want %s", got, want)
	}
}

// prepare makes the card image of an order, as the preparation job does. It
// succeeds only if the sealed record opens under the person's key.
func (h *house) prepare(order uuid.UUID) {
	h.t.Helper()
	p := &image.Preparer{
		Store: h.Store, Vault: h.Vault, Verifier: h.Verifier(), Profiles: h.Profiles, State: h.Config.State, Actor: h.actor,
	}
	if err := p.Prepare(h.t.Context(), order); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) decide(order uuid.UUID, proceed bool) {
	h.t.Helper()
	h.must(h.Store.Decide(h.t.Context(), store.Decision{
		OrderID: order, Proceed: proceed, Reason: "looked-at", Approvers: [2]store.Actor{h.ali, h.zahra},
	}))
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// tells reports whether an answer holds anything of a person.
func tells(a intake.Answer, r record.Record) bool {
	text, _ := json.Marshal(a)
	for _, secret := range []string{
		r.Person.UniqueID, r.Person.Name.Local.Given, r.Person.Name.Local.Family, r.Person.Name.Latin.Given, r.Person.Name.Latin.Family,
	} {
		if len(secret) > 3 && bytes.Contains(text, []byte(secret)) {
			return true
		}
	}
	return false
}
