package pcsc_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"cardbureau/cardio/apdu"
)

// t0Card is a card at T=0 with a script: TPDU to answer. It keeps what it saw.
type t0Card struct {
	mu     sync.Mutex
	script map[string]string
	seen   []string
}

// play takes another script and forgets what was seen.
func (c *t0Card) play(script map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script, c.seen = script, nil
}

func (c *t0Card) saw() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

func (c *t0Card) respond(tpdu []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, hex.EncodeToString(tpdu))
	answer, ok := c.script[hex.EncodeToString(tpdu)]
	if !ok {
		answer = c.script[""]
	}
	b, _ := hex.DecodeString(answer)
	return b
}

// TestT0 drives scripted cards at T=0 through the daemon (ISO/IEC 7816-3:2006
// clause 12.2): what they are to see is TPDUs.
func TestT0(t *testing.T) {
	card := &t0Card{}
	_, conn := connected(t, slot(t, 3), atrT0, card.respond)
	for name, test := range map[string]struct {
		command string
		script  map[string]string
		seen    []string
		answer  string
	}{
		"case 1":                          {"00700080", nil, []string{"0070008000"}, "9000"},
		"case 2":                          {"00b0000005", map[string]string{"": "01020304059000"}, []string{"00b0000005"}, "01020304059000"},
		"case 3":                          {"00d60000021122", nil, []string{"00d60000021122"}, "9000"},
		"case 4, Le stays behind":         {"00a40400021122 00", nil, []string{"00a40400021122"}, "9000"},
		"61xx":                            {"00a40400021122 00", map[string]string{"00a40400021122": "6103", "00c0000003": "0a0b0c9000"}, []string{"00a40400021122", "00c0000003"}, "0a0b0c9000"},
		"61xx, secured, channel 1":        {"85e2800002112200", map[string]string{"85e28000021122": "6102", "01c0000002": "0a0b9000"}, []string{"85e28000021122", "01c0000002"}, "0a0b9000"},
		"61xx, secured, channel 5":        {"e1e2800002112200", map[string]string{"e1e28000021122": "6102", "41c0000002": "0a0b9000"}, []string{"e1e28000021122", "41c0000002"}, "0a0b9000"},
		"61xx, chained":                   {"10e2800002112200", map[string]string{"10e28000021122": "6102", "00c0000002": "0a0b9000"}, []string{"10e28000021122", "00c0000002"}, "0a0b9000"},
		"61xx in pieces":                  {"00b0000000", map[string]string{"00b0000000": "016101", "00c0000001": "029000"}, []string{"00b0000000", "00c0000001"}, "01029000"},
		"6Cxx":                            {"00b0000000", map[string]string{"00b0000000": "6c02", "00b0000002": "0a0b9000"}, []string{"00b0000000", "00b0000002"}, "0a0b9000"},
		"6Cxx, wrapped bytes as they are": {"84ca9f7f00", map[string]string{"84ca9f7f00": "6c02", "84ca9f7f02": "0a0b9000"}, []string{"84ca9f7f00", "84ca9f7f02"}, "0a0b9000"},
		"6Cxx of GET RESPONSE": {
			"00a4040002112200", map[string]string{"00a40400021122": "6100", "00c0000000": "6c01", "00c0000001": "0a9000"},
			[]string{"00a40400021122", "00c0000000", "00c0000001"}, "0a9000",
		},
		"91xx is passed on": {"a0100000021122", map[string]string{"": "910c"}, []string{"a0100000021122"}, "910c"},
	} {
		t.Run(name, func(t *testing.T) {
			script := map[string]string{"": "9000"}
			for k, v := range test.script {
				script[k] = v
			}
			card.play(script)
			r, err := apdu.SendRaw(deadline(t), conn, spaced(t, test.command))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(r.Bytes()); got != test.answer {
				t.Errorf("answer %s, want %s", got, test.answer)
			}
			if seen := card.saw(); !slices.Equal(seen, test.seen) {
				t.Errorf("the card saw %q, want %q", seen, test.seen)
			}
		})
	}
}

func spaced(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestT0Loops: a card that asks for more and more, or corrects its own
// correction, is given up.
func TestT0Loops(t *testing.T) {
	card := &t0Card{}
	_, conn := connected(t, slot(t, 3), atrT0, card.respond)
	for answer, most := range map[string]int{"6101": 260, "6c10": 2} {
		card.play(map[string]string{"": answer})
		_, err := apdu.Send(deadline(t), conn, apdu.Command{INS: 0xB0, Ne: 256})
		if n := len(card.saw()); err == nil || n > most {
			t.Errorf("%s: %d commands, error %v", answer, n, err)
		}
	}
}

// TestT0Extended: what T=0 cannot carry is not sent, and the connection lives.
func TestT0Extended(t *testing.T) {
	card := &t0Card{}
	card.play(map[string]string{"": "9000"})
	_, conn := connected(t, slot(t, 3), atrT0, card.respond)
	_, err := apdu.Send(deadline(t), conn, apdu.Command{INS: 0xD6, Data: make([]byte, 300)})
	wantError(t, err, apdu.ErrExtendedT0)
	if errors.Is(err, apdu.ErrInDoubt) {
		t.Error("a command that was not sent is in doubt")
	}
	if _, err := apdu.Send(deadline(t), conn, apdu.Command{INS: 0xD6, Data: make([]byte, 255)}); err != nil {
		t.Error(err)
	}
	if n := len(card.saw()); n != 1 {
		t.Errorf("the card saw %d commands", n)
	}
}
