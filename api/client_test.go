package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"cardbureau/api"
)

// server is an API on a real socket. Every answer that goes through do is held
// against the OpenAPI document.
type server struct {
	t      testing.TB
	api    *api.Server
	http   *httptest.Server
	client *http.Client
	log    *buffer
	doc    *contract
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serve(t testing.TB, c api.Config) *server {
	t.Helper()
	log := &buffer{}
	c.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s)
	h.Config = s.HTTPServer()
	h.Start()
	t.Cleanup(h.Close)
	out := &server{t: t, api: s, http: h, client: h.Client(), log: log}
	out.doc = fetchContract(t, out)
	return out
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request makes a request; key may be empty.
func (s *server) request(method, path, key, contentType string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// do sends a request, reads the answer and holds it against the document.
func (s *server) do(r *http.Request) answer {
	s.t.Helper()
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read the answer: %v", r.Method, r.URL.Path, err)
	}
	a := answer{resp.StatusCode, resp.Header, body}
	s.doc.check(s.t, r.Method, r.URL.Path, a)
	return a
}

func (s *server) get(path, key string) answer {
	s.t.Helper()
	return s.do(s.request(http.MethodGet, path, key, "", nil))
}

func (s *server) post(record, key string) answer {
	s.t.Helper()
	return s.do(s.request(http.MethodPost, "/v1/records", key, "application/jose", strings.NewReader(record)))
}

func (s *server) batch(body io.Reader, key string) answer {
	s.t.Helper()
	return s.do(s.request(http.MethodPost, "/v1/records:batch", key, "application/x-ndjson", body))
}

// problem reads the problem of an answer and checks what every problem holds.
func (a answer) problem(t testing.TB) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("status %d: the answer is no problem: %v", a.status, err)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if p.Status != a.status || p.Type != "urn:cardbureau:problem:"+p.Code || p.Code == "" || p.Title == "" || p.Detail == "" {
		t.Errorf("status %d with problem %+v", a.status, p)
	}
	return p
}

// expect checks status and code of a problem.
func (a answer) expect(t testing.TB, status int, code string) api.Problem {
	t.Helper()
	p := a.problem(t)
	if a.status != status || p.Code != code {
		t.Errorf("got %d %s, want %d %s", a.status, p.Code, status, code)
	}
	return p
}

// lines reads the lines of a stream's answer.
func (a answer) lines(t testing.TB) (out []api.Line) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("status %d, %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	for sc := bufio.NewScanner(bytes.NewReader(a.body)); sc.Scan(); {
		var l api.Line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		out = append(out, l)
	}
	return out
}

func decode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("status %d: %v in %s", a.status, err, a.body)
	}
	return v
}
