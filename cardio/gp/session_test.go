package gp_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// traceAt finds the 128-bit trace of a level.
func traceAt(t testing.TB, level gp.Level) trace {
	t.Helper()
	for _, v := range vectors(t).SCP03 {
		if gp.Level(v.Level[0]) == level {
			return v
		}
	}
	t.Fatalf("no trace at level %v", level)
	return trace{}
}

// TestBatchEqualsOneByOne: wrapping a card's commands at once gives the same
// bytes as one after the other.
func TestBatchEqualsOneByOne(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		level := rapid.SampledFrom([]gp.Level{gp.LevelCENC, gp.LevelCMACRMAC, gp.LevelFull}).Draw(rt, "level")
		v := traceAt(t, level)
		var commands []apdu.Command
		for range rapid.IntRange(0, 6).Draw(rt, "commands") {
			commands = append(commands, apdu.Command{
				CLA: 0x80, INS: rapid.Byte().Draw(rt, "ins"), P1: rapid.Byte().Draw(rt, "p1"),
				Data: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "data"),
				Ne:   rapid.SampledFrom([]int{0, 1, 256, 300, 65536}).Draw(rt, "ne"),
			})
		}
		one, _ := v.open(t)
		all, _ := v.open(t)
		batch, err := all.Wrap(ctx, commands)
		if err != nil {
			rt.Fatal(err)
		}
		for i, c := range commands {
			single, err := one.Wrap(ctx, []apdu.Command{c})
			if err != nil {
				rt.Fatal(err)
			}
			if !bytes.Equal(single[0], batch[i]) {
				rt.Fatalf("command %d: %x alone, %x in a batch", i, single[0], batch[i])
			}
			wrapped, err := apdu.Parse(batch[i])
			if err != nil {
				rt.Fatal(err)
			}
			if wrapped.CLA != 0x84 || len(wrapped.Data) < len(c.Data)+8 {
				rt.Fatalf("command %d is not protected: %v", i, wrapped)
			}
		}
	})
}

func TestSensitiveCommandsGrowNoFurtherThanAPDU(t *testing.T) {
	ctx := context.Background()
	for level, plain := range map[gp.Level]int{gp.LevelCENC: 239, gp.LevelCMACRMAC: 247, gp.LevelFull: 239} {
		if got := gp.MaxPlainData(gp.S8, level, false); got != plain {
			t.Errorf("level %v: %d bytes, want %d", level, got, plain)
		}
		s, _ := traceAt(t, level).open(t)
		for _, extended := range []bool{false, true} {
			n := gp.MaxPlainData(gp.S8, level, extended)
			wrapped, err := s.Wrap(ctx, []apdu.Command{{CLA: 0x80, INS: 0xE2, Data: make([]byte, n)}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := apdu.Parse(wrapped[0])
			if err != nil {
				t.Fatal(err)
			}
			if c.Extended != extended {
				t.Errorf("level %v: %d plain bytes became %v", level, n, c)
			}
		}
		if _, err := s.Wrap(ctx, []apdu.Command{{CLA: 0x80, Data: make([]byte, gp.MaxPlainData(gp.S8, level, true)+1)}}); err == nil {
			t.Errorf("level %v: a command that cannot be protected was wrapped", level)
		}
		if _, err := s.Wrap(ctx, []apdu.Command{{CLA: 0x80, INS: 0xCA}}); err != nil {
			t.Errorf("level %v: the session did not survive a command it refused: %v", level, err)
		}
	}
	if gp.MaxPlainData(gp.S8, gp.LevelNone, false) != 255 {
		t.Error("without protection a command carries 255 bytes")
	}
}

func TestErrorStatusCarriesNoMAC(t *testing.T) {
	ctx := context.Background()
	commands := make([]apdu.Command, 3)
	for i := range commands {
		commands[i] = apdu.Command{CLA: 0x80, INS: 0xE2, Data: []byte{1}}
	}
	for _, level := range []gp.Level{gp.LevelCMACRMAC, gp.LevelFull} {
		s, _ := traceAt(t, level).open(t)
		if _, err := s.Wrap(ctx, commands); err != nil {
			t.Fatal(err)
		}
		r, err := s.Unwrap(ctx, [][]byte{{0x6A, 0x80}})
		if err != nil || r[0].SW != apdu.SWWrongData {
			t.Fatalf("level %v: %v, %v", level, r, err)
		}
		for _, bare := range [][]byte{{0x90, 0x00}, {0x63, 0x10}, {0x62, 0x83}} {
			s, _ := traceAt(t, level).open(t)
			if _, err := s.Wrap(ctx, commands); err != nil {
				t.Fatal(err)
			}
			_, err = s.Unwrap(ctx, [][]byte{bare})
			wantError(t, err, gp.ErrResponseMAC)
		}
		_, err = s.Unwrap(ctx, [][]byte{{1, 2, 0x6A, 0x80}})
		wantError(t, err, gp.ErrResponseData)
	}
}

func TestUnwrapKnowsItsPlace(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelFull)
	plain, _ := apdu.Parse(v.PlainCommand)
	s, _ := v.open(t)
	if _, err := s.Unwrap(ctx, [][]byte{v.response()}); err == nil {
		t.Error("a response was accepted before any command")
	}
	if _, err := s.Wrap(ctx, []apdu.Command{plain, plain}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unwrap(ctx, [][]byte{v.response()}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Unwrap(ctx, [][]byte{v.response()}) // the same answer to the next command
	wantError(t, err, gp.ErrResponseMAC)
	if len(got) != 0 {
		t.Errorf("%d responses from a replay", len(got))
	}
	var at *apdu.ExchangeError
	if !errors.As(err, &at) || at.Index != 0 {
		t.Errorf("the error does not say which response: %v", err)
	}
}

func TestShortAnswersAreInDoubt(t *testing.T) {
	ctx := context.Background()
	s, _ := traceAt(t, gp.LevelCENC).open(t)
	if _, err := s.Wrap(ctx, []apdu.Command{{CLA: 0x80}}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Unwrap(ctx, [][]byte{{0x90}})
	wantError(t, err, apdu.ErrInDoubt)
}

func TestLevelsThatCardsDoNotOffer(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelFull)
	b := append([]byte(nil), v.InitUpdateResponse[:29]...)
	for i, level := range map[byte]gp.Level{0x00: gp.LevelCMACRMAC, 0x20: gp.LevelFull, 0x60: 0x21} {
		b[12] = i
		iu, err := gp.ParseInitializeUpdate(b)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge(), v.AID, level)
		wantError(t, err, gp.ErrUnsupported)
	}
	b[12] = 0x60 // a random challenge: the same keys and cryptograms, no counter
	iu, err := gp.ParseInitializeUpdate(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge(), nil, gp.LevelFull); err != nil {
		t.Error(err)
	}
	_, _, err = gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge()[:7], nil, gp.LevelFull)
	wantError(t, err, gp.ErrUnsupported)
}

func TestPlainLevelLeavesCommandsAlone(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelFull)
	iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge(), v.AID, gp.LevelNone)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := apdu.Parse(v.PlainCommand)
	wrapped, err := s.Wrap(ctx, []apdu.Command{plain})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "command", wrapped[0], v.PlainCommand)
	if _, err := s.Unwrap(ctx, [][]byte{{0x90, 0x00}}); err != nil {
		t.Error(err)
	}
}

func TestCountDataOnly(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelFull)
	iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	empty, full := apdu.Command{CLA: 0x80, INS: 0xCA}, apdu.Command{CLA: 0x80, INS: 0xE2, Data: []byte{1}}
	wrap := func(options ...gp.Option) []byte {
		s, _, err := gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge(), v.AID, gp.LevelFull, options...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Wrap(ctx, []apdu.Command{empty, full})
		if err != nil {
			t.Fatal(err)
		}
		return out[1]
	}
	if bytes.Equal(wrap(), wrap(gp.CountDataOnly())) {
		t.Error("the option changes nothing")
	}
}

// TestChannelNumberIsOutsideTheMAC: only the class byte sent differs.
func TestChannelNumberIsOutsideTheMAC(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelCENC)
	var want []byte
	for cla, sent := range map[byte]byte{0x80: 0x84, 0x81: 0x85, 0x83: 0x87, 0xC0: 0xE0, 0xC5: 0xE5} {
		s, _ := v.open(t)
		out, err := s.Wrap(ctx, []apdu.Command{{CLA: cla, INS: 0xE2, Data: []byte{1, 2, 3}}})
		if err != nil {
			t.Fatal(err)
		}
		if out[0][0] != sent {
			t.Errorf("class %02X became %02X, want %02X", cla, out[0][0], sent)
		}
		if want == nil {
			want = out[0][1:]
		}
		equal(t, "all but the class", out[0][1:], want)
	}
}

// failing is a cipher whose token has gone away.
type failing struct{ gp.Cipher }

var errToken = errors.New("token gone")

func (failing) CMAC(context.Context, []byte) ([]byte, error)       { return nil, errToken }
func (failing) EncryptECB(context.Context, []byte) ([]byte, error) { return nil, errToken }

type failingKeys struct {
	*gp.SoftwareKeys
	kind byte
}

func (k failingKeys) DeriveSession(ctx context.Context, kind byte, kdfContext []byte) (gp.Cipher, error) {
	c, err := k.SoftwareKeys.DeriveSession(ctx, kind, kdfContext)
	if kind == k.kind {
		return failing{c}, err
	}
	return c, err
}

func TestTokenFailuresAreNotTheCardsFault(t *testing.T) {
	ctx := context.Background()
	v := traceAt(t, gp.LevelFull)
	iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := apdu.Parse(v.PlainCommand)
	for _, kind := range []byte{gp.DeriveSENC, gp.DeriveSMAC, gp.DeriveSRMAC} {
		s, _, err := gp.OpenSCP03(ctx, failingKeys{v.keys(t), kind}, iu, v.hostChallenge(), v.AID, gp.LevelFull)
		if err == nil {
			if _, err = s.Wrap(ctx, []apdu.Command{plain}); err == nil {
				_, err = s.Unwrap(ctx, [][]byte{v.response()})
			}
		}
		wantError(t, err, errToken)
		if errors.Is(err, gp.ErrResponseMAC) || errors.Is(err, gp.ErrCardCryptogram) {
			t.Errorf("a token's failure looks like a card's: %v", err)
		}
	}
}

func TestClosedSession(t *testing.T) {
	ctx := context.Background()
	s, _ := traceAt(t, gp.LevelFull).open(t)
	s.Close()
	_, err := s.Wrap(ctx, nil)
	wantError(t, err, gp.ErrClosed)
	_, err = s.Unwrap(ctx, nil)
	wantError(t, err, gp.ErrClosed)
	_, err = s.EncipherDEK(ctx, make([]byte, 16))
	wantError(t, err, gp.ErrClosed)
}

func TestSoftwareKeySizes(t *testing.T) {
	for _, n := range []int{0, 15, 17, 33} {
		if _, err := gp.NewSoftwareKeys(make([]byte, n), make([]byte, n), make([]byte, n)); err == nil {
			t.Errorf("keys of %d bytes were taken", n)
		}
	}
	if _, err := gp.NewSoftwareKeys(make([]byte, 16), make([]byte, 16), make([]byte, 32)); err == nil {
		t.Error("keys of two sizes were taken")
	}
	ctx := context.Background()
	k, err := gp.NewSoftwareKeys(make([]byte, 16), make([]byte, 16), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.DEK().EncryptCBC(ctx, make([]byte, 16), make([]byte, 15)); err == nil {
		t.Error("half a block was enciphered")
	}
	if _, err := k.DEK().EncryptCBC(ctx, make([]byte, 8), make([]byte, 16)); err == nil {
		t.Error("a short initial vector was taken")
	}
	if _, err := k.DeriveSession(ctx, 0x05, nil); err == nil {
		t.Error("an unknown kind of key was derived")
	}
	k.Close()
	if _, err := k.ENC().CMAC(ctx, nil); err == nil {
		t.Error("a closed key still works")
	}
}
