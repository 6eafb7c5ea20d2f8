package endtoend

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/vault"
)

// TestPairing hands cards over and pairs SIMs with them, over PC/SC and with nothing
// but the program's commands: as it should be, and in every way that it can go wrong
// at a desk. Each ends with a sentence and leaves no half pairing. Then everything is
// searched for what no place may hold. Free to hold it are the software chips and the
// simulated operators (virtual/operators: a company knows its lines).
//
// What a desk cannot provoke from outside is tested in personalization/pairing: a
// vector of another session, a second resynchronization.
func TestPairing(t *testing.T) {
	o := newOffice(t, 3)
	sold, foreign := o.sims(mci, 5), o.sims(irancell, 1)
	a, b, c := o.holders[0], o.holders[1], o.holders[2]
	o.put(map[int]string{0: a.serial, 1: sold[0].SIM, 2: b.serial})
	o.activate(a, 0)
	o.activate(b, 2)
	o.alive(0)

	// As it should be, with a trace of each chip.
	card, chip := o.trace("card"), o.trace("sim")+"2"
	first := o.paired(o.pair(attempt{holder: a, number: sold[0].Number, more: []string{"--trace", card, "--sim-trace", chip}}))
	o.alive(1)
	if first.Resynced {
		t.Error("a new SIM was resynchronized")
	}
	o.traced(card, chip)

	// A SIM that is paired, with another's card.
	o.put(map[int]string{1: "", 3: sold[0].SIM})
	o.refused(o.pair(attempt{holder: b, number: sold[1].Number, desk: 1}), "SIM", 1)

	// What is wrong with the holder's side.
	o.put(map[int]string{1: sold[1].SIM})
	o.refused(o.pair(attempt{holder: a, pin: "000001", number: sold[1].Number}), "(pin)", 1)
	o.refused(o.pair(attempt{holder: b, number: sold[1].Number}), "(other-card)", 1) // a's card is in the reader
	o.refused(o.pair(attempt{holder: c, number: sold[1].Number}), "its state", 1)    // not handed over

	// What is wrong with the SIM's side.
	o.refused(o.pair(attempt{holder: a, number: "+989129999999"}), pairing.ErrPrefix.Error(), 1)
	o.refused(o.pair(attempt{holder: a, number: sold[0].Number}), "", 1) // the number of another SIM
	o.refused(o.pair(attempt{holder: a, number: sold[1].Number, more: []string{"--iccid", sold[2].SIM}}), pairing.ErrWrongSIM.Error(), 1)
	o.put(map[int]string{3: foreign[0].SIM})
	o.refused(o.pair(attempt{holder: b, number: sold[2].Number, desk: 1}), pairing.ErrWrongSIM.Error(), 1)

	// The operator refuses; then it does not, and has forgotten the SIM's counter.
	o.must(0, "virtual", "operator", mci, "--refuse", "no-contract")
	o.refused(o.pair(attempt{holder: a, number: sold[1].Number}), "no-contract", 1)
	o.reason("operator-refused")
	o.must(0, "virtual", "operator", mci)
	if p := o.start("virtual", "operator", mci, "--forget", sold[1].SIM); p.wait() != 0 {
		t.Fatal(p.stderr.String())
	}
	second := o.paired(o.pair(attempt{holder: a, number: sold[1].Number, more: []string{"--iccid", sold[1].SIM}}))
	o.alive(2)
	if !second.Resynced {
		t.Error("the counter that was forgotten was not brought in line")
	}
	// A SIM that is paired is refused before the card signs, with the records of two
	// SIMs on the card, as it is in what follows.
	before := o.apdus(0)
	o.refused(o.pair(attempt{holder: a, number: sold[2].Number}), "", 2)
	signature := o.apdus(0) - before + 1
	o.torn(sold[2], signature)
	third := o.race(sold[2], signature)

	// A fourth SIM.
	o.put(map[int]string{1: sold[4].SIM})
	o.refused(o.pair(attempt{holder: a, number: sold[4].Number}), "", 3)
	// A PIN that is blocked, and one that is new.
	o.blocked(sold[4])

	o.rewritten(a, third)

	o.put(map[int]string{0: "", 1: "", 2: "", 3: ""})
	keys := o.subscribers(append(sold, foreign...))
	o.verify(a, third, sold[2], keys)
	o.verify(a, second, sold[1], keys)
	o.verify(a, first, sold[0], keys)
	o.found(sold[0])
}

// traced holds the traces of a pairing to having something in them, and to which
// files of the SIM were read.
func (o *office) traced(card, chip string) {
	t := o.t
	for _, name := range []string{card, chip} {
		if n := bytes.Count(o.must(0, "card", "trace", name), []byte("\n")); n < 10 {
			t.Errorf("%s: %d lines", filepath.Base(name), n)
		}
	}
	text, err := os.ReadFile(chip)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{"2FE2": true, "6F07": true, "6F7E": false, "6F73": false, "6FE3": false, "6F7B": false, "6F3A": false, "6F3C": false} {
		if bytes.Contains(bytes.ToUpper(text), []byte(file+`"`)) != want {
			t.Errorf("file %s of the SIM was selected: %v", file, !want)
		}
	}
}

// torn takes the SIM out in the middle of a session, has one go on for too long, and
// kills a desk.
func (o *office) torn(s sim, signature int) {
	o.t.Helper()
	a := attempt{holder: o.holders[0], number: s.Number}
	o.put(map[int]string{1: s.SIM})
	p := o.held(a, signature)
	o.put(map[int]string{1: ""})
	o.goOn()
	o.refused(p, pairing.ErrRemoved.Error(), 2)
	o.reason("card-removed")

	o.put(map[int]string{1: s.SIM})
	p = o.held(a, signature)
	o.later()
	o.goOn()
	o.refused(p, "", 2)
	o.reason("session-expired")

	p = o.held(a, signature)
	p.kill()
	o.keepTyped(p)
	o.goOn()
	o.put(map[int]string{0: "", 1: ""})
	o.later() // until then the SIM is another desk's
}

// rewritten has the records of a card written again, all of them and by the name of one,
// and refuses one that is another card's.
func (o *office) rewritten(h holder, m pair) {
	o.t.Helper()
	record := func(card holder, more ...string) *process {
		args := append([]string{"desk", "pair-record", card.number}, more...)
		return o.typing(card.pin+"\n", append(append(args, "--reader", o.readers[0]), visit...)...)
	}
	for _, more := range [][]string{nil, {m.Pairing}} {
		if _, status := o.finish(record(h, more...)); status != 0 {
			o.t.Errorf("pair-record %v ended with %d", more, status)
		}
	}
	o.put(map[int]string{0: "", 2: ""})
	o.put(map[int]string{0: o.holders[1].serial})
	p := record(o.holders[1], m.Pairing)
	if status := p.wait(); status != 1 || !bytes.Contains(p.stderr.bytes(), []byte("another card's")) {
		o.t.Errorf("another card's pairing: %d, %s", status, p.stderr.String())
	}
	o.keepTyped(p)
}

// later makes sessions older than they may become.
func (o *office) later() {
	o.t.Helper()
	if _, err := o.db.conn.Exec(o.t.Context(), "UPDATE pairing SET session_ends = now() - interval '1 second' WHERE state = 'personalized'"); err != nil {
		o.t.Fatal(err)
	}
}

// race has two desks pair one ICCID at the same moment: a SIM, and a copy of it.
func (o *office) race(s sim, signature int) pair {
	o.t.Helper()
	a, b := o.holders[0], o.holders[1]
	o.put(map[int]string{1: ""})
	bin := filepath.Join(o.dir, "virtual", "sims")
	text, err := os.ReadFile(filepath.Join(bin, s.SIM+".card"))
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "copy.card"), text, 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	o.put(map[int]string{0: a.serial, 1: s.SIM, 2: b.serial, 3: "copy"})
	one := o.held(attempt{holder: a, number: s.Number}, signature)
	two := o.pair(attempt{holder: b, number: s.Number, desk: 1})
	status := two.wait()
	o.keepTyped(two)
	if status != 1 {
		o.t.Errorf("the second desk ended with %d\n%s", status, two.stderr.String())
	}
	o.goOn()
	m := o.paired(one)
	o.alive(3)
	o.put(map[int]string{3: ""})
	return m
}

// blocked uses the PIN of the second holder up.
func (o *office) blocked(s sim) {
	o.t.Helper()
	b := o.holders[1]
	o.put(map[int]string{1: "", 3: s.SIM})
	for range 3 {
		o.refused(o.pair(attempt{holder: b, pin: "000001", number: s.Number, desk: 1}), "(pin)", 3)
	}
	o.refused(o.pair(attempt{holder: b, number: s.Number, desk: 1}), "the PIN is blocked", 3)
	o.needles.number("PIN that was", b.pin) // 620485
	o.holders[1].pin = "861357"
	b = o.holders[1]
	p := o.typing(b.pin+"\n", append([]string{"desk", "unblock-pin", b.number, "--reader", o.readers[2], "--trace", o.trace("unblock")}, visit...)...)
	if _, status := o.finish(p); status != 0 {
		o.t.Fatal(p.stderr.String())
	}
	o.paired(o.pair(attempt{holder: b, number: s.Number, desk: 1}))
	o.alive(4)
}

// verify checks a pairing's record as someone does who has the public keys and the
// card; and its evidence. What the SIM answered becomes a needle.
func (o *office) verify(h holder, m pair, s sim, keys map[string]subscriber) {
	t := o.t
	t.Helper()
	ctx := t.Context()
	br, err := bureau.Open(ctx, o.dir, bureau.Options{Agent: []string{program, "hsm", "agent"}})
	if err != nil {
		t.Fatal(err)
	}
	defer br.Close()
	public, err := br.PairingKeys()
	if err != nil {
		t.Fatal(err)
	}
	actor, err := br.Actor(ctx, "operator", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse(m.Pairing)
	p, err := br.Store.PairingByID(ctx, id)
	if err != nil || p.State != lifecycle.Active {
		t.Fatalf("%v, %v", p.State, err)
	}
	card, err := br.Store.CardByNumber(ctx, h.number, "test", actor)
	if err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(ctx, br.Vault, card.PersonID, vault.DataKey(card.Key), card.Image)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := statement.Thumbprint(im.ChipKey)
	if err != nil {
		t.Fatal(err)
	}
	raw := p.Record
	on := -1 // in a place of 1024 bytes on the card, behind a header of four
	file := o.read(filepath.Join(o.dir, "virtual", "issued", h.serial+".card")).values["application ef/0203"]
	for at := 0; at+1024 <= len(file); at += 1024 {
		if n := int(file[at+2])<<8 | int(file[at+3]); n == len(raw) && bytes.Equal(file[at+4:at+4+n], raw) {
			on = at
		}
	}
	if on < 0 {
		t.Fatal("the record is not on the card")
	}
	raw = file[on+4 : on+4+len(raw)]
	r, err := pairing.VerifyRecord(raw, public)
	if err != nil {
		t.Fatal(err)
	}
	var salt pairing.Salt
	if b, err := hex.DecodeString(m.Salt); err != nil || copy(salt[:], b) != len(salt) {
		t.Fatalf("salt: %v", err)
	}
	number, err := pairing.ParseMSISDN(s.Number)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pairing.ParseMSISDN("+989100999999")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Of(thumbprint); err != nil || !r.HasNumber(salt, number) || r.HasNumber(salt, other) || !bytes.Equal(r.ID, id[:]) || r.Operator != mci {
		t.Errorf("the record: %v", err)
	}
	service, err := br.Pairing(nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := service.Evidence(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	transcript, err := r.Verify(encoded)
	if err != nil || transcript.Resynced != m.Resynced {
		t.Fatalf("evidence: %v", err)
	}
	k := keys[s.SIM]
	algorithm, err := aka.NewMilenage(k.k, k.opc)
	if err != nil {
		t.Fatal(err)
	}
	answer := algorithm.F2345([16]byte(transcript.RAND))
	o.needles.value("RES", answer.RES)
	o.needles.value("CK", answer.CK)
	o.needles.value("IK", answer.IK)
}

// found searches everything, and then for what was planted.
func (o *office) found(s sim) {
	t := o.t
	for _, h := range o.holders {
		o.needles.number("PIN that was typed", h.pin)
	}
	o.chips(len(o.holders))
	for _, kind := range []string{"K", "OPc", "RES", "CK", "IK", "PIN that was typed", "PIN that was", "transport PIN"} {
		if !o.needles.kinds[kind] {
			t.Errorf("no %s is searched for", kind)
		}
	}
	for _, f := range o.everything(o.db) {
		t.Errorf("found: %s", f)
	}
	planted := o.needles.search([]byte("pin=620485; msisdn=0" + s.Number[3:] + ";"))
	if len(planted) != 2 {
		t.Errorf("planted, found: %q", planted)
	}
}
