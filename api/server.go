package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/store"
)

// Intake takes records in; *intake.Service does.
type Intake interface {
	AcceptOne(ctx context.Context, signed []byte, by store.Actor) (intake.Answer, error)
	AcceptAll(ctx context.Context, in io.Reader, maxLine int, by store.Actor, emit func(intake.Answer) error) error
}

// Store finds orders and keys; *store.Store does. Both methods return
// store.ErrNotFound.
type Store interface {
	Order(ctx context.Context, id uuid.UUID) (store.Order, error)
	AuthenticateAPIKey(ctx context.Context, token string) (store.APIKey, error)
}

// Config is what a Server is made of.
type Config struct {
	Intake Intake
	Store  Store
	// Bank answers the bank; nil: its addresses are unavailable.
	Bank Bank
	// Operators takes the notices of SIM operators; nil: their address is unavailable.
	Operators Operators
	// BindingKeys are the public keys that bindings are verified with, as a JWK set;
	// nil: none are published.
	BindingKeys []byte
	// Health is asked beside the database whether the bureau can work; nil: it
	// is not asked.
	Health func(context.Context) error
	// IntakeKey is the public key that records are enciphered to, as JWK; nil:
	// none is published. A private key is refused.
	IntakeKey []byte
	Version   string       // of the program, for the OpenAPI document
	Log       *slog.Logger // access and errors; nil: silent
	Limits    Limits
}

// Server answers the API. It is an http.Handler that may be served by any
// number of HTTP servers; HTTPServer makes one with the right timeouts.
type Server struct {
	config  Config
	limits  Limits
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	metrics *metrics
	health  health

	requests chan struct{} // one place a request at work
	batches  chan struct{} // one place a stream
	draining context.Context
	drain    context.CancelFunc
}

// New makes a server.
func New(c Config) (*Server, error) {
	s := &Server{config: c, limits: c.Limits.withDefaults(), log: c.Log, mux: http.NewServeMux(), metrics: newMetrics()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.IntakeKey != nil {
		key, err := publicKey(c.IntakeKey)
		if err != nil {
			return nil, err
		}
		s.config.IntakeKey = key
	}
	s.requests = make(chan struct{}, s.limits.Requests)
	s.batches = make(chan struct{}, s.limits.Batches)
	s.draining, s.drain = context.WithCancel(context.Background())

	s.huma = humago.New(s.mux, document(c.Version))
	s.huma.UseMiddleware(s.authenticate)
	s.recordRoutes()
	s.orderRoutes()
	s.bankRoutes()
	s.operatorRoutes()
	s.healthRoutes()
	s.metricsRoutes()
	return s, s.documentRoutes()
}

// publicKey checks that a JWK is a public key and writes it anew, so that
// nothing else of the file is published.
func publicKey(jwk []byte) ([]byte, error) {
	var key jose.JSONWebKey
	if err := json.Unmarshal(jwk, &key); err != nil {
		return nil, fmt.Errorf("the intake key is not a JWK: %w", err)
	}
	if !key.Valid() || !key.IsPublic() {
		return nil, errors.New("the intake key's file must hold a public key and nothing secret")
	}
	out, err := key.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("the intake key: %w", err)
	}
	return append(out, '\n'), nil
}

// HTTPServer makes a server for s with the timeouts of its limits.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            s.limits.HeaderTimeout,
		ReadTimeout:                  s.limits.ReadTimeout,
		WriteTimeout:                 s.limits.ReadTimeout + s.limits.WriteTimeout,
		IdleTimeout:                  s.limits.IdleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Drain lets streams end at the next line, each with an answer that says which
// line was not taken in, so that http.Server.Shutdown need not wait for their
// clients. Requests with one record are not touched.
func (s *Server) Drain() { s.drain() }

// register adds an operation whose errors are mapped to problems.
func register[I, O any](s *Server, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	// Huma would read a body of JSON before the handler: it gets to know of bodies
	// afterwards.
	body := op.RequestBody
	op.RequestBody = nil
	defer func() {
		if item := s.huma.OpenAPI().Paths[op.Path]; item.Post != nil && body != nil {
			item.Post.RequestBody = body
		}
	}()
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err == nil {
			return out, nil
		}
		p := problemOf(err)
		s.explain(ctx, p)
		return nil, p
	})
}

// explain puts a problem that is the bureau's fault into the log under the name
// that the client gets to see.
func (s *Server) explain(ctx context.Context, p *Problem) {
	if p.cause == nil || ctx.Err() != nil && errors.Is(p.cause, context.Canceled) {
		return // a client that left is nobody's fault
	}
	p.Instance = "urn:uuid:" + uuid.NewString()
	s.log.ErrorContext(ctx, "request failed", "instance", p.Instance, "code", p.Code, "cause", p.cause.Error())
}

// exchange is an input that hands the raw request and response to a handler.
type exchange struct {
	r *http.Request
	w http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (e *exchange) Resolve(ctx huma.Context) []error {
	e.r, e.w = humago.Unwrap(ctx)
	return nil
}
