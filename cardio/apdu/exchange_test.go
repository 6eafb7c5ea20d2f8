package apdu_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
)

// script is a card that must be asked what the script says.
type script struct {
	t     testing.TB
	steps []string // "command>response"
	next  int
}

func (s *script) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if s.next == len(s.steps) {
		return nil, fmt.Errorf("one command too many: %x", command)
	}
	want, response, _ := bytes.Cut([]byte(s.steps[s.next]), []byte(">"))
	s.next++
	if hex.EncodeToString(command) != string(want) {
		s.t.Errorf("command %d is %x, want %s", s.next, command, want)
	}
	if string(response) == "gone" {
		return nil, errGone
	}
	return unhex(s.t, string(response)), nil
}

var errGone = errors.New("gone")

func TestContinuation(t *testing.T) {
	for name, test := range map[string]struct {
		raw   string
		steps []string
		data  string
		sw    apdu.StatusWord
		err   error
	}{
		"plain":               {"00a4000000", []string{"00a4000000>9000"}, "", 0x9000, nil},
		"61, twice":           {"00b0000000", []string{"00b0000000>016102", "00c0000002>02036101", "00c0000001>049000"}, "01020304", 0x9000, nil},
		"61 on a channel":     {"8dca000000", []string{"8dca000000>6101", "01c0000001>059000"}, "05", 0x9000, nil},
		"61 on channel 5":     {"e1ca000000", []string{"e1ca000000>6101", "41c0000001>059000"}, "05", 0x9000, nil},
		"6C":                  {"00b0000000", []string{"00b0000000>6c02", "00b0000002>01029000"}, "0102", 0x9000, nil},
		"6C keeps wrapped":    {"84e2910006aabbccddeeff00", []string{"84e2910006aabbccddeeff00>6c08", "84e2910006aabbccddeeff08>079000"}, "07", 0x9000, nil},
		"6C of GET RESPONSE":  {"00a4000000", []string{"00a4000000>6100", "00c0000000>6c01", "00c0000001>089000"}, "08", 0x9000, nil},
		"warning at the end":  {"00b0000000", []string{"00b0000000>6101", "00c0000001>096282"}, "09", 0x6282, nil},
		"6C00 asks for 256":   {"00b0000001", []string{"00b0000001>6c00", "00b0000000>9000"}, "", 0x9000, nil},
		"gone":                {"00b0000000", []string{"00b0000000>gone"}, "", 0, errGone},
		"gone in the middle":  {"00b0000000", []string{"00b0000000>6101", "00c0000001>gone"}, "", 0, errGone},
		"nothing":             {"00b0000000", []string{"00b0000000>"}, "", 0, apdu.ErrInDoubt},
		"nothing more":        {"00b0000000", []string{"00b0000000>6101", "00c0000001>90"}, "", 0, apdu.ErrInDoubt},
		"no command":          {"00b000", nil, "", 0, apdu.ErrMalformed},
		"6C of a broken Lc":   {"00b0000002", []string{"00b0000002>6c01", "00b0000001>9000"}, "", 0x9000, nil},
		"6C without Le":       {"8482330008aabbccddeeff0011", []string{"8482330008aabbccddeeff0011>6c10"}, "", 0x6C10, nil},
		"6C of a header":      {"00100000", []string{"00100000>6c01"}, "", 0x6C01, nil},
		"6C of a non-command": {"00b00000020101ffff", []string{"00b00000020101ffff>6c01"}, "", 0, apdu.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, steps: test.steps}
			r, err := apdu.SendRaw(context.Background(), s, unhex(t, test.raw))
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if hex.EncodeToString(r.Data) != test.data || r.SW != test.sw {
				t.Errorf("%x %v, want %s %v", r.Data, r.SW, test.data, test.sw)
			}
			if s.next != len(test.steps) {
				t.Errorf("%d commands, want %d", s.next, len(test.steps))
			}
		})
	}
}

// cardFunc is a card in one function.
type cardFunc func([]byte) ([]byte, error)

func (f cardFunc) Transmit(_ context.Context, c []byte) ([]byte, error) { return f(c) }

// TestLeIsCorrectedOnce: a command of case 4 that a reader sends without its
// Le would be executed at every repetition.
func TestLeIsCorrectedOnce(t *testing.T) {
	n := 0
	_, err := apdu.SendRaw(context.Background(), cardFunc(func([]byte) ([]byte, error) {
		n++
		return []byte{0x6C, byte(n)}, nil
	}), []byte{0x80, 0xE2, 0, 0, 1, 7, 0})
	if err == nil || n != 2 {
		t.Errorf("%d commands, error %v", n, err)
	}
}

func TestContinuationsEnd(t *testing.T) {
	for _, answer := range [][]byte{{0x61, 0x00}, {0x6C, 0x10}} {
		n := 0
		_, err := apdu.Send(context.Background(), cardFunc(func([]byte) ([]byte, error) {
			n++
			return answer, nil
		}), apdu.Command{INS: 0xB0, Ne: 256})
		if err == nil || n > 300 {
			t.Errorf("%x: %d commands, error %v", answer, n, err)
		}
	}
	_, err := apdu.Send(context.Background(), cardFunc(func([]byte) ([]byte, error) { return []byte{0x6C, 0x01}, nil }),
		apdu.Command{INS: 0xB0, Ne: 300})
	if err == nil {
		t.Error("Le of an extended command was corrected")
	}
}

func TestMust(t *testing.T) {
	ctx := context.Background()
	c := apdu.Command{CLA: 0x80, INS: 0xCA, P1: 0x9F, P2: 0x7F, Ne: 256}
	data, err := apdu.Must(ctx, &script{t: t, steps: []string{"80ca9f7f00>019000"}}, c)
	if err != nil || !bytes.Equal(data, []byte{1}) {
		t.Errorf("%x, %v", data, err)
	}
	_, err = apdu.Must(ctx, &script{t: t, steps: []string{"80ca9f7f00>6a88"}}, c)
	if !errors.Is(err, apdu.SWReferencedDataNotFound) {
		t.Error(err)
	}
	_, err = apdu.Must(ctx, &script{t: t, steps: []string{"80ca9f7f00>gone"}}, c)
	if !errors.Is(err, errGone) {
		t.Error(err)
	}
	if _, err = apdu.Must(ctx, nil, apdu.Command{Ne: -1}); err == nil {
		t.Error("a command that cannot be encoded was sent")
	}
}

func TestExchangeStopsAtTheUnexpected(t *testing.T) {
	ctx := context.Background()
	items := func(expect ...apdu.StatusWord) []apdu.Item {
		return []apdu.Item{
			{Command: unhex(t, "00010000")},
			{Command: unhex(t, "00020000"), Expect: expect},
			{Command: unhex(t, "00030000")},
		}
	}
	steps := []string{"00010000>9000", "00020000>6a82", "00030000>9000"}
	r, err := apdu.Exchange(ctx, &script{t: t, steps: steps}, items(apdu.SWSuccess, apdu.SWFileNotFound))
	if err != nil || len(r) != 3 {
		t.Errorf("%d responses, %v", len(r), err)
	}
	r, err = apdu.Exchange(ctx, &script{t: t, steps: steps}, items())
	var at *apdu.ExchangeError
	if len(r) != 2 || !errors.As(err, &at) || at.Index != 1 || !errors.Is(err, apdu.SWFileNotFound) {
		t.Errorf("%d responses, %v", len(r), err)
	}
	steps[1] = "00020000>gone"
	r, err = apdu.Exchange(ctx, &script{t: t, steps: steps}, items())
	if len(r) != 1 || !errors.As(err, &at) || at.Index != 1 || !errors.Is(err, errGone) {
		t.Errorf("%d responses, %v", len(r), err)
	}
	if got := err.Error(); got != "command 2 of the batch: gone" {
		t.Error(got)
	}
}

// FuzzParse: whatever is taken as a command is that command.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"80f0800f", "00b0000010", "00a4040002010200", "00b00000000101", "00a40000000001090001", "00a4040000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = apdu.ForT0(b)
		c, err := apdu.Parse(b)
		if err != nil {
			return
		}
		again, err := c.Bytes()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was taken for %x (%v)", b, again, err)
		}
	})
}

// FuzzSend: a card that answers anything cannot make a host panic or loop.
func FuzzSend(f *testing.F) {
	f.Add([]byte{2, 0x61, 0x01, 3, 5, 0x90, 0x00})
	f.Add([]byte{2, 0x6C, 0x01, 1, 0x90})
	f.Fuzz(func(t *testing.T, answers []byte) {
		n := 0
		card := cardFunc(func([]byte) ([]byte, error) {
			n++
			if len(answers) == 0 {
				return nil, errGone
			}
			k := min(int(answers[0]), len(answers)-1)
			a := answers[1 : 1+k]
			answers = answers[1+k:]
			return a, nil
		})
		r, err := apdu.Send(context.Background(), card, apdu.Command{INS: 0xB0, Ne: 256})
		if err == nil && (r.SW.SW1() == 0x61 || r.SW.SW1() == 0x6C) {
			t.Errorf("a continuation was left open: %v", r.SW)
		}
		if n > 300 {
			t.Errorf("%d commands", n)
		}
	})
}
