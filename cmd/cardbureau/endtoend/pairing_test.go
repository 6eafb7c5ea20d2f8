package endtoend

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/statement"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// TestPairing hands cards over and pairs SIMs with them, over PC/SC and with nothing
// but the program's commands: as it should be, and in every way that it can go wrong
// at a desk. Each ends with a sentence and leaves no half pairing. Then everything is
// searched for what no place may hold. Free to hold it are the software chips and the
// simulated operators (virtual/operators: a company knows its lines).
func TestPairing(t *testing.T) {
	t.Parallel() // it mostly waits for readers and clocks
	o := newOffice(t, 3)
	sold, foreign := o.sims(mci, 5), o.sims(irancell, 1)
	a, b := o.holders[0], o.holders[1]
	o.put(map[int]string{0: a.serial, 1: sold[0].SIM, 2: b.serial})
	o.activate(a, 0)
	o.activate(b, 2)
	o.alive(0)
	at := desks{office: o, spare: sold[1], foreign: foreign[0]}

	// As it should be, with a trace of each chip.
	card, chip := o.trace("card"), o.trace("sim")+"2"
	from := o.apdus(1)
	first := o.paired(o.pair(attempt{holder: a, number: sold[0].Number, more: []string{"--trace", card, "--sim-trace", chip}}))
	at.steps = o.steps(chip, o.apdus(1)-from)
	o.alive(1)
	if first.Resynced {
		t.Error("a new SIM was resynchronized")
	}
	o.traced(card, chip)

	o.repeated(first, sold[0])

	o.put(map[int]string{1: "", 3: sold[0].SIM})
	o.sub("SIM of another holder", func() {
		o.ends(attempt{holder: b, number: sold[0].Number, desk: 1}, store.ErrSIMPaired.Error(), "")
	})
	o.put(map[int]string{1: sold[1].SIM, 3: ""})
	for _, e := range []struct {
		name string
		ends func()
	}{
		{"wrong PIN", at.wrongPIN}, {"blocked PIN", at.blockedPIN}, {"wrong SIM", at.wrongSIM}, {"swapped card", at.swapped},
		{"pulled card", at.pulled}, {"replayed vector", at.replayed}, {"expired session", at.expired}, {"operator refusal", at.refused},
		{"dead desk", at.dead},
	} {
		o.sub(e.name, e.ends)
	}
	var second, third pair
	o.sub("SQN out of window", func() { second = at.outOfStep(sold[2]) })
	o.sub("operator that answers late", func() { third = at.late(sold[3]) })
	o.sub("fourth SIM", func() {
		o.put(map[int]string{1: sold[4].SIM})
		o.ends(attempt{holder: a, number: sold[4].Number}, "no place for one more", "")
	})
	o.sub("desks racing for one ICCID", func() { at.race(sold[4]) })
	var blanks []blank
	var own []pair
	o.sub("delegated blanks", func() { blanks, own = at.blanks() })
	o.put(map[int]string{0: a.serial})
	o.rewritten(a, third)

	o.put(map[int]string{0: "", 1: "", 2: "", 3: ""})
	keys := o.subscribers(append(sold, foreign...))
	o.verify(a, third, sold[3], keys)
	o.verify(a, second, sold[2], keys)
	o.verify(a, first, sold[0], keys)
	o.unpaired(keys, sold[1])
	o.unpaired(keys, sold[4])
	for i, b := range blanks {
		keys[b.SIM] = b.subscriber
		o.verify(o.holders[2], own[i], b.sim, keys)
	}
	o.found(sold[0], blanks[0].ota["KIC1"])
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

// repeated gives commands about a pairing twice, or where they have nothing to do.
func (o *office) repeated(m pair, s sim) {
	o.t.Helper()
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{0, "it waits for no operator, and is active: nobody was asked", []string{"sim", "finish", m.Pairing}},
		{0, "out of service; it is suspended", []string{"sim", "suspend", m.Pairing, "--reason", "lost"}},
		{0, "this was done before; it is suspended", []string{"sim", "suspend", m.Pairing}},
		{0, "back in service; it is active", []string{"sim", "suspend", m.Pairing, "--lift"}},
		{1, "no pairing has the identifier", []string{"sim", "end", "0198c0de-7a11-7000-8000-000000000001"}},
		{2, "is no pairing", []string{"sim", "end", "first"}},
		{2, "must be one of", []string{"virtual", "operator", mci, "--notice", m.Pairing, "--event", "nonsense"}},
		{1, "is in reader 2: take it out first", []string{"virtual", "put", s.SIM, "--slot", "4"}},
		{1, "no software card or SIM the name", []string{"virtual", "put", "8998110000000000988", "--slot", "4"}},
		{1, "lies outside the readers", []string{"virtual", "sim", s.SIM}},
	} {
		p := o.start(c.args...)
		status := p.wait()
		if out := p.stdout.String() + p.stderr.String(); status != c.status || !strings.Contains(out, c.says) {
			o.t.Errorf("%s ended with %d, want %d and %q: %s", p.name, status, c.status, c.says, out)
		}
	}
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
	o.offline.Do(func() { o.verifiedOffline(file, on, thumbprint, m, s) })
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
	algorithm, err := keys[s.SIM].algorithm()
	if err != nil {
		t.Fatal(err)
	}
	o.answered(algorithm, [16]byte(transcript.RAND))
}

// answered makes needles of what a SIM answers to a challenge.
func (o *office) answered(a aka.Algorithm, challenge [16]byte) {
	answer := a.F2345(challenge)
	o.needles.value("RES", answer.RES)
	o.needles.value("CK", answer.CK)
	o.needles.value("IK", answer.IK)
}

// unpaired makes needles of the answers of SIMs whose last pairing came to nothing: the
// operator knows what it asked.
func (o *office) unpaired(keys map[string]subscriber, s sim) {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.dir, "virtual", "operators", mci+".json"))
	if err != nil {
		o.t.Fatal(err)
	}
	var company struct {
		Last map[string]struct{ RAND []byte }
	}
	if err := json.Unmarshal(text, &company); err != nil || len(company.Last[s.SIM].RAND) != 16 {
		o.t.Fatalf("the operator has no challenge of the SIM: %v", err)
	}
	algorithm, err := keys[s.SIM].algorithm()
	if err != nil {
		o.t.Fatal(err)
	}
	o.answered(algorithm, [16]byte(company.Last[s.SIM].RAND))
}

// found searches everything, and then for what was planted.
func (o *office) found(s sim, kic []byte) {
	t := o.t
	for _, h := range o.holders {
		o.needles.number("PIN that was typed", h.pin)
	}
	o.chips(len(o.holders))
	for _, kind := range []string{"K", "OPc", "TOPc", "KIC", "KID", "KIK", "ADM", "RES", "CK", "IK", "PIN that was typed", "PIN that was", "transport PIN"} {
		if !o.needles.kinds[kind] {
			t.Errorf("no %s is searched for", kind)
		}
	}
	for _, f := range o.everything(o.db) {
		t.Errorf("found: %s", f)
	}
	planted := o.needles.search(fmt.Appendf(nil, "pin=620485; msisdn=0%s; key=%x; adm=88888888", s.Number[3:], kic))
	if len(planted) != 4 {
		t.Errorf("planted, found: %q", planted)
	}
}
