package endtoend

import (
	"encoding/json"
	"strings"

	"cardbureau/personalization/store"
)

// race has two desks pair one ICCID, a SIM and a copy of it, in several orders. One
// gets it and the other is told; nothing but the winner's pairing is left.
func (d desks) race(s sim) {
	// The first holder has as many SIMs as are allowed: the third one pairs.
	d.put(map[int]string{0: "", 1: "", 3: ""})
	d.put(map[int]string{0: d.holders[2].serial})
	d.activate(d.holders[2], 0)
	copied := d.copyOf(s, "copy")
	d.put(map[int]string{1: s.SIM, 2: d.holders[1].serial, 3: copied})
	one, two := attempt{holder: d.holders[2], number: s.Number}, attempt{holder: d.holders[1], number: s.Number, desk: 1}

	d.sub("at once", func() { d.onlyOne(d.pair(one), d.pair(two)) })
	d.sub("both before the reservation", func() {
		p, q := d.stopped(one, d.steps.imsi), d.stopped(two, d.steps.imsi)
		go d.goOn(0)
		d.goOn(1)
		d.onlyOne(p, q)
	})
	for name, step := range map[string]int{"one at its challenge": d.steps.challenge, "one when it is proven": d.steps.again} {
		d.sub(name, func() {
			p := d.stopped(one, step)
			q := d.pair(two)
			q.wait()
			d.goOn(0)
			if d.onlyOne(p, q) != p {
				d.t.Error("who came later has won")
			}
		})
	}
	d.put(map[int]string{1: "", 3: ""})
}

// onlyOne waits for two desks of which one gets the SIM, says which, and ends its pairing.
func (d desks) onlyOne(desks ...*process) (winner *process) {
	d.t.Helper()
	var m pair
	for _, p := range desks {
		status := p.wait()
		d.keepTyped(p)
		switch {
		case status == 0 && winner == nil:
			winner = p
			if err := json.Unmarshal(p.stdout.bytes(), &m); err != nil {
				d.t.Fatal(err)
			}
		case status != 1 || !strings.Contains(p.stderr.String(), store.ErrSIMPaired.Error()) || len(p.stdout.bytes()) > 0:
			d.t.Errorf("a desk ended with %d\n%s", status, p.stderr.String())
		}
	}
	if winner == nil {
		d.t.Fatal("no desk got the SIM")
	}
	d.alive(4)
	on := 0
	for line := range strings.Lines(d.standing().cards) {
		on += strings.Count(line, m.Pairing)
	}
	if on != 1 || !m.OnCard || m.State != "active" {
		d.t.Errorf("the winner's record is on %d cards: %+v", on, m)
	}
	d.end(m, "ended")
	d.alive(3)
	return winner
}

// notOnCard waits for a pairing whose record came too late for the card, and has it
// written at another visit.
func (d desks) notOnCard(p *process, says string) (m pair) {
	d.t.Helper()
	status := p.wait()
	d.keepTyped(p)
	if err := json.Unmarshal(p.stdout.bytes(), &m); err != nil || status != 0 || m.State != "active" || m.OnCard || m.WriteError != says || m.Receipt == nil {
		d.t.Fatalf("desk pair ended with %d, %v: %+v\n%s", status, err, m, p.stderr.String())
	}
	before := d.standing()
	if strings.Contains(before.cards, m.Pairing) {
		d.t.Error("the record is on the card")
	}
	args := append([]string{"desk", "pair-record", d.holders[0].number, m.Pairing, "--reader", d.readers[0]}, visit...)
	if _, status := d.finish(d.typing(d.holders[0].pin+"\n", args...)); status != 0 {
		d.t.Errorf("pair-record ended with %d", status)
	}
	if !strings.Contains(d.standing().cards, m.Pairing) {
		d.t.Error("the record is not on the card")
	}
	return m
}
