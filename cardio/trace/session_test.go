package trace_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/trace"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/mrtd"
)

// The keys of the software chip, each byte another.
func key(first byte) []byte {
	out := make([]byte, 16)
	for i := range out {
		out[i] = first + byte(i)
	}
	return out
}

var serial = virtual.NewSerial(0xBEEF, 0xDEADFA11)

func newChip(t testing.TB) *virtual.Chip {
	t.Helper()
	blank := virtual.LDSBlank(serial, virtual.Keys{Version: 0x30, ENC: key(0x00), MAC: key(0x40), DEK: key(0x80)})
	chip, err := virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{
		virtual.LDSAID: func() virtual.Applet { return mrtd.New() },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return chip
}

// work is a host at work, and what it must not find in the trace.
type work struct {
	level     gp.Level
	challenge []byte
	secrets   map[string][]byte
}

func newWork(level gp.Level) *work {
	return &work{level: level, challenge: []byte("hostchal"), secrets: map[string][]byte{
		"Key-ENC": key(0x00), "Key-MAC": key(0x40), "Key-DEK": key(0x80), "new key": key(0xA0),
		"name": []byte("P<D<<MUSTERMANN<<ERIKA<<<<<<"), "BAC seed": bytes.Repeat([]byte{0x5A, 0xA5}, 8),
		"PIN": []byte("48291376"), "portrait": bytes.Repeat([]byte("portrait"), 20),
	}}
}

// watcher is a card that is told what is inside a channel.
type watcher interface {
	Watch(gp.Channel) gp.Channel
}

// do asks the card who it is, opens a channel and writes.
func (w *work) do(ctx context.Context, card apdu.Card) error {
	plain := gp.Plain(card)
	if _, err := apdu.Must(ctx, card, gp.SelectISDCommand()); err != nil {
		return err
	}
	if _, err := gp.ReadCPLC(ctx, plain); err != nil {
		return err
	}
	if _, err := gp.ReadKeyInformation(ctx, plain); err != nil {
		return err
	}
	answer, err := apdu.Must(ctx, card, gp.InitializeUpdateCommand(0x30, w.challenge))
	if err != nil {
		return err
	}
	iu, err := gp.ParseInitializeUpdate(answer)
	if err != nil {
		return err
	}
	keys, err := gp.NewSoftwareKeys(key(0x00), key(0x40), key(0x80))
	if err != nil {
		return err
	}
	session, authenticate, err := gp.OpenSCP03(ctx, keys, iu, w.challenge, gp.ISDAID, w.level)
	if err != nil {
		return err
	}
	if r, err := apdu.SendRaw(ctx, card, authenticate); err != nil || !r.SW.OK() {
		return errors.Join(err, r.SW)
	}
	var channel gp.Channel = session
	if c, ok := card.(watcher); ok {
		channel = c.Watch(session)
	}
	dek, err := gp.NewSoftwareCipher(key(0x80))
	if err != nil {
		return err
	}
	var parts []gp.KeyComponent
	for range 3 {
		part, err := gp.NewKeyComponent(ctx, dek, w.secrets["new key"])
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	batch := []apdu.Command{
		gp.GetStatusCommand(0x40, false),
		gp.ReplaceKeyCommand(0x30, 0x31, 1, parts),
		{CLA: 0x80, INS: 0xE2, P1: 0x00, Data: w.secrets["name"], Ne: 256},
		{CLA: 0x80, INS: 0xDA, P2: 0x62, Data: w.secrets["BAC seed"], Ne: 256},
		{CLA: 0x80, INS: 0xD6, Data: w.secrets["portrait"]},
	}
	wrapped, err := channel.Wrap(ctx, batch)
	if err != nil {
		return err
	}
	var raw [][]byte
	for _, c := range wrapped {
		r, err := apdu.SendRaw(ctx, card, c)
		if err != nil {
			return err
		}
		raw = append(raw, r.Bytes())
		if !r.SW.OK() {
			break // the chip ends the session
		}
	}
	if _, err := channel.Unwrap(ctx, raw); err != nil {
		return err
	}
	// And what must never go in the clear, but does with some applets.
	for _, c := range []apdu.Command{
		{INS: 0x20, P2: 1, Data: w.secrets["PIN"]},
		{INS: 0x24, P2: 1, Data: w.secrets["PIN"]},
		{INS: 0x2C, P2: 1, Data: w.secrets["PIN"]},
		{INS: 0xDA, P2: 0x62, Data: w.secrets["BAC seed"]},
		{INS: 0xD6, Data: w.secrets["portrait"]},
		{CLA: 0x80, INS: 0xE2, Data: w.secrets["name"]},
		{CLA: 0x80, INS: 0xD8, Data: w.secrets["new key"]},
		{CLA: 0x84, INS: 0xD8, Data: w.secrets["new key"]},
		{CLA: 0x10, INS: 0xD6, Data: w.secrets["portrait"]},
	} {
		if _, err := apdu.Send(ctx, card, c); err != nil {
			return err
		}
	}
	return nil
}

// searched fails where a trace holds a secret, in any form it could have there.
func searched(t *testing.T, text []byte, secrets map[string][]byte) {
	t.Helper()
	lower := strings.ToLower(string(text))
	for name, s := range secrets {
		for at := 0; at+8 <= len(s); at += 8 { // also a part of it
			piece := s[at : at+8]
			for _, form := range []string{
				hex.EncodeToString(piece), strings.ToLower(string(piece)), strings.ToLower(base64.StdEncoding.EncodeToString(piece))[:10],
			} {
				if strings.Contains(lower, form) {
					t.Errorf("the trace holds %s, bytes %d to %d", name, at, at+8)
				}
			}
		}
	}
}

func record(t *testing.T, w *work, o trace.Options) []byte {
	t.Helper()
	chip := newChip(t)
	var out bytes.Buffer
	card, err := trace.New(chip, chip.ATR(), &out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.do(t.Context(), card); err != nil {
		t.Fatal(err)
	}
	if err := card.Err(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestNoSecrets: at no level of secure messaging does a trace hold keys, PINs,
// personal data or the chip's serial number.
func TestNoSecrets(t *testing.T) {
	for _, level := range []gp.Level{gp.LevelCMAC, gp.LevelCENC, gp.LevelCENCRMAC, gp.LevelFull} {
		t.Run(level.String(), func(t *testing.T) {
			w := newWork(level)
			text := record(t, w, trace.Options{})
			searched(t, text, w.secrets)
			if bytes.Contains(text, []byte("DEADFA11")) {
				t.Error("the trace holds the chip's serial number")
			}
			insides, opened := 0, 0
			r, err := trace.NewReader(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			for {
				e, err := r.Next()
				if err != nil {
					break
				}
				if e.Inside != nil {
					insides++
				}
				if e.Kind == trace.Opened {
					opened++
				}
				if e.Command != nil && e.Secured && e.Header[2:4] != "82" {
					for _, p := range append(e.Data, e.Response...) {
						if p.Hex != "" {
							t.Errorf("line %d shows what is inside secure messaging", r.Line())
						}
					}
				}
			}
			if insides < 3 || opened != insides {
				t.Errorf("%d commands and %d answers were told of from inside the channel", insides, opened)
			}
			if !bytes.Contains(text, []byte(`"inside":{"header":"80F24002","name":"GET STATUS"`)) {
				t.Error("GET STATUS inside the channel is not shown")
			}
		})
	}
	// The search finds what it looks for.
	w := newWork(gp.LevelCMAC)
	text := record(t, w, trace.Options{Full: true, Development: true})
	if !bytes.Contains(text, []byte(strings.ToUpper(hex.EncodeToString(w.secrets["name"])))) {
		t.Error("a full trace does not hold everything")
	}
}

// TestReplayFull: a full trace plays as the card did, to the last byte.
func TestReplayFull(t *testing.T) {
	w := newWork(gp.LevelFull)
	text := record(t, w, trace.Options{Full: true, Development: true})
	if _, err := trace.Replay(bytes.NewReader(text), trace.ReplayOptions{}); !errors.Is(err, trace.ErrDevelopment) {
		t.Errorf("a full trace was played: %v", err)
	}
	p, err := trace.Replay(bytes.NewReader(text), trace.ReplayOptions{Development: true})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.ATR(), newChip(t).ATR()) {
		t.Errorf("ATR %X", p.ATR())
	}
	if err := w.do(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if p.Left() != 0 {
		t.Errorf("%d events were not played", p.Left())
	}
	var m *trace.Mismatch
	if _, err := p.Transmit(t.Context(), []byte{0, 0xA4, 0, 0}); !errors.As(err, &m) || m.Line != 0 {
		t.Errorf("after the end: %v", err)
	}
}

// TestReplayRedacted: what is not shown is zeros, and is compared where the key
// is at hand.
func TestReplayRedacted(t *testing.T) {
	secret := []byte{0, 0xD6, 0, 0, 3, 1, 2, 3}
	other := []byte{0, 0xD6, 0, 0, 3, 1, 2, 4}
	selectISD := []byte{0, 0xA4, 4, 0, 8, 0xA0, 0, 0, 1, 0x51, 0, 0, 0, 0}
	k := []byte("key of this test")
	var out bytes.Buffer
	chip := newChip(t)
	card, err := trace.New(chip, chip.ATR(), &out, trace.Options{Key: k, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	var answers [][]byte
	for i, c := range [][]byte{selectISD, {0x80, 0xCA, 0x9F, 0x7F, 0}, secret} {
		if i == 1 {
			card.NoteReset(chip.ATR(), true)
		}
		a, err := card.Transmit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	for name, test := range map[string]struct {
		key, last []byte
		line      int
		what      string
	}{
		"same, no key":    {nil, secret, 0, ""},
		"other, no key":   {nil, other, 0, ""},
		"same, with key":  {k, secret, 0, ""},
		"other, with key": {k, other, 6, "data differs in bytes 1 to 3"},
		"header":          {nil, []byte{0, 0xD6, 0, 1, 3, 1, 2, 3}, 6, "header 00D60001 was sent, 00D60000 is recorded"},
		"length":          {nil, []byte{0, 0xD6, 0, 0, 2, 1, 2}, 6, "2 bytes of data were sent, 3"},
		"Le":              {nil, append(bytes.Clone(secret), 0), 6, "256 bytes of answer"},
		"encoding":        {nil, []byte{0, 0xD6, 0, 0, 0, 0, 3, 1, 2, 3}, 6, "encoded another way"},
		"no command":      {nil, []byte{0, 0xD6, 0, 0, 3, 1}, 6, "is no command"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := trace.Replay(bytes.NewReader(out.Bytes()), trace.ReplayOptions{Key: test.key})
			if err != nil {
				t.Fatal(err)
			}
			wrong := bytes.Clone(selectISD)
			wrong[6]++
			if _, err := p.Transmit(t.Context(), wrong); !errors.Is(err, trace.ErrMismatch) {
				t.Errorf("another AID: %v", err)
			}
			got, err := p.Transmit(t.Context(), selectISD)
			if err != nil || !bytes.Equal(got[:10], answers[0][:10]) || len(got) != len(answers[0]) {
				t.Errorf("%X %v, want %X", got, err, answers[0])
			}
			if _, err := p.Transmit(t.Context(), []byte{0x80, 0xCA, 0x9F, 0x7F, 0}); !errors.Is(err, trace.ErrMismatch) {
				t.Errorf("no reset: %v", err)
			}
			if err := p.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := p.Reset(t.Context()); !errors.Is(err, trace.ErrMismatch) {
				t.Errorf("two resets: %v", err)
			}
			if _, err := p.Transmit(t.Context(), []byte{0x80, 0xCA, 0x9F, 0x7F, 0}); err != nil {
				t.Fatal(err)
			}
			_, err = p.Transmit(t.Context(), test.last)
			var m *trace.Mismatch
			switch {
			case test.what == "" && err != nil:
				t.Error(err)
			case test.what != "" && (!errors.As(err, &m) || m.Line != test.line || !strings.Contains(m.What, test.what)):
				t.Errorf("got %v, want line %d, %s", err, test.line, test.what)
			}
		})
	}
}

// TestReplayErrors: what was not answered is not answered again.
func TestReplayErrors(t *testing.T) {
	chip := newChip(t)
	count := &virtual.Faulty{Chip: chip, At: 1, Fault: virtual.Silence}
	var out bytes.Buffer
	card, err := trace.New(count, nil, &out, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	command := []byte{0, 0xA4, 4, 0, 0}
	_, _ = card.Transmit(t.Context(), command)
	p, err := trace.Replay(bytes.NewReader(out.Bytes()), trace.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Transmit(t.Context(), command); !errors.Is(err, apdu.ErrInDoubt) {
		t.Errorf("got %v", err)
	}
	if _, err := trace.Replay(bytes.NewReader(out.Bytes()), trace.ReplayOptions{Card: 2}); err == nil {
		t.Error("a second card was played of one")
	}
}
