package usim

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// network knows the keys of example.
type network struct{ m *milenage }

func newNetwork() network {
	return network{newMilenage([]byte(strings.Repeat("K", 16)), []byte(strings.Repeat("O", 16)), true, join([]byte{64, 0, 32, 64, 96}, configC()))}
}

var challenge = bytes.Repeat([]byte{0xA5}, challengeSize)

func (n network) tokens(sqn uint64) []byte {
	_, _, _, ak := n.m.answer(challenge)
	mac, _ := n.m.macs(challenge, sqn, 0x8000)
	autn := make([]byte, 16)
	put48(autn, sqn^ak)
	autn[6] = 0x80
	binary.BigEndian.PutUint64(autn[8:], mac)
	return join(lv(challenge), lv(autn))
}

// ask sends a number and says what came: DB, DC with SQN_MS, or a status word.
func (n network) ask(h *host, sqn uint64) (tag byte, ms uint64) {
	h.t.Helper()
	r := h.send(apdu.Command{INS: insAuthenticate, P2: context3G, Data: n.tokens(sqn), Ne: 256})
	if r.SW != apdu.SWSuccess {
		h.t.Fatal(r.SW)
	}
	if r.Data[0] == tagSync {
		ms = get48(r.Data[2:]) ^ n.m.akStar(challenge)
	}
	return r.Data[0], ms
}

func TestSequenceNumbers(t *testing.T) {
	p := example()
	p.PIN1Disabled, p.INDBits, p.Delta, p.AgeLimit = true, 2, 100, 10
	h, n := newHost(t, p), newNetwork()
	h.usim()
	at := func(seq uint64, ind uint64) uint64 { return seq<<2 | ind }
	for _, c := range []struct {
		seq, ind uint64
		tag      byte
		ms       uint64
	}{
		{0, 0, tagSync, 0}, {1, 0, tagSuccess, 0}, {1, 0, tagSync, at(1, 0)}, {1, 1, tagSuccess, 0}, {50, 2, tagSuccess, 0}, {40, 3, tagSuccess, 0},
		{39, 0, tagSync, at(50, 2)}, {41, 0, tagSuccess, 0}, {41, 0, tagSync, at(50, 2)}, {151, 1, tagSync, at(50, 2)}, {150, 1, tagSuccess, 0},
		{150, 1, tagSync, at(150, 1)}, {145, 2, tagSuccess, 0},
	} {
		if tag, ms := n.ask(h, at(c.seq, c.ind)); tag != c.tag || ms != c.ms {
			t.Errorf("SEQ %d IND %d: %X, SQN_MS %d", c.seq, c.ind, tag, ms)
		}
	}
	// What was accepted is accepted once, over resets and new chips on the memory.
	h.chip.Reset()
	again, err := New(Config{Memory: h.mem})
	if err != nil {
		t.Fatal(err)
	}
	h.chip = again
	h.usim()
	if tag, ms := n.ask(h, at(150, 1)); tag != tagSync || ms != at(150, 1) {
		t.Errorf("%X %d", tag, ms)
	}
}

// TestTearAtAUTHENTICATE: before the execution nothing has happened; after it
// the number is used up, although nobody saw the answer.
func TestTearAtAUTHENTICATE(t *testing.T) {
	n := newNetwork()
	for fault, want := range map[virtual.Fault]byte{virtual.TearBefore: tagSuccess, virtual.TearAfter: tagSync} {
		p := example()
		p.PIN1Disabled = true
		h := newHost(t, p)
		h.usim()
		f := &virtual.Faulty{Chip: h.chip, At: 1, Fault: fault}
		if _, err := f.Transmit(t.Context(), append([]byte{0, insAuthenticate, 0, context3G, 34}, n.tokens(64)...)); err == nil {
			t.Fatal("no tear")
		}
		h.chip.Reset()
		h.usim()
		if tag, _ := n.ask(h, 64); tag != want {
			t.Errorf("fault %d: %X", fault, tag)
		}
	}
}

// TestTearAtVERIFY counts wrong PINs whatever side of the execution the power goes on.
func TestTearAtVERIFY(t *testing.T) {
	for fault, want := range map[virtual.Fault]string{virtual.TearBefore: "63C3", virtual.TearAfter: "63C2"} {
		h := newHost(t, example())
		f := &virtual.Faulty{Chip: h.chip, At: 1, Fault: fault}
		if _, err := f.Transmit(t.Context(), unhex(t, pin1Wrong)); err == nil {
			t.Fatal("no tear")
		}
		h.chip.PowerOn()
		h.table([2]string{"0020000100", want})
	}
}

// TestGBA bootstraps as GBA_U does (TS 33.220 clause 5.3.2) and derives a key.
func TestGBA(t *testing.T) {
	p := example()
	p.PIN1Disabled = true
	h, n := newHost(t, p), newNetwork()
	h.usim()
	gba := func(data []byte) apdu.Response {
		t.Helper()
		return h.send(apdu.Command{INS: insAuthenticate, P2: contextGBA, Data: data, Ne: 256})
	}
	res, ck, ik, _ := n.m.answer(challenge)
	plain := append([]byte{tagBootstrap}, n.tokens(64)...)
	if r := gba(plain); r.SW != swIncorrectMAC {
		t.Errorf("an AUTN of GBA_ME: %v", r.SW)
	}
	sum := sha1.Sum(ik)
	star := bytes.Clone(plain)
	for i := range 8 {
		star[len(star)-8+i] ^= sum[i]
	}
	if r := gba(star); r.SW != apdu.SWSuccess || !bytes.Equal(r.Data, append([]byte{tagSuccess}, lv(res)...)) {
		t.Fatalf("%X %v", r.Data, r.SW)
	}
	if r := gba(star); r.SW != apdu.SWSuccess || r.Data[0] != tagSync {
		t.Errorf("again: %X %v", r.Data, r.SW)
	}
	naf, impi := []byte("naf.example\x01\x00\x00\x00\x02"), []byte("432110000000001@ims")
	r := gba(join([]byte{tagNAF}, lv(naf), lv(impi)))
	if r.SW != apdu.SWSuccess || !bytes.Equal(r.Data[:2], []byte{tagSuccess, 32}) {
		t.Fatalf("%X %v", r.Data, r.SW)
	}
	other := gba(join([]byte{tagNAF}, lv(impi), lv(impi)))
	if bytes.Equal(r.Data, other.Data) || bytes.Contains(r.Data, ck) {
		t.Error("the key is not the application's")
	}
	h.ok("00A4000C026FD6")
	if got := h.tpdu("00B0000011"); got != "10"+strings.ToUpper(hexOf(challenge))+"9000" {
		t.Error(got)
	}
}

// TestNoServices: what EF.UST does not have, AUTHENTICATE has not.
func TestNoServices(t *testing.T) {
	p := example()
	p.PIN1Disabled = true
	h, n := newHost(t, p), newNetwork()
	h.usim()
	h.ok(adm1Usual, "00A4000C026F38", "00D600000C"+strings.Repeat("00", 12))
	if r := h.send(apdu.Command{INS: insAuthenticate, P2: context3G, Data: n.tokens(32), Ne: 256}); len(r.Data) != 1+9+17+17 {
		t.Errorf("Kc without service 27: %X", r.Data)
	}
	h.table([2]string{"0088008011" + "10" + strings.Repeat("11", 16), "9864"}, [2]string{"0088008401DD", "9864"})
}

// TestBlank programs a blank as SJA2's owners do, with the power going at every
// command, and authenticates.
func TestBlank(t *testing.T) {
	k, opc := strings.Repeat("4B", 16), strings.Repeat("4F", 16)
	key := "14" + k + opc
	steps := []string{
		adm1Right,
		"00A4080C047FFF6F07", "00D6000009084923110000000010",
		"00A4080C047FFFAF20", "00D6000021" + key,
		"00A4080C047FFFAF22", "00D6000021" + key,
		"00A4080C02A515", "00A4000C026F20", "00D6000021" + key,
		"00A4000C026F22", "00DC010423" + strings.Repeat("0A", 35),
	}
	for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter} {
		for at := 1; at <= len(steps); at++ {
			p := blankProfile()
			p.PIN1Disabled = true
			h := newHost(t, p)
			h.usim()
			for i, s := range steps {
				if i+1 != at {
					h.ok(s)
					continue
				}
				f := &virtual.Faulty{Chip: h.chip, At: 1, Fault: fault}
				if _, err := f.Transmit(t.Context(), unhex(t, s)); err == nil {
					t.Fatal("no tear")
				}
				// From the beginning: what is written is written again.
				h.chip.Reset()
				h.usim()
				h.ok(steps[:i+1]...)
			}
			h.chip.Reset()
			h.usim()
			if tag, _ := newNetwork().ask(h, 64); tag != tagSuccess {
				t.Fatalf("torn at %d: %X", at, tag)
			}
			h.table([][2]string{
				{"00A4080C047FFFAF20", "9000"}, {"00B0000021", "6982"}, {"00A4080C022FE2", "9000"}, {adm1Right, "9000"}, {"00D6000001FF", "6982"},
				{"00A4080C047FFFAF20", "9000"}, {"00B0000021", key + "9000"}, {"0004000000", "6982"},
			}...)
		}
	}
	// Not programmed, or for another algorithm: no keys, no answer.
	h := newHost(t, blankProfile())
	h.usim()
	h.ok(pin1Right)
	h.table([2]string{"00880081" + "22" + strings.Repeat("10", 34), "6985"}, [2]string{"0088008011" + strings.Repeat("10", 17), "6985"})
	h.ok("0020000A083132333435363738", "00A4080C047FFFAF20", "00D6000021"+"1F"+k+opc)
	h.table([2]string{"00880081" + "22" + strings.Repeat("10", 34), "6985"})
}

// TestRuleOfNoKey: a rule that asks for a key which the card has not is never met.
func TestRuleOfNoKey(t *testing.T) {
	h := newHost(t, example())
	h.usim()
	h.ok(adm1Usual, "00A4000C026F06", "00DC010430"+"8001019000"+"80011AA40683010B950108"+strings.Repeat("FF", arrRecord-16))
	h.table([][2]string{
		{"00A4000C026F46", "9000"}, {"00D6000001" + "01", "6982"}, {"00B0000001", "019000"},
	}...)
}

// TestSecretsDoNotPrint: a profile shows no secret.
func TestSecretsDoNotPrint(t *testing.T) {
	if s := Secret("12345678"); s.String() != redacted || s.LogValue().String() != redacted {
		t.Error("a secret prints")
	}
}

// FuzzCard sends commands to a card in every state: it never panics, always
// answers a status word, and gives no key away.
func FuzzCard(f *testing.F) {
	for _, s := range []string{pin1Right, "00A40004023F00", "00B0870009", "A0A40000027F20", "80F2000000", "00A20104020791"} {
		f.Add(unhex(f, s))
	}
	mem := nvm.InMemory()
	p := example()
	if err := Manufacture(mem, p); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var log bytes.Buffer
		c, err := New(Config{Memory: mem, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		c.Transmit(t.Context(), unhex(t, "00A4040C07A0000000871002"))
		for len(b) > 0 {
			n := min(len(b), 5+int(b[min(4, len(b)-1)]))
			out, err := c.Transmit(t.Context(), b[:n])
			b = b[n:]
			if err != nil || len(out) < 2 || log.Len() > 0 {
				t.Fatalf("%X %v %s", out, err, &log)
			}
			if bytes.Contains(out, []byte(p.K)) || bytes.Contains(out, []byte(p.OPc)) {
				t.Fatal("a key came out")
			}
		}
	})
}
