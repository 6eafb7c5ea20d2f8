package virtual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

type vectors struct {
	SCP03 []struct {
		I, Level, ENC, MAC, DEK, AID, Status   string
		InitUpdate, InitUpdateResponse         string
		ExternalAuthenticate                   string
		PlainCommand, WrappedCommand           string
		WrappedResponseData, PlainResponseData string
	} `json:"scp03"`
	KCV       []struct{ Key, KCV string }                     `json:"scp03Kcv"`
	Challenge []struct{ ENC, AID, Counter, Challenge string } `json:"scp03PseudoRandomChallenge"`
	CMAC      struct{ Key, Message64, MAC string }            `json:"aesCmac"`
}

func loadVectors(t *testing.T) vectors { return loadFile(t, "testdata/globalplatform.json") }

func loadFile(t *testing.T, name string) vectors {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP03) == 0 {
		t.Fatal("the vectors are not there")
	}
	return v
}

func TestCMACVector(t *testing.T) {
	v := loadVectors(t).CMAC
	message := unhex(t, v.Message64)
	k := mustAESKey(unhex(t, v.Key))
	// In one piece and in pieces of every size.
	for n := 1; n <= len(message); n++ {
		var parts [][]byte
		for rest := message; len(rest) > 0; {
			c := min(n, len(rest))
			parts = append(parts, rest[:c])
			rest = rest[c:]
		}
		if got := k.cmac(parts...); !bytes.Equal(got[:], unhex(t, v.MAC)) {
			t.Fatalf("pieces of %d bytes: %X", n, got)
		}
	}
	// RFC 4493 section 4, example 1: the empty message.
	if got := k.cmac(); !bytes.Equal(got[:], unhex(t, "bb1d6929e95937287fa37d129b756746")) {
		t.Errorf("empty message: %X", got)
	}
}

func TestKCVVectors(t *testing.T) {
	all := loadVectors(t).KCV
	if len(all) == 0 {
		t.Fatal("the vectors are not there")
	}
	for _, v := range all {
		if got := mustAESKey(unhex(t, v.Key)).kcv(); !bytes.Equal(got, unhex(t, v.KCV)) {
			t.Errorf("KCV %X, want %s", got, v.KCV)
		}
	}
}

func TestPseudoRandomChallengeVectors(t *testing.T) {
	all := loadVectors(t).Challenge
	if len(all) == 0 {
		t.Fatal("the vectors are not there")
	}
	for _, v := range all {
		k := mustAESKey(unhex(t, v.ENC))
		got := k.derive(deriveCardChallenge, 64, unhex(t, v.Counter), unhex(t, v.AID))
		if !bytes.Equal(got, unhex(t, v.Challenge)) {
			t.Errorf("counter %s: %X, want %s", v.Counter, got, v.Challenge)
		}
	}
}

// TestTraces replays recorded sessions of a real card, and sessions in S16
// mode that the openssl command computed (cardio/gp/testdata): the chip, given the
// same keys and counter, must answer INITIALIZE UPDATE with the same bytes,
// accept the recorded EXTERNAL AUTHENTICATE, unwrap the recorded command and
// protect the recorded answer in the same way.
func TestTraces(t *testing.T) {
	for _, v := range append(loadVectors(t).SCP03, loadFile(t, "testdata/scp03-s16.json").SCP03...) {
		t.Run(fmt.Sprintf("AES-%d i %s level %s", len(v.ENC)*4, v.I, v.Level), func(t *testing.T) {
			initUpdate, answer := unhex(t, v.InitUpdate), unhex(t, v.InitUpdateResponse)
			i, err := strconv.ParseUint(v.I, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			mem := nvm.InMemory()
			err = Manufacture(mem, Blank{
				Keys: Keys{Version: initUpdate[2], ENC: unhex(t, v.ENC), MAC: unhex(t, v.MAC), DEK: unhex(t, v.DEK)},
				SCP:  byte(i), ISD: unhex(t, v.AID), KeyDiversificationData: answer[:10],
			})
			if err != nil {
				t.Fatal(err)
			}
			c := on(t, mem, nil)
			// The recorded counter, minus the one that this session adds.
			c.reg.keys[0].sequence = uint32(answer[len(answer)-1]) - 1
			h := &host{t: t, card: c}
			if got, sw := h.raw(initUpdate); !sw.OK() || !bytes.Equal(got, answer) {
				t.Fatalf("INITIALIZE UPDATE: %X %v\nwant %X", got, sw, answer)
			}
			if _, sw := h.hex(v.ExternalAuthenticate); !sw.OK() {
				t.Fatalf("EXTERNAL AUTHENTICATE: %v", sw)
			}
			wrapped, err := apdu.Parse(unhex(t, v.WrappedCommand))
			if err != nil {
				t.Fatal(err)
			}
			plain, ok := c.session.unwrap(wrapped)
			if !ok {
				t.Fatal("the recorded command is refused")
			}
			got, err := plain.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, unhex(t, v.PlainCommand)) {
				t.Errorf("unwrapped %X, want %s", got, v.PlainCommand)
			}
			out := c.session.wrap(unhex(t, v.PlainResponseData), apdu.SWSuccess)
			if !bytes.Equal(out, unhex(t, v.WrappedResponseData)) {
				t.Errorf("wrapped answer %X\nwant %s", out, v.WrappedResponseData)
			}
		})
	}
}
