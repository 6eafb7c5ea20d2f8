package api_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"cardbureau/api"
)

func TestKeys(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	const order = "/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057"
	const invalid = `Bearer realm="cardbureau", error="invalid_token"`
	good := o.keys["orders"]
	var bodies [][]byte
	for _, c := range []struct {
		name      string
		header    []string
		challenge string
	}{
		{"none", nil, `Bearer realm="cardbureau"`},
		{"unknown", []string{"Bearer " + strings.Replace(good, good[8:12], "AAAA", 1)}, invalid},
		{"cut off", []string{"Bearer " + good[:len(good)-1]}, invalid},
		{"longer", []string{"Bearer " + good + "A"}, invalid},
		{"other case", []string{"Bearer " + strings.ToUpper(good)}, invalid},
		{"basic", []string{"Basic " + good}, invalid},
		{"bare", []string{good}, invalid},
		{"empty", []string{""}, invalid},
		{"scheme alone", []string{"Bearer"}, invalid},
		{"two", []string{"Bearer " + good, "Bearer " + good}, invalid},
		{"two in one", []string{"Bearer " + good + ", Bearer " + good}, invalid},
		{"control character", []string{"Bearer " + good + "\t1"}, invalid},
		{"huge", []string{"Bearer " + strings.Repeat("A", 5000)}, invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.request("GET", order, "", "", nil)
			if c.header != nil {
				r.Header["Authorization"] = c.header
			}
			a := s.do(r)
			a.expect(t, 401, api.Unauthorized)
			if got := a.header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != c.challenge {
				t.Errorf("WWW-Authenticate: %q", got)
			}
			bodies = append(bodies, a.body)
		})
	}
	for _, b := range bodies {
		if !bytes.Equal(b, bodies[0]) {
			t.Errorf("the message tells why a key does not do: %s", b)
		}
	}
	lower := s.request("GET", order, "", "", nil)
	lower.Header.Set("Authorization", "bearer "+good)
	s.do(lower).expect(t, 404, api.OrderNotFound)
}

func TestScopes(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	for _, c := range []struct{ method, path, scope string }{
		{"POST", "/v1/records", api.ScopeRecords},
		{"POST", "/v1/records:batch", api.ScopeRecords},
		{"GET", "/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057", api.ScopeOrders},
		{"GET", "/metrics", api.ScopeMetrics},
	} {
		for _, has := range []string{api.ScopeRecords, api.ScopeOrders, api.ScopeMetrics} {
			a := s.do(s.request(c.method, c.path, o.keys[has], "text/plain", http.NoBody))
			if has == c.scope {
				if a.status == 401 || a.status == 403 {
					t.Errorf("%s with scope %s: %d", c.path, has, a.status)
				}
				continue
			}
			a.expect(t, 403, api.ScopeMissing)
			if want := `Bearer realm="cardbureau", error="insufficient_scope", scope="` + c.scope + `"`; a.header.Get("WWW-Authenticate") != want {
				t.Errorf("WWW-Authenticate: %q", a.header.Get("WWW-Authenticate"))
			}
		}
		s.do(s.request(c.method, c.path, "", "text/plain", http.NoBody)).expect(t, 401, api.Unauthorized)
	}
	for _, free := range []string{"/v1/health", "/v1/intake-key"} {
		if a := s.get(free, ""); a.status != 200 {
			t.Errorf("%s: %d", free, a.status)
		}
	}
}

// TestRevokedKey: the next request is refused.
func TestRevokedKey(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	actor, err := o.Actor(t.Context(), "operator", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	key, token, err := o.Store.CreateAPIKey(t.Context(), t.Name(), []string{api.ScopeOrders}, actor)
	if err != nil {
		t.Fatal(err)
	}
	s.get("/v1/orders/1", token).expect(t, 404, api.OrderNotFound)
	if err := o.Store.RevokeAPIKey(t.Context(), key.ID, actor); err != nil {
		t.Fatal(err)
	}
	s.get("/v1/orders/1", token).expect(t, 401, api.Unauthorized)
}
