package gp_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// recorded02 is a session of a real card, testdata/jcop4-scp02.json.
type recorded02 struct {
	Source                         string
	I, Level, AID                  hexBytes
	InitUpdate, InitUpdateResponse hexBytes
	ExternalAuthenticate           hexBytes
	Commands                       [][]string
	Visa2                          *struct {
		Master, KeyDiversificationData, ENC, MAC, DEK hexBytes
		KCV                                           []hexBytes
	}
}

// TestRecordedSCP02 holds the host to sessions of a JCOP 4 and of two Feitian
// cards with SCP02 i=55 under the public test keys: cryptograms, pseudo-random
// challenges, levels 01 and 03, PUT KEY under the session's DEK, and keys
// diversified as VISA2 has it.
func TestRecordedSCP02(t *testing.T) {
	b, err := os.ReadFile("testdata/jcop4-scp02.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ SCP02 []recorded02 }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP02) != 5 {
		t.Fatalf("%d sessions", len(v.SCP02))
	}
	for _, r := range v.SCP02 {
		t.Run(r.Source, func(t *testing.T) { r.check(t) })
	}
}

func (r recorded02) check(t *testing.T) {
	key := unhex(t, "404142434445464748494a4b4c4d4e4f")
	keys, err := gp.NewSoftwareDESKeys(key, key, key)
	if err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(r.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	aid, level := []byte(r.AID), gp.LevelCMAC
	if aid == nil {
		aid = unhex(t, "a000000151000000")
	}
	if r.Level != nil {
		level = gp.Level(r.Level[0])
	}
	s, authenticate, err := gp.OpenSCP02(t.Context(), keys, iu, r.I[0], r.InitUpdate[5:13], aid, level)
	if err != nil {
		t.Fatal(err)
	}
	if r.ExternalAuthenticate != nil && !bytes.Equal(authenticate, r.ExternalAuthenticate) {
		t.Errorf("EXTERNAL AUTHENTICATE is %X, the recorded host sent %X", authenticate, []byte(r.ExternalAuthenticate))
	}
	for _, exchange := range r.Commands {
		plain, err := apdu.Parse(unhex(t, strings.ReplaceAll(exchange[0], " ", "")))
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := s.Wrap(t.Context(), []apdu.Command{plain})
		if err != nil {
			t.Fatal(err)
		}
		// What the recorded host left out or put in is Le alone.
		want := unhex(t, exchange[1])
		if !bytes.Equal(wrapped[0], want) && !bytes.Equal(append(wrapped[0], 0), want) {
			t.Errorf("%s is wrapped as %X, the recorded host sent %X", exchange[0], wrapped[0], want)
		}
		if _, err := s.Unwrap(t.Context(), [][]byte{unhex(t, exchange[2])}); err != nil {
			t.Errorf("%s: %v", exchange[0], err)
		}
	}
	if r.Visa2 != nil {
		r.putKey(t, s)
	}
}

// putKey makes the PUT KEY that the card took, from the master key.
func (r recorded02) putKey(t *testing.T, s *gp.SCP02) {
	master, err := gp.NewSoftwareDESCipher(r.Visa2.Master)
	if err != nil {
		t.Fatal(err)
	}
	visa2 := gp.Diversification{Cipher: gp.DiversifyDES3ECB, Input: "kdd[0..1] kdd[4..7] F0 key kdd[0..1] kdd[4..7] 0F key"}
	data := unhex(t, strings.ReplaceAll(r.Commands[1][0], " ", ""))[6:]
	for i, want := range []hexBytes{r.Visa2.ENC, r.Visa2.MAC, r.Visa2.DEK} {
		key, err := visa2.Derive(t.Context(), master, byte(i+1), r.Visa2.KeyDiversificationData, 16)
		if err != nil || !bytes.Equal(key, want) {
			t.Fatalf("key %d is not the recorded one: %v", i+1, err)
		}
		cipher, err := gp.NewSoftwareDESCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		kcv, err := gp.DESKCV(t.Context(), cipher)
		if err != nil || !bytes.Equal(kcv, r.Visa2.KCV[i]) {
			t.Errorf("key check value %X, want %X (%v)", kcv, []byte(r.Visa2.KCV[i]), err)
		}
		enciphered, err := s.EncipherDEK(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		// 80 10 key 03 KCV
		block := append(append([]byte{0x80, 0x10}, enciphered...), append([]byte{0x03}, kcv...)...)
		if !bytes.Equal(data[i*len(block):(i+1)*len(block)], block) {
			t.Errorf("key %d of PUT KEY is %X, the recorded host sent %X", i+1, block, data[i*len(block):(i+1)*len(block)])
		}
	}
}
