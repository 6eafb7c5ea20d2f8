package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

type accessVectors struct {
	BAC struct {
		DocumentNumber, Check, Birth, Expiry, KSeed, KEnc, KMac string
	} `json:"bac"`
	PACE struct {
		KPi string `json:"kPi"`
	} `json:"paceGm"`
}

func vectors(t *testing.T) (v accessVectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/access.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Doc 9303-11, appendix D.2.
func TestBACKeys(t *testing.T) {
	v := vectors(t).BAC
	info, err := MRZInformation(strings.TrimRight(v.DocumentNumber, "<"), v.Birth, v.Expiry)
	if err != nil {
		t.Fatal(err)
	}
	if want := "L898902C<369080619406236"; info != want {
		t.Fatalf("MRZ information %q, want %q", info, want)
	}
	password := PACEPassword(info)
	if got := hex.EncodeToString(password[:16]); got != v.KSeed {
		t.Errorf("K_seed %s", got)
	}
	keys := BACKeys(info)
	if got := hex.EncodeToString(keys[:]); got != v.KEnc+v.KMac {
		t.Errorf("keys %s", got)
	}
}

// Doc 9303-11, appendix G.1: K_pi = KDF(K, 3), which for AES-128 is the first
// half of SHA-1 over K and the counter.
func TestPACEPassword(t *testing.T) {
	info, err := MRZInformation("T22000129", "640812", "101031")
	if err != nil {
		t.Fatal(err)
	}
	k := PACEPassword(info)
	kPi := sha1.Sum(append(k[:], 0, 0, 0, 3))
	if got, want := hex.EncodeToString(kPi[:16]), vectors(t).PACE.KPi; got != want {
		t.Errorf("K_pi %s, want %s", got, want)
	}
}

func TestMRZInformation(t *testing.T) {
	// Doc 9303-11, appendix D.1: a TD1 document number of twelve characters.
	got, err := MRZInformation("D23145890734", "340712", "950712")
	if want := "D23145890734" + "9" + "3407127" + "9507122"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	got, err = MRZInformation("AB1", "90<<<<", "310506")
	if err != nil || !strings.HasPrefix(got, "AB1<<<<<<") || got[10:16] != "90<<<<" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range [][3]string{{"", "900101", "310506"}, {"a", "900101", "310506"}, {"A", "90010", "310506"}, {"A", "900101", "31050x"}} {
		if _, err := MRZInformation(bad[0], bad[1], bad[2]); !errors.Is(err, ErrMRZ) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRandomNumbers(t *testing.T) {
	seen := map[rune]int{}
	numbers := map[string]bool{}
	for range 500 {
		n, err := DocumentNumber(rand.Reader)
		if err != nil || len(n) != DocumentNumberLength {
			t.Fatal(n, err)
		}
		numbers[n] = true
		for _, r := range n {
			seen[r]++
		}
	}
	if len(numbers) != 500 {
		t.Error("document numbers repeat")
	}
	if len(seen) != 28 {
		t.Errorf("%d characters occur, not 28", len(seen))
	}
	for _, r := range "01AEIOUY" {
		if seen[r] > 0 {
			t.Errorf("%c occurs in document numbers", r)
		}
	}
	for _, tt := range []struct {
		n    int
		draw func() (string, error)
	}{
		{6, func() (string, error) { return CAN(rand.Reader) }},
		{6, func() (string, error) { return TransportPIN(rand.Reader) }},
		{8, func() (string, error) { return PUK(rand.Reader) }},
	} {
		s, err := tt.draw()
		if err != nil || len(s) != tt.n || strings.Trim(s, "0123456789") != "" {
			t.Errorf("%q, %v", s, err)
		}
	}
	if _, err := CAN(iotest.ErrReader(errors.New("no entropy"))); err == nil {
		t.Error("a CAN came out of a broken source")
	}
}

// Bytes beyond the greatest multiple of the alphabet's size are rejected, not
// folded back.
func TestDrawIsUnbiased(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	got, err := draw(bytes.NewReader(all), "0123456789", 128)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.Repeat("0123456789", 13)[:128] {
		t.Errorf("got %s", got)
	}
	rejected := bytes.Repeat([]byte{250}, 6)
	if got, err = draw(bytes.NewReader(append(rejected, 1, 2, 3, 4, 5, 6)), "0123456789", 6); err != nil || got != "123456" {
		t.Errorf("got %q, %v", got, err)
	}
}
