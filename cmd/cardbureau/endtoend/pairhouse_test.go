package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/hsm/aka"
)

// The simulated operators.
const (
	mci      = "43211"
	irancell = "43235"
)

// holder is a person's card with the PIN that they set.
type holder struct {
	number, serial, pin string
}

// sim is a software SIM with its number.
type sim struct {
	SIM    string // ICCID
	Number string
	IMSI   string // of a blank
}

// office is a house with two desks of two readers each: the first has the identity
// card, the second the SIM.
type office struct {
	offline sync.Once // sim verify is tried with the first record
	*secrets
	rack    rack.Client
	readers []string
	db      *database
	holders []holder
}

// newOffice issues n cards and receives them.
func newOffice(t *testing.T, n int) *office {
	h := newProductHouse(t, n, "identity", "CARDBUREAU_LOG=debug")
	o := &office{secrets: &secrets{house: h, t: t, needles: newNeedles()}}
	config := filepath.Join(h.dir, "cardbureau.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	// The day of this office has many refusals.
	more := text
	for old, change := range map[string]string{"tries = 3 ": "tries = 50 ", "forms = {} ": `forms = { "aes-gcm" = "aes-gcm", "aes-ecb" = "aes-ecb" } `} {
		if !bytes.Contains(more, []byte(old)) {
			t.Fatalf("the configuration has no %s", old)
		}
		more = bytes.Replace(more, []byte(old), []byte(change), 1)
	}
	if err := os.WriteFile(config, more, 0o600); err != nil {
		t.Fatal(err)
	}
	o.db = h.database()
	_, o.rack = h.readers(4)
	records := h.file(n)
	o.own = append(o.own, records)
	made := h.issue([]string{records}, 0)
	if made.Issued != n {
		t.Fatalf("%+v", made)
	}
	for _, s := range h.order(o.rack, rack.Request{Op: "status"}).Slots {
		o.readers = append(o.readers, s.Reader)
	}
	o.must(0, append([]string{"desk", "receive", "--moved", "--office", "teh-014"}, made.Cards...)...)
	for i, number := range made.Cards {
		serial := o.db.text("SELECT b.serial FROM card c JOIN blank b ON b.id = c.blank_id WHERE c.number = $1", number)
		o.holders = append(o.holders, holder{number, serial, fmt.Sprintf("%d20485", i+5)})
	}
	return o
}

// sub runs a part of a test under a name of its own.
func (o *office) sub(name string, f func()) {
	whole := o.t
	set := func(t *testing.T) { o.t, o.secrets.house.t, o.db.t = t, t, t }
	whole.Run(name, func(t *testing.T) {
		set(t)
		defer set(whole)
		f()
	})
}

// put puts cards into slots, counted from 0, and takes out what was there. An empty
// name only takes out.
func (o *office) put(into map[int]string) {
	o.t.Helper()
	there := o.order(o.rack, rack.Request{Op: "status"}).Slots
	for slot, name := range into {
		if in := there[slot].Card; in != "" && in != name {
			o.order(o.rack, rack.Request{Op: "remove", Slot: slot})
			o.noticed(o.readers[slot], false)
		}
	}
	for slot, name := range into {
		if name != "" && name != there[slot].Card {
			o.order(o.rack, rack.Request{Op: "insert", Slot: slot, Card: name})
			o.noticed(o.readers[slot], true)
		}
	}
}

// typing runs a command into which someone types. What they type is no argument.
func (o *office) typing(typed string, args ...string) *process {
	o.t.Helper()
	return launchTyped(o.t, o.env, strings.NewReader(typed), program, append(args, "--data", o.dir)...)
}

// visit are the arguments that say that the holder was checked.
var visit = []string{"--photo", "--document", "passport", "--guardian", "passport", "--pin", "-"}

// activate hands the card in a slot over.
func (o *office) activate(h holder, slot int) {
	o.t.Helper()
	p := o.typing(h.pin+"\n", append([]string{"desk", "activate", h.number, "--reader", o.readers[slot], "--trace", o.trace("activate")}, visit...)...)
	if _, status := o.finish(p); status != 0 {
		o.t.Fatalf("activate: %s", p.stderr.String())
	}
}

// trace names a new file for a trace.
func (o *office) trace(what string) string {
	o.t.Helper()
	dir := filepath.Join(o.dir, "traces")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		o.t.Fatal(err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	return filepath.Join(dir, fmt.Sprintf("%03d %s.jsonl", len(old), what))
}

// attempt is a pairing at a desk.
type attempt struct {
	holder  holder
	pin     string // the holder's own where empty
	number  string // telephone number
	network string // mci where empty
	desk    int    // 0 or 1
	more    []string
}

// pair begins a pairing.
func (o *office) pair(a attempt) *process {
	o.t.Helper()
	return o.pairTyped(a, nil)
}

// pairTyped begins a pairing into which typed is typed; nil: PIN and number.
func (o *office) pairTyped(a attempt, typed io.Reader) *process {
	o.t.Helper()
	if a.pin == "" {
		a.pin = a.holder.pin
	}
	if a.network == "" {
		a.network = mci
	}
	if typed == nil {
		typed = strings.NewReader(a.pin + "\n" + a.number + "\n")
	}
	args := append([]string{"desk", "pair", a.holder.number, "--reader", o.readers[2*a.desk], "--sim-reader", o.readers[2*a.desk+1], "--network", a.network, "--json"}, visit...)
	return launchTyped(o.t, o.env, typed, program, append(append(args, a.more...), "--data", o.dir)...)
}

// pair is what desk pair says.
type pair struct {
	Pairing, State, Salt string
	Resynced, OnCard     bool
	WriteError           string
	Receipt              *struct{ Statement string }
}

// paired waits for a pairing that works.
func (o *office) paired(p *process) (m pair) {
	o.t.Helper()
	status := p.wait()
	o.keepTyped(p)
	if err := json.Unmarshal(p.stdout.bytes(), &m); err != nil || status != 0 {
		o.t.Fatalf("desk pair ended with %d, %v\n%s", status, err, p.stderr.String())
	}
	if m.State != "active" || !m.OnCard || m.Receipt == nil {
		o.t.Fatalf("%+v", m)
	}
	return m
}

// keepTyped keeps what a process printed, without its arguments: a test may give an
// ICCID there.
func (o *office) keepTyped(p *process) {
	o.log.Write(p.stdout.bytes())
	o.log.Write(p.stderr.bytes())
}

// apdus is how many commands the card in a slot has had.
func (o *office) apdus(slot int) int {
	o.t.Helper()
	return o.order(o.rack, rack.Request{Op: "status"}).Slots[slot].APDUs
}

// subscriber is what a SIM knows.
type subscriber struct {
	k, opc aka.Secret
	tuak   *aka.TUAKParameters // nil: MILENAGE
}

// algorithm is what a SIM answers challenges by.
func (s subscriber) algorithm() (aka.Algorithm, error) {
	if s.tuak != nil {
		return aka.NewTUAK(s.k, s.opc, *s.tuak)
	}
	return aka.NewMilenage(s.k, s.opc)
}

// subscribers makes needles of what the SIMs hold.
func (o *office) subscribers(sold []sim) map[string]subscriber {
	t, n := o.t, o.needles
	out := map[string]subscriber{}
	for _, s := range sold {
		n.number("ICCID", s.SIM)
		n.number("MSISDN", s.Number[1:])
		n.number("MSISDN", "0"+s.Number[3:])
		m, err := nvm.Open(filepath.Join(o.dir, "virtual", "sims", s.SIM+".card"))
		if err != nil {
			t.Fatal(err)
		}
		space := m.Space("usim")
		for _, key := range space.Keys("data/") {
			v := bytes.Clone(space.Get(key))
			switch {
			case strings.HasSuffix(key, "/AF20"):
				if len(v) != 33 {
					t.Fatalf("%s has %d bytes", key, len(v))
				}
				out[s.SIM] = subscriber{k: v[1:17], opc: v[17:33]}
				n.value("K", v[1:17])
				n.value("OPc", v[17:33])
			case strings.HasSuffix(key, "/2FE2"):
				n.value("ICCID", v)
			case strings.HasSuffix(key, "/6F07"):
				n.value("IMSI", v)
				n.number("IMSI", bcd(v[1:])[1:])
			}
		}
		m.Close()
	}
	for _, kind := range []string{"K", "OPc", "ICCID", "IMSI", "MSISDN"} {
		if !n.kinds[kind] || len(out) != len(sold) {
			t.Fatalf("%d SIMs were read; no %s was found on them", len(out), kind)
		}
	}
	return out
}

// bcd reads digits of two a byte, the lower half first, up to a filler.
func bcd(b []byte) string {
	var out strings.Builder
	for _, c := range b {
		for _, d := range []byte{c & 15, c >> 4} {
			if d < 10 {
				out.WriteByte('0' + d)
			}
		}
	}
	return out.String()
}
