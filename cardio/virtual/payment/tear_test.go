package payment

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// TestTornTransaction cuts the power around every APDU of a transaction: what
// lasts is as before that APDU or as after it, a PIN try is never given back, and
// the next transaction has a counter of its own.
func TestTornTransaction(t *testing.T) {
	list := sample(t, cciDES, 0)
	source := issuedMemory(t, list)
	// The same commands each time: an issuer's answers depend on the card alone.
	commands := func(c *terminal) []func() {
		send := func(cla, ins, p1, p2 byte, data []byte) func() {
			return func() { c.send(cla, ins, p1, p2, data) }
		}
		return []func(){
			send(0, 0xA4, 4, 0, unhex(t, AID)),
			send(0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0}),
			send(0, insVerify, 0, 0x80, block2(t, "0000")),
			send(0, insInternalAuthenticate, 0, 0, number),
			func() { c.sent = nil; c.generate(typeARQC, "") },
			func() { c.approve(0, 0x88, 0, 0) },
			func() { c.run(apdu.SWSuccess, c.script(insPINChange, 0, 0, nil)) },
			func() { c.generate(typeTC|wantCDA, "00") },
			func() { c.run(apdu.SWSuccess, c.script(insApplicationBlock, 0, 0, nil)) },
		}
	}
	fresh := func() (*terminal, *virtual.Chip, *nvm.Memory) {
		mem := nvm.InMemory()
		b := blank(t, virtual.TripleDES)
		if err := virtual.Manufacture(mem, b); err != nil {
			t.Fatal(err)
		}
		copyApplication(source, mem)
		r, c := insert(t, mem, nil)
		return &terminal{reader: r}, c, mem
	}
	reference, _, mem := fresh()
	states := []map[string]string{application(mem.Dump())}
	for _, run := range commands(reference) {
		run()
		states = append(states, application(mem.Dump()))
	}
	for at := range len(states) - 1 {
		for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence} {
			term, chip, mem := fresh()
			steps := commands(term)
			for _, run := range steps[:at] {
				run()
			}
			f := &virtual.Faulty{Chip: chip, At: 1, Fault: fault}
			torn := recoverTear(term, f, steps[at])
			if !torn {
				t.Fatalf("step %d was not torn", at)
			}
			want := states[at+1]
			if fault == virtual.TearBefore {
				want = states[at]
			}
			r, _ := insert(t, mem, nil)
			if got := application(mem.Dump()); !maps.Equal(got, want) {
				t.Errorf("step %d, fault %d: neither before nor after", at, fault)
			}
			before := states[at]["app:"+AID+"/"+atc]
			r.send(0, 0xA4, 4, 0, unhex(t, AID))
			r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
			if after := application(mem.Dump())["app:"+AID+"/"+atc]; after <= before {
				t.Errorf("step %d: the transaction counter did not go on", at)
			}
			r.want(apdu.SWConditionsOfUseNotSatisfied, 0, insExternalAuthenticate, 0, 0, make([]byte, 8))
		}
	}
}

var errTorn = errors.New("torn")

func recoverTear(term *terminal, f *virtual.Faulty, step func()) (torn bool) {
	old := term.card
	defer func() {
		term.card = old
		if p := recover(); p != nil {
			if p != errTorn { //nolint:errorlint // a panic of this file
				panic(p)
			}
			torn = true
		}
	}()
	term.card = panicking{f}
	step()
	return false
}

// panicking is a card whose tear leaves the step that met it.
type panicking struct{ *virtual.Faulty }

func (p panicking) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	out, err := p.Faulty.Transmit(ctx, command)
	if err != nil || len(out) == 0 {
		panic(errTorn)
	}
	return out, nil
}

// copyApplication copies what the application keeps, and its life cycle.
func copyApplication(from, to *nvm.Memory) {
	for name, value := range from.Dump() {
		space, key, _ := strings.Cut(name, "/")
		if space == "app:"+AID || name == "chip/app/"+AID {
			to.Space(space).Set(key, value)
		}
	}
	if err := to.Commit(); err != nil {
		panic(err)
	}
}
