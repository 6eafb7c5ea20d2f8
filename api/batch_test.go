package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardbureau/api"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

func TestBatch(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	key := o.keys["records,orders"]
	in := strings.Join([]string{
		o.records[10],
		"hello",
		"",
		altered(o.records[11]),
		o.records[11],
		strings.Repeat("A", record.MaxLine+1),
		o.records[12] + "\r",
		o.records[10],
		o.records[13][:len(o.records[13])-40],
	}, "\n")
	for _, contentType := range []string{"application/x-ndjson", "application/jose-seq", "text/plain"} {
		got := s.do(s.request("POST", "/v1/records:batch", key, contentType, strings.NewReader(in))).lines(t)
		in := "accepted"
		if contentType != "application/x-ndjson" {
			in = "already-known"
		}
		want := []string{"1 " + in, "2 refused not-jws", "4 refused signature-invalid", "5 " + in, "6 refused line-too-long", "7 " + in, "8 already-known", "9 refused line-cut-off"}
		var have []string
		for _, l := range got {
			have = append(have, strings.TrimSpace(fmt.Sprintf("%d %s %s", l.Line, l.Status, l.Code)))
		}
		if strings.Join(have, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%s:\n%s", contentType, strings.Join(have, "\n"))
		}
		if got[0].OrderID == "" || got[0].OrderID != got[6].OrderID || got[0].RecordID == "" || got[1].Detail == "" || got[2].RecordID != got[3].RecordID {
			t.Errorf("%+v", got)
		}
		order := decode[api.Order](t, s.get("/v1/orders/"+got[0].OrderID, key))
		if order.RecordID != got[0].RecordID {
			t.Errorf("%+v", order)
		}
	}
	if got := s.batch(strings.NewReader("\n\n"), key).lines(t); len(got) != 0 {
		t.Errorf("empty lines: %+v", got)
	}
	if got := s.batch(http.NoBody, key).lines(t); len(got) != 0 {
		t.Errorf("no lines: %+v", got)
	}
}

// converse sends each line only after the line before it was answered.
func converse(t *testing.T, client *http.Client, r *http.Request, w *io.PipeWriter, lines []string) {
	t.Helper()
	go io.WriteString(w, lines[0]+"\n")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	for i := range lines {
		if i > 0 {
			if _, err := io.WriteString(w, lines[i]+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if !answers.Scan() {
			t.Fatalf("no answer to line %d: %v", i+1, answers.Err())
		}
		var l api.Line
		if err := json.Unmarshal(answers.Bytes(), &l); err != nil || l.Line != i+1 || l.Status == intake.Refused {
			t.Errorf("line %d: %s, %v", i+1, answers.Text(), err)
		}
	}
	w.Close()
	if answers.Scan() || answers.Err() != nil {
		t.Errorf("after the last answer: %q, %v", answers.Text(), answers.Err())
	}
}

// TestAnswersWhileSending: the answer to a line is there before the next line
// is sent, by HTTP/1.1 and by HTTP/2.
func TestAnswersWhileSending(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	body, w := io.Pipe()
	converse(t, s.client, s.request("POST", "/v1/records:batch", o.keys["records"], "application/x-ndjson", body), w, o.records[14:18])

	h := httptest.NewUnstartedServer(s.api)
	h.Config = s.api.HTTPServer()
	h.EnableHTTP2 = true
	h.StartTLS()
	defer h.Close()
	body, w = io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.URL+"/v1/records:batch", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+o.keys["records"])
	r.Header.Set("Content-Type", "application/x-ndjson")
	converse(t, h.Client(), r, w, o.records[16:20])
}

// TestExpectContinue: clients that ask before they send a long body get to send it.
func TestExpectContinue(t *testing.T) {
	s := serve(t, stub{}.config())
	r := s.request("POST", "/v1/records:batch", allKey, "text/plain", strings.NewReader("a\nb\n"))
	r.Header.Set("Expect", "100-continue")
	if got := s.do(r).lines(t); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// peak samples the live heap while something runs.
func peak(f func()) (growth int64) {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
			}
			runtime.GC()
			runtime.ReadMemStats(&now)
			most.Store(max(most.Load(), int64(now.HeapAlloc)-int64(before.HeapAlloc)))
		}
	}()
	f()
	close(stop)
	<-done
	return most.Load()
}

// generated is n lines of length bytes, made while they are read.
type generated struct {
	n, length int
	at        int
}

var letters = bytes.Repeat([]byte("A"), 64<<10)

func (g *generated) Read(p []byte) (n int, err error) {
	for g.n > 0 && n < len(p) {
		if g.at < g.length {
			k := copy(p[n:], letters[:min(len(letters), g.length-g.at)])
			g.at, n = g.at+k, n+k
			continue
		}
		p[n] = '\n'
		g.at, n, g.n = 0, n+1, g.n-1
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// TestBatchInBoundedMemory sends 200 MB in one line, then much in many. No
// test double: lines that are refused get as far as everything that holds them.
func TestBatchInBoundedMemory(t *testing.T) {
	s := serve(t, stub{}.config())
	const most = 48 << 20
	for _, c := range []struct {
		name     string
		n, bytes int
		code     string
	}{
		{"one line of 200 MB", 1, 200 << 20, record.LineTooLong},
		{"160 lines of 512 KiB", 160, record.MaxLine, record.NotJWS},
		{"10000 lines of 1 KiB", 10000, 1 << 10, record.NotJWS},
	} {
		t.Run(c.name, func(t *testing.T) {
			answered := 0
			grown := peak(func() {
				resp, err := s.client.Do(s.request("POST", "/v1/records:batch", allKey, "text/plain", &generated{n: c.n, length: c.bytes}))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
					answered++
					if !bytes.Contains(sc.Bytes(), []byte(c.code)) {
						t.Errorf("%s", sc.Bytes())
					}
				}
			})
			if answered != c.n {
				t.Errorf("%d answers for %d lines", answered, c.n)
			}
			if grown > most {
				t.Errorf("%d MiB at most were in use, %d are allowed", grown>>20, most>>20)
			}
			t.Logf("at most %.1f MiB in use", float64(grown)/(1<<20))
		})
	}
}

// failing answers n lines and then finds the database gone.
func failing(n int) stub {
	return stub{all: func(ctx context.Context, in io.Reader, emit func(intake.Answer) error) error {
		line := 0
		for l := range record.Lines(in, 0) {
			if line = l.Number; line > n {
				return errBroken
			}
			if err := emit(refuse(line)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// TestBatchFailsMidway: the last answer names the first line that is not in.
func TestBatchFailsMidway(t *testing.T) {
	s := serve(t, failing(3).config())
	// Much more than socket buffers hold is still to be sent when it happens.
	got := s.batch(&generated{n: 40000, length: 1 << 10}, allKey).lines(t)
	if len(got) != 4 {
		t.Fatalf("%d answers", len(got))
	}
	last := got[3]
	if last.Line != 4 || last.Status != intake.Failed || last.Code != api.Unavailable || !strings.Contains(last.Detail, "Line 4 ") {
		t.Errorf("%+v", last)
	}
	if strings.Contains(last.Detail, "10.1.2.3") || !strings.Contains(s.log.String(), "10.1.2.3") {
		t.Error("the cause belongs into the log, and nowhere else")
	}
	s.batch(&generated{n: 40000, length: 1 << 10}, allKey).lines(t)
}

// TestBatchesAtOnce: as many as the limit says, then busy; a place is free again
// when one ends.
func TestBatchesAtOnce(t *testing.T) {
	at, going := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	c := stub{all: func(_ context.Context, _ io.Reader, emit func(intake.Answer) error) error {
		if first.CompareAndSwap(false, true) {
			close(at)
			<-going
		}
		return emit(refuse(1))
	}}.config()
	c.Limits.Batches = 1
	s := serve(t, c)
	r := s.request("POST", "/v1/records:batch", allKey, "text/plain", strings.NewReader("x\n"))
	done := make(chan error, 1)
	go func() {
		resp, err := s.client.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		done <- err
	}()
	<-at
	s.batch(strings.NewReader("x\n"), allKey).expect(t, 503, api.Busy)
	close(going)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := s.batch(strings.NewReader("x\n"), allKey).lines(t); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestRequestsAtOnce(t *testing.T) {
	at, going := make(chan struct{}), make(chan struct{})
	c := stub{one: func(context.Context, []byte) (intake.Answer, error) {
		close(at)
		<-going
		return refuse(0), nil
	}}.config()
	c.Limits.Requests = 1
	s := serve(t, c)
	r := s.request("POST", "/v1/records", allKey, "text/plain", strings.NewReader("x"))
	done := make(chan error, 1)
	go func() {
		resp, err := s.client.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-at
	s.get("/v1/orders/1", allKey).expect(t, 503, api.Busy)
	if a := s.get("/metrics", allKey); a.status != 200 {
		t.Errorf("metrics: %d", a.status)
	}
	close(going)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.get("/v1/orders/1", allKey).expect(t, 404, api.OrderNotFound)
}

// TestDrain: a stream ends at the next line and says how far it came; the
// server can then shut down.
func TestDrain(t *testing.T) {
	s := serve(t, stub{}.config())
	body, w := io.Pipe()
	r := s.request("POST", "/v1/records:batch", allKey, "text/plain", body)
	go io.WriteString(w, "x\ny\n")
	resp, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	for range 2 {
		if !answers.Scan() {
			t.Fatal(answers.Err())
		}
	}
	s.api.Drain()
	down := make(chan error, 1)
	go func() { down <- s.http.Config.Shutdown(context.Background()) }()
	var last api.Line
	if !answers.Scan() || json.Unmarshal(answers.Bytes(), &last) != nil {
		t.Fatalf("%q, %v", answers.Text(), answers.Err())
	}
	if last.Line != 3 || last.Status != intake.Failed || last.Code != api.ShuttingDown {
		t.Errorf("%+v", last)
	}
	if answers.Scan() || answers.Err() != nil {
		t.Errorf("after the last answer: %q, %v", answers.Text(), answers.Err())
	}
	w.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
}
