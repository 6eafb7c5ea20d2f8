package api_test

import (
	"context"
	"io"
	"time"

	"github.com/google/uuid"

	"cardbureau/api"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
)

// stub stands in where a test needs what real parts do not do at will: fail,
// panic, or stand still.
type stub struct {
	one   func(ctx context.Context, signed []byte) (intake.Answer, error)
	all   func(ctx context.Context, in io.Reader, emit func(intake.Answer) error) error
	order func() (store.Order, error)
	key   func(token string) (store.APIKey, error)
}

// allKey is a bearer key that a stub takes for all scopes.
const allKey = "cbk_0123456789-all-scopes"

var allKeyID = uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")

func (s stub) AcceptOne(ctx context.Context, signed []byte, _ store.Actor) (intake.Answer, error) {
	if s.one != nil {
		return s.one(ctx, signed)
	}
	return refuse(1), nil
}

func refuse(line int) intake.Answer {
	ref := record.Refuse(record.NotJWS, "", "")
	return intake.Answer{Line: line, Status: intake.Refused, Code: ref.Code, Detail: ref.Sentence(), HTTPStatus: ref.Status()}
}

func (s stub) AcceptAll(ctx context.Context, in io.Reader, maxLine int, by store.Actor, emit func(intake.Answer) error) error {
	if s.all != nil {
		return s.all(ctx, in, emit)
	}
	return lines.AcceptAll(ctx, in, maxLine, by, emit)
}

// lines is a real intake that nobody's signature gets past: it needs neither
// database nor keys.
var lines = func() *intake.Service {
	trust, err := record.NewTrust(time.Time{}, nil)
	if err != nil {
		panic(err)
	}
	return &intake.Service{Verifier: &record.Verifier{Trust: trust, Audience: "bureau-1"}}
}()

func (s stub) Order(context.Context, uuid.UUID) (store.Order, error) {
	if s.order != nil {
		return s.order()
	}
	return store.Order{}, store.ErrNotFound
}

func (s stub) AuthenticateAPIKey(_ context.Context, token string) (store.APIKey, error) {
	switch {
	case s.key != nil:
		return s.key(token)
	case token == allKey:
		return store.APIKey{ID: allKeyID, Scopes: []string{api.ScopeRecords, api.ScopeOrders, api.ScopeMetrics}}, nil
	}
	return store.APIKey{}, store.ErrNotFound
}

func (s stub) config() api.Config { return api.Config{Intake: s, Store: s} }

// orderIn is an order in a state, with a card number in any.
func orderIn(state string) func() (store.Order, error) {
	return func() (store.Order, error) {
		return store.Order{
			ID: allKeyID, RecordID: allKeyID.String(), Revision: 1, Product: "identity", State: store.OrderState(state),
			CardNumber: "B7K2M9X4T", CreatedAt: time.Now(), ChangedAt: time.Now(),
		}, nil
	}
}
