package aka

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func firstSet(t testing.TB) (*Milenage, milenageSet) {
	t.Helper()
	var sets []milenageSet
	load(t, "milenage-ts35208.json", &sets)
	s := sets[0]
	m, err := NewMilenage(unhex(t, s.K), unhex(t, s.ExpectedOPc))
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

type simVectors struct {
	AUTS []struct{ K, OPc, RAND, AUTS, SQNMs string }
	AUTN []struct {
		Set  int
		AUTN string
	} `json:"milenageAutn"`
}

func TestVectorOfSet1(t *testing.T) {
	m, s := firstSet(t)
	var known simVectors
	load(t, "sim.json", &known)
	rand := [16]byte(unhex(t, s.RAND))
	sqn := ParseSQN([6]byte(unhex(t, s.SQN)))
	v, err := NewVector(m, rand, sqn, AMF(unhex(t, s.AMF)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "AUTN", v.AUTN[:], known.AUTN[0].AUTN)
	same(t, "XRES", v.XRES, s.ExpectedRES)
	got, amf, err := OpenAUTN(m, rand, v.AUTN)
	if err != nil || got != sqn || !bytes.Equal(amf[:], unhex(t, s.AMF)) {
		t.Errorf("%v %v %v", got, amf, err)
	}
	for i := range v.AUTN {
		bad := v.AUTN
		bad[i] ^= 1
		if _, _, err := OpenAUTN(m, rand, bad); !errors.Is(err, ErrAUTN) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if !CheckRES(v.XRES, unhex(t, s.ExpectedRES)) {
		t.Error("the right RES is refused")
	}
	for _, bad := range [][]byte{nil, v.XRES[:7], append(bytes.Clone(v.XRES), 0), make([]byte, 8)} {
		if CheckRES(v.XRES, bad) {
			t.Error("a wrong RES is taken")
		}
	}
	if CheckRES(nil, nil) {
		t.Error("no RES at all is taken")
	}
	if _, err := NewVector(m, rand, 1<<48, AMF{}); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
}

// TestKnownAUTS: an AUTS of another implementation gives the number that it says.
func TestKnownAUTS(t *testing.T) {
	var known simVectors
	load(t, "sim.json", &known)
	if len(known.AUTS) != 1 {
		t.Fatal("vectors")
	}
	for _, c := range known.AUTS {
		m, err := NewMilenage(unhex(t, c.K), unhex(t, c.OPc))
		if err != nil {
			t.Fatal(err)
		}
		rand, auts := [16]byte(unhex(t, c.RAND)), [14]byte(unhex(t, c.AUTS))
		sqn, err := OpenAUTS(m, rand, auts)
		if err != nil {
			t.Fatal(err)
		}
		b := sqn.Bytes()
		same(t, "SQN_MS", b[:], c.SQNMs)
		again, err := MakeAUTS(m, rand, sqn)
		if err != nil || again != auts {
			t.Errorf("%X %v", again, err)
		}
		for i := range auts {
			bad := auts
			bad[i] ^= 0x80
			if _, err := OpenAUTS(m, rand, bad); !errors.Is(err, ErrAUTS) {
				t.Errorf("byte %d changed: %v", i, err)
			}
		}
		rand[0] ^= 1
		if _, err := OpenAUTS(m, rand, auts); !errors.Is(err, ErrAUTS) {
			t.Errorf("another challenge: %v", err)
		}
	}
}

// TestTriplet folds by hand.
func TestTriplet(t *testing.T) {
	m, s := firstSet(t)
	v, err := NewVector(m, [16]byte(unhex(t, s.RAND)), 0, AMF{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := v.Triplet()
	if err != nil {
		t.Fatal(err)
	}
	// TS 35.208 clause 4.3.x gives no GSM values in the file at hand: c2 is
	// RES1 ⊕ RES2, c3 CK1 ⊕ CK2 ⊕ IK1 ⊕ IK2.
	same(t, "SRES", g.SRES, "46f8416a")
	same(t, "Kc", g.Kc, "eae4be823af9a08b")
	v.CK = make(Secret, 32)
	if _, err := v.Triplet(); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
	g.Zero()
	if !bytes.Equal(g.SRES, make([]byte, 4)) || !bytes.Equal(g.Kc, make([]byte, 8)) {
		t.Error("not zero")
	}
}

func TestSequenceNumbers(t *testing.T) {
	s := DefaultScheme()
	n, err := s.Join(7, 31)
	if err != nil || n != 7<<5|31 {
		t.Fatal(n, err)
	}
	next, err := s.Next(n)
	if seq, ind := s.Split(next); err != nil || seq != 8 || ind != 0 {
		t.Error(seq, ind, err)
	}
	// Two centres with indexes of their own do not spoil each other's numbers.
	w, _ := NewWindow(s)
	desk, network := SQN(0), SQN(0)
	for range 3 {
		desk, _ = s.NextIn(w.Highest(), 31)
		if !w.Accept(desk) {
			t.Errorf("the desk's %d", desk)
		}
		if network, _ = s.NextIn(network, 3); !w.Accept(network) {
			t.Errorf("the network's %d", network)
		}
	}
	if _, err := s.NextIn(1, 32); err == nil {
		t.Error("an index that does not fit")
	}
	last, err := s.Join(1<<43-1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(last); err == nil {
		t.Error("numbers do not run out")
	}
	for _, bad := range [][2]int{{1 << 43, 0}, {0, 32}, {0, -1}} {
		if _, err := s.Join(uint64(bad[0]), bad[1]); err == nil {
			t.Error(bad)
		}
	}
	if (Scheme{INDBits: 17}).Check() == nil || (Scheme{INDBits: -1}).Check() == nil {
		t.Error("IND of any length")
	}
}

func TestWindow(t *testing.T) {
	s := Scheme{INDBits: 2, Delta: 100, L: 10}
	w, err := NewWindow(s)
	if err != nil {
		t.Fatal(err)
	}
	at := func(seq uint64, ind int) SQN { n, _ := s.Join(seq, ind); return n }
	for _, c := range []struct {
		seq  uint64
		ind  int
		want bool
	}{
		{0, 0, false}, {1, 0, true}, {1, 0, false}, {1, 1, true}, {50, 2, true}, {40, 3, true},
		{39, 0, false}, {41, 0, true}, {41, 0, false}, {151, 1, false}, {150, 1, true}, {50, 2, false},
	} {
		if got := w.Accept(at(c.seq, c.ind)); got != c.want {
			t.Errorf("SEQ %d IND %d: %v", c.seq, c.ind, got)
		}
	}
	if w.Highest() != at(150, 1) {
		t.Error(w.Highest())
	}
	if !s.Acceptable(at(151, 0), w.Highest()) || s.Acceptable(at(150, 2), w.Highest()) || s.Acceptable(at(251, 0), w.Highest()) {
		t.Error("prediction")
	}
	if n, err := s.Resynchronize(at(151, 3), at(150, 1)); err != nil || n != at(151, 3) {
		t.Error(n, err)
	}
	if n, err := s.Resynchronize(at(3, 3), at(150, 3)); err != nil || n != at(151, 0) {
		t.Error(n, err)
	}
}

// TestResynchronizedNumbersAreFresh: whatever a window has accepted, what
// Resynchronize gives for its AUTS it accepts.
func TestResynchronizedNumbersAreFresh(t *testing.T) {
	m, _ := firstSet(t)
	rapid.Check(t, func(t *rapid.T) {
		s := Scheme{INDBits: rapid.IntRange(0, 6).Draw(t, "bits"), Delta: 1 << 28, L: rapid.Uint64Range(0, 50).Draw(t, "L")}
		w, _ := NewWindow(s)
		for _, n := range rapid.SliceOfN(rapid.Uint64Range(0, 1<<30), 0, 20).Draw(t, "seen") {
			w.Accept(SQN(n))
		}
		var challenge [16]byte
		auts, err := MakeAUTS(m, challenge, w.Highest())
		if err != nil {
			t.Fatal(err)
		}
		ms, err := OpenAUTS(m, challenge, auts)
		if err != nil || ms != w.Highest() {
			t.Fatal(ms, err)
		}
		next, err := s.Resynchronize(SQN(rapid.Uint64Range(0, 1<<40).Draw(t, "next")), ms)
		if err != nil || !w.Accept(next) {
			t.Fatalf("%d after %d: %v", next, ms, err)
		}
	})
}

// FuzzTokens: no AUTN or AUTS of an attacker's passes, and none panics.
func FuzzTokens(f *testing.F) {
	m, s := firstSet(f)
	f.Add(unhex(f, s.RAND), make([]byte, 30))
	f.Fuzz(func(t *testing.T, challenge, tokens []byte) {
		var rand [16]byte
		var both [30]byte
		copy(rand[:], challenge)
		copy(both[:], tokens)
		if sqn, amf, err := OpenAUTN(m, rand, [16]byte(both[:])); err == nil {
			v, err := NewVector(m, rand, sqn, amf)
			if err != nil || v.AUTN != [16]byte(both[:]) {
				t.Error("a token passes that is not its own")
			}
		}
		if sqn, err := OpenAUTS(m, rand, [14]byte(both[16:])); err == nil {
			if again, err := MakeAUTS(m, rand, sqn); err != nil || again != [14]byte(both[16:]) {
				t.Error("a token passes that is not its own")
			}
		}
	})
}
