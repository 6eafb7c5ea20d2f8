package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/api"
	"cardbureau/personalization/bank"
	"cardbureau/personalization/store"
)

// teller stands in for the bank's service.
type teller struct {
	bank.Service
	err     error
	verdict bank.Verdict
	got     bank.Query
}

func (t *teller) Open(context.Context, string) (*bank.Message, error) {
	return &bank.Message{Assignments: []bank.Assignment{{Reference: "A-1"}}}, t.err
}
func (t *teller) OpenQuery(context.Context, string) (bank.Query, error) { return bank.Query{}, t.err }
func (t *teller) Assign(_ context.Context, list []bank.Assignment, _ string, _ store.Actor) ([]bank.Answer, error) {
	return []bank.Answer{{Reference: list[0].Reference, Status: bank.Done}}, t.err
}
func (t *teller) Awaiting(context.Context, string, int) ([]bank.Waiting, error) {
	return []bank.Waiting{{OrderID: uuid.NewString(), RecordID: uuid.NewString(), Since: time.Now()}}, t.err
}
func (t *teller) Authorize(_ context.Context, q bank.Query) (bank.Verdict, error) {
	t.got = q
	return t.verdict, t.err
}
func (t *teller) VerifyBinding(context.Context, []byte, string) (bank.Verified, error) {
	return bank.Verified{Reason: "altered"}, t.err
}
func (t *teller) Match(context.Context, string, []byte, byte, string) (bool, error) {
	return true, t.err
}
func (t *teller) Status(context.Context, []byte, byte) (bank.Status, error) {
	return bank.Status{State: "made", Last4: "0016", Expires: "2031-11-30"}, t.err
}
func (t *teller) Masked(context.Context, []byte, byte) (string, error) {
	return "589210******0016", t.err
}
func (t *teller) Binding(context.Context, []byte, byte) (bank.Bound, error) {
	return bank.Bound{}, t.err
}
func (t *teller) Events(context.Context, int64, int) ([]bank.Event, error) {
	return []bank.Event{{Seq: 1, Type: "issued", Ref: uuid.New(), At: time.Now()}}, t.err
}

const (
	bankToken = "00112233445566778899aabbccddeeff"
	bankIBAN  = "IR820540102680020817909002" // of the standard's registry
	question  = `{"panToken":"` + bankToken + `","panSequence":1,"atc":2,"data":"0102","arqc":"0102030405060708"}`
	matching  = `{"panToken":"` + bankToken + `","panSequence":1,"iban":"` + bankIBAN + `"}`
)

// TestMaskedPAN: first six and last four digits are for keys that may see them.
func TestMaskedPAN(t *testing.T) {
	for scopes, shown := range map[string]bool{"bank:status": false, "bank:status bank:verify": false, "bank:status bank:pan": true} {
		key := store.APIKey{ID: allKeyID, Scopes: strings.Fields(scopes)}
		config := stub{key: func(string) (store.APIKey, error) { return key, nil }}.config()
		config.Bank = &teller{}
		s := serve(t, config)
		a := s.do(s.request("GET", "/v1/bank/cards/"+bankToken+"/1/status", allKey, "", nil))
		if a.status != 200 || strings.Contains(string(a.body), "589210") != shown {
			t.Errorf("%s: %d %s", scopes, a.status, a.body)
		}
	}
}

// TestBankAnswers holds the bank's routes to their answers, good and bad. Each is held
// against the document too.
func TestBankAnswers(t *testing.T) {
	all := &store.APIKey{ID: allKeyID, Scopes: []string{api.ScopeBankAccounts, api.ScopeBankVerify, api.ScopeBankStatus}}
	far := &store.ErrQuota{Free: time.Now().Add(time.Hour)}
	const joseType, jsonType = "application/jose", "application/json"
	card := "/v1/bank/cards/" + bankToken + "/1/"
	for _, c := range []struct {
		name, method, path, kind, body string
		err                            error
		status                         int
		has                            string
	}{
		{"assign", "POST", "/v1/bank/assignments", joseType, "a.b.c.d.e", nil, 200, `"done"`},
		{"assign, JSON", "POST", "/v1/bank/assignments", jsonType, "{}", nil, 415, "unsupported"},
		{"assign, other key", "POST", "/v1/bank/assignments", joseType, "a.b", bank.ErrSignature, 0, "signature"},
		{"assign, old", "POST", "/v1/bank/assignments", joseType, "a.b", bank.ErrAge, 0, "age"},
		{"assign, garbage", "POST", "/v1/bank/assignments", joseType, "a.b", bank.ErrMessage, 0, "message"},
		{"assign, large", "POST", "/v1/bank/assignments", joseType, strings.Repeat("a", 2<<20), nil, 413, "body"},
		{"withdraw nothing", "POST", "/v1/bank/withdrawals", joseType, "a.b", nil, 400, ""},
		{"awaiting", "GET", "/v1/bank/awaiting?limit=5", "", "", nil, 200, "orderId"},
		{"cryptogram", "POST", "/v1/bank/arqc", jsonType, question, nil, 200, `"responseCode":"00"`},
		{"cryptogram, JWE", "POST", "/v1/bank/arqc", joseType, "a.b.c.d.e", nil, 200, `"valid":true`},
		{"cryptogram, no token", "POST", "/v1/bank/arqc", jsonType, strings.Replace(question, bankToken, "00", 1), nil, 400, "body-invalid"},
		{"cryptogram, more", "POST", "/v1/bank/arqc", jsonType, question + "{}", nil, 400, "body-invalid"},
		{"cryptogram, unknown name", "POST", "/v1/bank/arqc", jsonType, `{"pan":"5892109900000018"}`, nil, 400, "body-invalid"},
		{"cryptogram, broken", "POST", "/v1/bank/arqc", jsonType, question, errors.New("down"), 503, "unavailable"},
		{"binding", "POST", "/v1/bank/bindings:verify", jsonType, `{"jws":"a.b.c"}`, nil, 200, `"valid":false`},
		{"binding, none", "POST", "/v1/bank/bindings:verify", jsonType, `{}`, nil, 400, "body-invalid"},
		{"binding, both", "POST", "/v1/bank/bindings:verify", jsonType, `{"jws":"a","cose":"AAAA"}`, nil, 400, "body-invalid"},
		{"match", "POST", "/v1/bank/match", jsonType, matching, nil, 200, `"match":true`},
		{"match, too often", "POST", "/v1/bank/match", jsonType, matching, far, 429, "asked-too-often"},
		{"match, IBAN of 25", "POST", "/v1/bank/match", jsonType, strings.Replace(matching, "IR82", "IR8", 1), nil, 400, "body-invalid"},
		{"status", "GET", card + "status", "", "", nil, 200, `"made"`},
		{"status, no card", "GET", card + "status", "", "", store.ErrNotFound, 404, "card"},
		{"status, no token", "GET", "/v1/bank/cards/5892109900000018/1/status", "", "", nil, 404, "card"},
		{"binding of no card", "GET", card + "binding", "", "", store.ErrNotFound, 404, "card"},
		{"events", "GET", "/v1/bank/events?after=0&limit=10", "", "", nil, 200, `"seq":1`},
		{"events after nonsense", "GET", "/v1/bank/events?after=x", "", "", nil, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &teller{err: c.err, verdict: bank.Verdict{Valid: true, Code: bank.Approved, ATC: "fresh", State: "active", IssuerData: []byte{1, 2, 3, 4, 5, 6, 7, 8}}}
			config := stub{key: func(string) (store.APIKey, error) { return *all, nil }}.config()
			config.Bank = b
			s := serve(t, config)
			a := s.do(s.request(c.method, c.path, allKey, c.kind, strings.NewReader(c.body)))
			if c.status != 0 && a.status != c.status || c.status == 0 && (a.status < 400 || a.status > 499) || !strings.Contains(string(a.body), c.has) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a.status == 429 && a.header.Get("Retry-After") == "" {
				t.Error("no word when to ask again")
			}
			for _, secret := range []string{"5892109900000018", bankIBAN} {
				if strings.Contains(s.log.String(), secret) || a.status >= 400 && strings.Contains(string(a.body), secret) {
					t.Errorf("what was asked is repeated: %s %s", a.body, s.log)
				}
			}
			if a.status >= 400 {
				var p struct{ Code, Title string }
				if err := json.Unmarshal(a.body, &p); err != nil || p.Code == "" || p.Title == "" {
					t.Errorf("no problem: %s", a.body)
				}
			}
		})
	}
}

// TestBankScopes: no key of another scope gets in, and a bureau without a bank says so.
func TestBankScopes(t *testing.T) {
	for path, scope := range map[string]string{
		"GET /v1/bank/awaiting": api.ScopeBankAccounts, "GET /v1/bank/events": api.ScopeBankStatus, "POST /v1/bank/match": api.ScopeBankVerify,
		"POST /v1/bank/arqc": api.ScopeBankVerify, "POST /v1/bank/assignments": api.ScopeBankAccounts, "POST /v1/bank/withdrawals": api.ScopeBankAccounts,
		"POST /v1/bank/bindings:verify": api.ScopeBankVerify, "GET /v1/bank/cards/" + bankToken + "/1/status": api.ScopeBankStatus,
		"GET /v1/bank/cards/" + bankToken + "/1/binding": api.ScopeBankVerify,
	} {
		method, address, _ := strings.Cut(path, " ")
		for _, has := range []string{api.ScopeBankAccounts, api.ScopeBankStatus, api.ScopeBankVerify, api.ScopeRecords, api.ScopeOrders} {
			s := serve(t, stub{key: func(string) (store.APIKey, error) { return store.APIKey{ID: allKeyID, Scopes: []string{has}}, nil }}.config())
			want := http.StatusForbidden
			if has == scope {
				want = http.StatusServiceUnavailable
			}
			if a := s.do(s.request(method, address, allKey, "application/json", strings.NewReader("{}"))); a.status != want {
				t.Errorf("%s with %s: %d, want %d", path, has, a.status, want)
			}
		}
	}
}
