package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"cardbureau/api/iso8583"
)

// bankSwitch is the port of the bank's switch; nil: there is none.
type bankSwitch struct {
	l    net.Listener
	done chan error
}

// startSwitch answers the bank's switch at an address that other machines cannot
// reach: ISO 8583 knows neither keys nor encipherment, so a tunnel stands before it.
func startSwitch(ctx context.Context, address string, a iso8583.Authorizer, log *slog.Logger) (*bankSwitch, error) {
	if address == "" {
		return nil, nil
	}
	if !strings.HasPrefix(address, unixPrefix) {
		if host, _, err := net.SplitHostPort(address); err == nil && !loopback(host) {
			return nil, &exitError{exitUsage, fmt.Sprintf("%s can be reached from other machines, and ISO 8583 messages would travel in the clear: listen on 127.0.0.1 or unix:PATH behind a TLS tunnel", address)}
		}
	}
	l, err := serveCommand{}.listen(address)
	if err != nil {
		return nil, err
	}
	s := &bankSwitch{l: l, done: make(chan error, 1)}
	go func() {
		err := (&iso8583.Server{Bank: a, Log: log}).Serve(ctx, l)
		if err != nil {
			log.ErrorContext(ctx, "the switch's port is closed", "cause", err.Error())
		}
		s.done <- err
	}()
	return s, nil
}

// address is where it listens; empty: nowhere.
func (s *bankSwitch) address() string {
	switch {
	case s == nil:
		return ""
	case s.l.Addr().Network() == "unix":
		return unixPrefix + s.l.Addr().String()
	}
	return s.l.Addr().String()
}

// wait waits until its connections have ended. The context of startSwitch must have.
func (s *bankSwitch) wait() {
	if s != nil {
		<-s.done
	}
}
