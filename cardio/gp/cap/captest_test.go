package cap_test

import (
	"bytes"
	"testing"

	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/cap/captest"
)

// TestMade: both forms of a made file are read, and are the same to a card.
func TestMade(t *testing.T) {
	made := captest.File{Package: unhex(t, "F000000001"), Applet: unhex(t, "F00000000101"), Imports: []captest.Import{captest.Framework}, Code: 300}
	jar, err := made.JAR()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{jar, made.IJC()} {
		f, err := cap.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.LoadFileDataBlock(cap.BlockOptions{}), made.IJC()) || f.JavaCard() != "2.2.2" || len(f.Applets) != 1 {
			t.Errorf("%+v", f)
		}
	}
	made.Applet = nil
	if f, err := cap.Read(made.IJC()); err != nil || len(f.Applets) != 0 {
		t.Errorf("a library: %+v, %v", f, err)
	}
}
