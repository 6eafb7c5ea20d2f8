package endtoend

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
)

// desks is an office whose first desk has the first holder's card and a SIM that is
// paired with nothing, and the ways that a pairing ends there without becoming one.
type desks struct {
	*office
	spare   sim // in the first desk's second reader
	foreign sim // of another operator
	steps   steps
}

// first is a pairing of the spare SIM at the first desk.
func (d desks) first(more ...string) attempt {
	return attempt{holder: d.holders[0], number: d.spare.Number, more: more}
}

func (d desks) wrongPIN() {
	a := d.first()
	a.pin = "000001"
	d.ends(a, "(pin)", "")
	a.holder = d.holders[2]
	d.ends(a, "it is not active", "") // not handed over
	a.holder = d.holders[1]
	d.ends(a, "(other-card)", "") // the first holder's card is in the reader
}

// blockedPIN uses the PIN of the second holder up, and has a new one set.
func (d desks) blockedPIN() {
	b := d.holders[1]
	d.put(map[int]string{1: "", 3: d.spare.SIM})
	a := attempt{holder: b, pin: "000001", number: d.spare.Number, desk: 1}
	for _, says := range []string{"2 tries are left", "1 try is left", "(pin)"} {
		d.ends(a, says, "")
	}
	a.pin = b.pin
	d.ends(a, "The PIN is blocked: desk unblock-pin lets the holder set a new one", "")
	d.needles.number("PIN that was", b.pin) // 620485
	d.holders[1].pin = "861357"
	b = d.holders[1]
	p := d.typing(b.pin+"\n", append([]string{"desk", "unblock-pin", b.number, "--reader", d.readers[2], "--trace", d.trace("unblock")}, visit...)...)
	if _, status := d.finish(p); status != 0 {
		d.t.Fatal(p.stderr.String())
	}
	// It pairs with the new one, and the SIM is free again.
	m := d.paired(d.pair(attempt{holder: b, number: d.spare.Number, desk: 1}))
	d.end(m, "ended; it is revoked")
	d.end(m, "it was ended before")
	d.put(map[int]string{1: d.spare.SIM, 3: ""})
}

// end ends a pairing.
func (o *office) end(m pair, says string) {
	o.t.Helper()
	if out := o.must(0, "sim", "end", m.Pairing); !strings.Contains(string(out), says) {
		o.t.Errorf("sim end says %q, want %q", out, says)
	}
}

func (d desks) wrongSIM() {
	d.ends(d.first("--iccid", d.foreign.SIM), pairing.ErrWrongSIM.Error(), "")
	a := d.first()
	a.number = "+989129999999"
	d.ends(a, pairing.ErrPrefix.Error(), "")
	a.number = "+989100000001" // of the first SIM
	d.ends(a, "number", "")
	a.number = d.foreign.Number
	d.ends(a, pairing.ErrPrefix.Error(), "")
	d.put(map[int]string{1: d.foreign.SIM})
	d.ends(d.first(), pairing.ErrWrongSIM.Error(), "")
	d.put(map[int]string{1: d.forged(d.spare)})
	d.ends(d.first(), uicc.ErrMAC.Error(), "sim-key")
	d.put(map[int]string{1: d.spare.SIM})
}

// forged is a SIM that says what another does and has another key.
func (d desks) forged(s sim) (name string) {
	d.t.Helper()
	d.put(map[int]string{1: ""})
	name = d.copyOf(s, "forged")
	m, err := nvm.Open(d.simFile(name))
	if err != nil {
		d.t.Fatal(err)
	}
	defer m.Close()
	space := m.Space("usim")
	for _, key := range space.Keys("data/") {
		if strings.HasSuffix(key, "/AF20") {
			v := bytes.Clone(space.Get(key))
			v[5] ^= 1
			space.Set(key, v)
		}
	}
	if err := m.Commit(); err != nil {
		d.t.Fatal(err)
	}
	return name
}

func (o *office) simFile(name string) string {
	return filepath.Join(o.dir, "virtual", "sims", name+".card")
}

// copyOf copies a SIM that is in no reader.
func (o *office) copyOf(s sim, name string) string {
	o.t.Helper()
	text, err := os.ReadFile(o.simFile(s.SIM))
	if err == nil {
		err = os.WriteFile(o.simFile(name), text, 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return name
}

// swapped exchanges each card for another one while the session lasts.
func (d desks) swapped() {
	before := d.standing()
	p := d.stopped(d.first(), d.steps.challenge)
	d.put(map[int]string{0: d.holders[2].serial})
	d.goOn(0)
	d.over(p, before, pairing.ErrRemoved.Error(), "card-removed")

	d.put(map[int]string{0: d.holders[0].serial})
	p = d.signing(d.first())
	d.put(map[int]string{1: d.foreign.SIM})
	d.order(d.rack, rack.Request{Op: "release"})
	d.over(p, before, pairing.ErrRemoved.Error(), "card-removed")
	d.put(map[int]string{1: d.spare.SIM})
}

// pulled takes each card out: while the holder is asked for the PIN, before anything is
// reserved, and when the challenge is about to be answered. It takes out the one that is
// not at work: the driver of the virtual readers may stop for good where a card goes in
// the middle of a command.
func (d desks) pulled() {
	const identity, subscriber = 0, 1
	before := d.standing()
	cards := []string{d.holders[0].serial, d.spare.SIM}
	pull := func(slot int, p *process, goOn func(), reason string) {
		d.put(map[int]string{slot: ""})
		goOn()
		d.over(p, before, pairing.ErrRemoved.Error()+": nothing is paired, put both in and begin again", reason)
		d.put(map[int]string{slot: cards[slot]})
	}
	pull(identity, d.waiting(d.first(), ""), func() {}, "")
	pull(subscriber, d.waiting(d.first(), d.holders[0].pin+"\n"), func() {}, "")
	pull(identity, d.stopped(d.first(), d.steps.imsi), func() { d.goOn(0) }, "")
	pull(identity, d.stopped(d.first(), d.steps.again), func() { d.goOn(0) }, "card-removed")
	pull(subscriber, d.signing(d.first()), func() { d.order(d.rack, rack.Request{Op: "release"}) }, "card-removed")
}

// replayed has the operator's centre give a challenge that it gave before. The SIM never
// sees it.
func (d desks) replayed() {
	d.must(0, "virtual", "operator", mci, "--refuse", "no-contract")
	d.ends(d.first(), "no-contract", "operator-refused")
	d.must(0, "virtual", "operator", mci)
	d.quietly("virtual", "operator", mci, "--replay", d.spare.SIM)
	chip := d.trace("replay")
	d.ends(d.first("--sim-trace", chip), pairing.ErrChallenge.Error(), "challenge")
	if n := challenges(d.t, chip); n != 0 {
		d.t.Errorf("the SIM was challenged %d times", n)
	}
}

// quietly runs a command whose arguments are not what may be found: an ICCID.
func (o *office) quietly(args ...string) {
	o.t.Helper()
	if p := o.start(args...); p.wait() != 0 {
		o.t.Fatalf("%s: %s", p.name, p.stderr.String())
	}
}

// expired has the session end while the holder types nothing, while the SIM is slow, and
// by the database's clock.
func (d desks) expired() {
	before := d.standing()
	d.over(d.waiting(d.first("--within", "2s"), ""), before, "which was 2 seconds: nothing is paired, begin again", "")

	p := d.stopped(d.first("--within", "4s"), d.steps.again)
	d.sessionOver()
	d.goOn(0)
	d.over(p, before, pairing.ErrSessionExpired.Error(), "session-expired")

	p = d.stopped(d.first(), d.steps.again)
	d.later()
	d.goOn(0)
	d.over(p, before, store.ErrSessionOver.Error(), "session-expired")

	bad := d.pair(d.first("--within", "121s"))
	if status := bad.wait(); status != 2 || !strings.Contains(bad.stderr.String(), "2 to 120") {
		d.t.Errorf("a session of 121 s ended with %d, %s", status, bad.stderr.String())
	}
}

func (d desks) refused() {
	d.must(0, "virtual", "operator", mci, "--refuse", "no-contract")
	d.ends(d.first(), "the operator refuses the subscription (no-contract)", "operator-refused")
	d.must(0, "virtual", "operator", mci)
}

// dead kills a desk: the SIM is its own until the session is over, and then another's.
func (d desks) dead() {
	before := d.standing()
	p := d.stopped(d.first(), d.steps.challenge)
	p.kill()
	d.keepTyped(p)
	d.goOn(0)
	d.put(map[int]string{0: "", 1: ""})
	d.put(map[int]string{2: d.holders[1].serial, 3: d.spare.SIM})
	second := attempt{holder: d.holders[1], number: d.spare.Number, desk: 1}
	q := d.pair(second)
	if status := q.wait(); status != 1 || !strings.Contains(q.stderr.String(), store.ErrSIMPaired.Error()) {
		d.t.Errorf("another desk ended with %d: %s", status, q.stderr.String())
	}
	d.keepTyped(q)
	d.later()
	d.end(d.paired(d.pair(second)), "ended")
	d.put(map[int]string{0: d.holders[0].serial, 1: d.spare.SIM, 3: ""})
	// The visit that the dead desk left is over with the card's next one.
	a := d.first()
	a.number = "+989129999999"
	d.over(d.pair(a), before, pairing.ErrPrefix.Error(), "")
}

// outOfStep pairs a SIM whose counter ran ahead, with exactly one resynchronization,
// after a time in which it stays out of step whatever it is told.
func (d desks) outOfStep(s sim) pair {
	a := attempt{holder: d.holders[0], number: s.Number, more: []string{"--iccid", s.SIM}}
	d.put(map[int]string{1: ""})
	d.quietly("virtual", "sim", s.SIM, "--closed")
	d.put(map[int]string{1: s.SIM})
	chip := d.trace("closed")
	a.more = append(a.more, "--sim-trace", chip)
	d.ends(a, pairing.ErrResync.Error(), "resync")
	if n := challenges(d.t, chip); n != 2 {
		d.t.Errorf("a SIM that stays out of step was challenged %d times, want 2", n)
	}

	d.put(map[int]string{1: ""})
	d.quietly("virtual", "sim", s.SIM, "--ahead", "5000")
	d.put(map[int]string{1: s.SIM})
	chip = d.trace("ahead")
	a.more[len(a.more)-1] = chip
	m := d.paired(d.pair(a))
	if n := challenges(d.t, chip); n != 2 || !m.Resynced {
		d.t.Errorf("resynchronized %v, %d challenges", m.Resynced, n)
	}
	return m
}

// late has the operator confirm after the session: what it confirmed is paired, and the
// card gets the record at the next visit.
func (d desks) late(s sim) pair {
	d.put(map[int]string{1: s.SIM})
	p := d.stopped(attempt{holder: d.holders[0], number: s.Number, more: []string{"--within", "4s"}}, d.steps.again)
	company, err := os.OpenFile(filepath.Join(d.dir, "virtual", "operators", mci+".json"), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(company.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.goOn(0)
	eventually(d.t, "the operator is asked", func() bool {
		return d.db.text("SELECT count(*)::text FROM pairing WHERE state = 'operator-pending'") == "1"
	})
	d.sessionOver()
	company.Close()
	return d.notOnCard(p, pairing.ErrSessionExpired.Error())
}
