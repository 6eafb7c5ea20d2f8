package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
)

// call is what is noted of a request while it is answered.
type call struct {
	key uuid.UUID // of the bearer key, once known
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return &call{}
	}
	return c
}

// response notes the status that was sent.
type response struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out, c := &response{ResponseWriter: w}, &call{}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	h := out.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")

	s.metrics.inFlight.Inc()
	defer func() {
		v := recover()
		aborted := v != nil && s.panicked(r, out, v)
		s.metrics.inFlight.Dec()
		s.finish(r, out, c, time.Since(start))
		if aborted {
			panic(http.ErrAbortHandler) // cuts the connection: the client must not take half an answer for a whole one
		}
	}()
	s.route(out, r)
}

// route finds the handler; what the mux would answer by itself becomes a
// problem.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	var said verdict
	h.ServeHTTP(&said, r)
	p := problem(NotFound)
	if said.status == http.StatusMethodNotAllowed {
		p = problem(MethodNotAllowed)
		p.header["Allow"] = said.Header()["Allow"]
	}
	p.write(w)
}

// verdict takes the mux's own answer, of which only status and header matter.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header {
	if v.header == nil {
		v.header = http.Header{}
	}
	return v.header
}
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }

// panicked answers for a handler that panicked, where that is still possible,
// and reports whether the connection must be cut instead. The log gets where it
// happened and no value that could come from a request.
func (s *Server) panicked(r *http.Request, out *response, v any) (cut bool) {
	if v == http.ErrAbortHandler {
		return true
	}
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	p := problem(Internal)
	p.Instance = "urn:uuid:" + uuid.NewString()
	s.log.ErrorContext(r.Context(), "handler panicked", "instance", p.Instance, "panic", what, "stack", string(debug.Stack()))
	if out.status != 0 {
		return true
	}
	clear(out.Header())
	out.Header().Set("Cache-Control", "no-store")
	p.write(out)
	return false
}

// finish writes the access log and counts.
func (s *Server) finish(r *http.Request, out *response, c *call, took time.Duration) {
	route, method, status := r.Pattern, knownMethod(r.Method), out.status
	if route == "" {
		route = "none"
	}
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.request(method, route, status, took)
	key := "-"
	if c.key != uuid.Nil {
		key = c.key.String()
	}
	s.log.InfoContext(r.Context(), "request", "method", method, "route", route, "status", status,
		"milliseconds", float64(took.Microseconds())/1000, "key", key)
}

// knownMethod keeps what a client makes up out of log and metrics.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "other"
}
