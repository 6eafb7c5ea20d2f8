package gp_test

import (
	"bytes"
	"context"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// FuzzAnswers feeds every parser of a card's data: none may panic, and what
// is taken must be within its own bounds.
func FuzzAnswers(f *testing.F) {
	for _, v := range vectors(f).SCP03 {
		f.Add([]byte(v.InitUpdateResponse))
	}
	f.Add([]byte(vectors(f).SCP02[0].InitUpdateResponse))
	for _, s := range []string{
		"9f7f2a" + cplcSample,
		"e006c00401308810", "e00cc00a0171ff88002001180100",
		"6619731706072a864886fc6b01600c060a2a864886fc6b02020301",
		"6f108408a000000151000000a5049f6501ff",
		"08a0000001510000000f80", "05a0000000010100" + "01" + "06a00000000101", "0a03010203020007020a0b",
		"ff210d" + "810105" + "820400012000" + "83020800",
		"e3134f08a0000001510000009f70010fc503800000",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if iu, err := gp.ParseInitializeUpdate(b); err == nil {
			if n := int(iu.Mode()); iu.SCP == 3 && (len(iu.CardChallenge) != n || len(iu.CardCryptogram) != n || iu.PseudoRandom() != (len(iu.SequenceCounter) == 3)) {
				t.Errorf("%+v", iu)
			}
		}
		if c, err := gp.ParseCPLC(b); err == nil && !bytes.HasSuffix(b, c.Bytes()) {
			t.Errorf("CPLC %x became %x", b, c.Bytes())
		}
		if keys, err := gp.ParseKeyInformation(b); err == nil {
			for _, k := range keys {
				if len(k.Components) == 0 {
					t.Errorf("key %d without a component", k.ID)
				}
			}
		}
		_, _ = gp.ParseCardRecognition(b)
		if fci, err := gp.ParseFCI(b); err == nil && (len(fci.AID) < 5 || len(fci.AID) > 16) {
			t.Errorf("AID of %d bytes", len(fci.AID))
		}
		if entries, err := gp.ParseStatus(b); err == nil {
			for _, e := range entries {
				if len(e.AID) == 0 {
					t.Error("an entry without an AID")
				}
			}
		}
		for _, what := range []byte{gp.ListISD, gp.ListLoadFilesAndModules} {
			if entries, err := gp.ParseStatusPlain(b, what); err == nil {
				for _, e := range entries {
					if len(e.AID) < 5 || len(e.AID) > 16 || len(e.Privileges) != 1 {
						t.Errorf("%+v", e)
					}
				}
			}
		}
		if r, err := gp.ParseReceipt(b); err == nil && r != nil && len(r.Receipt)+len(r.Domain)+len(r.More) >= len(b) {
			t.Errorf("%x became %+v", b, r)
		}
		if r, err := gp.ParseCardResources(b); err == nil && r.Applications < 0 && r.NonVolatile < 0 && r.Volatile < 0 {
			t.Errorf("%x became %+v", b, r)
		}
		_ = gp.CheckPutKeyResponse(b, 0x31, []gp.KeyComponent{{KCV: []byte{1, 2, 3}}})
	})
}

// FuzzUnwrap gives a session answers that its card did not make: none may
// pass as protected, save the one the trace has.
func FuzzUnwrap(f *testing.F) {
	v := traceAt(f, gp.LevelFull)
	f.Add(v.response())
	f.Add([]byte{0x90, 0x00})
	f.Add([]byte{0x6A, 0x80})
	plain, err := apdu.Parse(v.PlainCommand)
	if err != nil {
		f.Fatal(err)
	}
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := v.open(t)
		if _, err := s.Wrap(ctx, []apdu.Command{plain}); err != nil {
			t.Fatal(err)
		}
		r, err := s.Unwrap(ctx, [][]byte{b})
		if err != nil {
			return
		}
		protected := r[0].SW.OK() || r[0].SW.SW1() == 0x62 || r[0].SW.SW1() == 0x63
		if protected && !bytes.Equal(b, v.response()) {
			t.Errorf("%x passed as the card's", b)
		}
	})
}

// FuzzUnwrapSCP02 does the same with SCP02, where an error may carry an R-MAC
// but needs none.
func FuzzUnwrapSCP02(f *testing.F) {
	v := session02At(f, 0x75, gp.LevelCENCRMAC)
	right := v.responses()[0]
	f.Add(right)
	f.Add([]byte{0x90, 0x00})
	f.Add([]byte{0x6A, 0x80})
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 0x6A, 0x80})
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := v.open(t)
		if _, err := s.Wrap(ctx, v.commands()[:1]); err != nil {
			t.Fatal(err)
		}
		r, err := s.Unwrap(ctx, [][]byte{b})
		if err != nil {
			return
		}
		bare := len(b) == 2 && !r[0].SW.OK() && r[0].SW.SW1() != 0x62 && r[0].SW.SW1() != 0x63
		if !bare && !bytes.Equal(b, right) {
			t.Errorf("%x passed as the card's", b)
		}
	})
}
