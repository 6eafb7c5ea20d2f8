package usim

import (
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
)

type tuakSet struct {
	Set, Iterations                    int
	K, RAND, SQN, AMF, TOP, TOPc       string
	F1, F1Star, F2, F3, F4, F5, F5Star string
}

func tuakSets(t testing.TB) []tuakSet {
	t.Helper()
	var all []tuakSet
	load(t, "tuak-ts35233.json", &all)
	if len(all) != 6 {
		t.Fatalf("%d sets", len(all))
	}
	return all
}

// TestPermutation holds the permutation against SHAKE256 of the standard library: a
// message of 96 bytes is one block of it, which is what TUAK's IN looks like.
func TestPermutation(t *testing.T) {
	message := make([]byte, 96)
	for i := range message {
		message[i] = byte(i*37 + 5)
	}
	block := padded0(append(append([]byte{}, message...), 0x1F), 200)
	block[135] = 0x80
	var s sponge
	for i := range 25 {
		s[i%5][i/5] = binary.LittleEndian.Uint64(block[8*i:])
	}
	s.permute()
	var got []byte
	for i := range 17 {
		got = binary.LittleEndian.AppendUint64(got, s[i%5][i/5])
	}
	if want := sha3.SumSHAKE256(message, 136); string(got) != string(want) {
		t.Errorf("%X, not %X", got, want)
	}
}

// TestTUAKSets has the sets of TS 35.233 clauses 6.3 to 6.8. The card's MAC has 64
// bits: sets with a longer one say all but that.
func TestTUAKSets(t *testing.T) {
	macs := 0
	for _, s := range tuakSets(t) {
		a := newTUAK(unhex(t, s.K), unhex(t, s.TOP), false, len(s.F2)/2, len(s.F3)/2, s.Iterations)
		a.ik = len(s.F4) / 2
		if hex.EncodeToString(a.topc) != s.TOPc {
			t.Fatalf("set %d: TOPc", s.Set)
		}
		challenge := unhex(t, s.RAND)
		res, ck, ik, ak := a.answer(challenge)
		if len(s.F1) == 16 {
			macs++
			macA, macS := a.macs(challenge, get48(unhex(t, s.SQN)), binary.BigEndian.Uint16(unhex(t, s.AMF)))
			if fmt.Sprintf("%016x %016x", macA, macS) != s.F1+" "+s.F1Star {
				t.Errorf("set %d: MAC", s.Set)
			}
		}
		if got := fmt.Sprintf("%x %x %x %012x %012x", res, ck, ik, ak, a.akStar(challenge)); got != fmt.Sprintf("%s %s %s %s %s", s.F2, s.F3, s.F4, s.F5, s.F5Star) {
			t.Errorf("set %d: %s", s.Set, got)
		}
	}
	if macs == 0 {
		t.Error("no set has a MAC of 64 bits")
	}
}

// TestTUAKThroughAUTHENTICATE sends set 1 of TS 35.233 to an operator's SIM and to a
// blank whose key file is written, and again: AUTS then.
func TestTUAKThroughAUTHENTICATE(t *testing.T) {
	s := tuakSets(t)[0]
	sqn := get48(unhex(t, s.SQN))
	autn := make([]byte, 6, 16)
	put48(autn, sqn^get48(unhex(t, s.F5)))
	autn = join(autn, unhex(t, s.AMF), unhex(t, s.F1))
	issued := example()
	issued.PIN1Disabled, issued.SQN = true, sqn-32
	issued.K, issued.OPc, issued.TUAK = Secret(unhex(t, s.K)), Secret(unhex(t, s.TOPc)), &TUAK{RES: 4, Keys: 16, Permutations: 1}
	blank := blankProfile()
	blank.Kind, blank.PIN1Disabled, blank.SQN = DelegatedSJA5, true, sqn-32
	// EF.USIM_AUTH_KEY as pySim lays it out: TUAK with OPc, RES of 32 bits, MAC, CK and IK as short as can be.
	written := "160001" + s.TOPc + s.K
	for name, p := range map[string]Profile{"issued": issued, "blank": blank} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, p)
			h.usim()
			if p.Kind == DelegatedSJA5 {
				h.ok("0020000A08" + hex.EncodeToString([]byte(p.ADM1)))
				h.ok("00A4000C02AF20")
				h.ok(fmt.Sprintf("00D60000%02X%s", len(written)/2, written))
			}
			challenge := join(lv(unhex(t, s.RAND)), lv(autn))
			send := func() apdu.Response {
				return h.send(apdu.Command{INS: insAuthenticate, P2: context3G, Data: challenge, Ne: 256})
			}
			want := join([]byte{tagSuccess}, lv(unhex(t, s.F2)), lv(unhex(t, s.F3)), lv(unhex(t, s.F4)))
			kc := lv(fold(join(unhex(t, s.F3), unhex(t, s.F4)), 8))
			if got := send(); got.SW != apdu.SWSuccess || string(got.Data) != string(join(want, kc)) {
				t.Fatalf("%X %s", got.Data, got.SW)
			}
			got := send()
			if got.SW != apdu.SWSuccess || got.Data[0] != tagSync || get48(got.Data[2:])^get48(unhex(t, s.F5Star)) != sqn {
				t.Errorf("%X %s", got.Data, got.SW)
			}
		})
	}
}

// TestTUAKRefused: SJA2 has no room for it, and no card here a MAC of other lengths.
func TestTUAKRefused(t *testing.T) {
	p := blankProfile()
	p.K, p.OPc, p.TUAK = Secret(make([]byte, 16)), Secret(make([]byte, 32)), &TUAK{RES: 8, Keys: 16, Permutations: 1}
	if p.defaults().check() == nil {
		t.Error("an SJA2 with TUAK")
	}
	b := append([]byte{0x16, 0x09, 1}, make([]byte, 64)...)
	if a, _ := tuakOf(b); a != nil {
		t.Error("a MAC of 16 bytes")
	}
	b[1] = 0x01
	if a, _ := tuakOf(b); a == nil {
		t.Error("a MAC of 8 bytes")
	}
}
