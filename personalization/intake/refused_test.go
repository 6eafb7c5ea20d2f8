package intake_test

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

// endless streams a line of size bytes and looks at the heap meanwhile.
type endless struct {
	left int
	peak uint64
	next int
}

const look = 4 << 20 // bytes between two looks

var letters = bytes.Repeat([]byte("A"), 64<<10)

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for filled := 0; filled < n; {
		filled += copy(p[filled:n], letters)
	}
	if e.left -= n; e.left == 0 {
		p[n-1] = '\n'
	}
	if e.next -= n; e.next <= 0 {
		e.next = look
		e.peak = max(e.peak, heap())
	}
	return n, nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTwelveKindsOfBadInput sends every kind of bad input in one file with good
// records: each gets a code of its own, and all others go on.
func TestTwelveKindsOfBadInput(t *testing.T) {
	h := open(t)
	p := h.people(1, 14)
	good := []string{sign(t, registry, p[0]), sign(t, registry, p[1]), sign(t, registry, p[2]), sign(t, registry, p[3])}

	old := p[4]
	old.IssuedAt, old.ExpiresAt = old.IssuedAt.AddDate(0, -2, 0), old.IssuedAt.AddDate(0, -1, 0)
	elsewhere := p[5]
	elsewhere.Audience = "another-bureau"
	altered, other := strings.Split(sign(t, registry, p[6]), "."), strings.Split(sign(t, registry, p[7]), ".")
	altered[1] = other[1]
	var tree map[string]any
	if err := json.Unmarshal(payload(t, p[8]), &tree); err != nil {
		t.Fatal(err)
	}
	tree["person"].(map[string]any)["sex"] = "Q"
	schema, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	changed := p[0]
	changed.Residence.Office = "XX-9999"
	twice := p[1]
	twice.RecordID = uuid.NewString()
	blurred := p[9]
	blurred.Person.Photo.Data = blurred.Person.Photo.Data[:len(blurred.Person.Photo.Data)/2]
	forbidden := p[10] // signed by a key for students
	forbidden.Residence.Permit = "hoviat"

	long := &endless{left: 200 << 20}
	lines := []struct {
		want string // status, or code of the refusal
		line string
	}{
		{intake.Accepted, good[0]},
		{record.NotJWS, "this is no record"},
		{record.UnknownKey, sign(t, stranger, p[11])},
		{record.KeyExpired, sign(t, expired, p[12])},
		{intake.Accepted, good[1]},
		{record.Expired, sign(t, registry, old)},
		{record.WrongAudience, sign(t, registry, elsewhere)},
		{record.BadSignature, strings.Join(altered, ".")},
		{record.BadSchema, signBytes(t, registry, schema)},
		{record.LineTooLong, ""}, // 200 MB
		{intake.Accepted, good[2]},
		{record.ContentDiffers, sign(t, registry, changed)},
		{record.PersonHasOrder, sign(t, registry, twice)},
		{record.PhotoUnreadable, sign(t, registry, blurred)},
		{record.PermitNotGiven, sign(t, students, forbidden)},
		{intake.Accepted, good[3]},
		{record.LineCutOff, sign(t, registry, p[13])},
	}
	whole := func(long io.Reader) io.Reader {
		var parts []io.Reader
		for i, l := range lines {
			switch {
			case l.want == record.LineTooLong:
				parts = append(parts, long)
			case i == len(lines)-1:
				parts = append(parts, strings.NewReader(l.line[:len(l.line)-200]))
			default:
				parts = append(parts, strings.NewReader(l.line+"\n"))
			}
		}
		return io.MultiReader(parts...)
	}
	before := heap()
	orders := map[int]string{}
	answers := h.take(whole(long))
	if len(answers) != len(lines) {
		t.Fatalf("%d answers for %d lines", len(answers), len(lines))
	}
	codes := map[string]bool{}
	for i, a := range answers {
		h.want(a, lines[i].want)
		if a.Line != i+1 {
			t.Errorf("line %d is answered as %d", i+1, a.Line)
		}
		if a.OK() {
			orders[i] = a.OrderID
			continue
		}
		if codes[a.Code] {
			t.Errorf("%s is the code of two kinds", a.Code)
		}
		codes[a.Code] = true
		if a.HTTPStatus < 400 || a.HTTPStatus > 499 || a.Detail == "" || a.OrderID != "" {
			t.Errorf("refusal %+v", a)
		}
		for _, r := range p {
			if tells(a, r) {
				t.Errorf("the answer to line %d tells of a person: %s", a.Line, a.Code)
			}
		}
	}
	// What the signature or schema cannot hide, points at the record.
	for i, r := range map[int]record.Record{5: old, 6: elsewhere, 13: blurred} {
		if answers[i].RecordID != r.RecordID {
			t.Errorf("line %d names record %q", i+1, answers[i].RecordID)
		}
	}
	const bound = 64 << 20
	if long.peak > before+bound {
		t.Errorf("the heap grew from %d to %d MiB over a line of 200 MB", before>>20, long.peak>>20)
	}

	// The same file again: what was good is known, what was bad still is.
	for i, a := range h.take(whole(&endless{left: 2 << 20})) {
		want := lines[i].want
		if want == intake.Accepted {
			want = intake.AlreadyKnown
		}
		h.want(a, want)
		if a.OrderID != orders[i] {
			t.Errorf("line %d has order %q now and had %q", i+1, a.OrderID, orders[i])
		}
	}
}

// TestTrustFileRunsOut refuses everything, whoever signed it.
func TestTrustFileRunsOut(t *testing.T) {
	h := open(t)
	h.Trust = record.HoldTrust(trust(t, time.Now().Add(-time.Second)))
	h.service = h.Intake()
	for _, r := range h.people(2, 2) {
		h.want(h.one(sign(t, registry, r)), record.TrustExpired)
	}
}

// TestEmptyFiles have no answers.
func TestEmptyFiles(t *testing.T) {
	h := open(t)
	for _, in := range []string{"", "\n", "\n\r\n\n", "\uFEFF\n"} {
		if a := h.take(strings.NewReader(in)); len(a) > 0 {
			t.Errorf("%q: %+v", in, a)
		}
	}
}

// TestLastLineWithoutEnd: a whole record needs no line feed.
func TestLastLineWithoutEnd(t *testing.T) {
	h := open(t)
	p := h.people(3, 2)
	in := sign(t, registry, p[0]) + "\r\n" + sign(t, registry, p[1])
	for _, a := range h.take(bytes.NewBufferString(in)) {
		h.want(a, intake.Accepted)
	}
}
