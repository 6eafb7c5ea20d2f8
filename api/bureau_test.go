package api_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cardbureau/api"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/vault/vaulttest"
)

func TestMain(m *testing.M) {
	status := vaulttest.Run(m)
	if !vaulttest.IsAgent() {
		desk.close()
	}
	os.Exit(status)
}

// desk is one bureau for all tests: a real database, a real token, the test
// registry's key.
var desk office

type office struct {
	once sync.Once
	dir  string
	err  error
	*bureau.Bureau

	records []string          // signed, of different people
	keys    map[string]string // bearer keys by scopes
}

// open makes the bureau when the first test asks for it.
func open(t testing.TB) *office {
	t.Helper()
	desk.once.Do(desk.open)
	if desk.err != nil {
		t.Fatal(desk.err)
	}
	return &desk
}

func (o *office) open() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	exe, err := os.Executable()
	if o.err = err; err != nil {
		return
	}
	if o.dir, o.err = os.MkdirTemp("", "cb-api-"); o.err != nil {
		return
	}
	options := bureau.Options{Agent: []string{"env", "CARDBUREAU_TEST_HSM_AGENT=1", exe}}
	if _, o.err = bureau.Create(ctx, o.dir, bureau.CreateRequest{}, options); o.err != nil {
		return
	}
	if o.Bureau, o.err = bureau.Open(ctx, o.dir, options); o.err != nil {
		return
	}
	for _, payload := range sample.Payloads(sample.Options{N: 40, Seed: 7, Audience: o.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}) {
		jws, err := o.Vault.SignTestRecord(ctx, payload)
		if o.err = err; err != nil {
			return
		}
		o.records = append(o.records, jws)
	}
	actor, err := o.Actor(ctx, "operator", "test", "test")
	if o.err = err; err != nil {
		return
	}
	o.keys = map[string]string{}
	for _, scopes := range []string{"records", "orders", "metrics", "records,orders"} {
		_, key, err := o.Store.CreateAPIKey(ctx, "test "+scopes, strings.Split(scopes, ","), actor)
		if o.err = err; err != nil {
			return
		}
		o.keys[scopes] = key
	}
}

func (o *office) close() {
	if o.Bureau != nil {
		o.Bureau.Close()
	}
	os.RemoveAll(o.dir)
}

// config is the API of the bureau.
func (o *office) config(t testing.TB) api.Config {
	t.Helper()
	key, err := o.IntakeKey()
	if err != nil {
		t.Fatal(err)
	}
	return api.Config{Intake: o.Intake(), Store: o.Store, IntakeKey: key, Version: "test"}
}

// altered is a record whose signature is another's.
func altered(jws string) string {
	head, sig := jws[:strings.LastIndexByte(jws, '.')+1], []byte(jws[strings.LastIndexByte(jws, '.')+1:])
	if sig[10] == 'A' {
		sig[10] = 'B'
	} else {
		sig[10] = 'A'
	}
	return head + string(sig)
}
