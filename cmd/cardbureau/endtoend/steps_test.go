package endtoend

import (
	"os"
	"strings"
	"testing"

	"cardbureau/cardio/trace"
	"cardbureau/cardio/virtual/rack"
)

// steps are the commands of a pairing that a SIM stops at, counted from its beginning.
type steps struct {
	imsi      int // the IMSI is read: nothing is reserved yet
	challenge int // AUTHENTICATE: the identity card has signed
	again     int // the ICCID is read once more: the response was right
}

// headers are the commands of a trace, by their header.
func headers(t testing.TB, name string) (out []string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if err != nil {
			return out
		}
		if e.Kind == trace.Exchange {
			out = append(out, e.Header)
		}
	}
}

// challenges counts how often a SIM was asked to authenticate.
func challenges(t testing.TB, name string) (n int) {
	t.Helper()
	for _, h := range headers(t, name) {
		if strings.HasPrefix(h, "008800") {
			n++
		}
	}
	return n
}

// steps finds the steps in the trace of a pairing for which the SIM had n commands.
func (o *office) steps(name string, n int) (s steps) {
	o.t.Helper()
	list := headers(o.t, name)
	for i, h := range list {
		switch {
		case strings.HasPrefix(h, "008800"):
			s.challenge = i + 1 + n - len(list)
		case strings.HasPrefix(h, "00B0") && s.challenge == 0:
			s.imsi = i + 1 + n - len(list)
		case strings.HasPrefix(h, "00A4") && s.challenge != 0 && s.again == 0:
			s.again = i + 1 + n - len(list)
		}
	}
	if s.imsi < 1 || s.again < 1 {
		o.t.Fatalf("%d commands, of them %d traced: %+v\n%q", n, len(list), s, list)
	}
	return s
}

// stopped begins a pairing and returns when its SIM has stopped before a command.
func (d desks) stopped(a attempt, step int) *process {
	d.t.Helper()
	slot := 2*a.desk + 1
	d.order(d.rack, rack.Request{Op: "hold", Slot: slot, At: d.apdus(slot) + step, Before: true})
	p := d.pair(a)
	d.order(d.rack, rack.Request{Op: "wait-held", Slot: slot})
	return p
}

// goOn lets the SIM of a desk go on.
func (d desks) goOn(desk int) { d.order(d.rack, rack.Request{Op: "release", Slot: 2*desk + 1}) }

// signing begins a pairing and returns when the identity card is about to sign. How many
// commands it has until then a pairing tells that the operator refuses.
func (d desks) signing(a attempt) *process {
	d.t.Helper()
	d.must(0, "virtual", "operator", mci, "--refuse", "no-contract")
	card, from, sign := d.trace("sign"), d.apdus(0), 0
	d.ends(attempt{holder: a.holder, number: a.number, more: []string{"--trace", card}}, "no-contract", "operator-refused")
	d.must(0, "virtual", "operator", mci)
	list := headers(d.t, card)
	for i, h := range list {
		if strings.HasPrefix(h, "0C2A9E9A") {
			sign = i + 1 + d.apdus(0) - from - len(list)
		}
	}
	d.order(d.rack, rack.Request{Op: "hold", At: d.apdus(0) + sign, Before: true})
	p := d.pair(a)
	d.order(d.rack, rack.Request{Op: "wait-held"})
	return p
}

// waiting begins a pairing for which nothing is typed after typed, and returns when the
// identity card was proven.
func (d desks) waiting(a attempt, typed string) *process {
	d.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { r.Close(); w.Close() })
	if _, err := w.WriteString(typed); err != nil {
		d.t.Fatal(err)
	}
	p := d.pairTyped(a, r)
	eventually(d.t, "the holder is checked", func() bool {
		return d.db.text("SELECT count(*)::text FROM visit WHERE state = 'checked' AND ended_at IS NULL") == "1" && d.watched(p)
	})
	return p
}

// watched reports whether a pairing watches its readers: whoever waits for the daemon
// has a thread in its connection each. Its standard error says so, with the log on.
func (d desks) watched(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return strings.Contains(p.stderr.String(), "session begins")
	}
}

// sessionOver waits until the session of the pairing on its way is over.
func (o *office) sessionOver() {
	o.t.Helper()
	eventually(o.t, "the session is over", func() bool {
		return o.db.text("SELECT count(*)::text FROM pairing WHERE state NOT IN ('active', 'revoked', 'expired') AND session_ends > clock_timestamp()") == "0"
	})
}

// later makes sessions older than they may become.
func (o *office) later() {
	o.t.Helper()
	if _, err := o.db.conn.Exec(o.t.Context(), "UPDATE pairing SET session_ends = now() - interval '1 second' WHERE state = 'personalized'"); err != nil {
		o.t.Fatal(err)
	}
}
