package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"cardbureau/api"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
)

type serveCommand struct {
	Listen            string        `help:"Where to listen: HOST:PORT (port 0 picks a free one) or unix:PATH; http.listen of the configuration when not given." placeholder:"ADDRESS"`
	TLSCert           string        `help:"Certificate chain in PEM." name:"tls-cert" type:"existingfile" placeholder:"FILE"`
	TLSKey            string        `help:"Its private key in PEM." name:"tls-key" type:"existingfile" placeholder:"FILE"`
	InsecurePlainHTTP bool          `help:"Listen without TLS where other machines can reach it: bearer keys then travel in the clear." name:"insecure-plain-http"`
	ISO8583           string        `help:"Where the bank's switch asks about cryptograms (ISO 8583): HOST:PORT of this machine or unix:PATH; not given: nowhere." name:"iso8583" placeholder:"ADDRESS"`
	Workers           int           `help:"Card images to prepare at one time; 0: the program's choice." default:"0"`
	Grace             time.Duration `help:"How long requests in flight may take to finish when the server is told to stop." default:"30s"`
}

func (serveCommand) Example() string {
	return "cardbureau serve --listen 127.0.0.1:8443 --data /srv/bureau"
}

// addressFile holds the address of the running server, for scripts that let it
// pick a port.
const addressFile = "serve.addr"

// ready is the line that says that the server answers.
type ready struct {
	Ready   bool   `json:"ready"`
	Address string `json:"address"` // HOST:PORT or unix:PATH
	URL     string `json:"url,omitempty"`
	Switch  string `json:"iso8583,omitempty"` // HOST:PORT or unix:PATH
	PID     int    `json:"pid"`
}

func (c serveCommand) Run(ctx context.Context, g *globals) error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return &exitError{exitUsage, "--tls-cert and --tls-key go together: give both or none"}
	}
	log := serveLogger(g.JSON)
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: quieter(log)})
	if err != nil {
		return err
	}
	defer b.Close()
	address := c.Listen
	if address == "" {
		address = b.Config.HTTP.Listen
	}
	l, err := c.listen(address)
	if err != nil {
		return err
	}
	defer l.Close()
	server, err := newAPI(b, log)
	if err != nil {
		return err
	}
	jobs, err := b.StartPreparation(ctx, c.Workers)
	if err != nil {
		return err
	}
	defer stopJobs(jobs)
	bank, err := b.Bank()
	if err != nil {
		return err
	}
	switching, stop := context.WithCancel(ctx)
	port, err := startSwitch(switching, c.ISO8583, bank, log)
	defer port.wait()
	defer stop()
	if err != nil {
		return err
	}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { sweep(switching, b, log) })
	defer sweeping.Wait()
	defer stop()
	ends, err := b.IssuerEnds(time.Now())
	if err != nil {
		return err
	}
	for _, sentence := range ends {
		log.Warn(sentence)
	}
	line := c.describe(l)
	line.Switch = port.address()
	name := filepath.Join(b.Dir, "run", addressFile)
	if err := writeAddress(name, line.Address); err != nil {
		return err
	}
	defer removeAddress(name, line.Address)
	if g.JSON {
		err = printJSON(line)
	} else {
		_, err = fmt.Printf("ready: listening on %s\n", line.where())
		if err == nil && line.Switch != "" {
			_, err = fmt.Printf("ISO 8583: listening on %s\n", line.Switch)
		}
	}
	if err != nil {
		return err
	}
	return c.serve(ctx, server, l)
}

// newAPI joins the API to the bureau.
func newAPI(b *bureau.Bureau, log *slog.Logger) (*api.Server, error) {
	key, err := b.IntakeKey()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the intake key: %w", err)
	}
	bank, err := b.Bank()
	if err != nil {
		return nil, err
	}
	operators, err := operatorsOf(b)
	if err != nil {
		return nil, err
	}
	bindings, err := os.ReadFile(filepath.Join(b.Dir, bureau.BindingKeysFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the keys of bindings: %w", err)
	}
	return api.New(api.Config{
		BindingKeys: bindings, Bank: bank, Operators: operators, Intake: b.Intake(), Store: b.Store, IntakeKey: key, Version: version(), Log: log,
		Health: func(ctx context.Context) error {
			_, err := b.Vault.Stats(ctx)
			return err
		},
		Limits: api.Limits{MaxLine: b.Config.Records.MaxLine},
	})
}

// operatorsOf is the service that takes operators' notices, and speaks to those that
// this bureau reaches.
func operatorsOf(b *bureau.Bureau) (*pairing.Service, error) {
	networks, err := b.Networks()
	if err != nil {
		return nil, err
	}
	return b.Pairing(networks)
}

// sweepEvery is how often what dead desks left behind is looked for.
const sweepEvery = time.Minute

// sweep ends pairings whose session is over, until ctx ends.
func sweep(ctx context.Context, b *bureau.Bureau, log *slog.Logger) {
	s, err := operatorsOf(b)
	var by store.Actor
	if err == nil {
		by, err = b.Actor(ctx, "program", "sweep", "job")
	}
	if err != nil {
		log.Error("pairings that are over will not be ended", "cause", err.Error())
		return
	}
	for tick := time.NewTicker(sweepEvery); ; {
		if _, err := s.Sweep(ctx, by); err != nil && ctx.Err() == nil {
			log.Error("pairings that are over were not ended", "cause", err.Error())
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// version is what the build knows of itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// serve answers until ctx ends, then lets requests in flight finish. A second
// signal cuts them off.
func (c serveCommand) serve(ctx context.Context, server *api.Server, l net.Listener) error {
	hs := server.HTTPServer()
	failed := make(chan error, 1)
	go func() {
		if c.TLSCert != "" {
			failed <- hs.ServeTLS(l, c.TLSCert, c.TLSKey)
		} else {
			failed <- hs.Serve(l)
		}
	}()
	select {
	case err := <-failed:
		hs.Close()
		return fmt.Errorf("the server stopped: %w", err)
	case <-ctx.Done():
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	grace, cancel := context.WithTimeout(context.Background(), c.Grace)
	defer cancel()
	go func() {
		select {
		case <-again:
			cancel()
		case <-grace.Done():
		}
	}()
	server.Drain()
	if err := hs.Shutdown(grace); err != nil {
		hs.Close()
		return errors.New("the server stopped before every request was answered; sending those again does no harm")
	}
	return nil
}

const unixPrefix = "unix:"

// listen opens the address.
func (c serveCommand) listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Sprintf("%q is no address to listen on: write HOST:PORT or unix:PATH", address)}
	}
	if c.TLSCert == "" && !c.InsecurePlainHTTP && !loopback(host) {
		return nil, &exitError{exitUsage, fmt.Sprintf("%s can be reached from other machines, and bearer keys must not travel in the clear: give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy", address)}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return l, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// maxSocketPath is what a socket's address holds (unix(7)).
const maxSocketPath = 107

// listenUnix makes a socket that the own user and group can open. One that a
// killed server left behind is replaced, one that answers is not.
func listenUnix(path string) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is too long for a socket: %d bytes, at most %d are possible", path, len(path), maxSocketPath)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s exists and is no socket", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("another server listens on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("a leftover socket: %w", err)
		}
	}
	old := syscall.Umask(0o117)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return l, nil
}

// describe says where the server answers.
func (c serveCommand) describe(l net.Listener) ready {
	r := ready{Ready: true, PID: os.Getpid()}
	if l.Addr().Network() == "unix" {
		r.Address = unixPrefix + l.Addr().String()
		return r
	}
	r.Address = l.Addr().String()
	r.URL = "http://" + r.Address
	if c.TLSCert != "" {
		r.URL = "https://" + r.Address
	}
	return r
}

func (r ready) where() string {
	if r.URL != "" {
		return r.URL
	}
	return r.Address
}

// writeAddress replaces the file at once, so that nobody reads half of it.
func writeAddress(name, address string) error {
	part := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("the address file: %w", err)
	}
	if err := os.WriteFile(part, []byte(address+"\n"), 0o644); err != nil {
		return fmt.Errorf("the address file: %w", err)
	}
	if err := os.Rename(part, name); err != nil {
		return fmt.Errorf("the address file: %w", err)
	}
	return nil
}

// removeAddress removes the file unless another server has written it since.
func removeAddress(name, address string) {
	if b, err := os.ReadFile(name); err == nil && string(b) == address+"\n" {
		os.Remove(name)
	}
}

// serveLogger writes requests and errors to standard error, as JSON or text.
// CARDBUREAU_LOG names another level than info.
func serveLogger(asJSON bool) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(os.Getenv("CARDBUREAU_LOG"))) // unset or unknown: info
	o := &slog.HandlerOptions{Level: level}
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// quieter drops what is below a warning, unless more was asked for: the bureau's
// parts tell much that is of no interest beside the requests.
func quieter(log *slog.Logger) *slog.Logger {
	if os.Getenv("CARDBUREAU_LOG") != "" {
		return log
	}
	return slog.New(atLeast{log.Handler()})
}

// atLeast is a handler that begins at warnings.
type atLeast struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler { return atLeast{h.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (h atLeast) WithGroup(name string) slog.Handler { return atLeast{h.Handler.WithGroup(name)} }
