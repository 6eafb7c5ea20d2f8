package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"cardbureau/personalization/store"
)

// Scopes of keys.
const (
	ScopeRecords = "records" // take records in
	ScopeOrders  = "orders"  // see how orders stand
	ScopeMetrics = "metrics" // read the counters
)

const (
	bearerScheme = "bearer" // name in the OpenAPI document
	realm        = `Bearer realm="cardbureau"`
	maxToken     = 512 // bytes; the bureau's own keys are shorter
)

// needs is the security requirement of an operation.
func needs(scope string) []map[string][]string {
	return []map[string][]string{{bearerScheme: {scope}}}
}

// scopeOf is the scope that an operation's security requirement names; empty:
// no key is needed.
func scopeOf(op *huma.Operation) string {
	for _, r := range op.Security {
		if scopes := r[bearerScheme]; len(scopes) > 0 {
			return scopes[0]
		}
	}
	return ""
}

// authenticate is the middleware of every operation: it bounds how many are at
// work and asks for a key with the operation's scope.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	scope := scopeOf(ctx.Operation())
	if scope == "" {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	if scope != ScopeMetrics { // who looks why the bureau is busy must get an answer
		select {
		case s.requests <- struct{}{}:
			defer func() { <-s.requests }()
		default:
			problem(Busy).write(w)
			return
		}
	}
	key, err := s.key(r, scope)
	if err != nil {
		p := problemOf(err)
		s.explain(r.Context(), p)
		p.write(w)
		return
	}
	next(huma.WithValue(ctx, keyKey{}, key))
}

type keyKey struct{}

// actorOf is who the audit names for a request.
func actorOf(ctx context.Context) store.Actor {
	key, _ := ctx.Value(keyKey{}).(store.APIKey)
	return store.Actor{ID: key.Actor, Through: "api"}
}

// mayAlso reports whether the request's key has a scope beside the operation's own.
func mayAlso(ctx context.Context, scope string) bool {
	key, _ := ctx.Value(keyKey{}).(store.APIKey)
	return slices.Contains(key.Scopes, scope)
}

// key finds the request's key and checks its scope.
func (s *Server) key(r *http.Request, scope string) (store.APIKey, error) {
	token, given := bearer(r)
	if token == "" {
		return store.APIKey{}, unauthorized(given)
	}
	key, err := s.config.Store.AuthenticateAPIKey(r.Context(), token)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.APIKey{}, unauthorized(true)
	case err != nil:
		return store.APIKey{}, err
	}
	callOf(r.Context()).key = key.ID
	if !slices.Contains(key.Scopes, scope) {
		p := problem(ScopeMissing)
		p.header.Set("WWW-Authenticate", realm+`, error="insufficient_scope", scope="`+scope+`"`)
		return store.APIKey{}, p
	}
	return key, nil
}

// unauthorized is the same for a missing, a malformed and an unknown key, but
// for the error attribute that RFC 6750 section 3.1 asks for when one was given.
func unauthorized(given bool) *Problem {
	p := problem(Unauthorized)
	challenge := realm
	if given {
		challenge += `, error="invalid_token"`
	}
	p.header.Set("WWW-Authenticate", challenge)
	return p
}

// bearer reads the token of the Authorization header (RFC 6750 section 2.1);
// empty when there is none or it is malformed. given says that there is a
// header at all.
func bearer(r *http.Request) (token string, given bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", len(values) > 0
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return "", true
	}
	for i := range len(token) {
		c := token[i]
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/=", c) >= 0) {
			return "", true
		}
	}
	return token, true
}
