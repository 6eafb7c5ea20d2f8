package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

const head = `{"format":"cardbureau-apdu-trace","version":1,"mode":"redacted","started":"2026-03-21T10:00:00Z"}` + "\n"

const sample = head + `{"n":1,"at":0,"event":"card","atr":"3B00"}
{"n":2,"at":10,"event":"exchange","header":"00A40400","name":"SELECT","lc":5,"ne":0,"data":[{"hex":"A000000247"}],"sw":"9000","took":7}
{"n":3,"at":20,"event":"exchange","header":"84F24002","name":"GET STATUS","secured":true,"lc":10,"ne":256,"data":[{"length":10,"digest":"00112233445566778899aabbccddeeff"}],"sw":"9000","length":2,"response":[{"length":2,"digest":"00112233445566778899aabbccddeeff"}],"took":7,"inside":{"header":"80F24002","lc":2,"ne":256,"data":[{"hex":"4F00"}]}}
{"n":4,"at":30,"event":"opened","sw":"9000","of":3}
{"n":5,"at":40,"event":"reset","atr":"3B00","cold":true}
{"n":6,"at":50,"event":"exchange","header":"00B00000","lc":0,"ne":1,"error":"in-doubt"}
`

// read reads a whole trace.
func read(text string) (Summary, error) {
	var s Summary
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		return s, err
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			s.Done()
			return s, nil
		}
		if err != nil {
			return s, err
		}
		s.Add(e)
	}
}

func TestSummary(t *testing.T) {
	s, err := read(sample)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"cards":1,"resets":1,"apdus":3,"sent":15,"received":2,"secured":1,"failed":1,"cardTime":14,"time":50,"commands":[` +
		`{"ins":"A4","name":"SELECT","apdus":1,"sent":5,"received":0,"time":7},{"ins":"F2","apdus":1,"sent":10,"received":2,"time":7},{"ins":"B0","apdus":1,"sent":0,"received":0,"time":0}]}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}

func TestMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"no trace":           "{}\n",
		"later version":      strings.Replace(head, `"version":1`, `"version":2`, 1),
		"unknown mode":       strings.Replace(head, "redacted", "some", 1),
		"unknown field":      strings.Replace(sample, `"cold"`, `"warm"`, 1),
		"unknown event":      strings.Replace(sample, `"reset"`, `"rest"`, 1),
		"number":             strings.Replace(sample, `"n":5`, `"n":6`, 1),
		"cut off":            sample[:len(sample)-20],
		"two values":         strings.Replace(sample, `"cold":true}`, `"cold":true}{}`, 1),
		"field of another":   strings.Replace(sample, `"cold":true`, `"of":3`, 1),
		"no command":         head + `{"n":1,"at":0,"event":"exchange","sw":"9000"}`,
		"lengths":            strings.Replace(sample, `"lc":5`, `"lc":6`, 1),
		"negative length":    strings.Replace(sample, `"length":10`, `"length":-10`, 1),
		"digest":             strings.Replace(sample, "ccddeeff", "ccddeef", 1),
		"shown and digested": strings.Replace(sample, `{"hex":"4F00"}`, `{"hex":"4F00","length":2}`, 1),
		"small digits":       strings.Replace(sample, "4F00", "4f00", 1),
		"half a byte":        strings.Replace(sample, "4F00", "4F0", 1),
		"answer and error":   strings.Replace(sample, `"error":"in-doubt"`, `"error":"in-doubt","sw":"9000"`, 1),
		"unknown error":      strings.Replace(sample, `in-doubt`, `doubt`, 1),
		"no status word":     strings.Replace(sample, `"sw":"9000","of"`, `"of"`, 1),
		"answer to nothing":  strings.Replace(sample, `"of":3`, `"of":4`, 1),
		"header":             strings.Replace(sample, `00A40400`, `00A404`, 1),
		"full, digested":     strings.Replace(sample, "redacted", "full", 1),
		"negative time":      strings.Replace(sample, `"at":20`, `"at":-20`, 1),
	} {
		if _, err := read(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReader: whatever the bytes, reading ends in events that can be written
// and read again as they are, or in an error that is ErrMalformed.
func FuzzReader(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(head))
	f.Add([]byte(sample[:len(sample)-20]))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		var s Summary
		again := &Reader{header: r.Header()}
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				break
			}
			s.Add(e)
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var same Event
			if err := strict(line, &same); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if err := again.check(&same); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		s.Done()
		if p, err := Replay(bytes.NewReader(b), ReplayOptions{Development: true}); err == nil {
			for p.Left() > 0 {
				n := p.Left()
				if p.events[0].Kind == Reset {
					_ = p.Reset(t.Context())
				} else {
					_, _ = p.Transmit(t.Context(), []byte{0, 0xA4, 4, 0})
				}
				if p.Left() == n { // another command was recorded
					p.events = p.events[1:]
				}
			}
		}
	})
}

// FuzzRedact: the rules take any data of any command, and show no more than is
// there.
func FuzzRedact(f *testing.F) {
	f.Add([]byte{0x80, 0xE6, 0x0C, 0, 3, 6, 1, 2}, []byte{0x66, 0x02, 0x73, 0})
	f.Add([]byte{0x80, 0xF2, 0x10, 0, 2, 0x4F, 0, 0}, []byte{5, 1, 2, 3, 4, 5, 1, 0, 1})
	f.Fuzz(func(t *testing.T, command, answer []byte) {
		var out bytes.Buffer
		c, err := New(fixed(answer), nil, &out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Transmit(t.Context(), command)
		if len(command) > 70000 || len(answer) > 65000 {
			return
		}
		if _, err := read(out.String()); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	})
}

// fixed is a card that gives one answer.
type fixed []byte

func (f fixed) Transmit(context.Context, []byte) ([]byte, error) { return f, nil }
