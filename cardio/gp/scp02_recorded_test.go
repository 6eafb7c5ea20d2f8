package gp_test

import (
	"bytes"
	"context"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// TestSCP02CardWithRMAC replays what a card with test keys answered at level 13
// (issue 218 of GlobalPlatformPro, where the question is how R-MACs chain): its
// challenge follows from the AID, and its R-MAC from the C-MAC of EXTERNAL
// AUTHENTICATE and the command in the clear.
func TestSCP02CardWithRMAC(t *testing.T) {
	ctx := context.Background()
	key := unhex(t, "404142434445464748494a4b4c4d4e4f")
	keys, err := gp.NewSoftwareDESKeys(key, key, key)
	if err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(unhex(t, "0000728314662294396620020046a58399ea65ddb9e2781a25689c71"))
	if err != nil {
		t.Fatal(err)
	}
	open := func() *gp.SCP02 {
		s, ea, err := gp.OpenSCP02(ctx, keys, iu, 0x75, unhex(t, "4261a2f44eec57eb"), gp.ISDAID, gp.LevelCENCRMAC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		equal(t, "EXTERNAL AUTHENTICATE", ea, unhex(t, "8482130010fae81dd218f60a30a0f03ed2002b63b2"))
		return s
	}
	install, err := apdu.Parse(unhex(t, "80e610002010a00000000053594e4a4f4e4553535344000a53594e4a4f4e45530000000000"))
	if err != nil {
		t.Fatal(err)
	}
	answer := unhex(t, "006dfcfe5065740d309000")
	for at := -1; at < len(answer); at++ {
		s := open()
		if _, err := s.Wrap(ctx, []apdu.Command{install}); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(answer)
		if at >= 0 {
			b[at] ^= 0x01
			_, err := s.Unwrap(ctx, [][]byte{b})
			wantError(t, err, gp.ErrResponseMAC)
			continue
		}
		r, err := s.Unwrap(ctx, [][]byte{b})
		if err != nil || !bytes.Equal(r[0].Data, []byte{0}) {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// TestSCP02CardWithPseudoRandomChallenge has a worked example with another
// card, i=55, another AID and another counter (issue 31 of chenpengcong/blog).
func TestSCP02CardWithPseudoRandomChallenge(t *testing.T) {
	ctx := context.Background()
	key := unhex(t, "00112233445566778899aabbccddeeff")
	keys, err := gp.NewSoftwareDESKeys(key, key, key)
	if err != nil {
		t.Fatal(err)
	}
	counter := unhex(t, "0000")
	smac, err := keys.DeriveSession(ctx, gp.KeyMAC, gp.DeriveSCP02CMAC, counter)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := gp.SCP02CardChallenge(ctx, smac, unhex(t, "a0000000660000000000000000000002"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "card challenge", challenge, unhex(t, "b17eeca5ceb9"))
	senc, err := keys.DeriveSession(ctx, gp.KeyENC, gp.DeriveSCP02ENC, counter)
	if err != nil {
		t.Fatal(err)
	}
	cryptogram, err := gp.SCP02Cryptogram(ctx, senc, unhex(t, "1234567891234567"), append(counter, challenge...))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "card cryptogram", cryptogram, unhex(t, "0d4ac851271c3c0d"))
}
