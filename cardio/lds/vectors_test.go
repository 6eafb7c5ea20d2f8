package lds

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// script is a card that expects commands and gives answers, in order.
type script struct {
	t     *testing.T
	steps [][2]string // command, answer
}

func (s *script) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.t.Helper()
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("the script is over, %X came", command)
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	if want := unhex(s.t, step[0]); !bytes.Equal(command, want) {
		s.t.Fatalf("command\n%X, want\n%X", command, want)
	}
	return unhex(s.t, step[1]), nil
}

type vectors struct {
	BAC struct {
		DocumentNumber, Check, Birth, Expiry string
		KSeed, KEnc, KMac, RndIc, KIfd, Ssc  string
		KsEnc, KsMac                         string
	}
	PaceGm struct{ Z, KPi, S string }
}

func loadVectors(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/identity.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("%s is %X, want %s", what, got, want)
	}
}

// Appendix D of 9303-11: keys of the MRZ, the authentication, and three
// commands within secure messaging.
func TestBACAppendixD(t *testing.T) {
	v := loadVectors(t).BAC
	password, err := MRZ(v.DocumentNumber, v.Birth, v.Expiry)
	if err != nil {
		t.Fatal(err)
	}
	if check(v.DocumentNumber) != v.Check {
		t.Errorf("check digit %s, want %s", check(v.DocumentNumber), v.Check)
	}
	seed := password.secret[:16]
	wantHex(t, "Kseed", seed, v.KSeed)
	wantHex(t, "Kenc", TripleDES.derive(seed, counterEnc), v.KEnc)
	wantHex(t, "Kmac", TripleDES.derive(seed, counterMAC), v.KMac)

	card := &script{t, [][2]string{
		{"0084000008", v.RndIc + "9000"},
		{"0082000028" + "72C29C2371CC9BDB65B779B8E8D37B29ECC154AA56A8799FAE2F498F76ED92F25F1448EEA8AD90A7" + "28",
			"46B9342A41396CD7386BF5803104D7CEDC122B9132139BAF2EEDC94EE178534F2F2D235D074D74499000"},
		{"0CA4020C158709016375432908C044F68E08BF8B92D635FF24F800", "990290008E08FA855A5D4C50A8ED9000"},
		{"0CB000000D9701048E08ED6705417E96BA5500", "8709019FF0EC34F9922651990290008E08AD55CC17140B2DED9000"},
		{"0CB000040D9701128E082EA28A70F3C7B53500", "871901FB9235F4E4037F2327DCC8964F1F9B8C30F42C8E2FFF224A990290008E08C8B2787EAEA07D749000"},
	}}
	// RND.IFD then K.IFD are drawn.
	random := bytes.NewReader(unhex(t, "781723860C06C226"+v.KIfd))
	ctx := context.Background()
	sm, err := openBAC(ctx, card, password, random)
	if err != nil {
		t.Fatal(err)
	}
	wantHex(t, "the counter", sm.ssc, v.Ssc)
	xor := unhex(t, "0036D272F5C350ACAC50C3F572D23600")
	wantHex(t, "KSenc", TripleDES.derive(xor, counterEnc), v.KsEnc)
	wantHex(t, "KSmac", TripleDES.derive(xor, counterMAC), v.KsMac)

	// The example reads EF.COM in two parts; as a batch, the commands are the same.
	answers, err := sm.Exchange(ctx, []apdu.Command{
		selectFile(FileCOM),
		{INS: 0xB0, Ne: 4},
		{INS: 0xB0, P2: 4, Ne: 18},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantHex(t, "EF.COM", append(answers[1].Data, answers[2].Data...), "60145F0104303130365F36063034303030305C026175")
	wantHex(t, "the counter after three commands", sm.ssc, "887022120C06C22C")
}

// Appendix G.1 of 9303-11: PACE with generic mapping over brainpoolP256r1 and
// AES-128, byte for byte.
func TestPACEAppendixG(t *testing.T) {
	v := loadVectors(t).PaceGm
	infos, err := ParseSecurityInfos(unhex(t, "31143012060A04007F0007020204020202010202010D"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := MRZ("T22000129", "640812", "101031")
	if err != nil {
		t.Fatal(err)
	}
	wantHex(t, "Kπ", AES128.derive(password.secret, counterPi), v.KPi)
	p := pace{info: infos.PACE[0]}
	nonce, err := p.nonce(password.secret, unhex(t, v.Z))
	if err != nil {
		t.Fatal(err)
	}
	wantHex(t, "the nonce", nonce, v.S)

	card := &script{t, [][2]string{
		{"0022C1A40F800A04007F00070202040202830101", "9000"},
		{"10860000027C0000", "7C128010" + v.Z + "9000"},
		{"10860000457C438141047ACF3EFC982EC45565A4B155129EFBC74650DCBFA6362D896FC70262E0C2CC5E544552DCB6725218799115B55C9BAA6D9F6BC3A9618E70C25AF71777A9C4922D00",
			"7C43824104824FBA91C9CBE26BEF53A0EBE7342A3BF178CEA9F45DE0B70AA601651FBA3F5730D8C879AAA9C9F73991E61B58F4D52EB87A0A0C709A49DC63719363CCD13C549000"},
		{"10860000457C438341042DB7A64C0355044EC9DF190514C625CBA2CEA48754887122F3A5EF0D5EDD301C3556F3B3B186DF10B857B58F6A7EB80F20BA5DC7BE1D43D9BF850149FBB3646200",
			"7C438441049E880F842905B8B3181F7AF7CAA9F0EFB743847F44A306D2D28C1D9EC65DF6DB7764B22277A2EDDC3C265A9F018F9CB852E111B768B326904B59A0193776F0949000"},
		{"008600000C7C0A8508C2B0BD78D94BA86600", "7C0A86083ABB9674BCE93C089000"},
	}}
	random := bytes.NewReader(unhex(t, "7F4EF07B9EA82FD78AD689B38D0BC78CF21F249D953BC46F4C6E19259C010F99"+
		"A73FB703AC1436A18E0CFA5ABB3F7BEC7A070E7A6788486BEE230C4A22762595"))
	sm, err := openPACE(context.Background(), card, password, infos, random)
	if err != nil {
		t.Fatal(err)
	}
	shared := unhex(t, "28768D20701247DAE81804C9E780EDE582A9996DB4A315020B2733197DB84925")
	wantHex(t, "KSenc", AES128.derive(shared, counterEnc), "F5F0E35C0D7161EE6724EE513A0D9A7F")
	wantHex(t, "KSmac", AES128.derive(shared, counterMAC), "FE251C7858B356B24514B3BD5F4297D1")
	if sm.Cipher() != AES128 || len(sm.ssc) != 16 {
		t.Errorf("the session has %v and a counter of %d bytes", sm.Cipher(), len(sm.ssc))
	}
}

// A wrong token from the chip, or its refusal, is a refused password.
func TestPACERefusals(t *testing.T) {
	infos, _ := ParseSecurityInfos(unhex(t, "31143012060A04007F0007020204020202010202010D"))
	password, _ := CAN("123456")
	for name, last := range map[string]string{"token": "7C0A860800000000000000009000", "refusal": "6300"} {
		t.Run(name, func(t *testing.T) {
			card := answers{"9000", "7C12801095A3A016522EE98D01E76CB6B98B42C39000",
				"7C43824104824FBA91C9CBE26BEF53A0EBE7342A3BF178CEA9F45DE0B70AA601651FBA3F5730D8C879AAA9C9F73991E61B58F4D52EB87A0A0C709A49DC63719363CCD13C549000",
				"7C438441049E880F842905B8B3181F7AF7CAA9F0EFB743847F44A306D2D28C1D9EC65DF6DB7764B22277A2EDDC3C265A9F018F9CB852E111B768B326904B59A0193776F0949000", last}
			_, err := OpenPACE(context.Background(), &card, password, infos)
			if !errors.Is(err, ErrAccessDenied) {
				t.Errorf("got %v, want ErrAccessDenied", err)
			}
		})
	}
}

// answers is a card that answers a list, whatever is asked.
type answers []string

func (a *answers) Transmit(context.Context, []byte) ([]byte, error) {
	if len(*a) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	next := (*a)[0]
	*a = (*a)[1:]
	return hex.DecodeString(next)
}
