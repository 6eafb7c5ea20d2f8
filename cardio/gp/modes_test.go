package gp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
)

// speaker is an applet that answers a block of STORE DATA with what the block
// says: two bytes of status word, then data.
type speaker struct{ sink }

func (speaker) StoreData(_ virtual.Env, _, _ byte, b []byte) ([]byte, apdu.StatusWord) {
	return b[2:], apdu.StatusWord(b[0])<<8 | apdu.StatusWord(b[1])
}

// variant is one way in which a card can do SCP03.
type variant struct {
	size int // bytes of a key
	i    byte
}

func (v variant) String() string {
	challenge := "random"
	if v.i&virtual.SCP03PseudoRandomChallenge != 0 {
		challenge = "pseudo-random"
	}
	return fmt.Sprintf("AES-%d %v %s", v.size*8, gp.ModeOf(v.i), challenge)
}

func variants() (out []variant) {
	for _, size := range []int{16, 24, 32} {
		for _, i := range []byte{0x60, 0x61, 0x70, 0x71} {
			out = append(out, variant{size, i})
		}
	}
	return out
}

func (v variant) chip(t testing.TB) *chip {
	t.Helper()
	blank := virtual.LDSBlank(virtual.NewSerial(7, 4711), virtual.Keys{
		Version: 0x30, ENC: key(0x00, v.size), MAC: key(0x40, v.size), DEK: key(0x80, v.size),
	})
	blank.SCP = v.i
	c, err := virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{
		virtual.LDSAID: func() virtual.Applet { return speaker{} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &chip{Chip: c}
}

// status sends bytes and returns the whole answer with its status word.
func (c *chip) status(t testing.TB, command []byte) ([]byte, apdu.StatusWord) {
	t.Helper()
	raw, err := c.Transmit(context.Background(), command)
	if err != nil {
		t.Fatal(err)
	}
	r, err := apdu.ParseResponse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw, r.SW
}

func (c *chip) want(t testing.TB, what string, command []byte, sw apdu.StatusWord) {
	t.Helper()
	if _, got := c.status(t, command); got != sw {
		t.Errorf("%s: %v, want %v", what, got, sw)
	}
}

func wrap(t testing.TB, s *gp.SCP03, c apdu.Command) []byte {
	t.Helper()
	out, err := s.Wrap(context.Background(), []apdu.Command{c})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// eachVariant runs a test on a card of every variant at every level that
// protects commands.
func eachVariant(t *testing.T, run func(t *testing.T, v variant, level gp.Level)) {
	for _, v := range variants() {
		for _, level := range levels[1:] {
			t.Run(fmt.Sprintf("%v level %v", v, level), func(t *testing.T) { run(t, v, level) })
		}
	}
}

var personalize = gp.InstallForPersonalizationCommand([]byte{0xA0, 0, 0, 2, 0x47, 0x10, 0x01})

// TestEveryVariantTalks: success and warnings carry an R-MAC, errors none, an
// answer without data is not enciphered, and the greatest block fits.
func TestEveryVariantTalks(t *testing.T) {
	ctx := context.Background()
	eachVariant(t, func(t *testing.T, v variant, level gp.Level) {
		c := v.chip(t)
		s, err := c.open(t, softwareKeys(t, 0, v.size), level)
		if err != nil {
			t.Fatal(err)
		}
		mode := gp.ModeOf(v.i)
		most := gp.MaxPlainData(mode, level, false)
		block := byte(0)
		for _, test := range []struct {
			sw   apdu.StatusWord
			data []byte
		}{
			{0x9000, nil}, {0x9000, key(1, 5)}, {0x6283, key(2, 16)}, {0x6310, nil}, {0x6A80, key(1, 4)},
			{0x9000, key(3, most-2)}, {0x6985, nil}, {0x9000, key(4, 15)},
		} {
			if block == 0 {
				raw, _ := c.status(t, wrap(t, s, personalize))
				if _, err := s.Unwrap(ctx, [][]byte{raw}); err != nil {
					t.Fatal(err)
				}
			}
			command := wrap(t, s, apdu.Command{
				CLA: 0x80, INS: 0xE2, P2: block, Data: append([]byte{byte(test.sw >> 8), byte(test.sw)}, test.data...), Ne: apdu.MaxShortNe,
			})
			if parsed, err := apdu.Parse(command); err != nil || parsed.Extended {
				t.Fatalf("%d bytes became %v, %v", len(test.data)+2, parsed, err)
			}
			block++
			want, length := test.data, len(test.data)
			protected := test.sw.OK() || test.sw.SW1() == 0x62 || test.sw.SW1() == 0x63
			switch {
			case !protected:
				block = 0 // the card has ended the sequence
				if level.RMAC() {
					want, length = nil, 0
				}
			case level.RMAC():
				if level.RENC() && length > 0 {
					length = (length/16 + 1) * 16
				}
				length += int(mode)
			}
			raw, sw := c.status(t, command)
			if sw != test.sw || len(raw)-2 != length {
				t.Fatalf("status %v with %d bytes, want %v with %d", sw, len(raw)-2, test.sw, length)
			}
			got, err := s.Unwrap(ctx, [][]byte{raw})
			if err != nil {
				t.Fatalf("status %v: %v", test.sw, err)
			}
			if !bytes.Equal(got[0].Data, want) || got[0].SW != test.sw {
				t.Fatalf("status %v: got %v with %x, want %x", test.sw, got[0].SW, got[0].Data, want)
			}
		}
	})
}

// TestEveryVariantRefusesOtherMACs: every byte of the C-MAC counts, a shorter
// one is none, and no command counts twice.
func TestEveryVariantRefusesOtherMACs(t *testing.T) {
	getCPLC := gp.GetDataCommand(gp.TagCPLC)
	eachVariant(t, func(t *testing.T, v variant, level gp.Level) {
		c := v.chip(t)
		n := int(gp.ModeOf(v.i))
		keys := softwareKeys(t, 0, v.size)
		refused := func(what string, change func([]byte) []byte) {
			t.Helper()
			s, err := c.open(t, keys, level)
			if err != nil {
				t.Fatal(err)
			}
			command := change(wrap(t, s, getCPLC))
			c.want(t, what, command, apdu.SWSecureMessagingIncorrect)
			c.want(t, what+", then the next command", wrap(t, s, getCPLC), apdu.SWSecurityStatusNotSatisfied)
		}
		for at := range n {
			refused(fmt.Sprintf("byte %d of the C-MAC", at), func(b []byte) []byte {
				b[5+at] ^= 0x80
				return b
			})
		}
		refused("a C-MAC cut by a byte", func(b []byte) []byte {
			b[4]--
			return append(b[:len(b)-2], 0)
		})
		refused("a replayed command", func(b []byte) []byte {
			c.want(t, "the first time", b, apdu.SWSuccess)
			return b
		})
		refused("a command without C-MAC", func([]byte) []byte { return []byte{0x84, 0xCA, 0x9F, 0x7F, 0x00} })
	})
}

// TestEveryVariantProvesItsAnswers: every byte of the R-MAC counts, a missing
// one is noticed, and no answer counts twice.
func TestEveryVariantProvesItsAnswers(t *testing.T) {
	ctx := context.Background()
	getCPLC := gp.GetDataCommand(gp.TagCPLC)
	eachVariant(t, func(t *testing.T, v variant, level gp.Level) {
		if !level.RMAC() {
			return
		}
		c := v.chip(t)
		n := int(gp.ModeOf(v.i))
		keys := softwareKeys(t, 0, v.size)
		refused := func(what string, change func([]byte) []byte) {
			t.Helper()
			s, err := c.open(t, keys, level)
			if err != nil {
				t.Fatal(err)
			}
			first, _ := c.status(t, wrap(t, s, getCPLC))
			if _, err := s.Unwrap(ctx, [][]byte{first}); err != nil {
				t.Fatal(err)
			}
			second, _ := c.status(t, wrap(t, s, getCPLC))
			answer := first
			if change != nil {
				answer = change(second)
			}
			if _, err := s.Unwrap(ctx, [][]byte{answer}); err == nil {
				t.Errorf("%s was accepted", what)
			} else {
				wantError(t, err, gp.ErrResponseMAC)
			}
		}
		for at := range n {
			refused(fmt.Sprintf("byte %d of the R-MAC altered", at), func(b []byte) []byte {
				b[len(b)-3-at] ^= 0x01
				return b
			})
		}
		refused("an answer without R-MAC", func(b []byte) []byte { return append(b[:len(b)-2-n], 0x90, 0x00) })
		refused("another status word", func(b []byte) []byte { return append(b[:len(b)-2], 0x63, 0x10) })
		refused("an answer given before", nil)
	})
}

// TestEveryVariantAuthenticates: lengths are those of the mode, every byte of
// cryptogram and MAC counts, nothing counts twice, and what is not the right
// length is no try.
func TestEveryVariantAuthenticates(t *testing.T) {
	ctx := context.Background()
	eachVariant(t, func(t *testing.T, v variant, level gp.Level) {
		c := v.chip(t)
		keys := softwareKeys(t, 0, v.size)
		mode := gp.ModeOf(v.i)
		other := gp.S8 + gp.S16 - mode
		c.want(t, "SELECT", []byte{0x00, 0xA4, 0x04, 0x00, 0x00}, apdu.SWSuccess)
		for _, n := range []int{1, int(other), int(mode) - 1, int(mode) + 1} {
			command, err := gp.InitializeUpdateCommand(0, make([]byte, n)).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			c.want(t, fmt.Sprintf("a challenge of %d bytes", n), command, apdu.SWWrongLength)
		}
		begin := func() []byte {
			challenge := make([]byte, mode)
			_, _ = rand.Read(challenge)
			data, err := apdu.Must(ctx, c, gp.InitializeUpdateCommand(0, challenge))
			if err != nil {
				t.Fatal(err)
			}
			iu, err := gp.ParseInitializeUpdate(data)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := gp.OpenSCP03(ctx, keys, iu, make([]byte, other), gp.ISDAID, level); err == nil {
				t.Error("a challenge of the other mode was accepted")
			}
			s, ea, err := gp.OpenSCP03(ctx, keys, iu, challenge, gp.ISDAID, level)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			return ea
		}
		if ea := begin(); len(ea) != 5+2*int(mode) || int(ea[4]) != 2*int(mode) {
			t.Errorf("EXTERNAL AUTHENTICATE %x", ea)
		}
		for at := range 2 * int(mode) {
			ea := begin()
			right := bytes.Clone(ea)
			ea[5+at] ^= 0x01
			want := apdu.SWAuthenticationFailed
			if at >= int(mode) {
				want = apdu.SWSecureMessagingIncorrect
			}
			c.want(t, fmt.Sprintf("byte %d altered", at), ea, want)
			c.want(t, "the right one afterwards", right, apdu.SWConditionsOfUseNotSatisfied)
			ea = begin() // a success forgets the failure
			c.want(t, "EXTERNAL AUTHENTICATE", ea, apdu.SWSuccess)
			c.want(t, "EXTERNAL AUTHENTICATE again", ea, apdu.SWConditionsOfUseNotSatisfied)
		}
		for range 12 { // more than the card allows failures
			ea := begin()
			ea[4] = byte(2 * other)
			c.want(t, "the length of the other mode", append(ea, make([]byte, 16)...)[:5+2*int(other)], apdu.SWWrongLength)
		}
		c.want(t, "EXTERNAL AUTHENTICATE", begin(), apdu.SWSuccess)
	})
}

// TestLevelsThatAreNotOffered: the host does not ask for them, and the card
// refuses a host that does.
func TestLevelsThatAreNotOffered(t *testing.T) {
	ctx := context.Background()
	for _, v := range variants() {
		keys := softwareKeys(t, 0, v.size)
		for _, responses := range []byte{0x00, 0x20, 0x60} {
			i := v.i&0x11 | responses
			c := variant{v.size, i}.chip(t)
			c.want(t, "SELECT", []byte{0x00, 0xA4, 0x04, 0x00, 0x00}, apdu.SWSuccess)
			for level := range 0x100 {
				level := gp.Level(level)
				challenge := key(9, int(gp.ModeOf(i)))
				data, err := apdu.Must(ctx, c, gp.InitializeUpdateCommand(0, challenge))
				if err != nil {
					t.Fatal(err)
				}
				iu, err := gp.ParseInitializeUpdate(data)
				if err != nil {
					t.Fatal(err)
				}
				if iu.I != i {
					t.Fatalf("i=%02X, want %02X", iu.I, i)
				}
				offered := level.Valid() && (!level.RMAC() || responses != 0x00) && (!level.RENC() || responses == 0x60)
				s, ea, err := gp.OpenSCP03(ctx, keys, iu, challenge, gp.ISDAID, level)
				want := apdu.SWSuccess
				switch {
				case offered && err != nil:
					t.Fatal(err)
				case !offered:
					wantError(t, err, gp.ErrUnsupported)
					want = apdu.SWIncorrectP1P2
					iu.I |= 0x60 // the cryptograms do not depend on it
					if s, ea, err = gp.OpenSCP03(ctx, keys, iu, challenge, gp.ISDAID, gp.LevelFull); err != nil {
						t.Fatal(err)
					}
					ea[2] = byte(level)
				}
				s.Close()
				c.want(t, fmt.Sprintf("i=%02X level %v", i, level), ea, want)
			}
		}
	}
}

// TestModeBounds: what fits into one protected command.
func TestModeBounds(t *testing.T) {
	for _, test := range []struct {
		mode            gp.Mode
		level           gp.Level
		short, extended int
	}{
		{gp.S8, gp.LevelNone, 255, 65535}, {gp.S8, gp.LevelCMAC, 247, 65527}, {gp.S8, gp.LevelFull, 239, 65519},
		{gp.S16, gp.LevelNone, 255, 65535}, {gp.S16, gp.LevelCMAC, 239, 65519}, {gp.S16, gp.LevelCMACRMAC, 239, 65519},
		{gp.S16, gp.LevelCENC, 223, 65503}, {gp.S16, gp.LevelFull, 223, 65503},
	} {
		short, extended := gp.MaxPlainData(test.mode, test.level, false), gp.MaxPlainData(test.mode, test.level, true)
		if short != test.short || extended != test.extended {
			t.Errorf("%v level %v: %d and %d, want %d and %d", test.mode, test.level, short, extended, test.short, test.extended)
		}
	}
}
