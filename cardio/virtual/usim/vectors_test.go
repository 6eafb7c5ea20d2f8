package usim

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"cardbureau/cardio/apdu"
)

type milenageSet struct {
	Set                                                  int `json:"set"`
	K, RAND, SQN, AMF, OP                                string
	ExpectedOPc, ExpectedMACA, ExpectedMACS, ExpectedRES string
	ExpectedCK, ExpectedIK, ExpectedAK, ExpectedAKStar   string
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sets(t testing.TB) []milenageSet {
	t.Helper()
	var all []milenageSet
	load(t, "milenage-ts35208.json", &all)
	if len(all) != 19 {
		t.Fatalf("%d sets", len(all))
	}
	return all
}

// profileOf is a SIM with the keys of a set that has accepted the number before
// the set's.
func profileOf(t testing.TB, s milenageSet) Profile {
	t.Helper()
	p := example()
	p.K, p.OPc = Secret(unhex(t, s.K)), Secret(unhex(t, s.ExpectedOPc))
	p.SQN = get48(unhex(t, s.SQN)) - 32
	return p
}

func (s milenageSet) autn(t testing.TB) []byte {
	t.Helper()
	var sqn [6]byte
	put48(sqn[:], get48(unhex(t, s.SQN))^get48(unhex(t, s.ExpectedAK)))
	return join(sqn[:], unhex(t, s.AMF), unhex(t, s.ExpectedMACA))
}

// TestSetsThroughAUTHENTICATE sends every set of TS 35.208 to a card that holds
// its keys, and expects RES, CK and IK, and AUTS when it is sent again.
func TestSetsThroughAUTHENTICATE(t *testing.T) {
	for _, s := range sets(t) {
		t.Run(fmt.Sprint(s.Set), func(t *testing.T) {
			h := newHost(t, profileOf(t, s))
			h.usim()
			h.ok("0020000108" + hex.EncodeToString(padded([]byte("0000"), 8)))
			challenge := join(lv(unhex(t, s.RAND)), lv(s.autn(t)))
			kc := fold(join(unhex(t, s.ExpectedCK), unhex(t, s.ExpectedIK)), 8)
			want := join([]byte{tagSuccess}, lv(unhex(t, s.ExpectedRES)), lv(unhex(t, s.ExpectedCK)), lv(unhex(t, s.ExpectedIK)), lv(kc))
			got := h.send(apdu.Command{INS: insAuthenticate, P2: context3G, Data: challenge, Ne: 256})
			if got.SW != apdu.SWSuccess || string(got.Data) != string(want) {
				t.Fatalf("%X %v", got.Data, got.SW)
			}
			got = h.send(apdu.Command{INS: insAuthenticate, P2: context3G, Data: challenge, Ne: 256})
			if got.SW != apdu.SWSuccess || len(got.Data) != 16 || got.Data[0] != tagSync {
				t.Fatalf("a number for the second time: %X %v", got.Data, got.SW)
			}
			m := h.chip.mustAlgorithm()
			if sqn := get48(got.Data[2:]) ^ get48(unhex(t, s.ExpectedAKStar)); sqn != get48(unhex(t, s.SQN)) {
				t.Errorf("SQN_MS %X", sqn)
			}
			_, mac := m.macs(unhex(t, s.RAND), get48(unhex(t, s.SQN)), 0)
			if binary.BigEndian.Uint64(got.Data[8:]) != mac {
				t.Error("MAC-S")
			}
			_, known := m.macs(unhex(t, s.RAND), get48(unhex(t, s.SQN)), binary.BigEndian.Uint16(unhex(t, s.AMF)))
			if known != binary.BigEndian.Uint64(unhex(t, s.ExpectedMACS)) {
				t.Error("f1*")
			}
			// In GSM context and mode the same keys give c2 and c3.
			gsm := h.send(apdu.Command{INS: insAuthenticate, P2: contextGSM, Data: lv(unhex(t, s.RAND)), Ne: 256})
			sres := fold(unhex(t, s.ExpectedRES), 4)
			if string(gsm.Data) != string(join(lv(sres), lv(kc))) {
				t.Errorf("%X %v", gsm.Data, gsm.SW)
			}
			h.ok("A0A40000023F00", "A0A40000027F20")
			if two := h.send(apdu.Command{CLA: classGSM, INS: insAuthenticate, Data: unhex(t, s.RAND)}); string(two.Data) != string(join(sres, kc)) {
				t.Errorf("%X %v", two.Data, two.SW)
			}
		})
	}
}

func (c *Chip) mustAlgorithm() *milenage {
	m, _ := c.algorithm(dataKey)
	return m.(*milenage)
}

type simVectors struct {
	ICCID, IMSI []struct{ Digits, EF string }
	MSISDN      []struct{ Number, Tail string }
	PLMN        []struct{ MCCMNC, Bytes string }
	AUTS        []struct{ K, OPc, RAND, AUTS, SQNMs string }
}

// TestFilesOfVectors: what is manufactured reads as the shared vectors have it.
func TestFilesOfVectors(t *testing.T) {
	var v simVectors
	load(t, "sim.json", &v)
	if len(v.ICCID) != 2 || len(v.IMSI) != 4 || len(v.MSISDN) != 1 || len(v.PLMN) != 2 || len(v.AUTS) != 1 {
		t.Fatal("vectors")
	}
	read := func(change func(*Profile), path string) string {
		p := example()
		p.PIN1Disabled = true
		change(&p)
		h := newHost(t, p)
		h.usim()
		h.ok("00A40804" + path)
		return hex.EncodeToString(h.send(apdu.Command{INS: insReadBinary, Ne: 256}).Data)
	}
	for _, c := range v.ICCID {
		if got := read(func(p *Profile) { p.ICCID = c.Digits }, "022FE2"); got != c.EF {
			t.Errorf("ICCID %s: %s", c.Digits, got)
		}
	}
	for _, c := range v.IMSI {
		if got := read(func(p *Profile) { p.IMSI = c.Digits }, "047FFF6F07"); got != c.EF {
			t.Errorf("IMSI %s: %s", c.Digits, got)
		}
	}
	for _, c := range v.PLMN {
		got := read(func(p *Profile) { p.IMSI = c.MCCMNC + "0123456789"[:10] }, "047FFF6F62")
		if got[:6] != c.Bytes {
			t.Errorf("PLMN %s: %s", c.MCCMNC, got)
		}
	}
	for _, c := range v.MSISDN {
		if got := hex.EncodeToString(encodeMSISDN(c.Number, 0)); got != c.Tail {
			t.Errorf("MSISDN: %s", got)
		}
	}
	for _, c := range v.AUTS {
		m := newMilenage(unhex(t, c.K), unhex(t, c.OPc), true, join([]byte{64, 0, 32, 64, 96}, configC()))
		auts := unhex(t, c.AUTS)
		sqn := get48(auts) ^ m.akStar(unhex(t, c.RAND))
		_, mac := m.macs(unhex(t, c.RAND), sqn, 0)
		if fmt.Sprintf("%012x", sqn) != c.SQNMs || binary.BigEndian.Uint64(auts[6:]) != mac {
			t.Errorf("AUTS: %x", sqn)
		}
	}
}

func configC() (out []byte) {
	for _, last := range []byte{0, 1, 2, 4, 8} {
		out = append(append(out, make([]byte, 15)...), last)
	}
	return out
}

func TestOPOfSets(t *testing.T) {
	for _, s := range sets(t) {
		m := newMilenage(unhex(t, s.K), unhex(t, s.OP), false, join([]byte{64, 0, 32, 64, 96}, configC()))
		if hex.EncodeToString(m.opc.bytes()) != s.ExpectedOPc {
			t.Errorf("set %d", s.Set)
		}
	}
}
