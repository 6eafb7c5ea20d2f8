package api_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"cardbureau/api"
	"cardbureau/personalization/intake"
)

const head = " HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
const authorized = head + "Authorization: Bearer " + allKey + "\r\n\r\n"

// drip sends what it is given and nothing more, and returns all that comes back
// until the server closes. A server that never does fails the test.
func drip(t *testing.T, s *server, sent string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("the server holds on: %v after %q", err, b)
	}
	return b
}

// TestSlowClients: whoever sends less than a whole request is not waited for
// longer than the limits say, with a key or without.
func TestSlowClients(t *testing.T) {
	const soon = 100 * time.Millisecond
	c := stub{}.config()
	c.Limits = api.Limits{HeaderTimeout: soon, ReadTimeout: soon, LineTime: soon, IdleTimeout: soon, WriteTimeout: 5 * time.Second}
	s := serve(t, c)
	for _, tc := range []struct{ name, sent, status, code string }{
		{"nothing", "", "", ""},
		{"half a header", "POST /v1/records HTTP/1.1\r\nHost: x\r\nX-", "", ""},
		{"idle after an answer", "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n", "200", "ok"},
		{"a record", "POST /v1/records" + authorized + "3\r\nabc\r\n", "408", api.RequestTimeout},
		{"a batch's first line", "POST /v1/records:batch" + authorized + "3\r\nabc\r\n", "408", api.RequestTimeout},
		{"a batch's second line", "POST /v1/records:batch" + authorized + "6\r\nabc\nde\r\n", "", api.RequestTimeout},
		{"no key", "POST /v1/records" + head + "\r\n3\r\nabc\r\n", "401", api.Unauthorized},
		{"batch without key", "POST /v1/records:batch" + head + "\r\n3\r\nabc\r\n", "401", api.Unauthorized},
		{"nothing there", "POST /x" + head + "\r\n3\r\nabc\r\n", "404", api.NotFound},
		{"body of a GET", "GET /v1/health" + head + "\r\n3\r\nabc\r\n", "200", "ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := drip(t, s, tc.sent)
			if tc.status != "" && !bytes.HasPrefix(b, []byte("HTTP/1.1 "+tc.status+" ")) || !bytes.Contains(b, []byte(tc.code)) {
				t.Errorf("%s", b)
			}
			// On a machine that stands still meanwhile, both lines can be too late.
			if strings.Contains(tc.name, "second") && !bytes.Contains(b, []byte(`"line":2,"status":"failed"`)) && !bytes.HasPrefix(b, []byte("HTTP/1.1 408 ")) {
				t.Errorf("%s", b)
			}
		})
	}
}

// TestBytesAreNotLines: a client cannot hold a stream open by a byte now and
// then, because the time is for a line.
func TestBytesAreNotLines(t *testing.T) {
	c := stub{}.config()
	// No line is that long: bytes alone never count as one.
	c.Limits = api.Limits{LineTime: 300 * time.Millisecond, MaxLine: 1 << 40}
	s := serve(t, c)
	body, w := io.Pipe()
	go func() {
		for {
			if _, err := io.WriteString(w, "A"); err != nil {
				return
			}
		}
	}()
	r := s.request("POST", "/v1/records:batch", allKey, "text/plain", body)
	s.do(r).expect(t, 408, api.RequestTimeout)
	body.Close()
}

// TestTheBureausTimeIsNotTheClients: time that intake takes between reads does
// not count against the sender, and does not end the request.
func TestTheBureausTimeIsNotTheClients(t *testing.T) {
	const line = 200 * time.Millisecond
	c := stub{all: func(ctx context.Context, in io.Reader, emit func(intake.Answer) error) error {
		for n := 1; n <= 3; n++ {
			select {
			case <-time.After(line): // three of them are more than any deadline that was set
			case <-ctx.Done():
				return ctx.Err()
			}
			if _, err := in.Read(make([]byte, 2)); err != nil && err != io.EOF {
				return err
			}
			if err := emit(refuse(n)); err != nil {
				return err
			}
		}
		return nil
	}}.config()
	c.Limits = api.Limits{LineTime: line, ReadTimeout: line, WriteTimeout: line}
	s := serve(t, c)
	if got := s.batch(strings.NewReader("a\nb\n"), allKey).lines(t); len(got) != 3 || got[2].Status == intake.Failed {
		t.Errorf("%+v", got)
	}
}

// TestStall: when nothing moves inside the bureau, the client is told.
func TestStall(t *testing.T) {
	c := stub{all: func(ctx context.Context, in io.Reader, emit func(intake.Answer) error) error {
		if err := emit(refuse(1)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}.config()
	c.Limits = api.Limits{StallTime: 100 * time.Millisecond}
	s := serve(t, c)
	got := s.batch(strings.NewReader("a\nb\n"), allKey).lines(t)
	if len(got) != 2 || got[1].Line != 2 || got[1].Code != api.Unavailable {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(s.log.String(), "nothing moved") {
		t.Error("the log does not say why")
	}
}

// TestClientThatDoesNotRead is cut off, and the next one is served.
func TestClientThatDoesNotRead(t *testing.T) {
	ended := make(chan error, 1)
	c := stub{all: func(_ context.Context, _ io.Reader, emit func(intake.Answer) error) error {
		for n := 1; ; n++ {
			if err := emit(refuse(n)); err != nil {
				ended <- err
				return err
			}
		}
	}}.config()
	c.Limits = api.Limits{WriteTimeout: 100 * time.Millisecond, Batches: 1}
	s := serve(t, c)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v1/records:batch"+authorized+"2\r\nx\n\r\n")
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the server waits for a client that does not read")
	}
}
