package endtoend

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cardbureau/cardio/virtual/rack"
)

// victim is what a round kills.
type victim string

const (
	server victim = "server" // cardbureau issue
	agent  victim = "agent"  // its hsm agent
)

// point is where a card is stopped: with the command not executed yet, or
// executed and its answer kept back.
type point struct {
	apdu   int
	before bool
}

// TestKillAtAPDU kills the server, and in other rounds its HSM agent, with
// kill -9 while two cards stand at sampled points. Whatever the point: no order
// gets two cards, no blank is lost, what is in doubt is shown and never tried
// again by itself, everything else goes on, and the card is finished when it is
// presented again, or two people give it up and the order gets another.
func TestKillAtAPDU(t *testing.T) {
	samples := 6
	if torture {
		samples = 20
	}
	h := newHouse(t, 8*samples+10)
	_, rack := h.readers(2)
	db := h.database()
	k := &killing{house: h, t: t, rack: rack, db: db}
	last := k.cardLength()

	// Points over the whole card, its first and last command among them. Each
	// kind of death meets each in torture; else they take turns.
	var points []point
	for i := range samples {
		points = append(points, point{1 + i*(last-1)/(samples-1), i%2 == 0})
	}
	turn := []victim{server, agent}
	if torture {
		for _, v := range turn {
			for i := 0; i < len(points); i += 2 {
				k.round(v, points[i], points[i+1])
			}
		}
	} else {
		for i := range samples / 2 {
			k.round(turn[i%2], points[i], points[i+samples/2])
		}
		// The middle once more, for the death that it has not met.
		k.round(agent, points[samples/2-1], points[samples/2])
	}
	if len(k.doubts) < 2 {
		t.Fatalf("%d attempts are in doubt: the points are not where they should be", len(k.doubts))
	}
	attempts := slices.Sorted(maps.Keys(k.doubts))
	k.present(attempts[:len(attempts)/2])
	k.giveUp(attempts[len(attempts)/2:])
	if left := k.number("SELECT count(*)::text FROM card_order WHERE state <> 'issued'"); left != 0 {
		t.Errorf("%d orders are not issued at the end", left)
	}
	k.oneCardEach("at the end")
	k.must(0, "audit", "verify")
}

// killing is the state of the rounds.
type killing struct {
	*house
	t      *testing.T
	rack   rack.Client
	db     *database
	doubts map[string]string // attempt in doubt: its order
}

// cardLength is how many APDUs a card takes at least, found by watching some:
// photos are of different sizes.
func (k *killing) cardLength() int {
	k.t.Helper()
	p := k.start("issue", k.file(6), "--json")
	longest := map[string]int{}
	for {
		for _, s := range k.order(k.rack, rack.Request{Op: "status"}).Slots {
			longest[s.Card] = max(longest[s.Card], s.APDUs)
		}
		select {
		case <-p.done:
			r := k.issuing(p, 0)
			maps.DeleteFunc(longest, func(_ string, n int) bool { return n < 10 }) // no order was left for it
			if r.Proven != 6 || len(longest) != 6 {
				k.t.Fatalf("%+v, watched %v", r, longest)
			}
			least := slices.Min(slices.Collect(maps.Values(longest)))
			k.t.Logf("APDUs of each card: %v", slices.Sorted(maps.Values(longest)))
			return least
		default:
		}
	}
}

// round has three orders made on two readers, and kills when a card is in hand
// on each.
func (k *killing) round(v victim, points ...point) {
	k.t.Helper()
	t := k.t
	name := fmt.Sprintf("kill -9 of the %s at %v", v, points)
	t.Log(name)
	k.empty(k.rack)
	for i, p := range points {
		k.hold(i, p)
	}
	issue := k.start("issue", k.file(3), "--json")
	var blanks []string
	for i, p := range points {
		if card := k.held(issue, i, p); card != "" {
			blanks = append(blanks, card)
		} else {
			t.Logf("%s: the card in slot %d ends before its point", name, i)
		}
	}
	var begun []string // blanks with a committed attempt
	for _, serial := range blanks {
		switch state := k.db.text("SELECT state FROM blank WHERE serial = $1", serial); state {
		case "in-use":
			begun = append(begun, serial)
		case "on-hand":
		default:
			t.Fatalf("%s: blank %s is %s while it is in hand", name, serial, state)
		}
	}
	if len(begun) < len(blanks) && slices.IndexFunc(points, func(p point) bool { return p.apdu < 10 }) < 0 {
		t.Errorf("%s: of the blanks %v in hand, attempts were committed for %v", name, blanks, begun)
	}
	issuedBefore := k.number("SELECT count(*)::text FROM card")
	switch v {
	case server:
		pid := issue.child("hsm agent")
		issue.kill()
		k.keep(issue)
		// The agent does not outlive who started it.
		eventually(t, "the agent ends with the server", func() bool { return syscall.Kill(pid, 0) != nil })
		k.letGo(len(points))
	case agent:
		if err := syscall.Kill(issue.child("hsm agent"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		k.letGo(len(points))
		k.issuing(issue, 0, 1, 4)
	}

	// What is in doubt is shown.
	c := k.count()
	now := map[string]string{}
	var doubtful []string
	for _, d := range c.InDoubt {
		now[d.Attempt] = d.Order
		if k.doubts[d.Attempt] == "" {
			doubtful = append(doubtful, d.Blank)
		}
	}
	for attempt, order := range k.doubts {
		if now[attempt] != order {
			t.Errorf("%s: attempt %s is no longer in doubt", name, attempt)
		}
	}
	slices.Sort(begun)
	slices.Sort(doubtful)
	switch v {
	case server:
		if !slices.Equal(begun, doubtful) {
			t.Errorf("%s: begun were %v, in doubt are %v", name, begun, doubtful)
		}
		if n := k.number("SELECT count(*)::text FROM card"); n != issuedBefore {
			t.Errorf("%s: a dead server issued %d cards", name, n-issuedBefore)
		}
	case agent:
		for _, serial := range doubtful {
			if !slices.Contains(begun, serial) {
				t.Errorf("%s: blank %s is in doubt", name, serial)
			}
		}
	}
	k.doubts = now

	// Without a file the line goes on with what is released. It does not touch
	// what is in doubt, though both cards lie in the readers still.
	k.issue(nil, 0, 4)
	after := k.count()
	if len(after.InDoubt) != len(now) {
		t.Errorf("%s: %d were in doubt, after another run %d are", name, len(now), len(after.InDoubt))
	}
	for _, d := range after.InDoubt {
		if now[d.Attempt] == "" {
			t.Errorf("%s: attempt %s came into doubt later", name, d.Attempt)
		}
	}
	for attempt, order := range now {
		if n := k.number("SELECT count(*)::text FROM attempt WHERE order_id = $1::text::uuid", order); n != 1 {
			t.Errorf("%s: the order of attempt %s was tried %d times", name, attempt, n)
		}
	}
	if left := k.number("SELECT count(*)::text FROM card_order WHERE state NOT IN ('issued', 'in-doubt')"); left != 0 {
		t.Errorf("%s: %d orders are neither issued nor in doubt: %v", name, left,
			k.db.texts("SELECT state || ' ' || reason FROM card_order WHERE state NOT IN ('issued', 'in-doubt')"))
	}
	k.oneCardEach(name)
}

// inHand starts an issue and returns when a card stands at its point in each
// reader.
func (k *killing) inHand(args []string, points ...point) *process {
	k.t.Helper()
	for slot, p := range points {
		k.hold(slot, p)
	}
	issue := k.start(append([]string{"issue"}, args...)...)
	for slot, p := range points {
		if k.held(issue, slot, p) == "" {
			k.t.Fatal("a card was made before its point")
		}
	}
	return issue
}

// hold stops the card that is, or comes, in a slot at a point.
func (k *killing) hold(slot int, p point) {
	k.t.Helper()
	k.order(k.rack, rack.Request{Op: "hold", Slot: slot, At: p.apdu, Before: p.before})
}

// held waits until the card in a slot stands at its point, and returns the
// card; none when a card was made and taken out before. A blank that goes back
// untouched, for want of an order at that moment, takes the hold with it.
func (k *killing) held(issue *process, slot int, p point) (card string) {
	k.t.Helper()
	eventually(k.t, "the card reaches its point", func() bool {
		select {
		case <-issue.done:
			k.t.Fatalf("%s ended with %d before the card in slot %d was at its point\n%s%s", issue.name, issue.status, slot, issue.stdout.String(), issue.stderr.String())
		default:
		}
		s := k.order(k.rack, rack.Request{Op: "status"}).Slots[slot]
		if gone := card; gone != "" && s.Card != gone {
			card = s.Card
			if state := k.db.text("SELECT state FROM blank WHERE serial = $1", gone); state != "on-hand" {
				k.t.Logf("blank %s is %s before APDU %d", gone, state, p.apdu)
				card = ""
				return true
			}
			k.hold(slot, p)
		}
		card = s.Card
		return s.Held
	})
	return card
}

func (k *killing) letGo(slots int) {
	for i, s := range k.order(k.rack, rack.Request{Op: "status"}).Slots[:slots] {
		if s.Held {
			k.order(k.rack, rack.Request{Op: "release", Slot: i})
		}
	}
}

func (k *killing) number(sql string, args ...any) int {
	k.t.Helper()
	n, err := strconv.Atoi(k.db.text(sql, args...))
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// oneCardEach compares what the books say with one another and with what lies
// in the bins.
func (k *killing) oneCardEach(name string) {
	k.t.Helper()
	for what, sql := range map[string]string{
		"orders with two cards":         "SELECT order_id::text FROM card GROUP BY order_id HAVING count(*) > 1",
		"blanks that are two cards":     "SELECT blank_id::text FROM card GROUP BY blank_id HAVING count(*) > 1",
		"people with two open orders":   "SELECT person_id::text FROM card_order WHERE state NOT IN ('issued', 'failed', 'withdrawn', 'superseded') GROUP BY person_id HAVING count(*) > 1",
		"people with two cards":         "SELECT person_id::text FROM card GROUP BY person_id HAVING count(*) > 1",
		"cards without an issued order": "SELECT c.id::text FROM card c JOIN card_order o ON o.id = c.order_id WHERE o.state <> 'issued'",
		"issued orders without a card":  "SELECT o.id::text FROM card_order o LEFT JOIN card c ON c.order_id = o.id WHERE o.state = 'issued' AND c.id IS NULL",
		"cards without an issued blank": "SELECT c.id::text FROM card c JOIN blank b ON b.id = c.blank_id WHERE b.state <> 'issued'",
		"issued blanks without a card":  "SELECT b.serial FROM blank b LEFT JOIN card c ON c.blank_id = b.id WHERE b.state = 'issued' AND c.id IS NULL",
		"attempts without an outcome":   "SELECT id::text FROM attempt WHERE outcome IS NULL",
	} {
		if rows := k.db.texts(sql); len(rows) > 0 {
			k.t.Errorf("%s: %s: %v", name, what, rows)
		}
	}
	bins := k.order(k.rack, rack.Request{Op: "status"}).Cards
	if n := k.number("SELECT count(*)::text FROM card"); bins[rack.Issued] != n {
		k.t.Errorf("%s: %d cards lie in the bin of issued ones, the books have %d", name, bins[rack.Issued], n)
	}
}

// made is how an attempt or a card was made.
type made struct{ blank, number, image string }

func (k *killing) made(sql string, id string) made {
	k.t.Helper()
	row := strings.Split(k.db.text(sql, id), " ")
	return made{row[0], row[1], row[2]}
}

const (
	attempted = `SELECT b.serial || ' ' || i.card_number || ' ' || i.version
		FROM attempt a JOIN blank b ON b.id = a.blank_id JOIN image i ON i.id = a.image_id WHERE a.id = $1::text::uuid`
	finished = `SELECT b.serial || ' ' || c.number || ' ' || i.version
		FROM card c JOIN blank b ON b.id = c.blank_id JOIN image i ON i.id = c.image_id WHERE c.order_id = $1::text::uuid`
)

// present puts blanks in doubt into a reader again, one after another, and has
// each finished from what it shows: the same order, blank and number.
func (k *killing) present(attempts []string) {
	k.t.Helper()
	reader := k.order(k.rack, rack.Request{Op: "status"}).Slots[0].Reader
	for _, attempt := range attempts {
		was := k.made(attempted, attempt)
		k.insert(k.rack, was.blank)
		k.must(0, "card", "resume", "--reader", reader)
		if is := k.made(finished, k.doubts[attempt]); is != was {
			k.t.Errorf("the order of attempt %s was %v and is %v", attempt, was, is)
		}
		delete(k.doubts, attempt)
	}
	if c := k.count(); c.Counts.InDoubt != len(k.doubts) {
		k.t.Errorf("%d blanks were finished, then: %+v", len(attempts), c.Counts)
	}
}

// giveUp ends doubts in the other way: two people say so, and every order is
// made on another blank, from another image, under another number.
func (k *killing) giveUp(attempts []string) {
	k.t.Helper()
	t := k.t
	old := map[string]made{}
	for _, attempt := range attempts {
		old[k.doubts[attempt]] = k.made(attempted, attempt)
		resolve := []string{"stock", "resolve", attempt, "--reason", "torn", "--first", "amini", "--second"}
		k.must(1, append(resolve, "amini")...) // one person is not two
		k.must(0, append(resolve, "rahmani")...)
		k.must(1, append(resolve, "rahmani")...) // settled already
	}
	if c := k.count(); c.Counts.InDoubt != 0 || c.Counts.Spoiled != len(old) {
		t.Errorf("after giving up: %+v", c.Counts)
	}
	r := k.issue(nil, 0)
	if r.Issued != len(old) || r.Proven != len(old) {
		t.Errorf("%d orders were given up, then: %+v", len(old), r)
	}
	for order, was := range old {
		is := k.made(finished, order)
		if is.blank == was.blank || is.number == was.number || was.image != "1" || is.image != "2" {
			t.Errorf("order %s was %v and is %v", order, was, is)
		}
		if n := k.number("SELECT count(*)::text FROM image WHERE order_id = $1::text::uuid AND voided_at IS NULL", order); n != 1 {
			t.Errorf("order %s has %d images that are not void", order, n)
		}
	}
}
