package bank

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// The database and the keys are made once for all tests.
var (
	databaseURL string
	tokenDir    string
	keys        *vault.Client
)

func TestMain(m *testing.M) {
	if vaulttest.IsAgent() {
		vaulttest.Main(m)
	}
	os.Exit(withDatabase(m))
}

func withDatabase(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bank-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	cluster, err := store.StartCluster(ctx, store.ClusterOptions{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	if err := store.Migrate(ctx, cluster.URL()); err != nil {
		panic(err)
	}
	databaseURL, tokenDir = cluster.URL(), filepath.Join(dir, "token")
	defer func() {
		if keys != nil {
			keys.Close()
		}
	}()
	return vaulttest.Run(m)
}

// counter is a bank's service over a database and keys, with the bank's own key for
// messages and files. Tests share the database: each makes people of its own.
type counter struct {
	*Service
	t    testing.TB
	ctx  context.Context
	ali  store.Actor
	sign *ecdsa.PrivateKey // of the bank's messages
	open *ecdsa.PrivateKey // of files to the bank
}

const (
	product = "identity-bank"
	aRange  = "sepah"
)

func newCounter(t testing.TB) *counter {
	t.Helper()
	return newCounterAt(t, databaseURL)
}

// ownCounter is a counter with a database to itself.
func ownCounter(t testing.TB) *counter {
	t.Helper()
	ctx := context.Background()
	cluster, err := store.StartCluster(ctx, store.ClusterOptions{Dir: t.TempDir()})
	if err == nil {
		t.Cleanup(func() { cluster.Close() })
		err = store.Migrate(ctx, cluster.URL())
	}
	if err != nil {
		t.Fatal(err)
	}
	return newCounterAt(t, cluster.URL())
}

func newCounterAt(t testing.TB, databaseURL string) *counter {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c := &counter{t: t, ctx: ctx}
	if keys == nil {
		v, err := vault.Start(ctx, vaulttest.Options(t, tokenDir))
		c.must(err)
		keys = v
		_, err = v.Provision(ctx, vaulttest.Development)
		c.must(err)
	}
	db, err := store.Open(ctx, databaseURL, store.Options{})
	c.must(err)
	t.Cleanup(db.Close)
	set, err := profile.Load(profiles.FS)
	c.must(err)
	c.sign, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	c.open, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	c.Service = &Service{Store: db, Vault: keys, Profiles: set, Name: "BUREAU", BankKeys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: c.sign.Public(), KeyID: "bank-1", Use: "sig", Algorithm: "ES256"},
		{Key: c.open.Public(), KeyID: "bank-files", Use: "enc", Algorithm: "ECDH-ES+A256KW"},
	}}}
	id, err := db.Actor(ctx, "operator", "ali")
	c.must(err)
	c.ali = store.Actor{ID: id, Through: "test"}
	if ranges, err := db.Ranges(ctx); err != nil || len(ranges) == 0 {
		c.must(db.AddRange(ctx, store.Range{Name: aRange, Prefix: "58921099", Length: 16, Size: payment.Range{Prefix: "58921099", Length: 16}.Size()}, c.ali))
	}
	return c
}

func (c *counter) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

var people atomic.Int64

// waiting makes an order that waits for its account.
func (c *counter) waiting() (order uuid.UUID, record string) {
	c.t.Helper()
	key, err := c.Vault.NewDataKey(c.ctx)
	c.must(err)
	digest := func(what string) []byte {
		sum := sha256.Sum256(fmt.Append(nil, what, c.t.Name(), people.Add(1)))
		return sum[:]
	}
	r := store.AcceptRequest{
		PersonID: store.NewID(), PersonRef: digest("person"), Key: store.DataKey(key), IdentityDigest: digest("identity"),
		RecordRow: store.NewID(), RecordID: uuid.NewString(), Revision: 1, Digest: digest("record"), KeyID: "registry-1",
		Sealed: []byte("sealed record"), ExpiresAt: time.Now().Add(24 * time.Hour),
		Product: product, Office: "o1", Phase: "p1", Reason: "first", State: store.OrderAccepted, Actor: c.ali,
	}
	res, err := c.Store.AcceptRecord(c.ctx, r)
	c.must(err)
	p, err := c.Store.OrderForPreparation(c.ctx, res.OrderID)
	c.must(err)
	c.must(c.Store.AwaitBank(c.ctx, res.OrderID, p.Generation, "account-missing", c.ali))
	return res.OrderID, r.RecordID
}

// account is one of the bank's, by number.
func (c *counter) account(n int) payment.Account {
	c.t.Helper()
	number := fmt.Sprintf("%013d", n)
	iban, err := payment.IBAN("015", 0, number)
	c.must(err)
	return payment.Account{IBAN: iban, Account: number}
}

// one is the answer to one item.
func (c *counter) one(list []Answer, err error) Answer {
	c.t.Helper()
	if err != nil || len(list) != 1 {
		c.t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// made is a card that was issued.
type made struct {
	pan   payment.PAN
	token []byte
	iban  string
}

// withdrawn assigns an account and takes it back; it returns the IBAN.
func (c *counter) withdrawn(n int) string {
	c.t.Helper()
	order, _ := c.waiting()
	a, ref := c.account(n), "back "+order.String()
	c.one(c.Assign(c.ctx, []Assignment{{Reference: ref, OrderID: order.String(), Account: a}}, "api", c.ali))
	if got := c.one(c.Withdraw(c.ctx, []Withdrawal{{ref, "closed"}}, c.ali)); got.Status != Done {
		c.t.Fatalf("%+v", got)
	}
	return a.IBAN
}

// issue makes a card of an account: the database does what it does for a real one.
func (c *counter) issue(n int) made {
	c.t.Helper()
	order, out := c.prepared(n)
	c.finish(order, store.OutcomeIssued)
	return out
}

// prepared gives an order an account and makes its data.
func (c *counter) prepared(n int) (order uuid.UUID, out made) {
	c.t.Helper()
	order, _ = c.waiting()
	return order, c.prepare(order, c.account(n))
}

func (c *counter) prepare(order uuid.UUID, a payment.Account) (out made) {
	c.t.Helper()
	out.iban = a.IBAN
	if got := c.one(c.Assign(c.ctx, []Assignment{{Reference: "card " + order.String(), OrderID: order.String(), Account: a}}, "api", c.ali)); got.Status == Refused {
		c.t.Fatalf("%+v", got)
	}
	p, err := c.Store.OrderForPreparation(c.ctx, order)
	c.must(err)
	row, err := c.Store.NextPAN(c.ctx, order, aRange, func(r store.Range) (store.PAN, error) {
		pan, err := payment.Range{Prefix: r.Prefix, Length: r.Length}.PAN(r.Used)
		row := store.PAN{ID: store.NewID(), Last4: pan.Last4()}
		if err == nil {
			row.Token, err = c.Vault.PANToken(c.ctx, string(pan))
		}
		if err == nil {
			row.Sealed, err = c.Vault.Seal(c.ctx, vault.DataKey(p.Key), image.PANAAD(row.ID, p.PersonID), []byte(pan))
		}
		out.pan = pan
		return row, err
	})
	c.must(err)
	out.token = row.Token
	ref, err := c.Vault.IBANRef(c.ctx, a.IBAN)
	c.must(err)
	im := store.Image{ID: store.NewID(), Version: p.Version, CardNumber: fmt.Sprintf("C%08d", people.Add(1)), Profile: product + " 1", Content: []byte("content"), Secrets: []byte("secrets")}
	c.must(c.Store.SaveBankImage(c.ctx, order, p.Generation, im, store.BankImage{
		Content: []byte("groupings"), Secrets: []byte("payment secrets"), PAN: row.ID, StatusIndex: people.Add(1), Binding: []byte("binding"), Scheme: "sepah",
		Expires: time.Date(2031, 11, 30, 0, 0, 0, 0, time.UTC), Mailer: store.NewID(), MailerSealed: []byte("mailer"),
		Account: store.SealedAccount{ID: store.NewID(), Digest: ref, IBANRef: ref, Sealed: []byte("not used: one is assigned")},
	}, c.ali))
	return out
}

// finish has the line begin the card of a prepared order, and end it so.
func (c *counter) finish(order uuid.UUID, outcome store.Outcome) {
	c.t.Helper()
	o, err := c.Store.Order(c.ctx, order)
	c.must(err)
	if o.State == store.OrderPrepared {
		_, err = c.Store.ReleaseLot(c.ctx, store.LotRequest{Name: order.String(), Orders: []uuid.UUID{order}, Actor: c.ali})
		c.must(err)
	}
	serial := fmt.Sprintf("4790-0001-%08X", people.Add(1))
	_, err = c.Store.ImportBlanks(c.ctx, []stock.Blank{{Serial: serial, Chip: "virtual", Batch: "b1"}}, c.ali)
	c.must(err)
	st, err := c.Store.OpenStation(c.ctx, "line", c.ali)
	c.must(err)
	defer st.Close(c.ctx)
	claim, err := st.Claim(c.ctx, store.ClaimRequest{Serial: serial, Reader: "reader 0", Products: []string{product}})
	c.must(err)
	proof := sha256.Sum256([]byte(serial))
	f := store.FinishRequest{AttemptID: claim.AttemptID, Fence: claim.Fence, Outcome: outcome}
	switch outcome {
	case store.OutcomeIssued:
		f.Evidence = proof[:]
	case store.OutcomeSpoiled:
		zahra, err := c.Store.Actor(c.ctx, "operator", "zahra")
		c.must(err)
		f.Reason, f.Approvers = "torn", [2]store.Actor{c.ali, {ID: zahra, Through: "test"}}
	default:
		f.Reason = "test"
	}
	c.must(st.Finish(c.ctx, f))
}

// message is what the bank sends: signed, then enciphered to the bureau.
func (c *counter) message(m any, sign *ecdsa.PrivateKey, kid, kind string) string {
	c.t.Helper()
	body, err := json.Marshal(m)
	c.must(err)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: sign, KeyID: kid}}, (&jose.SignerOptions{}).WithType(jose.ContentType(kind)))
	c.must(err)
	object, err := s.Sign(body)
	c.must(err)
	text, err := object.CompactSerialize()
	c.must(err)
	return c.sealed([]byte(text))
}

// sealed enciphers to the bureau's key for the bank.
func (c *counter) sealed(plain []byte) string {
	c.t.Helper()
	raw, err := c.Vault.BankJWK(c.ctx, vault.BankIntakeKID)
	c.must(err)
	var key jose.JSONWebKey
	c.must(json.Unmarshal(raw, &key))
	text, err := vault.EncryptTo(&key, "", plain)
	c.must(err)
	return text
}
