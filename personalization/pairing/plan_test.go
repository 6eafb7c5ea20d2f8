package pairing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/custody"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/simoperator"
	"cardbureau/personalization/store"
)

// TestSignedPlans: a plan needs two custodians, is in force between its dates, and
// never gives way to an older one.
func TestSignedPlans(t *testing.T) {
	var custodians []jose.JSONWebKey
	for range 2 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		custodians = append(custodians, jose.JSONWebKey{Key: k, Algorithm: "ES256"})
	}
	known := []jose.JSONWebKey{custodians[0].Public(), custodians[1].Public()}
	o, err := simoperator.New(simoperator.MCI, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := simoperator.Plan(1, time.Now(), o)
	if err != nil {
		t.Fatal(err)
	}
	one, err := custody.Sign(nil, plain, custodians[0])
	if err != nil {
		t.Fatal(err)
	}
	both, err := custody.Sign(one, plain, custodians[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string][]byte{"nobody's": plain, "one custodian's": one} {
		if _, err := pairing.OpenPlan(document, known); err == nil {
			t.Errorf("%s plan was believed", name)
		}
	}
	p, err := pairing.OpenPlan(both, known)
	if err != nil {
		t.Fatal(err)
	}
	if p.At(time.Now()) != nil || !errors.Is(p.At(time.Now().AddDate(2, 0, 0)), pairing.ErrNoPlan) || !errors.Is(p.At(time.Now().AddDate(-1, 0, 0)), pairing.ErrNoPlan) {
		t.Error("the dates do not count")
	}
	if p.Allows(o.Code, o.Number(1)) != nil || !errors.Is(p.Allows(simoperator.Irancell, o.Number(1)), pairing.ErrNoOperator) {
		t.Error("the wrong operator is allowed")
	}
	other, err := pairing.ParseMSISDN("+989351234567")
	if err != nil || !errors.Is(p.Allows(o.Code, other), pairing.ErrPrefix) {
		t.Errorf("another prefix: %v", err)
	}

	// The database's own plan is not believed without the custodians.
	d := newDesk(t)
	d.Custodians = known
	if _, err := d.Run(t.Context(), d.request(d.card(), newHolder(t), newSIM(t, house.mci), house.mci, 3_000_001)); err == nil {
		t.Error("an unsigned plan was believed")
	}
	if _, err := d.TakePlan(t.Context(), both, house.clerk); !errors.Is(err, store.ErrStale) {
		t.Errorf("another plan of the same serial: %v", err)
	}
}

func TestBadPlans(t *testing.T) {
	o, err := simoperator.New(simoperator.MCI, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*pairing.Plan){
		"serial": func(p *pairing.Plan) { p.Serial = 0 }, "dates": func(p *pairing.Plan) { p.NotAfter = p.NotBefore }, "operators": func(p *pairing.Plan) { p.Operators = nil },
		"operator": func(p *pairing.Plan) { p.Operators["MCI"] = p.Operators[o.Code] },
		"prefixes": func(p *pairing.Plan) { p.Operators[o.Code] = pairing.PlanOperator{} },
		"prefix":   func(p *pairing.Plan) { p.Operators[o.Code] = pairing.PlanOperator{Prefixes: []string{"0910"}} },
	} {
		document, err := simoperator.Plan(1, time.Now(), o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pairing.OpenPlan(document, nil)
		if err != nil {
			t.Fatal(err)
		}
		spoil(p)
		if document, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
		if _, err := pairing.OpenPlan(document, nil); !errors.Is(err, pairing.ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"serial":1,"x":2}`, strings.Repeat("[", 100)} {
		if _, err := pairing.OpenPlan([]byte(bad), nil); !errors.Is(err, pairing.ErrPlan) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
