package aka

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
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

func same(t testing.TB, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s is not the expected %s", what, want)
	}
}

// TestMilenageSets has every set of TS 35.208 that is at hand.
func TestMilenageSets(t *testing.T) {
	var sets []milenageSet
	load(t, "milenage-ts35208.json", &sets)
	if len(sets) != 19 {
		t.Fatalf("%d sets", len(sets))
	}
	for _, s := range sets {
		t.Run(fmt.Sprint(s.Set), func(t *testing.T) {
			opc, err := OPc(unhex(t, s.K), unhex(t, s.OP))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "OPc", opc, s.ExpectedOPc)
			m, err := NewMilenage(unhex(t, s.K), opc)
			if err != nil {
				t.Fatal(err)
			}
			rand, sqn, amf := [16]byte(unhex(t, s.RAND)), [6]byte(unhex(t, s.SQN)), [2]byte(unhex(t, s.AMF))
			same(t, "MAC-A", m.F1(rand, sqn, amf), s.ExpectedMACA)
			same(t, "MAC-S", m.F1Star(rand, sqn, amf), s.ExpectedMACS)
			k := m.F2345(rand)
			same(t, "RES", k.RES, s.ExpectedRES)
			same(t, "CK", k.CK, s.ExpectedCK)
			same(t, "IK", k.IK, s.ExpectedIK)
			same(t, "AK", k.AK, s.ExpectedAK)
			same(t, "AK*", m.F5Star(rand), s.ExpectedAKStar)
		})
	}
}

// TestRotate turns by bits that are no whole bytes, which an operator's own
// constants may have.
func TestRotate(t *testing.T) {
	x := [16]byte(unhex(t, "80000000000000000000000000000001"))
	for r, want := range map[int]string{
		0: "80000000000000000000000000000001", 1: "00000000000000000000000000000003",
		4: "00000000000000000000000000000018", 127: "c0000000000000000000000000000000",
		64: "00000000000000018000000000000000", 100: "00000018000000000000000000000000",
	} {
		var got [16]byte
		rotate(&got, &x, r)
		same(t, fmt.Sprint(r), got[:], want)
	}
}

func TestOwnConstants(t *testing.T) {
	k, opc := make(Secret, 16), make(Secret, 16)
	for name, change := range map[string]func(*Constants){
		"too far":    func(c *Constants) { c.R[1] = 128 },
		"backwards":  func(c *Constants) { c.R[1] = -1 },
		"equal pair": func(c *Constants) { c.C[2], c.R[2] = c.C[1], c.R[1] },
	} {
		c := DefaultConstants()
		change(&c)
		if _, err := NewMilenageWith(k, opc, c); err == nil {
			t.Error(name, "is taken")
		}
	}
	c := DefaultConstants()
	c.C[1][0], c.R[1] = 0x55, 13
	own, err := NewMilenageWith(k, opc, c)
	if err != nil {
		t.Fatal(err)
	}
	usual, _ := NewMilenage(k, opc)
	var rand [16]byte
	a, b := own.F2345(rand), usual.F2345(rand)
	if string(a.RES) == string(b.RES) || string(a.CK) != string(b.CK) {
		t.Error("c2 and r2 are for f2 and f5 alone")
	}
	for _, l := range []int{0, 15, 17, 32} {
		if _, err := NewMilenage(make(Secret, l), opc); err == nil {
			t.Error("K of", l, "bytes")
		}
		if _, err := OPc(k, make(Secret, l)); err == nil {
			t.Error("OP of", l, "bytes")
		}
	}
}

// TestNothingPrints: no way of printing shows a secret.
func TestNothingPrints(t *testing.T) {
	k := Secret("0123456789abcdef")
	m, err := NewMilenage(k, k)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVector(m, [16]byte{}, 32, AMF{0x80, 0})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %X %q %d %v %+v %#v %x %v %+v %#v", k, k, k, k, k, k, k, k, m, m, m, m, v, v, v)
	j, err := json.Marshal(struct {
		K Secret
		V Vector
	}{k, v})
	if err != nil {
		t.Fatal(err)
	}
	all += string(j)
	for _, s := range []string{string(k), hex.EncodeToString(k), strings.ToUpper(hex.EncodeToString(k)), hex.EncodeToString(v.XRES), fmt.Sprint([]byte(v.XRES)), fmt.Sprint([]byte(k))} {
		if strings.Contains(all, s) {
			t.Errorf("a secret is printed")
		}
	}
	v.Zero()
	k.Zero()
	for _, b := range append(append([]byte(v.XRES), v.CK...), k...) {
		if b != 0 {
			t.Fatal("not zero")
		}
	}
}
