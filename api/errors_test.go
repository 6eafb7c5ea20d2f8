package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"cardbureau/api"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
)

// TestEveryRefusal: each code of a record comes out as a problem with its own
// status, title and sentence.
func TestEveryRefusal(t *testing.T) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	for _, c := range record.Codes {
		s := serve(t, stub{one: func(context.Context, []byte) (intake.Answer, error) {
			ref := record.Refuse(c.Code, id, "somewhere")
			return intake.Answer{Status: intake.Refused, Code: ref.Code, RecordID: id, Detail: ref.Sentence(), HTTPStatus: ref.Status()}, nil
		}}.config())
		p := s.post("x", allKey).expect(t, c.Status, c.Code)
		if p.Title != c.Sentence || !strings.HasSuffix(p.Detail, "(somewhere).") || p.RecordID != id || p.Instance != "" {
			t.Errorf("%s: %+v", c.Code, p)
		}
	}
}

// TestCodesAreDistinct: one code has one meaning, in whichever table it stands.
func TestCodesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range append(append([]record.CodeInfo{}, record.Codes...), api.Classes...) {
		if seen[c.Code] || c.Status < 400 || c.Sentence == "" {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
}

var errBroken = errors.New("dial tcp 10.1.2.3:5432: connection refused")

// TestEveryClass makes each error of the API's own happen once, but for those
// that take time, which have tests of their own.
func TestEveryClass(t *testing.T) {
	broken := serve(t, stub{
		one:   func(context.Context, []byte) (intake.Answer, error) { return intake.Answer{}, errBroken },
		all:   func(context.Context, io.Reader, func(intake.Answer) error) error { return errBroken },
		order: func() (store.Order, error) { return store.Order{}, errBroken },
	}.config())
	noKeys := serve(t, stub{key: func(string) (store.APIKey, error) { return store.APIKey{}, errBroken }}.config())
	panics := serve(t, stub{one: func(context.Context, []byte) (intake.Answer, error) {
		panic("a value with " + secretWord)
	}}.config())
	fine := serve(t, stub{}.config())
	const order = "/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057"

	cases := []struct {
		name   string
		s      *server
		r      *http.Request
		status int
		code   string
	}{
		{"no key", fine, fine.request("POST", "/v1/records", "", "application/jose", strings.NewReader("x")), 401, api.Unauthorized},
		{"nothing there", fine, fine.request("GET", "/v2/records", allKey, "", nil), 404, api.NotFound},
		{"no intake key", fine, fine.request("GET", "/v1/intake-key", "", "", nil), 404, api.NotFound},
		{"no such order", fine, fine.request("GET", order, allKey, "", nil), 404, api.OrderNotFound},
		{"method", fine, fine.request("GET", "/v1/records", allKey, "", nil), 405, api.MethodNotAllowed},
		{"method that nobody knows", fine, fine.request("BREW", "/v1/records:batch", allKey, "", nil), 405, api.MethodNotAllowed},
		{"delete", fine, fine.request("DELETE", order, allKey, "", nil), 405, api.MethodNotAllowed},
		{"json", fine, fine.request("POST", "/v1/records", allKey, "application/json", strings.NewReader("{}")), 415, api.BodyType},
		{"no type", fine, fine.request("POST", "/v1/records", allKey, "", strings.NewReader("x")), 415, api.BodyType},
		{"one record as lines", fine, fine.request("POST", "/v1/records", allKey, "application/x-ndjson", strings.NewReader("x")), 415, api.BodyType},
		{"batch of form data", fine, fine.request("POST", "/v1/records:batch", allKey, "multipart/form-data", strings.NewReader("x")), 415, api.BodyType},
		{"intake fails", broken, broken.request("POST", "/v1/records", allKey, "application/jose", strings.NewReader("x")), 503, api.Unavailable},
		{"batch cannot begin", broken, broken.request("POST", "/v1/records:batch", allKey, "text/plain", strings.NewReader("x")), 503, api.Unavailable},
		{"orders fail", broken, broken.request("GET", order, allKey, "", nil), 503, api.Unavailable},
		{"health", broken, broken.request("GET", "/v1/health", "", "", nil), 503, api.Unavailable},
		{"keys fail", noKeys, noKeys.request("GET", order, allKey, "", nil), 503, api.Unavailable},
		{"panic", panics, panics.request("POST", "/v1/records", allKey, "application/jose", strings.NewReader("x")), 500, api.Internal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := c.s.do(c.r)
			p := a.expect(t, c.status, c.code)
			if c.status >= 500 && !strings.HasPrefix(p.Instance, "urn:uuid:") {
				t.Errorf("nothing leads from the problem to the log: %+v", p)
			}
			if c.status >= 500 && !strings.Contains(c.s.log.String(), p.Instance) {
				t.Error("the log does not know the problem")
			}
			if c.status == 405 && a.header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if c.status == 415 && a.header.Get("Accept") == "" {
				t.Error("no Accept")
			}
			if c.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if bytes.Contains(a.body, []byte("10.1.2.3")) || bytes.Contains(a.body, []byte(secretWord)) || bytes.Contains(a.body, []byte("goroutine")) {
				t.Errorf("the answer tells internals: %s", a.body)
			}
		})
	}
	compressed := fine.request("POST", "/v1/records:batch", allKey, "text/plain", strings.NewReader("x"))
	compressed.Header.Set("Content-Encoding", "gzip")
	fine.do(compressed).expect(t, 415, api.BodyType)
	if strings.Contains(panics.log.String(), secretWord) {
		t.Error("the panic's value is in the log")
	}
	// After a panic the server goes on.
	panics.get("/v1/health", "").decodeOK(t)
}

func (a answer) decodeOK(t *testing.T) {
	t.Helper()
	if h := decode[api.Health](t, a); a.status != 200 || h.Status != "ok" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestPanicInMidAnswer: half an answer must not look like a whole one.
func TestPanicInMidAnswer(t *testing.T) {
	s := serve(t, stub{all: func(_ context.Context, _ io.Reader, emit func(intake.Answer) error) error {
		if err := emit(refuse(1)); err != nil {
			return err
		}
		panic("in mid answer")
	}}.config())
	resp, err := s.client.Do(s.request("POST", "/v1/records:batch", allKey, "text/plain", strings.NewReader("x\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the answer ends as if it were complete: %s", b)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	s := serve(t, stub{}.config())
	for _, path := range []string{"/v1/records", "/v1/records:batch"} {
		conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+allKey+"\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nabc")
		conn.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) || !bytes.Contains(b, []byte(api.BodyIncomplete)) {
			t.Errorf("%s: %v: %s", path, err, b)
		}
	}
}

// TestPrivateIntakeKeyIsRefused: a wrong file must not become public.
func TestPrivateIntakeKeyIsRefused(t *testing.T) {
	for _, key := range []string{
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`, // RFC 7515 appendix A.3
		`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
		`{}`, ``, `[]`,
	} {
		c := stub{}.config()
		c.IntakeKey = []byte(key)
		if _, err := api.New(c); err == nil || strings.Contains(err.Error(), "jpsQ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
