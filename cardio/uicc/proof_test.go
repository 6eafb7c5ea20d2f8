package uicc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/trace"
	"cardbureau/cardio/uicc"
)

// traced is what a trace of every byte says was sent to a card.
func traced(t *testing.T, raw apdu.Card, atr []byte, use func(apdu.Card)) (sent []string) {
	t.Helper()
	var out bytes.Buffer
	w, err := trace.NewWriter(&out, trace.Options{Full: true, Development: true})
	must(t, err)
	use(w.Card(raw, atr))
	must(t, w.Err())
	in, err := trace.NewReader(&out)
	must(t, err)
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return sent
		}
		must(t, err)
		if e.Kind != trace.Exchange {
			continue
		}
		s := fmt.Sprintf("%s%02X", e.Header, e.Lc)
		for _, p := range e.Command.Data {
			s += p.Hex
		}
		sent = append(sent, strings.ToUpper(s))
	}
}

// TestProofFromTraces: whoever asks, and also while a blank is programmed by a kind that
// names such files, a trace has no command for a forbidden file.
func TestProofFromTraces(t *testing.T) {
	ctx := t.Context()
	for _, path := range forbidden {
		for name, open := range map[string]func(context.Context, apdu.Card) (*uicc.Card, error){"USIM": uicc.Open, "SIM": uicc.OpenSIM} {
			ch, r := chip(t, blank())
			sent := traced(t, r, ch.ATR(), func(raw apdu.Card) {
				c, err := open(ctx, raw)
				must(t, err)
				_, err = c.Read(ctx, path)
				if !errors.Is(err, uicc.ErrNotAllowed) && !errors.Is(err, uicc.ErrNotFound) {
					t.Errorf("%s of %s: %v", path, name, err)
				}
				_, _ = c.Records(ctx, path)
				_, _ = c.SelectPath(ctx, path)
				if strings.HasPrefix(path, "7FFF/AF") || strings.HasPrefix(path, "A515/") {
					return // the maker's own: what a kind is for
				}
				k := sja2()
				k.Programming[0].Path = path
				if k.Check() == nil {
					t.Errorf("a kind may name %s", path)
				}
				if _, err := c.Program(ctx, k, []byte("12345678"), subscription(t)); err == nil {
					t.Errorf("%s was programmed", path)
				}
			})
			if len(sent) < 2 {
				t.Errorf("the trace has %d commands", len(sent))
			}
			must(t, untouched(sent))
		}
	}
}

// TestCardsNumberStays: the files that say which card it is are read and never written.
func TestCardsNumberStays(t *testing.T) {
	ctx := t.Context()
	c, r := opened(t, blank())
	must(t, c.VerifyADM(ctx, []byte("12345678"), false))
	iccid, err := uicc.EncodeICCID("8998350000000000028")
	must(t, err)
	if err := c.Write(ctx, uicc.PathICCID, 0, iccid); !errors.Is(err, uicc.ErrNotAllowed) {
		t.Error(err)
	}
	if err := c.WriteRecord(ctx, uicc.PathDIR, 1, []byte{0xFF}); !errors.Is(err, uicc.ErrNotAllowed) {
		t.Error(err)
	}
	for _, s := range r.sent {
		if ins := s[2:4]; ins == "D6" || ins == "DC" {
			t.Errorf("sent: %s", s[:8])
		}
	}
}

// lossy answers nothing to SELECT of one file, and has executed it.
type lossy struct {
	apdu.Card
	fid []byte
}

func (l *lossy) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := l.Card.Transmit(ctx, command)
	if command[1] == 0xA4 && bytes.HasSuffix(command, l.fid) {
		return nil, apdu.ErrInDoubt
	}
	return answer, err
}

// TestSelectInDoubt: after a SELECT without an answer nobody knows what is current, and
// nothing is read until it is selected anew.
func TestSelectInDoubt(t *testing.T) {
	ctx := t.Context()
	_, r := chip(t, operators(t))
	g := uicc.Guarded(&lossy{Card: r, fid: []byte{0x7F, 0x10}})
	send := func(s string) error { _, err := g.Transmit(ctx, unhex(t, s)); return err }
	must(t, send("00A4000C022FE2"))
	must(t, send("00B000000A"))
	if err := send("00A4000C027F10"); !errors.Is(err, apdu.ErrInDoubt) {
		t.Fatal(err)
	}
	for _, s := range []string{"00B000000A", "00A4000C022FE2", "00A4000C026F40", "00A4090C026F40"} {
		if err := send(s); !errors.Is(err, uicc.ErrNotAllowed) {
			t.Errorf("%s: %v", s, err)
		}
	}
	must(t, send("00A4000C023F00"))
	must(t, send("00A4000C022FE2"))
	must(t, send("00B000000A"))
}
