package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"cardbureau/personalization/store"
)

// Health says that the bureau can work.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

type healthOutput struct{ Body Health }

type keyOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

const typeJWK = "application/jwk+json" // RFC 7517 section 8.5.1

func (s *Server) healthRoutes() {
	register(s, huma.Operation{
		OperationID: "getHealth", Method: http.MethodGet, Path: "/v1/health",
		Summary: "Say whether the bureau can work", Tags: []string{"bureau"},
		Responses: s.responses(map[int]*huma.Response{
			http.StatusOK: {Description: "Database and keys answer.", Content: jsonContent(s.schemaOf(Health{}))},
		}, 500, 503),
	}, func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		if err := s.health.check(ctx, s.probe); err != nil {
			return nil, err
		}
		return &healthOutput{Body: Health{Status: "ok"}}, nil
	})
	register(s, huma.Operation{
		OperationID: "getIntakeKey", Method: http.MethodGet, Path: "/v1/intake-key",
		Summary:     "Give the public key that records are enciphered to",
		Description: "A public key as JWK (RFC 7517). Records are enciphered to it with ECDH-ES+A256KW and A256GCM.",
		Tags:        []string{"records"},
		Responses: s.responses(map[int]*huma.Response{
			http.StatusOK: {Description: "The key.", Content: map[string]*huma.MediaType{typeJWK: {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{"kty"}, AdditionalProperties: true,
				Properties: map[string]*huma.Schema{
					"kty": {Type: huma.TypeString}, "crv": {Type: huma.TypeString}, "kid": {Type: huma.TypeString},
					"x": {Type: huma.TypeString}, "y": {Type: huma.TypeString},
				},
			}}}},
		}, 404, 500),
	}, func(context.Context, *struct{}) (*keyOutput, error) {
		if s.config.IntakeKey == nil {
			return nil, problem(NotFound)
		}
		return &keyOutput{ContentType: typeJWK, Body: s.config.IntakeKey}, nil
	})
}

// probe asks what a record needs.
func (s *Server) probe(ctx context.Context) error {
	if _, err := s.config.Store.Order(ctx, uuid.Nil); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("health: %w", err)
	}
	if s.config.Health != nil {
		if err := s.config.Health(ctx); err != nil {
			return fmt.Errorf("health: %w", err)
		}
	}
	return nil
}

// How long an answer to a probe holds, and how long a probe may take. Anyone may
// ask without a key, so asking must cost nothing.
const (
	healthHolds = time.Second
	healthTime  = 5 * time.Second
)

// health remembers the last probe.
type health struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

func (h *health) check(ctx context.Context, probe func(context.Context) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) < healthHolds {
		return h.result()
	}
	// A client that leaves must not make the bureau look ill to the next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime)
	defer cancel()
	h.err = probe(ctx)
	h.at = time.Now()
	return h.result()
}

func (h *health) result() error {
	if h.err == nil {
		return nil
	}
	return problem(Unavailable).because(h.err)
}
