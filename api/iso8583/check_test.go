package iso8583

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	lib "github.com/moov-io/iso8583"

	"cardbureau/personalization/bank"
)

// discarding answers as a bureau that approves, and keeps no log.
func discarding() *Server {
	return &Server{Bank: &question{v: bank.Verdict{Valid: true, Code: bank.Approved}}, Log: slog.New(slog.DiscardHandler)}
}

// message packs elements by the adapter's own format, with more elements or others.
func message(t testing.TB, kind string, change map[int]string) []byte {
	t.Helper()
	m := lib.NewMessage(spec)
	m.MTI(kind)
	all := map[int]string{fieldPAN: pan, 3: "000000", 4: "000000250000", 11: "000043", 23: "001", 37: "112611000043", 41: "TEST0001", 42: "CARDBUREAU TEST", 49: "364", 55: string(iccOf(250000))}
	maps.Copy(all, change)
	for n, v := range all {
		if v == "" {
			continue
		}
		if err := m.BinaryField(n, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// elements are those of an answer.
func elements(t testing.TB, out []byte) map[int]string {
	t.Helper()
	m := lib.NewMessage(specOf(out))
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for n := range m.GetFields() {
		if n > 1 {
			got[n], _ = m.GetString(n)
		}
	}
	return got
}

// TestNoPANAnswered: the PAN does not come back in another element, whatever else is
// wrong with the message, whatever names it, and in however many parts.
func TestNoPANAnswered(t *testing.T) {
	long := "589210990000018" // 15 digits, so that it fits element 42
	icc := string(iccOf(250000))
	track, _ := hex.DecodeString("57115892109900000018d31112010000000000")
	for name, c := range map[string]struct {
		change map[int]string
		tail   string
		gone   []int
	}{
		"in 42":                             {map[int]string{2: long, 42: long}, "", []int{42}},
		"in 42, bytes behind":               {map[int]string{2: long, 42: long}, "x", []int{42}},
		"in 42, letters in 11":              {map[int]string{2: long, 11: "00004x", 42: long}, "", []int{11, 42}},
		"in 42, letters in 7 and 11":        {map[int]string{2: long, 7: "11262311zz", 11: "00004x", 42: long}, "", []int{7, 11, 42}},
		"parted over 41 and 42":             {map[int]string{41: pan[:8], 42: pan[8:] + "       "}, "", []int{37, 41, 42}},
		"parted over 37 and 41":             {map[int]string{37: "00" + pan[:10], 41: pan[10:] + "  "}, "", []int{37, 41, 42}},
		"parted over 32 and 37":             {map[int]string{32: pan[:11], 37: pan[11:] + "0000000"}, "", []int{32, 37, 41, 42}},
		"parted over 4 and 7":               {map[int]string{4: "00" + pan[:10], 7: pan[10:] + "0000"}, "", []int{4, 7, 11, 37}},
		"cut at its end, in 42":             {map[int]string{42: pan[:15]}, "", []int{42}},
		"cut at its beginning, in 42":       {map[int]string{42: pan[1:]}, "", []int{42}},
		"cut at its end, in 37":             {map[int]string{37: pan[:12]}, "", []int{37}},
		"with spaces":                       {map[int]string{2: "5892109900", 42: "5892 1099 00   "}, "", []int{42}},
		"of track 2 in 42":                  {map[int]string{2: "", 35: long + "=31112010000000000", 42: long}, "", []int{42}},
		"of track 1 in 42":                  {map[int]string{2: "", 45: "B" + long + "^A/B^3111201", 42: long}, "", []int{42}},
		"of track 3 in 42":                  {map[int]string{2: "", 36: "59" + long + "=36400", 42: long}, "", []int{42}},
		"of element 34":                     {map[int]string{2: "", 34: long, 42: long}, "", []int{42}},
		"of the card's data over 41 and 42": {map[int]string{2: "", 55: icc + string(track), 41: pan[:8], 42: pan[8:] + "       "}, "", []int{41, 42}},
		"another than the card's data":      {map[int]string{2: long, 55: icc + string(track), 41: pan[:8], 42: pan[8:] + "       "}, "", []int{41, 42}},
		"letters and a PAN beside":          {map[int]string{49: "36x", 41: pan[:8], 42: pan[8:] + "       "}, "", []int{41, 42}},
		"of the zone, and no PAN elsewhere": {map[int]string{4: "00000025000x", 37: "112611000044"}, "", []int{4}},
	} {
		s := discarding()
		out, code, err := s.answer(t.Context(), append(message(t, "0100", c.change), c.tail...))
		if err != nil || code != codeFormat || len(s.Bank.(*question).got) != 0 {
			t.Errorf("%s: %q, %v; the bureau was asked %d times", name, code, err, len(s.Bank.(*question).got))
			continue
		}
		got := elements(t, out)
		for _, n := range c.gone {
			if v, ok := got[n]; ok {
				t.Errorf("%s: element %d is repeated: %q", name, n, v)
			}
		}
		if bytes.Contains(out, []byte(pan)) || bytes.Contains(out, []byte(long)) {
			t.Errorf("%s: the answer holds the PAN", name)
		}
	}
	// The response code stands between 37 and 41.
	through := pan[:6] + "00" + pan[6:8] + "000018"
	out, _, err := discarding().answer(t.Context(), message(t, "0820", map[int]string{2: through, 37: "      " + through[:6], 41: through[8:]}))
	if err != nil || bytes.Contains(out, []byte(through)) {
		t.Errorf("%q, %v", out, err)
	}
	// What is right is repeated, and no few digits of element 2 take it away.
	for _, dropped := range []map[int]string{nil, {2: "0"}, {2: "1126"}} {
		out, _, err := discarding().answer(t.Context(), message(t, "0820", dropped))
		if got := elements(t, out); err != nil || got[11] != "000043" || got[37] != "112611000043" || got[42] != "CARDBUREAU TEST" {
			t.Errorf("%v: %v, %v", dropped, got, err)
		}
	}
}

// TestSecondBitmap: a second bitmap may be empty, and a bit 65 in it neither ends the
// connection nor goes by.
func TestSecondBitmap(t *testing.T) {
	narrow := message(t, "0100", nil)
	widened := func(second string, rest ...string) []byte {
		out := bytes.Clone(narrow[:12])
		out[4] |= secondBitmap
		return append(append(append(out, second...), narrow[12:]...), strings.Join(rest, "")...)
	}
	zeros := strings.Repeat("\x00", 8)
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"one bitmap":                       {narrow, "00"},
		"an empty one":                     {widened(zeros), "00"},
		"an empty one, bytes behind":       {widened(zeros, "x"), "30"},
		"bit 65 and nothing there":         {widened("\x80"+zeros[1:], zeros), "00"},
		"bit 65 and element 130 announced": {widened("\x80"+zeros[1:], "\x40"+zeros[1:], "004"), "30"},
		"a code of the network":            {widened("\x04"+zeros[1:], "301"), "00"},
		"every element from 105":           {widened(zeros[:5]+"\x00\xff\xfe", strings.Repeat("000", 15)), "00"},
	} {
		out, code, err := discarding().answer(t.Context(), c.in)
		if err != nil || code != c.want {
			t.Errorf("%s: %q, %v", name, code, err)
			continue
		}
		if got := elements(t, out); got[11] != "000043" || got[39] != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTwiceInElement55: amount and currency are there once, whichever comes first.
func TestTwiceInElement55(t *testing.T) {
	icc := string(iccOf(250000))
	for name, extra := range map[string]string{
		"the same amount": "\x9f\x02\x06\x00\x00\x00\x25\x00\x00", "another amount": "\x9f\x02\x06\x00\x00\x00\x99\x00\x00",
		"another currency": "\x5f\x2a\x02\x08\x40", "no BER": "\x9f\x02",
	} {
		for _, v := range []string{icc + extra, extra + icc} {
			s := discarding()
			if _, code, err := s.answer(t.Context(), message(t, "0100", map[int]string{55: v})); err != nil || code != codeFormat || len(s.Bank.(*question).got) != 0 {
				t.Errorf("%s: %q, %v", name, code, err)
			}
		}
	}
}

// TestLimits: a frame that does not end is not waited for, and who is one too many is
// let go at once while the others are answered.
func TestLimits(t *testing.T) {
	slow, _ := runningServer(t, &Server{Bank: &question{}, FrameWithin: 20 * time.Millisecond})
	if _, err := slow.Write([]byte("\x00\x20010")); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Read(make([]byte, 1)); err == nil {
		t.Error("half a frame was answered")
	}
	first, _ := runningServer(t, &Server{Bank: &question{v: bank.Verdict{Code: "00"}}, MaxConnections: 1})
	ask := func() {
		t.Helper()
		if r, err := Ask(t.Context(), first, Question{PAN: pan, Sequence: 1, Amount: 1, ICC: iccOf(1)}); err != nil || r.Code != "00" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	ask() // it is accepted
	second, err := net.Dial("tcp", first.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("one connection too many: %d bytes, %v", n, err)
	}
	ask()
	if s := (&Server{}); s.frameWithin() != 10*time.Second || s.maxConnections() != 64 {
		t.Error("the limits are not those of the documentation")
	}
}

// FuzzAnswer: whatever is sent is answered in its form or not at all, and no answer
// has the PAN of element 2 or of track 2.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("0100\x70\x20\x02\x00\x00\x00\x02\x0016" + pan + "000000000000250000000043001019\x9f\x36\x02\x00\x07\x9f\x02\x06\x00\x00\x00\x25\x00\x00\x5f\x2a\x02\x03\x64"))
	f.Add([]byte("0800\x82\x20\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x001125231500000042301"))
	f.Add(message(f, "0100", map[int]string{41: pan[:8], 42: pan[8:] + "       "}))
	f.Add(message(f, "0820", map[int]string{2: "", 35: "589210990000018=3111201", 42: "589210990000018"}))
	f.Add(append(message(f, "0100", map[int]string{2: "589210990000018", 42: "589210990000018"}), 'x'))
	s := discarding()
	f.Fuzz(func(t *testing.T, b []byte) {
		out, code, err := s.answer(t.Context(), bytes.Clone(b))
		if err != nil {
			return
		}
		if len(code) != 2 || len(out) < 12 || out[2] != '1' && out[2] != '3' {
			t.Fatalf("%q %q", code, out)
		}
		in := elements(t, b)
		track, _, _ := strings.Cut(in[35], "=")
		for _, n := range []string{in[2], track} {
			if len(n) >= shortestPAN && strings.Trim(n, "0123456789") == "" && bytes.Contains(out, []byte(n)) {
				t.Errorf("the answer holds %s: %q", n, out)
			}
		}
	})
}
