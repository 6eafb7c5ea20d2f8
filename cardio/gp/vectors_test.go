package gp_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// hexBytes is JSON hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	out, err := hex.DecodeString(s)
	*h = out
	return err
}

type trace struct {
	Source                                         string
	I                                              hexBytes
	Level                                          hexBytes
	ENC, MAC, DEK                                  hexBytes
	InitUpdate, InitUpdateResponse                 hexBytes
	ExternalAuthenticate                           hexBytes
	PlainCommand, WrappedCommand                   hexBytes
	WrappedResponseData, Status, PlainResponseData hexBytes
	AID                                            hexBytes
}

func (v trace) name() string {
	return fmt.Sprintf("AES-%d %v level %X", len(v.ENC)*8, gp.ModeOf(v.I[0]), []byte(v.Level))
}

func (v trace) keys(t testing.TB) *gp.SoftwareKeys {
	t.Helper()
	k, err := gp.NewSoftwareKeys(v.ENC, v.MAC, v.DEK)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v trace) hostChallenge() []byte { return v.InitUpdate[5 : 5+int(v.InitUpdate[4])] }

func (v trace) open(t testing.TB) (*gp.SCP03, []byte) {
	t.Helper()
	iu, err := gp.ParseInitializeUpdate(v.InitUpdateResponse)
	if err != nil {
		t.Fatal(err)
	}
	s, ea, err := gp.OpenSCP03(context.Background(), v.keys(t), iu, v.hostChallenge(), v.AID, gp.Level(v.Level[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, ea
}

func (v trace) response() []byte {
	return append(append([]byte(nil), v.WrappedResponseData...), v.Status...)
}

type vectorFile struct {
	SCP03    []trace
	SCP03Kcv []struct{ Key, KCV hexBytes }

	SCP03PseudoRandomChallenge []struct{ ENC, AID, Counter, Challenge hexBytes }

	DiversificationKcv []struct {
		Scheme                         string
		Master, KeyDiversificationData hexBytes
		KCV                            []hexBytes
	}
	DiversificationKdf3Aes256 struct{ Master, KeyDiversificationData, Key hexBytes }
	KMC                       struct{ KMC, KeyData, ENC, MAC, DEK hexBytes }
	SCP02                     []trace
	AESCmac                   struct{ Key, Message64, MAC hexBytes }
}

func vectors(t testing.TB) vectorFile {
	t.Helper()
	b, err := os.ReadFile("testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP03) != 9 || len(v.SCP03Kcv) != 3 || len(v.SCP03PseudoRandomChallenge) != 2 {
		t.Fatal("the known answers are not all there")
	}
	return v
}

// sessions are the traces of real cards, all in S8 mode, and the sessions in
// S16 mode that scp03-openssl.bash made.
func sessions(t testing.TB) []trace {
	t.Helper()
	b, err := os.ReadFile("testdata/scp03-s16.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP03) != 15 {
		t.Fatal("the sessions in S16 mode are not all there")
	}
	return append(vectors(t).SCP03, v.SCP03...)
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if diff := cmp.Diff(hex.EncodeToString(want), hex.EncodeToString(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestTraces replays sessions of a real card, and those in S16 mode:
// challenge, cryptograms, EXTERNAL AUTHENTICATE, one wrapped command and its
// response.
func TestTraces(t *testing.T) {
	ctx := context.Background()
	for _, v := range sessions(t) {
		t.Run(v.name(), func(t *testing.T) {
			iuCommand, err := gp.InitializeUpdateCommand(v.InitUpdate[2], v.hostChallenge()).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "INITIALIZE UPDATE", iuCommand, v.InitUpdate)
			s, ea := v.open(t)
			equal(t, "EXTERNAL AUTHENTICATE", ea, v.ExternalAuthenticate)
			plain, err := apdu.Parse(v.PlainCommand)
			if err != nil {
				t.Fatal(err)
			}
			wrapped, err := s.Wrap(ctx, []apdu.Command{plain})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "wrapped command", wrapped[0], v.WrappedCommand)
			got, err := s.Unwrap(ctx, [][]byte{v.response()})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "response data", got[0].Data, v.PlainResponseData)
			if !got[0].SW.OK() {
				t.Errorf("status word %v", got[0].SW)
			}
		})
	}
}

// TestEveryBitOfATraceCounts changes each byte that the card proves something
// with.
func TestEveryBitOfATraceCounts(t *testing.T) {
	ctx := context.Background()
	for _, v := range sessions(t) {
		t.Run(v.name(), func(t *testing.T) {
			for i := 13; i < len(v.InitUpdateResponse); i++ {
				b := append([]byte(nil), v.InitUpdateResponse...)
				b[i] ^= 0x10
				iu, err := gp.ParseInitializeUpdate(b)
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = gp.OpenSCP03(ctx, v.keys(t), iu, v.hostChallenge(), v.AID, gp.Level(v.Level[0]))
				want := gp.ErrCardCryptogram
				if i >= 13+2*int(gp.ModeOf(v.I[0])) {
					want = gp.ErrCardChallenge
				}
				wantError(t, err, want)
			}
			if v.Level[0]&0x10 == 0 {
				return
			}
			plain, _ := apdu.Parse(v.PlainCommand)
			for i := range len(v.response()) - 2 {
				s, _ := v.open(t)
				if _, err := s.Wrap(ctx, []apdu.Command{plain}); err != nil {
					t.Fatal(err)
				}
				r := v.response()
				r[i] ^= 0x01
				_, err := s.Unwrap(ctx, [][]byte{r})
				wantError(t, err, gp.ErrResponseMAC)
				_, err = s.Wrap(ctx, nil)
				wantError(t, err, gp.ErrResponseMAC) // the session is over
			}
		})
	}
}

// TestOpenSSLMakesTheSessions: the script that made the sessions in S16 mode
// makes them again, and with 8 bytes it makes those of real cards, which it
// was not written from.
func TestOpenSSLMakesTheSessions(t *testing.T) {
	for _, tool := range []string{"openssl", "bash", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	for _, v := range sessions(t) {
		t.Run(v.name(), func(t *testing.T) {
			t.Parallel()
			r := v.InitUpdateResponse
			arguments := []string{"testdata/scp03-openssl.bash"}
			for _, a := range [][]byte{
				v.I, v.Level, v.ENC, v.MAC, v.DEK, v.AID, r[:10], r[10:11], r[len(r)-3:], v.hostChallenge(), v.PlainCommand, v.PlainResponseData,
			} {
				arguments = append(arguments, hex.EncodeToString(a))
			}
			out, err := exec.Command("bash", arguments...).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got trace
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			got.Source = v.Source
			if diff := cmp.Diff(v, got); diff != "" {
				t.Errorf("(-fixed +openssl):\n%s", diff)
			}
		})
	}
}

func TestKeyCheckValues(t *testing.T) {
	for _, v := range vectors(t).SCP03Kcv {
		c, err := gp.NewSoftwareCipher(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		kcv, err := gp.KCV(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "KCV", kcv, v.KCV)
	}
}

func TestPseudoRandomChallenge(t *testing.T) {
	for _, v := range vectors(t).SCP03PseudoRandomChallenge {
		c, err := gp.NewSoftwareCipher(v.ENC)
		if err != nil {
			t.Fatal(err)
		}
		got, err := gp.CardChallenge(context.Background(), c, gp.S8, v.Counter, v.AID)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "challenge", got, v.Challenge)
	}
}

// TestCMAC has the four examples of RFC 4493 section 4.
func TestCMAC(t *testing.T) {
	v := vectors(t).AESCmac
	c, err := gp.NewSoftwareCipher(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: hex.EncodeToString(v.MAC),
	} {
		got, err := c.CMAC(context.Background(), v.Message64[:n])
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != want {
			t.Errorf("%d bytes: %x, want %s", n, got, want)
		}
	}
}

// TestCMACAgainstOpenSSL asks a judge that shares no code with this one, for
// the key sizes that the RFC leaves out.
func TestCMACAgainstOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i * 7)
	}
	message := []byte(strings.Repeat("seventeen bytes. ", 5))
	for _, size := range []int{16, 24, 32} {
		for _, n := range []int{15, 16, 17, 32, 85} {
			cmd := exec.Command("openssl", "mac", "-cipher", fmt.Sprintf("AES-%d-CBC", size*8),
				"-macopt", "hexkey:"+hex.EncodeToString(key[:size]), "-binary", "CMAC")
			cmd.Stdin = strings.NewReader(string(message[:n]))
			want, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			c, err := gp.NewSoftwareCipher(key[:size])
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.CMAC(context.Background(), message[:n])
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("AES-%d over %d bytes", size*8, n), got, want)
		}
	}
}
