package pairing_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

func TestMain(m *testing.M) {
	code := vaulttest.Run(m)
	if house.stop != nil {
		house.stop()
	}
	os.Exit(code)
}

// house is one database and one token for all tests, opened by the first one that
// needs them.
var house struct {
	sync.Once
	store     *store.Store
	vault     *vault.Client
	keys      jose.JSONWebKeySet
	mci, mtn  *simoperator.Operator
	clerk     store.Actor
	url       string
	stop      func()
	err       error
	cardCount atomic.Int64
}

func openHouse() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "pairing-")
	if err != nil {
		return err
	}
	house.stop = func() { os.RemoveAll(dir) }
	cluster, err := store.StartCluster(ctx, store.ClusterOptions{Dir: dir + "/db"})
	if err != nil {
		return err
	}
	house.stop, house.url = func() { cluster.Close(); os.RemoveAll(dir) }, cluster.URL()
	if err := store.Migrate(ctx, cluster.URL()); err != nil {
		return err
	}
	if house.store, err = store.Open(ctx, cluster.URL(), store.Options{}); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	house.vault, err = vault.Start(ctx, vault.Options{Command: []string{exe, "--softhsm", dir + "/token"}, Env: []string{"CARDBUREAU_TEST_HSM_AGENT=1"}})
	if err != nil {
		return err
	}
	house.stop = func() { house.vault.Close(); house.store.Close(); cluster.Close(); os.RemoveAll(dir) }
	if _, err := house.vault.Provision(ctx, vaulttest.Development); err != nil {
		return err
	}
	raw, err := house.vault.PairingJWK(ctx)
	if err != nil {
		return err
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(raw, &jwk); err != nil {
		return err
	}
	house.keys = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}}
	id, err := house.store.Actor(ctx, "operator", "clerk")
	if err != nil {
		return err
	}
	house.clerk = store.Actor{ID: id, Through: "test"}
	house.mci, err = simoperator.New(simoperator.MCI, nil)
	if err != nil {
		return err
	}
	house.mtn, err = simoperator.New(simoperator.Irancell, nil)
	if err != nil {
		return err
	}
	plan, err := simoperator.Plan(1, time.Now(), house.mci, house.mtn)
	if err != nil {
		return err
	}
	_, err = (&pairing.Service{Store: house.store}).TakePlan(ctx, plan, house.clerk)
	return err
}

// desk is a service with operators of its own test.
type desk struct {
	*pairing.Service
	t testing.TB
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	house.Do(func() { house.err = openHouse() })
	if house.err != nil {
		t.Fatal(house.err)
	}
	return &desk{&pairing.Service{
		Store: house.store, Vault: house.vault, Issuer: "bureau",
		Networks: map[string]pairing.Network{simoperator.MCI: house.mci.Network(), simoperator.Irancell: house.mtn.Network()},
	}, t}
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// card makes a person with an active card.
func (d *desk) card() store.Card {
	d.t.Helper()
	ctx, n := d.t.Context(), house.cardCount.Add(1)
	digest := func(what string) []byte { sum := sha256.Sum256(fmt.Append(nil, what, n)); return sum[:] }
	key, err := house.vault.NewDataKey(ctx)
	d.must(err)
	number, serial := fmt.Sprintf("P%08d", n), fmt.Sprintf("4790-0002-%08X", n)
	res, err := d.Store.AcceptRecord(ctx, store.AcceptRequest{
		PersonID: store.NewID(), PersonRef: digest("person"), Key: store.DataKey(key), IdentityDigest: digest("identity"), RecordRow: store.NewID(), RecordID: uuid.NewString(),
		Revision: 1, Digest: digest("record"), KeyID: "registry-1", Sealed: []byte("s"), ExpiresAt: time.Now().Add(time.Hour),
		Product: "id", Office: "o", Phase: "p", Reason: "first", State: store.OrderAccepted, Actor: house.clerk,
	})
	d.must(err)
	p, err := d.Store.OrderForPreparation(ctx, res.OrderID)
	d.must(err)
	d.must(d.Store.SaveImage(ctx, res.OrderID, p.Generation, store.Image{ID: store.NewID(), Version: p.Version, CardNumber: number, Profile: "id 1", Content: []byte("c"), Secrets: []byte("s")}, house.clerk))
	_, err = d.Store.ReleaseLot(ctx, store.LotRequest{Name: "lot " + number, Orders: []uuid.UUID{res.OrderID}, Actor: house.clerk})
	d.must(err)
	_, err = d.Store.ImportBlanks(ctx, []stock.Blank{{Serial: serial, Chip: "virtual", Batch: "b"}}, house.clerk)
	d.must(err)
	station, err := d.Store.OpenStation(ctx, "line", house.clerk)
	d.must(err)
	defer station.Close(context.Background())
	c, err := station.Claim(ctx, store.ClaimRequest{Serial: serial, Reader: "r", Products: []string{"id"}})
	d.must(err)
	d.must(station.Finish(ctx, store.FinishRequest{AttemptID: c.AttemptID, Fence: c.Fence, Outcome: store.OutcomeIssued, Evidence: digest("proof")}))
	d.must(d.Store.SetCardState(ctx, number, "made", "active", "", house.clerk))
	card, err := d.Store.CardByNumber(ctx, number, "test", house.clerk)
	d.must(err)
	return card
}

// tables is all that the database has of pairings, SIMs, notices and the audit, as
// text: bytes in hexadecimal.
func (d *desk) tables() string {
	d.t.Helper()
	config, err := pgx.ParseConfig(house.url)
	d.must(err)
	config.RuntimeParams["role"], config.RuntimeParams["search_path"] = "cb_owner", "cardbureau"
	conn, err := pgx.ConnectConfig(d.t.Context(), config)
	d.must(err)
	defer conn.Close(context.Background())
	var all string
	for _, table := range []string{"pairing", "pairing_event", "operator_callback", "sim_batch", "sim_subscriber", "audit", "event_outbox"} {
		var text string
		d.must(conn.QueryRow(d.t.Context(), "SELECT coalesce(string_agg(t::text, E'\n'), '') FROM "+table+" t").Scan(&text))
		all += text
	}
	return all
}

// holder is the identity card's chip with its pairing key.
type holder struct {
	key    *ecdsa.PrivateKey
	shown  *ecdsa.PublicKey // what DG13 says
	thumb  []byte
	before func() error // what happens as it signs
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	thumb, err := statement.Thumbprint(point)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{key: key, shown: &key.PublicKey, thumb: thumb}
}

func (h *holder) Sign(ctx context.Context, digest [32]byte) ([]byte, error) {
	if h.before != nil {
		if err := h.before(); err != nil {
			return nil, err
		}
	}
	r, s, err := ecdsa.Sign(rand.Reader, h.key, digest[:])
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}
func (h *holder) PublicKey() *ecdsa.PublicKey { return h.shown }
func (h *holder) CardThumbprint() []byte      { return h.thumb }

var errMAC = errors.New("98 62: the network's MAC is wrong")

// sim is a USIM by what it answers.
type sim struct {
	simoperator.SIM
	tuak   *aka.TUAKParameters // nil: MILENAGE
	window *aka.Window
	before func() error
	auts   int // how often it wants a resynchronization, whatever comes
	asked  [][2][16]byte
	given  []vault.Secret
}

func newSIM(t testing.TB, o *simoperator.Operator) *sim {
	t.Helper()
	s, err := o.Sell()
	if err != nil {
		t.Fatal(err)
	}
	w, err := aka.NewWindow(aka.DefaultScheme())
	if err != nil {
		t.Fatal(err)
	}
	return &sim{SIM: s, window: w}
}

// number is the one of the operator's numbers that goes with the SIM.
func (s *sim) number() int {
	digits := s.SIM.IMSI.Digits()
	n, err := strconv.Atoi(digits[len(digits)-7:])
	if err != nil {
		panic(err) // the operator makes them of digits
	}
	return n
}

func (s *sim) ICCID(context.Context) (pairing.ICCID, error) { return s.SIM.ICCID, nil }
func (s *sim) IMSI(context.Context) (pairing.IMSI, error)   { return s.SIM.IMSI, nil }

func (s *sim) Authenticate(_ context.Context, rand, autn [16]byte) (pairing.Answer, error) {
	if s.before != nil {
		if err := s.before(); err != nil {
			return pairing.Answer{}, err
		}
	}
	s.asked = append(s.asked, [2][16]byte{rand, autn})
	a, err := aka.NewMilenage(s.K, s.OPc)
	if err != nil {
		return pairing.Answer{}, err
	}
	sqn, _, err := aka.OpenAUTN(a, rand, autn)
	if err != nil {
		return pairing.Answer{}, errMAC
	}
	if s.auts > 0 || !s.window.Accept(sqn) {
		s.auts--
		auts, err := aka.MakeAUTS(a, rand, s.window.Highest())
		return pairing.Answer{AUTS: auts[:]}, err
	}
	k := a.F2345(rand)
	k.CK.Zero()
	k.IK.Zero()
	s.given = append(s.given, vault.Secret(k.RES))
	return pairing.Answer{RES: vault.Secret(k.RES)}, nil
}

// request is a pairing of a card with a SIM, in a session of its own.
func (d *desk) request(card store.Card, h *holder, s *sim, o *simoperator.Operator, number int) pairing.Request {
	d.t.Helper()
	session, err := pairing.NewSession(d.t.Context(), pairing.SessionRequest{Terminal: "desk 7", IdentityReader: "reader a", SIMReader: "reader b"})
	d.must(err)
	return pairing.Request{
		Session: session, Card: card, Holder: h, SIM: s, Operator: o.Code, MSISDN: o.Number(number), ICCID: s.SIM.ICCID,
		Until: time.Now().AddDate(5, 0, 0), Actor: house.clerk,
	}
}
