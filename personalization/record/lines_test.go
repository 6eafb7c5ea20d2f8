package record

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	type line struct {
		n    int
		text string
		cut  bool
		code string
	}
	for _, c := range []struct {
		name, in string
		want     []line
	}{
		{"empty", "", nil},
		{"plain", "a\nb\r\n", []line{{1, "a", false, ""}, {2, "b", false, ""}}},
		{"no last line feed", "a\nb", []line{{1, "a", false, ""}, {2, "b", true, ""}}},
		{"empty lines counted", "\n\na\n \n\nb\n", []line{{3, "a", false, ""}, {6, "b", false, ""}}},
		{"byte order mark", "\uFEFFa\n", []line{{1, "a", false, ""}}},
		{"long in the middle", "a\n" + long + "\nb\n", []line{{1, "a", false, ""}, {2, "", false, LineTooLong}, {3, "b", false, ""}}},
		{"long at the end", "a\n" + long, []line{{1, "a", false, ""}, {2, "", true, LineTooLong}}},
		{"just fits", strings.Repeat("y", 50) + "\r\n", []line{{1, strings.Repeat("y", 50), false, ""}}},
	} {
		for how, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.in), "byte by byte": iotest.OneByteReader(strings.NewReader(c.in)),
		} {
			var got []line
			for l := range Lines(r, 50) {
				code := ""
				var ref *Refusal
				if errors.As(l.Err, &ref) {
					code = ref.Code
				} else if l.Err != nil {
					t.Errorf("%s: %v", c.name, l.Err)
				}
				got = append(got, line{l.Number, string(l.Bytes), l.Unterminated, code})
			}
			if len(got) != len(c.want) {
				t.Fatalf("%s %s: got %v", c.name, how, got)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%s %s: got %v, want %v", c.name, how, got[i], c.want[i])
				}
			}
		}
	}
}

func TestLinesStopsOnReadError(t *testing.T) {
	broken := errors.New("disk")
	var last Line
	n := 0
	for l := range Lines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 0) {
		last, n = l, n+1
	}
	if n != 2 || !errors.Is(last.Err, broken) {
		t.Errorf("%d lines, last %v", n, last.Err)
	}
	for range Lines(strings.NewReader("a\nb\n"), 0) { // a receiver may stop
		break
	}
}

// endless gives n bytes without a line feed.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	b = b[:min(len(b), e.n)]
	for i := range b {
		b[i] = 'A'
	}
	e.n -= len(b)
	return len(b), nil
}

func TestLineOf200MBInBoundedMemory(t *testing.T) {
	v := verifier(t)
	jws := signed(t, good())
	in := io.MultiReader(strings.NewReader(jws+"\n"), &endless{200 << 20}, strings.NewReader("\n"+jws+"\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var codes []string
	for l := range Lines(in, 0) {
		_, err := v.VerifyLine(t.Context(), l)
		var ref *Refusal
		switch {
		case errors.As(err, &ref):
			codes = append(codes, ref.Code)
		case err == nil:
			codes = append(codes, "ok")
		default:
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := strings.Join(codes, " "); got != "ok line-too-long ok" {
		t.Errorf("got %s", got)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes allocated for a line of 200 MB", used)
	}
}

func TestLastLineCutOff(t *testing.T) {
	v := verifier(t)
	jws := signed(t, good())
	jwe := intakeKey().seal(t, jws, mediaType)
	verify := func(s string) error {
		for l := range Lines(strings.NewReader("\n"+s), 0) {
			_, err := v.VerifyLine(t.Context(), l)
			return err
		}
		return errors.New("no line")
	}
	if err := verify(jws); err != nil {
		t.Errorf("a whole record needs no line feed: %v", err)
	}
	for _, whole := range []string{jws, jwe} {
		for cut := 10; cut < len(whole); cut += 1 + len(whole)/97 {
			wantCode(t, verify(whole[:cut]), LineCutOff)
		}
		wantCode(t, verify(whole[:len(whole)-1]), LineCutOff)
	}
	wantCode(t, verify("hello"), NotJWS)
	wantCode(t, verify(jws[:len(jws)/2]+"\n"), NotJWS)
	sig := strings.LastIndexByte(jws, '.')
	swapped := jws[:sig+1] + strings.Repeat("A", len(jws)-sig-1)
	wantCode(t, verify(swapped), BadSignature) // complete, but wrong
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\nb"), 3)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = limit&0xFFF + 1
		lines := bytes.Split(in, []byte("\n"))
		last := 0
		for l := range Lines(bytes.NewReader(in), limit) {
			if l.Number <= last || l.Number > len(lines) {
				t.Fatalf("line %d after %d of %d", l.Number, last, len(lines))
			}
			last = l.Number
			if l.Err == nil && (len(l.Bytes) > limit || !bytes.Contains(lines[l.Number-1], l.Bytes)) {
				t.Fatalf("line %d is %q", l.Number, l.Bytes)
			}
		}
	})
}
