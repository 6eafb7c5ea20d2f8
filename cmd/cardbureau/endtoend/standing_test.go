package endtoend

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cardbureau/cardio/virtual/rack"
)

// standing is how pairings stand in every place that knows of them. What ends without a
// pairing leaves it as it was.
type standing struct {
	live  string // in the database: pairing and state
	cards string // in file 0203 of each card: pairings whose records it has
	lines string // at the operators: pairings that hold a number, and how
	open  string // visits that have not ended
	imsi  string // pairings that keep an IMSI beyond its time
}

// standing looks. No desk is at work.
func (o *office) standing() (s standing) {
	o.t.Helper()
	lines := func(sql string) string { return strings.Join(o.db.texts(sql), "\n") }
	s.live = lines("SELECT id || ' ' || state FROM pairing WHERE state NOT IN ('revoked', 'expired') ORDER BY id")
	s.open = lines("SELECT id::text FROM visit WHERE ended_at IS NULL ORDER BY id")
	s.imsi = lines("SELECT id::text FROM pairing WHERE (imsi_sealed IS NOT NULL) <> (state IN ('reserved', 'personalized', 'proven', 'operator-pending'))")
	records := map[string]string{} // of live pairings
	for _, r := range o.db.texts("SELECT id || ' ' || encode(record, 'hex') FROM pairing WHERE record IS NOT NULL AND state NOT IN ('revoked', 'expired')") {
		id, record, _ := strings.Cut(r, " ")
		records[record] = id
	}
	for _, h := range o.holders {
		s.cards += h.number + ":" + strings.Join(o.carried(h, records), ",") + "\n"
	}
	s.lines = o.reserved()
	return s
}

// carried names the live pairings whose records a card has. A record that is cut off, or
// of no pairing that ever was, is named as what it is.
func (o *office) carried(h holder, live map[string]string) (out []string) {
	o.t.Helper()
	file := o.read(o.copied(h)).values["application ef/0203"]
	for at := 0; at+1024 <= len(file); at += 1024 {
		place := file[at : at+1024]
		if bytes.Equal(place[:4], make([]byte, 4)) {
			continue
		}
		n := int(place[2])<<8 | int(place[3])
		if !bytes.HasPrefix(place, []byte{0x53, 0x82}) || n == 0 || n > len(place)-4 {
			out = append(out, fmt.Sprintf("half a record at %d", at))
			continue
		}
		record := hex.EncodeToString(place[4 : 4+n])
		if id, ok := live[record]; ok {
			out = append(out, id)
		} else if o.db.text("SELECT count(*)::text FROM pairing WHERE encode(record, 'hex') = $1", record) != "1" {
			out = append(out, fmt.Sprintf("a record of no pairing at %d", at))
		}
	}
	slices.Sort(out)
	return out
}

// copied is a copy of a card's memory, wherever the card is.
func (o *office) copied(h holder) string {
	o.t.Helper()
	from := filepath.Join(o.dir, "virtual", "issued", h.serial+".card")
	for _, s := range o.order(o.rack, rack.Request{Op: "status"}).Slots {
		if s.Card == h.serial {
			from = filepath.Join(o.dir, "virtual", "slots", fmt.Sprint(s.Slot), string(s.From), h.serial+".card")
		}
	}
	text, err := os.ReadFile(from)
	if err != nil {
		o.t.Fatal(err)
	}
	to := filepath.Join(o.t.TempDir(), h.serial+".card")
	if err := os.WriteFile(to, text, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return to
}

// reserved lists what the operators hold for pairings.
func (o *office) reserved() string {
	o.t.Helper()
	var out []string
	for _, code := range []string{mci, irancell} {
		text, err := os.ReadFile(filepath.Join(o.dir, "virtual", "operators", code+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var company struct {
			Lines map[string]struct{ State string }
		}
		if err == nil {
			err = json.Unmarshal(text, &company)
		}
		if err != nil {
			o.t.Fatal(err)
		}
		for id, l := range company.Lines {
			if l.State != "released" {
				out = append(out, id+" "+l.State)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// alive counts the live pairings: whole ones, and no other.
func (o *office) alive(want int) {
	o.t.Helper()
	s := o.standing()
	states := strings.Fields(s.live)
	for i := 1; i < len(states); i += 2 {
		if states[i] != "active" {
			o.t.Errorf("a pairing is %s", states[i])
		}
	}
	if len(states) != 2*want || s.open != "" || s.imsi != "" {
		o.t.Errorf("%d pairings are alive, want %d: %+v", len(states)/2, want, s)
	}
}

// ends runs a pairing that comes to nothing: see over.
func (o *office) ends(a attempt, says, reason string) {
	o.t.Helper()
	before := o.standing()
	o.over(o.pair(a), before, says, reason)
}

// over waits for a pairing that comes to nothing: exit status 1, one sentence, and all as
// it stood before. reason is why the pairing that was begun ended; empty: none was begun.
func (o *office) over(p *process, before standing, says, reason string) {
	o.t.Helper()
	status := p.wait()
	o.keepTyped(p)
	var said []string
	for line := range strings.Lines(p.stderr.String()) {
		if !strings.HasPrefix(line, "time=") { // not of the log
			said = append(said, strings.TrimSpace(line))
		}
	}
	if status != 1 || len(said) != 1 || !strings.Contains(said[0], says) || len(p.stdout.bytes()) > 0 {
		o.t.Errorf("desk pair ended with %d, want 1 and %q\n%s%s", status, says, p.stdout.String(), p.stderr.String())
	} else {
		o.t.Log(said[0])
	}
	after := o.standing()
	if after != before {
		o.t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if after.open+after.imsi != "" {
		o.t.Errorf("%+v", after)
	}
	got := o.db.text("SELECT coalesce((SELECT string_agg(reason, '') FROM pairing_event WHERE state IN ('revoked', 'expired') AND at >= to_timestamp($1)), '')", float64(p.begun.UnixMicro())/1e6)
	if got != reason {
		o.t.Errorf("what was begun ended for %q, want %q", got, reason)
	}
}
