package endtoend

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing/opfile"
	"cardbureau/personalization/vault"
)

// blank is a delegated blank with what an operator's file brings for it.
type blank struct {
	sim
	kind string
	form simkeys.Form
	subscriber
	ota map[string][]byte
}

// blanks takes the keys of delegated blanks in as operators send them, of MILENAGE and of
// TUAK, with keys for messages over the air, programs the blanks, and pairs them with the
// bureau as their centre: one of them out of step.
func (d desks) blanks() (made []blank, paired []pair) {
	d.put(map[int]string{0: d.holders[2].serial, 1: "", 3: ""})
	tuak := aka.DefaultTUAK()
	for i, b := range []blank{
		{kind: "sysmocom-sja2", form: simkeys.AESGCM}, {kind: "sysmocom-sja5", form: simkeys.AESECB, subscriber: subscriber{tuak: &tuak}},
	} {
		b.sim = d.sims(mci, 1, map[string]string{"sysmocom-sja2": "--blank", "sysmocom-sja5": "--sja5"}[b.kind])[0]
		b.draw()
		d.known(b)
		file := d.vendorFile(b)
		for _, says := range []string{"1 SIMs, taken in", "known already"} {
			if out := d.must(0, "sim", "import", file); !bytes.Contains(out, []byte(says)) {
				d.t.Errorf("sim import says %q, want %q", out, says)
			}
		}
		d.put(map[int]string{1: b.SIM})
		if out := d.silent(0, "", "sim", "read", "--reader", d.readers[1]); !strings.Contains(out, b.SIM) || !strings.Contains(out, "ADM1 3 tries left") || !strings.Contains(out, b.kind) {
			d.t.Errorf("sim read says %q", out)
		}
		program := []string{"sim", "program", b.SIM, "--kind", b.kind, "--reader", d.readers[1]}
		if out := d.silent(1, b.IMSI+"\n12121212\n", program...); !strings.Contains(out, "the administrative key ADM1 is wrong, 2 tries are left") {
			d.t.Errorf("a wrong administrative key: %q", out)
		}
		for _, again := range []bool{false, true} {
			out := d.silent(0, b.IMSI+"\n88888888\n", program...)
			if strings.Contains(out, "written, 1 right before; read back") == again || !strings.Contains(out, "; 9 of the files are keys over the air") {
				d.t.Errorf("sim program, again %v, says %q", again, out)
			}
		}
		if i == 0 {
			d.put(map[int]string{1: ""})
			d.quietly("virtual", "sim", b.SIM, "--ahead", "700")
			d.put(map[int]string{1: b.SIM})
		}
		m := d.paired(d.pair(attempt{holder: d.holders[2], number: b.Number, more: []string{"--own", "--trace", d.trace("card"), "--sim-trace", d.trace("own")}}))
		if m.Resynced != (i == 0) {
			d.t.Errorf("kind %s: resynchronized %v", b.kind, m.Resynced)
		}
		made, paired = append(made, b), append(paired, m)
	}
	return made, paired
}

// draw draws the keys.
func (b *blank) draw() {
	n := 16
	if b.tuak != nil {
		n = aka.TOPcSize
	}
	drawn := func(n int) []byte {
		out := make([]byte, n)
		rand.Read(out)
		return out
	}
	b.k, b.opc, b.ota = drawn(n), drawn(n), map[string][]byte{}
	for _, name := range simkeys.OTANames {
		b.ota[name] = drawn(16)
	}
}

// known makes needles of what a blank gets.
func (o *office) known(b blank) {
	n := o.needles
	n.number("ICCID", b.SIM)
	n.number("IMSI", b.IMSI)
	n.number("MSISDN", b.Number[1:])
	n.number("ADM", "88888888")
	n.number("ADM that was typed", "12121212")
	n.value("K", b.k)
	if b.tuak != nil {
		n.value("TOPc", b.opc)
	} else {
		n.value("OPc", b.opc)
	}
	for name, k := range b.ota {
		n.value(name[:3], k)
	}
}

// vendorFile is the operator's file for a blank, in a batch of its own.
func (o *office) vendorFile(b blank) string {
	t := o.t
	t.Helper()
	br, err := bureau.Open(t.Context(), o.dir, bureau.Options{Agent: []string{program, "hsm", "agent"}, NoStore: true})
	if err != nil {
		t.Fatal(err)
	}
	defer br.Close()
	h := opfile.Header{
		Customer: "MCI", Type: "PLUG-IN", Profile: string(b.form), Batch: "of " + b.kind, TransportKey: "sim-transport/1", TUAK: b.tuak, Programming: true,
		Variables: []string{"ICCID", "IMSI", "KI", "OPC"},
	}
	if b.form != simkeys.AESGCM {
		h.TransportKey = "sim-programming/1" // the form does not tell what the file is for
	}
	switch {
	case b.form == simkeys.AESGCM:
		h.Variables = []string{"ICCID", "IMSI", "KEYS"}
	case b.tuak != nil:
		h.Variables[3] = "TOPC"
	}
	h.Variables = append(h.Variables, simkeys.OTANames...)
	ota := map[string][]byte{} // overwritten once it is sealed
	for name, k := range b.ota {
		ota[name] = bytes.Clone(k)
	}
	r, err := br.Vault.SealTestSIMKeys(t.Context(), h.TransportKey, b.form, vault.TestSIMKeys{
		ICCID: b.SIM, Batch: h.Batch, K: bytes.Clone(b.k), OPc: bytes.Clone(b.opc), TUAK: b.tuak, OTA: ota, Delegated: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := opfile.Write(&text, opfile.Output, h, []opfile.Row{{ICCID: b.SIM, IMSI: b.IMSI, Keys: r.Sealed, KI: r.K, OPC: r.OPc, OTA: r.OTA}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.dir, b.kind+".out")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o.own = append(o.own, file) // it names its SIM
	o.needles.known(t, text.Bytes(), b)
	return file
}

// known holds an operator's file to having no key of a blank in the clear.
func (n *needles) known(t interface{ Errorf(string, ...any) }, file []byte, b blank) {
	for _, kind := range n.search(file) {
		if kind != "ICCID" && kind != "IMSI" {
			t.Errorf("%s of %s is in the operator's file", kind, b.kind)
		}
	}
}

// silent runs a command whose arguments or output name a SIM, which the holder of the SIM
// may know and no log. What it says besides is kept.
func (o *office) silent(status int, typed string, args ...string) string {
	o.t.Helper()
	p := o.typing(typed, args...)
	if got := p.wait(); got != status {
		o.t.Fatalf("%s ended with %d, want %d: %s", p.name, got, status, p.stderr.String())
	}
	out := p.stdout.String() + p.stderr.String()
	for line := range strings.Lines(out) {
		for _, kind := range o.needles.search([]byte(line)) {
			if kind != "ICCID" {
				o.t.Errorf("%s %s prints %s", args[0], args[1], kind)
			}
		}
	}
	return out
}

// sims sells SIMs. What is printed is the buyer's.
func (o *office) sims(network string, n int, more ...string) (out []sim) {
	o.t.Helper()
	p := o.start(append([]string{"virtual", "sims", strconv.Itoa(n), "--network", network, "--json"}, more...)...)
	if p.wait() != 0 {
		o.t.Fatal(p.stderr.String())
	}
	for line := range bytes.Lines(p.stdout.bytes()) {
		var s sim
		if err := json.Unmarshal(line, &s); err != nil {
			o.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}
