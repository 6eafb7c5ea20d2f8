package aka

import (
	"crypto/sha3"
	"fmt"
	"testing"
)

// TestKeccakAgainstSHA3 builds SHA3-256 and SHAKE128 (FIPS 202) of keccakF and
// asks the standard library's.
func TestKeccakAgainstSHA3(t *testing.T) {
	sponge := func(rate int, suffix byte, message []byte) (s [200]byte) {
		padded := append(append([]byte{}, message...), suffix)
		for len(padded)%rate != 0 {
			padded = append(padded, 0)
		}
		padded[len(padded)-1] |= 0x80
		for len(padded) > 0 {
			for i, b := range padded[:rate] {
				s[i] ^= b
			}
			keccakF(&s)
			padded = padded[rate:]
		}
		return s
	}
	message := make([]byte, 600)
	for i := range message {
		message[i] = byte(i * 7)
	}
	for _, n := range []int{0, 1, 135, 136, 137, 271, 272, 600} {
		got, want := sponge(136, 0x06, message[:n]), sha3.Sum256(message[:n])
		if [32]byte(got[:32]) != want {
			t.Errorf("SHA3-256 of %d bytes", n)
		}
		shake := sponge(168, 0x1F, message[:n])
		if string(shake[:168]) != string(sha3.SumSHAKE128(message[:n], 168)) {
			t.Errorf("SHAKE128 of %d bytes", n)
		}
	}
}

// TestTUAKSets has the sets of TS 35.233 clauses 6.3 to 6.8.
func TestTUAKSets(t *testing.T) {
	var sets []struct {
		Set, Iterations                    int
		K, RAND, SQN, AMF, TOP, TOPc       string
		F1, F1Star, F2, F3, F4, F5, F5Star string
	}
	load(t, "tuak-ts35233.json", &sets)
	if len(sets) != 6 {
		t.Fatalf("%d sets", len(sets))
	}
	for _, s := range sets {
		t.Run(fmt.Sprint(s.Set), func(t *testing.T) {
			topc, err := TOPc(unhex(t, s.K), unhex(t, s.TOP), s.Iterations)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "TOPc", topc, s.TOPc)
			a, err := NewTUAK(unhex(t, s.K), topc, TUAKParameters{
				MAC: len(s.F1) / 2, RES: len(s.F2) / 2, CK: len(s.F3) / 2, IK: len(s.F4) / 2, Iterations: s.Iterations,
			})
			if err != nil {
				t.Fatal(err)
			}
			rand, sqn, amf := [16]byte(unhex(t, s.RAND)), [6]byte(unhex(t, s.SQN)), [2]byte(unhex(t, s.AMF))
			same(t, "f1", a.F1(rand, sqn, amf), s.F1)
			same(t, "f1*", a.F1Star(rand, sqn, amf), s.F1Star)
			k := a.F2345(rand)
			same(t, "f2", k.RES, s.F2)
			same(t, "f3", k.CK, s.F3)
			same(t, "f4", k.IK, s.F4)
			same(t, "f5", k.AK, s.F5)
			same(t, "f5*", a.F5Star(rand), s.F5Star)
		})
	}
}

func TestTUAKRefuses(t *testing.T) {
	k, topc := make(Secret, 16), make(Secret, TOPcSize)
	for _, p := range []TUAKParameters{{}, {8, 8, 16, 16, 0}, {4, 8, 16, 16, 1}, {8, 5, 16, 16, 1}, {8, 8, 8, 16, 1}, {8, 8, 16, 24, 1}, {8, 8, 16, 16, 256}} {
		if _, err := NewTUAK(k, topc, p); err == nil {
			t.Errorf("%+v", p)
		}
	}
	if _, err := NewTUAK(make(Secret, 24), topc, DefaultTUAK()); err == nil {
		t.Error("K of 24 bytes")
	}
	if _, err := TOPc(k, make(Secret, 16), 1); err == nil {
		t.Error("TOP of 16 bytes")
	}
	// A MAC that AUTN has no room for, and keys that GSM has none for.
	long, err := NewTUAK(k, topc, TUAKParameters{16, 8, 32, 16, 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVector(long, [16]byte{}, 1, AMF{}); err == nil {
		t.Error("a MAC of 16 bytes in AUTN")
	}
	if _, err := MakeAUTS(long, [16]byte{}, 1); err == nil {
		t.Error("a MAC of 16 bytes in AUTS")
	}
	if _, _, err := OpenAUTN(long, [16]byte{}, [16]byte{}); err == nil {
		t.Error("a MAC of 16 bytes in AUTN is read")
	}
	if got := fmt.Sprintf("%v %+v %#v", long, long, long); got != "TUAK [redacted] TUAK [redacted] TUAK [redacted]" {
		t.Error(got)
	}
	long.Zero()
	if long.k != [32]byte{} {
		t.Error("not zero")
	}
}
