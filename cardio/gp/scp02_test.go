package gp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// session02 is a session of SCP02 that scp02-openssl.bash made.
type session02 struct {
	Source                         string
	I, Level                       hexBytes
	ENC, MAC, DEK, AID             hexBytes
	SENC, SMAC, SRMAC, SDEK        hexBytes
	InitUpdate, InitUpdateResponse hexBytes
	ExternalAuthenticate           hexBytes
	Secret, Enciphered             hexBytes
	Exchanges                      []struct{ Plain, Wrapped, Answer, Protected hexBytes }
}

func sessions02(t testing.TB) []session02 {
	t.Helper()
	b, err := os.ReadFile("testdata/scp02.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ SCP02 []session02 }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP02) != 15 {
		t.Fatal("the sessions of SCP02 are not all there")
	}
	return v.SCP02
}

func session02At(t testing.TB, i byte, level gp.Level) session02 {
	t.Helper()
	for _, v := range sessions02(t) {
		if v.I[0] == i && gp.Level(v.Level[0]) == level {
			return v
		}
	}
	t.Fatalf("no session with i=%02X at level %v", i, level)
	return session02{}
}

func (v session02) name() string { return fmt.Sprintf("i=%X level %X", []byte(v.I), []byte(v.Level)) }

func (v session02) protocol() gp.Protocol { return gp.Protocol{SCP: 2, I: v.I[0]} }

func (v session02) hostChallenge() []byte { return v.InitUpdate[5:13] }

func (v session02) keys(t testing.TB) *gp.SoftwareDESKeys {
	t.Helper()
	k, err := gp.NewSoftwareDESKeys(v.ENC, v.MAC, v.DEK)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v session02) parse(t testing.TB) gp.InitializeUpdate {
	t.Helper()
	iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	return iu
}

func (v session02) open(t testing.TB) (*gp.SCP02, []byte) {
	t.Helper()
	s, ea, err := gp.OpenSCP02(context.Background(), v.keys(t), v.parse(t), v.I[0], v.hostChallenge(), v.AID, gp.Level(v.Level[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, ea
}

// plain is a command of CLA, INS, P1, P2, Lc and data, without Le.
func plain02(b []byte) apdu.Command {
	return apdu.Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3], Data: b[5:]}
}

func (v session02) commands() (out []apdu.Command) {
	for _, e := range v.Exchanges {
		out = append(out, plain02(e.Plain))
	}
	return out
}

func (v session02) responses() (out [][]byte) {
	for _, e := range v.Exchanges {
		out = append(out, append(bytes.Clone(e.Protected), 0x90, 0x00))
	}
	return out
}

// TestSCP02Recorded is a session of another project's tests.
func TestSCP02Recorded(t *testing.T) {
	ctx := context.Background()
	all := vectors(t).SCP02
	if len(all) == 0 {
		t.Fatal("no known answer for SCP02")
	}
	for _, v := range all {
		iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := gp.NewSoftwareDESKeys(v.ENC, v.MAC, v.DEK)
		if err != nil {
			t.Fatal(err)
		}
		s, ea, err := gp.OpenSCP02(ctx, keys, iu, v.I[0], v.hostChallenge(), nil, gp.Level(v.Level[0]))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "EXTERNAL AUTHENTICATE", ea, v.ExternalAuthenticate)
		wrapped, err := s.Wrap(ctx, []apdu.Command{plain02(v.PlainCommand)})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "wrapped command", wrapped[0], v.WrappedCommand)
	}
}

// TestSCP02Sessions compares sessions with those of openssl, every option of i
// and every level: as one batch, and one command after the other.
func TestSCP02Sessions(t *testing.T) {
	ctx := context.Background()
	for _, v := range sessions02(t) {
		t.Run(v.name(), func(t *testing.T) {
			opened, ea, err := gp.Open(ctx, gp.Keys{DES: v.keys(t)}, v.protocol(), v.parse(t), v.hostChallenge(), v.AID, gp.Level(v.Level[0]))
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			equal(t, "EXTERNAL AUTHENTICATE", ea, v.ExternalAuthenticate)
			if opened.Level() != gp.Level(v.Level[0]) {
				t.Errorf("level %v", opened.Level())
			}
			enciphered, err := opened.EncipherDEK(ctx, v.Secret)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "under S-DEK", enciphered, v.Enciphered)
			wrapped, err := opened.Wrap(ctx, v.commands())
			if err != nil {
				t.Fatal(err)
			}
			answers, err := opened.Unwrap(ctx, v.responses())
			if err != nil {
				t.Fatal(err)
			}
			single, _ := v.open(t)
			for i, e := range v.Exchanges {
				equal(t, fmt.Sprintf("command %d", i+1), wrapped[i], e.Wrapped)
				equal(t, fmt.Sprintf("answer %d", i+1), answers[i].Data, e.Answer)
				one, err := single.Wrap(ctx, []apdu.Command{plain02(e.Plain)})
				if err != nil {
					t.Fatal(err)
				}
				equal(t, fmt.Sprintf("command %d alone", i+1), one[0], e.Wrapped)
				if _, err := single.Unwrap(ctx, v.responses()[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOpenSSLMakesSCP02 runs the script again, and on the session that it was
// not written from.
func TestOpenSSLMakesSCP02(t *testing.T) {
	for _, tool := range []string{"openssl", "bash", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	recorded := vectors(t).SCP02[0]
	all := []session02{{
		I: recorded.I, Level: recorded.Level, ENC: recorded.ENC, MAC: recorded.MAC, DEK: recorded.DEK,
		InitUpdate: recorded.InitUpdate, InitUpdateResponse: recorded.InitUpdateResponse, ExternalAuthenticate: recorded.ExternalAuthenticate,
		Exchanges: []struct{ Plain, Wrapped, Answer, Protected hexBytes }{{Plain: recorded.PlainCommand, Wrapped: recorded.WrappedCommand}},
		Secret:    make([]byte, 8),
	}, session02At(t, 0x55, gp.LevelCENC), session02At(t, 0x75, gp.LevelCENCRMAC)}
	for n, v := range all {
		t.Run(v.name(), func(t *testing.T) {
			t.Parallel()
			r := v.InitUpdateResponse
			arguments := []string{"testdata/scp02-openssl.bash"}
			for _, a := range [][]byte{v.I, v.Level, v.ENC, v.MAC, v.DEK, v.AID, r[:10], r[10:11], r[12:14], r[14:20], v.hostChallenge(), v.Secret} {
				arguments = append(arguments, hex.EncodeToString(a))
			}
			for _, e := range v.Exchanges {
				arguments = append(arguments, hex.EncodeToString(e.Plain), hex.EncodeToString(e.Answer))
			}
			out, err := exec.Command("bash", arguments...).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got session02
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				equal(t, "EXTERNAL AUTHENTICATE", got.ExternalAuthenticate, v.ExternalAuthenticate)
				equal(t, "answer to INITIALIZE UPDATE", got.InitUpdateResponse, v.InitUpdateResponse)
				equal(t, "wrapped command", got.Exchanges[0].Wrapped, v.Exchanges[0].Wrapped)
				return
			}
			if diff := cmp.Diff(v, got); diff != "" {
				t.Errorf("(-fixed +openssl):\n%s", diff)
			}
		})
	}
}

// TestEveryBitOfSCP02Counts changes each byte that the card proves something
// with. No command is then there to be sent.
func TestEveryBitOfSCP02Counts(t *testing.T) {
	ctx := context.Background()
	for _, v := range []session02{session02At(t, 0x15, gp.LevelCENC), session02At(t, 0x75, gp.LevelCENCRMAC)} {
		for i := 12; i < len(v.InitUpdateResponse); i++ {
			b := bytes.Clone(v.InitUpdateResponse)
			b[i] ^= 0x10
			iu, err := gp.ParseInitializeUpdate(b)
			if err != nil {
				t.Fatal(err)
			}
			_, ea, err := gp.OpenSCP02(ctx, v.keys(t), iu, v.I[0], v.hostChallenge(), v.AID, gp.Level(v.Level[0]))
			wantError(t, err, gp.ErrCardCryptogram)
			if ea != nil {
				t.Error("there is an EXTERNAL AUTHENTICATE all the same")
			}
		}
	}
	v := session02At(t, 0x55, gp.LevelCENC)
	_, _, err := gp.OpenSCP02(ctx, v.keys(t), v.parse(t), 0x55, v.hostChallenge(), []byte{0xA0, 0, 0, 2, 0x47, 0x10, 1}, gp.LevelCENC)
	wantError(t, err, gp.ErrCardChallenge)
	if _, _, err := gp.OpenSCP02(ctx, v.keys(t), v.parse(t), 0x15, v.hostChallenge(), nil, gp.LevelCENC); err != nil {
		t.Errorf("i=15 has no challenge to check: %v", err)
	}
	v = session02At(t, 0x75, gp.LevelCENCRMAC)
	for at := range v.Exchanges {
		for i := range v.responses()[at] {
			s, _ := v.open(t)
			if _, err := s.Wrap(ctx, v.commands()); err != nil {
				t.Fatal(err)
			}
			r := v.responses()
			r[at][i] ^= 0x01
			good, err := s.Unwrap(ctx, r)
			wantError(t, err, gp.ErrResponseMAC)
			var where *apdu.ExchangeError
			if !errors.As(err, &where) || where.Index != at || len(good) != at {
				t.Errorf("byte %d of answer %d: %v with %d good ones", i, at, err, len(good))
			}
			_, err = s.Wrap(ctx, nil)
			wantError(t, err, gp.ErrResponseMAC) // the session is over
		}
	}
}

// TestSCP02ErrorStatus: an error may come bare, success and warnings may not,
// and the next R-MAC chains from the one before the error.
func TestSCP02ErrorStatus(t *testing.T) {
	ctx := context.Background()
	v := session02At(t, 0x75, gp.LevelCENCRMAC)
	commands := v.commands()
	s, _ := v.open(t)
	if _, err := s.Wrap(ctx, []apdu.Command{commands[0], commands[3], commands[1]}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Unwrap(ctx, [][]byte{v.responses()[0], {0x6A, 0x80}, v.responses()[1]})
	if err != nil || got[1].SW != apdu.SWWrongData || len(got[1].Data) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bare := range [][]byte{{0x90, 0x00}, {0x63, 0x10}, {0x62, 0x83}, {1, 2, 0x6A, 0x80}, {1, 2, 3, 4, 5, 6, 7, 8, 0x6A, 0x80}} {
		s, _ := v.open(t)
		if _, err := s.Wrap(ctx, commands); err != nil {
			t.Fatal(err)
		}
		_, err := s.Unwrap(ctx, [][]byte{bare})
		wantError(t, err, gp.ErrResponseMAC)
	}
	s, _ = v.open(t)
	if _, err := s.Wrap(ctx, commands); err != nil {
		t.Fatal(err)
	}
	_, err = s.Unwrap(ctx, [][]byte{{0x90}})
	wantError(t, err, apdu.ErrInDoubt)
}

// TestProtocolsThatDoNotFit: each has a clear error before EXTERNAL
// AUTHENTICATE.
func TestProtocolsThatDoNotFit(t *testing.T) {
	ctx := context.Background()
	v := session02At(t, 0x55, gp.LevelCENC)
	three := traceAt(t, gp.LevelFull)
	iu3, err := gp.ParseInitializeUpdate(three.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	both := gp.Keys{AES: three.keys(t), DES: v.keys(t)}
	for _, test := range []struct {
		what     string
		keys     gp.Keys
		expected gp.Protocol
		iu       gp.InitializeUpdate
		level    gp.Level
	}{
		{"SCP02 where SCP03 is expected", both, gp.Protocol{SCP: 3, I: 0x70}, v.parse(t), gp.LevelCENC},
		{"SCP03 where SCP02 is expected", both, gp.Protocol{SCP: 2, I: 0x55}, iu3, gp.LevelCENC},
		{"SCP02 without keys for it", gp.Keys{AES: both.AES}, v.protocol(), v.parse(t), gp.LevelCENC},
		{"SCP03 without keys for it", gp.Keys{DES: both.DES}, gp.Protocol{SCP: 3}, iu3, gp.LevelCENC},
		{"another protocol", both, gp.Protocol{SCP: 0x11}, gp.InitializeUpdate{SCP: 0x11}, gp.LevelCENC},
		{"implicit initiation", both, gp.Protocol{SCP: 2, I: 0x1B}, v.parse(t), gp.LevelCMAC},
		{"C-MAC on the unmodified APDU", both, gp.Protocol{SCP: 2, I: 0x17}, v.parse(t), gp.LevelCMAC},
		{"an ICV over the AID", both, gp.Protocol{SCP: 2, I: 0x1D}, v.parse(t), gp.LevelCMAC},
		{"an unknown option", both, gp.Protocol{SCP: 2, I: 0x95}, v.parse(t), gp.LevelCMAC},
		{"R-MAC that is not offered", both, v.protocol(), v.parse(t), gp.LevelCENCRMAC},
		{"R-ENCRYPTION", both, gp.Protocol{SCP: 2, I: 0x75}, v.parse(t), gp.LevelFull},
		{"C-DECRYPTION alone", both, v.protocol(), v.parse(t), 0x02},
	} {
		challenge := v.hostChallenge()
		if test.expected.SCP == 3 {
			challenge = three.hostChallenge()
		}
		s, ea, err := gp.Open(ctx, test.keys, test.expected, test.iu, challenge, v.AID, test.level)
		if !errors.Is(err, gp.ErrUnsupported) || s != nil || ea != nil {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	if _, _, err := gp.OpenSCP02(ctx, v.keys(t), v.parse(t), 0x55, v.hostChallenge()[:7], v.AID, gp.LevelCENC); !errors.Is(err, gp.ErrUnsupported) {
		t.Errorf("a short challenge: %v", err)
	}
	if _, _, err := gp.OpenSCP02(ctx, v.keys(t), iu3, 0x55, v.hostChallenge(), v.AID, gp.LevelCENC); !errors.Is(err, gp.ErrUnsupported) {
		t.Errorf("an answer of SCP03: %v", err)
	}
	if _, _, err := gp.OpenSCP03(ctx, three.keys(t), v.parse(t), three.hostChallenge(), v.AID, gp.LevelCENC); !errors.Is(err, gp.ErrUnsupported) {
		t.Errorf("an answer of SCP02: %v", err)
	}
	s, ea, err := gp.Open(ctx, both, gp.Protocol{SCP: 3, I: 0x70}, iu3, three.hostChallenge(), three.AID, gp.LevelFull, gp.CountDataOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	equal(t, "EXTERNAL AUTHENTICATE", ea, three.ExternalAuthenticate)
}

// TestSCP02Limits: what fits, and what cannot be protected.
func TestSCP02Limits(t *testing.T) {
	ctx := context.Background()
	for _, v := range sessions02(t) {
		level := gp.Level(v.Level[0])
		n := v.protocol().MaxPlainData(level, true)
		if want := map[bool]int{true: 239, false: 247}[level.CENC()]; level.CMAC() && n != want || !level.CMAC() && n != 255 {
			t.Errorf("%s: %d bytes", v.name(), n)
		}
		s, _ := v.open(t)
		wrapped, err := s.Wrap(ctx, []apdu.Command{{CLA: 0x80, INS: 0xE2, Data: make([]byte, n)}})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := apdu.Parse(wrapped[0]); err != nil || c.Extended {
			t.Errorf("%d bytes became %v, %v", n, c, err)
		}
		for _, c := range []apdu.Command{
			{CLA: 0x80, INS: 0xE2, Data: make([]byte, n+1)}, {CLA: 0x80, INS: 0xCA, Ne: 257}, {CLA: 0x80, INS: 0xE2, Data: []byte{1}, Extended: true},
		} {
			if _, err := s.Wrap(ctx, []apdu.Command{c}); err == nil {
				t.Errorf("%s: %v was wrapped", v.name(), c)
			}
		}
	}
	if p := (gp.Protocol{SCP: 3, I: 0x71}); p.Mode() != gp.S16 || p.MaxPlainData(gp.LevelFull, false) != 223 || p.Offers(gp.LevelRMAC) || !p.Offers(gp.LevelFull) {
		t.Errorf("%v is not SCP03 in S16 mode", p)
	}
}

// TestSCP02ChannelNumberIsOutsideTheMAC: only the class byte sent differs.
func TestSCP02ChannelNumberIsOutsideTheMAC(t *testing.T) {
	ctx := context.Background()
	v := session02At(t, 0x75, gp.LevelCENCRMAC)
	for cla, sent := range map[byte]byte{0x80: 0x84, 0x81: 0x85, 0x83: 0x87, 0xC0: 0xE0, 0xCF: 0xEF} {
		s, _ := v.open(t)
		c := v.commands()[0]
		c.CLA = cla
		out, err := s.Wrap(ctx, []apdu.Command{c})
		if err != nil {
			t.Fatal(err)
		}
		if out[0][0] != sent {
			t.Errorf("class %02X became %02X, want %02X", cla, out[0][0], sent)
		}
		equal(t, "all but the class", out[0][1:], v.Exchanges[0].Wrapped[1:])
		if _, err := s.Unwrap(ctx, v.responses()[:1]); err != nil {
			t.Errorf("class %02X: %v", cla, err)
		}
	}
}

func TestSCP02Closed(t *testing.T) {
	ctx := context.Background()
	s, _ := session02At(t, 0x55, gp.LevelCENC).open(t)
	if _, err := s.Unwrap(ctx, [][]byte{{0x90, 0x00}}); err == nil {
		t.Error("a response was accepted before any command")
	}
	s.Close()
	_, err := s.Wrap(ctx, nil)
	wantError(t, err, gp.ErrClosed)
	_, err = s.Unwrap(ctx, nil)
	wantError(t, err, gp.ErrClosed)
	_, err = s.EncipherDEK(ctx, make([]byte, 8))
	wantError(t, err, gp.ErrClosed)
}

// TestPutKeyDES: the layout of GPC_SPE_034 11.8.2.3, with keys of the known
// answers under the S-DEK of a session.
func TestPutKeyDES(t *testing.T) {
	ctx := context.Background()
	v := session02At(t, 0x55, gp.LevelCENC)
	s, _ := v.open(t)
	dek, err := s.DEK(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := gp.NewDESKeyComponent(ctx, dek, v.Secret[:16])
	if err != nil {
		t.Fatal(err)
	}
	kcv := "8baf47" // of the well-known 404142…4F
	equal(t, "KCV", c.KCV, unhex(t, kcv))
	command := gp.ReplaceKeyCommand(0x20, 0x21, 1, []gp.KeyComponent{c, c, c})
	one := "8010" + hex.EncodeToString(v.Enciphered[:16]) + "03" + kcv
	equal(t, "PUT KEY", command.Data, unhex(t, "21"+one+one+one))
	if err := gp.CheckPutKeyResponse(unhex(t, "21"+kcv+kcv+kcv), 0x21, []gp.KeyComponent{c, c, c}); err != nil {
		t.Error(err)
	}
	if _, err := gp.NewDESKeyComponent(ctx, dek, make([]byte, 24)); err == nil {
		t.Error("a key of three parts was taken")
	}
}

func TestSoftwareDESKeys(t *testing.T) {
	ctx := context.Background()
	for _, n := range []int{0, 8, 15, 24} {
		if _, err := gp.NewSoftwareDESKeys(make([]byte, n), make([]byte, 16), make([]byte, 16)); err == nil {
			t.Errorf("keys of %d bytes were taken", n)
		}
	}
	k, err := gp.NewSoftwareDESKeys(make([]byte, 16), make([]byte, 16), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.DeriveSession(ctx, 4, gp.DeriveSCP02DEK, make([]byte, 2)); err == nil {
		t.Error("an unknown kind of key was derived from")
	}
	c, err := k.DeriveSession(ctx, gp.KeyDEK, gp.DeriveSCP02DEK, make([]byte, 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.EncryptECB(ctx, make([]byte, 12)); err == nil {
		t.Error("a block and a half were enciphered")
	}
	if _, err := c.EncryptCBC(ctx, make([]byte, 16), make([]byte, 16)); err == nil {
		t.Error("a long initial vector was taken")
	}
	k.Close()
	if _, err := k.DeriveSession(ctx, gp.KeyDEK, gp.DeriveSCP02DEK, make([]byte, 2)); err == nil {
		t.Error("closed keys still work")
	}
	// Single DES is triple DES with equal parts.
	same := softwareDES(t, unhex(t, "01234567890abcde01234567890abcde"))
	data := []byte("sixteen bytes in")
	one, _ := same.EncryptSingleCBC(ctx, make([]byte, 8), data)
	three, _ := same.EncryptCBC(ctx, make([]byte, 8), data)
	equal(t, "single DES", one, three)
}
