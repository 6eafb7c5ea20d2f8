package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardbureau/api"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/record"
	"cardbureau/personalization/record/sample"
)

// program is this test binary under the name by which TestMain makes it the
// program, so that it starts its HSM agent as the real one does.
func program(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "cardbureau")
	if os.Link(exe, name) == nil {
		return name
	}
	b, err := os.ReadFile(exe) // another file system
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// shop is a data folder with a program for it.
type shop struct {
	t       *testing.T
	program string
	dir     string
	key     string
	records []string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-serve-") // sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &shop{t: t, program: program(t), dir: dir}
	s.run("init")
	s.key = strings.TrimSpace(s.run("api-key", "create", "tester", "--scope", "records,orders"))
	b, err := bureau.Open(t.Context(), dir, bureau.Options{Agent: []string{s.program, "hsm", "agent"}, NoStore: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, payload := range sample.Payloads(sample.Options{N: 2, Seed: 3, Audience: b.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}) {
		jws, err := b.Vault.SignTestRecord(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		s.records = append(s.records, jws)
	}
	return s
}

// run runs a command to its end.
func (s *shop) run(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.program, append(args, "--data", s.dir)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// running is a server process.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	ready  ready
	stderr *bytes.Buffer // complete once stop has returned
}

// serve starts a server and waits for its ready line.
func (s *shop) serve(args ...string) *running {
	s.t.Helper()
	cmd := exec.Command(s.program, append([]string{"serve", "--json", "--data", s.dir}, args...)...)
	r := &running{t: s.t, cmd: cmd, stderr: &bytes.Buffer{}}
	cmd.Stderr = r.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill() }) // no effect on one that has ended
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		cmd.Wait()
		s.t.Fatalf("the server said nothing: %v\n%s", err, r.stderr)
	}
	if err := json.Unmarshal(line, &r.ready); err != nil || !r.ready.Ready || r.ready.PID != cmd.Process.Pid {
		s.t.Fatalf("%s: %v", line, err)
	}
	return r
}

// stop asks the server to end and checks that it does, well.
func (r *running) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("the server ended with %v\n%s", err, r.stderr)
	}
}

func (s *shop) post(r *running, path string, body io.Reader) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", r.ready.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "text/plain")
	return req
}

// into sends a request and reads one JSON value of its answer.
func into[T any](t *testing.T, c *http.Client, r *http.Request, status int) (v T) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || json.Unmarshal(b, &v) != nil {
		t.Fatalf("%s: %d, %v: %s", r.URL.Path, resp.StatusCode, err, b)
	}
	return v
}

// TestServe takes a record in, waits for its image, and stops the server while
// requests are in flight.
func TestServe(t *testing.T) {
	s := newShop(t)
	r := s.serve("--listen", "127.0.0.1:0")
	addr := filepath.Join(s.dir, "run", addressFile)
	if b, err := os.ReadFile(addr); err != nil || string(b) != r.ready.Address+"\n" || "http://"+r.ready.Address != r.ready.URL {
		t.Errorf("%s: %q, %v; ready %+v", addr, b, err, r.ready)
	}
	client := &http.Client{}
	got := into[api.Receipt](t, client, s.post(r, "/v1/records", strings.NewReader(s.records[0])), http.StatusCreated)
	s.await(r, got.OrderID, "prepared")
	got = into[api.Receipt](t, client, s.post(r, "/v1/records", strings.NewReader(s.records[0])), http.StatusOK)
	if got.Status != "already-known" {
		t.Errorf("%+v", got)
	}

	// In flight: a stream that is being answered, and a request of which half
	// has been sent.
	body, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, s.records[1]+"\n")
	stream, err := client.Do(s.post(r, "/v1/records:batch", body))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	answers := bufio.NewScanner(stream.Body)
	if !answers.Scan() || !strings.Contains(answers.Text(), `"accepted"`) {
		t.Fatalf("%s, %v", answers.Text(), answers.Err())
	}
	half, rest := s.half(r)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	var last api.Line
	if !answers.Scan() || json.Unmarshal(answers.Bytes(), &last) != nil || last.Line != 2 || last.Code != api.ShuttingDown {
		t.Errorf("%s, %v", answers.Text(), answers.Err())
	}
	if _, err := io.WriteString(half, rest); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(half); err != nil || !bytes.Contains(b, []byte(record.NotJWS)) {
		t.Errorf("the request in flight was not answered: %v, %s", err, b)
	}
	<-stopped
	if _, err := os.Stat(addr); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", addr, err)
	}
	if log := r.stderr.String(); !strings.Contains(log, `"route":"POST /v1/records:batch","status":200`) || strings.Contains(log, s.key) {
		t.Errorf("log:\n%s", log)
	}
}

// half sends half a request and gives back what is missing, once the server has
// begun to answer it: it asks for the body.
func (s *shop) half(r *running) (conn net.Conn, rest string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", r.ready.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "POST /v1/records HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nAuthorization: Bearer "+s.key+"\r\n\r\n")
	b := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, b); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 100 ") {
		s.t.Fatalf("%q, %v", b, err)
	}
	io.WriteString(conn, "abc")
	return conn, "def"
}

// await asks for an order until it is in a state.
func (s *shop) await(r *running, order, state string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for tick := time.Tick(20 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, "GET", r.ready.URL+"/v1/orders/"+order, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		got := into[api.Order](s.t, http.DefaultClient, req, http.StatusOK)
		if got.State == state {
			return
		}
		select {
		case <-tick:
		case <-ctx.Done():
			s.t.Fatalf("the order stays %s", got.State)
		}
	}
}

// TestServeOnSocketAndTLS: a socket that a killed server left behind is taken
// over, one that is in use is not; and TLS.
func TestServeOnSocketAndTLS(t *testing.T) {
	s := newShop(t)
	path := filepath.Join(s.dir, "api.sock")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	health := func(c *http.Client, url string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if h := into[api.Health](t, c, req, http.StatusOK); h.Status != "ok" {
			t.Errorf("%+v", h)
		}
	}
	first := s.serve("--listen", "unix:"+path)
	health(client, "http://api")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	out, err := exec.CommandContext(t.Context(), s.program, "serve", "--data", s.dir, "--listen", "unix:"+path).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("another server listens")) {
		t.Errorf("a second server: %v, %s", err, out)
	}
	first.cmd.Process.Kill()
	first.cmd.Wait()
	second := s.serve("--listen", "unix:"+path)
	if second.ready.Address != "unix:"+path {
		t.Errorf("%+v", second.ready)
	}
	health(client, "http://api")

	cert, key, pool := certificate(t)
	third := s.serve("--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	health(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}, third.ready.URL)
	second.stop()
	third.stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certPEM)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// TestWhereToListen: bearer keys do not travel in the clear by mistake.
func TestWhereToListen(t *testing.T) {
	long := "unix:/" + strings.Repeat("a", 200)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address string
		command serveCommand
		want    string // of the error; empty: it listens
	}{
		{"127.0.0.1:0", serveCommand{}, ""},
		{"localhost:0", serveCommand{}, ""},
		{"0.0.0.0:0", serveCommand{}, "in the clear"},
		{":0", serveCommand{}, "in the clear"},
		{"192.0.2.1:8443", serveCommand{}, "in the clear"},
		{"0.0.0.0:0", serveCommand{InsecurePlainHTTP: true}, ""},
		{"0.0.0.0:0", serveCommand{TLSCert: "c", TLSKey: "k"}, ""},
		{"8443", serveCommand{}, "HOST:PORT or unix:PATH"},
		{"", serveCommand{}, "HOST:PORT or unix:PATH"},
		{"127.0.0.1:99999", serveCommand{}, "cannot listen"},
		{long, serveCommand{}, "too long"},
		{"unix:" + file, serveCommand{}, "is no socket"},
		{"unix:/nowhere/at/all", serveCommand{}, "cannot listen"},
	} {
		l, err := c.command.listen(c.address)
		if err == nil {
			l.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v", c.address, err)
		}
	}
	if err := (serveCommand{TLSCert: "c"}).Run(t.Context(), &globals{}); err == nil || !strings.Contains(err.Error(), "--tls-key") {
		t.Error(err)
	}
}
