package aka

import (
	"bytes"
	"testing"
)

// lent keeps every secret that an algorithm gave out.
type lent struct {
	Algorithm
	given []Secret
}

func (l *lent) keep(s Secret) Secret {
	l.given = append(l.given, s)
	return s
}

func (l *lent) F1(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	return l.keep(l.Algorithm.F1(rand, sqn, amf))
}

func (l *lent) F1Star(rand [RANDSize]byte, sqn [SQNSize]byte, amf [AMFSize]byte) Secret {
	return l.keep(l.Algorithm.F1Star(rand, sqn, amf))
}

func (l *lent) F2345(rand [RANDSize]byte) Keys {
	k := l.Algorithm.F2345(rand)
	for _, s := range []Secret{k.RES, k.CK, k.IK, k.AK} {
		l.keep(s)
	}
	return k
}

func (l *lent) F5Star(rand [RANDSize]byte) Secret { return l.keep(l.Algorithm.F5Star(rand)) }

// TestNothingStays: whatever an algorithm gave for a vector or a token is overwritten
// once that is made, judged or zeroed, and has no memory in common with what is not.
func TestNothingStays(t *testing.T) {
	m, _ := firstSet(t)
	k, topc := make(Secret, 32), make(Secret, TOPcSize)
	tuak, err := NewTUAK(k, topc, DefaultTUAK())
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Algorithm{"MILENAGE": m, "TUAK": tuak} {
		l := &lent{Algorithm: a}
		v, err := NewVector(l, [RANDSize]byte{1}, 32, AMF{0x80})
		if err != nil {
			t.Fatal(err)
		}
		v.Zero()
		if _, _, err := OpenAUTN(l, v.RAND, v.AUTN); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenAUTN(l, v.RAND, [AUTNSize]byte{}); err == nil {
			t.Error("a wrong AUTN was taken")
		}
		auts, err := MakeAUTS(l, v.RAND, 64)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAUTS(l, v.RAND, auts); err != nil {
			t.Fatal(err)
		}
		if len(l.given) != 5+5+5+2+2 {
			t.Fatalf("%s: %d secrets were seen", name, len(l.given))
		}
		for i, s := range l.given {
			if cap(s) != len(s) || !bytes.Equal(s, make([]byte, len(s))) {
				t.Errorf("%s: secret %d stays, or is a part of something larger", name, i)
			}
		}
	}
}

// TestTake: what is handed out is no part of the block that it comes from, which is
// cleared after.
func TestTake(t *testing.T) {
	b := [block]byte{1, 2, 3}
	s := take(b[:macSize])
	clear(b[:])
	if !bytes.Equal(s, []byte{1, 2, 3, 0, 0, 0, 0, 0}) {
		t.Errorf("%x", []byte(s))
	}
	s.Zero()
	if cap(s) != macSize {
		t.Errorf("room for %d bytes", cap(s))
	}
}
