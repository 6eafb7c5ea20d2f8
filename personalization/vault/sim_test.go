package vault

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/hsm"
	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
)

const (
	simICCID = "8998110000000000012"
	simBatch = "2025-11/7"
)

var (
	simK   = []byte("KKKKKKKK11111111")
	simOPc = []byte("OOOOOOOO22222222")
)

// simService is a service on a token of the test's own with keys for SIMs alone:
// the transport keys are known, so that openssl can encipher under them.
func simService(t testing.TB) (s *Service, aes, des []byte) {
	t.Helper()
	token, ctx := emptyToken(t)
	s = NewService(token, "")
	aes, des = []byte("0123456789abcdef0123456789abcdef"), bytesOf(t, "0123456789abcdeffedcba987654321089abcdef01234567") // of odd parity
	o := hsm.KeyOptions{Use: hsm.UseEncrypt, Development: true}
	if err := token.ImportAES(ctx, "cb/sim-transport/1", aes, o); err != nil {
		t.Fatal(err)
	}
	if err := token.ImportDES3(ctx, "cb/sim-transport-des/1", des, o); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is there stays
		if err := s.makeSIMKeys(ctx, &ProvisionRequest{Development: true}); err != nil {
			t.Fatal(err)
		}
	}
	return s, aes, des
}

// sim is an operator's SIM with the test's keys.
func sim(t testing.TB, k, opc []byte, sqn uint64) *usim.Chip {
	t.Helper()
	return started(t, usim.Profile{ICCID: simICCID, IMSI: "432110000000001", K: usim.Secret(k), OPc: usim.Secret(opc), PIN1Disabled: true, SQN: sqn, AgeLimit: 100})
}

// started is a software SIM whose USIM is selected.
func started(t testing.TB, p usim.Profile) *usim.Chip {
	t.Helper()
	c, err := usim.New(usim.Config{Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := apdu.Send(t.Context(), usim.Terminal{Card: c}, apdu.Command{INS: 0xA4, P1: 4, P2: 0x0C, Data: bytesOf(t, "A0000000871002")}); err != nil || !r.SW.OK() {
		t.Fatal(r.SW, err)
	}
	return c
}

// ask sends a vector to a SIM: its RES, or its AUTS.
func ask(t testing.TB, c *usim.Chip, v *SIMVector) (res, auts []byte) {
	t.Helper()
	data := append(append(append([]byte{16}, v.RAND...), 16), v.AUTN...)
	r, err := apdu.Send(t.Context(), usim.Terminal{Card: c}, apdu.Command{INS: 0x88, P2: 0x81, Data: data, Ne: 256})
	if err != nil || !r.SW.OK() {
		t.Fatal(r.SW, err)
	}
	value := r.Data[2 : 2+int(r.Data[1])]
	if r.Data[0] == 0xDC {
		return nil, value
	}
	return value, nil
}

// TestSIMIsProven takes keys in from a file that openssl wrote, in every form, and
// proves a SIM with them, after one resynchronization.
func TestSIMIsProven(t *testing.T) {
	s, aes, des := simService(t)
	ctx := t.Context()
	for form, key := range map[simkeys.Form][]byte{
		simkeys.AESGCM: aes, simkeys.AESECB: aes, simkeys.AESCBC: aes, simkeys.DES3ECB: des, simkeys.DES3CBC: des,
	} {
		t.Run(string(form), func(t *testing.T) {
			name := "sim-transport/1"
			if form.DES3() {
				name = "sim-transport-des/1"
			}
			row, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: name, Form: form, Keys: TestSIMKeys{ICCID: simICCID, Batch: simBatch, K: bytes.Clone(simK), OPc: bytes.Clone(simOPc)}})
			if err != nil {
				t.Fatal(err)
			}
			cipher := map[simkeys.Form]string{simkeys.AESECB: "-aes-256-ecb", simkeys.AESCBC: "-aes-256-cbc", simkeys.DES3ECB: "-des-ede3", simkeys.DES3CBC: "-des-ede3-cbc"}[form]
			if cipher != "" {
				row.K, row.OPc = opensslOf(t, cipher, key, simK), opensslOf(t, cipher, key, simOPc)
			}
			all, err := s.simKeysIn(ctx, &SIMKeysInRequest{TransportKey: name, Form: form, Batch: simBatch, Rows: []SIMKeyRow{*row}})
			if err != nil {
				t.Fatal(err)
			}
			keys := all.Keys[0]
			if bytes.Contains(keys.Wrapped, simK) {
				t.Error("wrapped keys")
			}
			prove(t, s, keys, sim(t, simK, simOPc, 32*1000+5))
		})
	}
}

func prove(t *testing.T, s *Service, keys SIMKeys, card *usim.Chip) {
	t.Helper()
	ctx := t.Context()
	rand, session := bytes.Repeat([]byte{7}, 16), []byte("session 1")
	request := &SIMVectorRequest{Keys: keys, Last: 3, AMF: [2]byte{0x80}, RAND: rand, Session: session}
	v, err := s.simVector(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	_, auts := ask(t, card, v)
	if auts == nil {
		t.Fatal("a number from the past is taken")
	}
	resync := SIMResyncRequest{Keys: keys, Last: v.SQN, RAND: rand, AUTS: auts}
	last, err := s.simResync(ctx, &resync)
	if err != nil || last.SQN != 32*1000+5 {
		t.Fatal(last, err)
	}
	for i := range auts {
		bad := resync
		bad.AUTS = bytes.Clone(auts)
		bad.AUTS[i] ^= 1
		if _, err := s.simResync(ctx, &bad); !errors.Is(err, ErrAUTS) || codeOf(err) != "auts" {
			t.Fatalf("byte %d of AUTS: %v", i, err)
		}
	}
	request.Last = last.SQN
	if v, err = s.simVector(ctx, request); err != nil {
		t.Fatal(err)
	}
	res, _ := ask(t, card, v)
	if res == nil {
		t.Fatal("no RES after the resynchronization")
	}
	check := SIMCheckRequest{Expected: v.Expected, ICCID: simICCID, Session: session, RES: res}
	if ok, err := s.simCheckRES(ctx, &check); err != nil || !ok.OK {
		t.Error(ok, err)
	}
	wrong := check
	wrong.RES = bytes.Clone(res)
	wrong.RES[7] ^= 1
	if ok, err := s.simCheckRES(ctx, &wrong); err != nil || ok.OK {
		t.Error("a wrong RES", err)
	}
	for name, change := range map[string]func(*SIMCheckRequest){
		"session": func(c *SIMCheckRequest) { c.Session = []byte("session 2") }, "ICCID": func(c *SIMCheckRequest) { c.ICCID = "8998110000000000013" },
		"expected": func(c *SIMCheckRequest) { c.Expected = bytes.Clone(c.Expected); c.Expected[20] ^= 1 },
	} {
		other := check
		change(&other)
		if _, err := s.simCheckRES(ctx, &other); !errors.Is(err, ErrSealed) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	// The authentication centre's number goes on where the SIM accepts it.
	if last, err = s.simResync(ctx, &SIMResyncRequest{Keys: keys, Last: 32 * 5000, RAND: rand, AUTS: auts}); err != nil || last.SQN != 32*5000 {
		t.Error(last, err)
	}
	if bytes.Contains(v.Expected, res) {
		t.Error("XRES is not sealed")
	}
}

// TestTUAKIsProven takes the keys of a TUAK subscriber in from a file in every form and
// proves a software SIM with them, after one resynchronization; the same with keys that
// the bureau draws.
func TestTUAKIsProven(t *testing.T) {
	s, aes, des := simService(t)
	ctx := t.Context()
	tuak := &aka.TUAKParameters{MAC: 8, RES: 16, CK: 16, IK: 16, Iterations: 2}
	k, topc := bytes.Repeat([]byte{0x4B}, 32), bytes.Repeat([]byte("TOPc"), 8)
	card := func(k, topc []byte) *usim.Chip {
		return started(t, usim.Profile{
			ICCID: simICCID, IMSI: "432110000000001", K: usim.Secret(k), OPc: usim.Secret(topc), TUAK: &usim.TUAK{RES: 16, Keys: 16, Permutations: 2},
			PIN1Disabled: true, SQN: 32*1000 + 5, AgeLimit: 100,
		})
	}
	for form, c := range map[simkeys.Form]struct {
		name, cipher string
		key          []byte
	}{
		simkeys.AESGCM: {"sim-transport/1", "", nil}, simkeys.AESECB: {"sim-transport/1", "-aes-256-ecb", aes}, simkeys.AESCBC: {"sim-transport/1", "-aes-256-cbc", aes},
		simkeys.DES3CBC: {"sim-transport-des/1", "-des-ede3-cbc", des},
	} {
		row, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: c.name, Form: form, Keys: TestSIMKeys{ICCID: simICCID, Batch: simBatch, K: bytes.Clone(k), OPc: bytes.Clone(topc), TUAK: tuak}})
		if err != nil {
			t.Fatal(form, err)
		}
		if c.cipher != "" {
			row.K, row.OPc = opensslOf(t, c.cipher, c.key, k), opensslOf(t, c.cipher, c.key, topc)
		}
		all, err := s.simKeysIn(ctx, &SIMKeysInRequest{TransportKey: c.name, Form: form, Batch: simBatch, TUAK: tuak, Rows: []SIMKeyRow{*row}})
		if err != nil {
			t.Fatal(form, err)
		}
		prove(t, s, all.Keys[0], card(k, topc))
		if _, err := s.simKeysIn(ctx, &SIMKeysInRequest{TransportKey: c.name, Form: form, Batch: simBatch, Rows: []SIMKeyRow{*row}}); !errors.Is(err, ErrRequest) && !(form == simkeys.AESGCM && errors.Is(err, ErrSealed)) {
			t.Errorf("%s: keys of TUAK for MILENAGE: %v", form, err)
		}
	}
	own, err := s.newSIMKeys(ctx, &newSIMKeysRequest{simICCID, simBatch, tuak})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.simProgram(ctx, &SIMProgramRequest{Keys: *own, Chip: simICCID})
	if err != nil || p.TUAK == nil || *p.TUAK != *tuak {
		t.Fatal(err)
	}
	prove(t, s, *own, card(p.K, p.OPc))
	bad := *tuak
	bad.MAC = 16
	if _, err := s.newSIMKeys(ctx, &newSIMKeysRequest{simICCID, simBatch, &bad}); !errors.Is(err, ErrRequest) {
		t.Errorf("a MAC for no AUTN: %v", err)
	}
	if _, err := s.simKeysIn(ctx, &SIMKeysInRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Batch: simBatch, TUAK: &bad, Rows: []SIMKeyRow{{ICCID: simICCID}}}); !errors.Is(err, ErrRequest) {
		t.Errorf("a MAC for no AUTN: %v", err)
	}
}

// TestDelegatedKeys: keys that an operator gave to program SIMs with come out for the
// chip that was read, with those for messages over the air; from no other file.
func TestDelegatedKeys(t *testing.T) {
	s, _, _ := simService(t)
	ctx := t.Context()
	ota := map[string][]byte{"KIC1": []byte("1 KIc 1111111111"), "KID1": []byte("1 KID 1111111111"), "KIK1": []byte("1 KIK 1111111111")}
	row, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Keys: TestSIMKeys{
		ICCID: simICCID, Batch: simBatch, K: bytes.Clone(simK), OPc: bytes.Clone(simOPc), OTA: ota, Delegated: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	in := SIMKeysInRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Batch: simBatch, Delegated: true, Rows: []SIMKeyRow{*row}}
	all, err := s.simKeysIn(ctx, &in)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.simProgram(ctx, &SIMProgramRequest{Keys: all.Keys[0], Chip: simICCID})
	if err != nil || !bytes.Equal(p.K, simK) || len(p.OTA) != 3 || !bytes.Equal(p.OTA["KID1"], ota["KID1"]) {
		t.Fatal(err)
	}
	for name, value := range ota {
		if bytes.Contains(all.Keys[0].Wrapped, value) || bytes.Contains(row.OTA[name], value) {
			t.Errorf("%s is not sealed", name)
		}
	}
	p.Zero()
	if !bytes.Equal(p.OTA["KIC1"], make([]byte, 16)) {
		t.Error("not zero")
	}
	in.Delegated = false
	if _, err := s.simKeysIn(ctx, &in); !errors.Is(err, ErrRequest) {
		t.Errorf("keys over the air of a file that programs nothing: %v", err)
	}
	in.Rows[0].OTA = nil
	if _, err := s.simKeysIn(ctx, &in); !errors.Is(err, ErrSealed) {
		t.Errorf("the purpose is not bound: %v", err)
	}
}

// TestPurposeOfLegacyFiles: what shows no change is given out only under a key for that
// alone, and a key for that opens nothing else.
func TestPurposeOfLegacyFiles(t *testing.T) {
	s, _, _ := simService(t)
	ctx := t.Context()
	forms := map[simkeys.Form]string{simkeys.AESECB: "", simkeys.AESCBC: "", simkeys.AESGCM: "", simkeys.DES3ECB: "-des", simkeys.DES3CBC: "-des"}
	for form, suffix := range forms {
		seal := func(role string, delegated bool) (*SIMKeysInRequest, error) {
			name := role + suffix + "/1"
			row, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: name, Form: form, Keys: TestSIMKeys{
				ICCID: simICCID, Batch: simBatch, K: bytes.Clone(simK), OPc: bytes.Clone(simOPc), Delegated: delegated,
			}})
			if err != nil {
				return nil, err
			}
			return &SIMKeysInRequest{TransportKey: name, Form: form, Batch: simBatch, Delegated: delegated, Rows: []SIMKeyRow{*row}}, nil
		}
		in, err := seal(RoleSIMProgramming, true)
		if err != nil {
			t.Fatal(form, err)
		}
		all, err := s.simKeysIn(ctx, in)
		if err != nil {
			t.Fatal(form, err)
		}
		if p, err := s.simProgram(ctx, &SIMProgramRequest{Keys: all.Keys[0], Chip: simICCID}); err != nil || !bytes.Equal(p.K, simK) {
			t.Error(form, err)
		}
		in.Delegated = false
		if _, err := s.simKeysIn(ctx, in); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: a key for programming opens another file: %v", form, err)
		}
		if in, err = seal(RoleSIMTransport, false); err != nil {
			t.Fatal(form, err)
		}
		in.Delegated = true // as somebody writes into the file
		want := ErrRequest
		if form == simkeys.AESGCM {
			want = ErrSealed
		}
		if _, err := s.simKeysIn(ctx, in); !errors.Is(err, want) {
			t.Errorf("%s: keys for an authentication centre can be given out: %v", form, err)
		}
	}
}

// TestOneKeyOnePurpose: the token takes no key for one purpose that it has for the other.
func TestOneKeyOnePurpose(t *testing.T) {
	s, aes, des := simService(t)
	for _, c := range []struct {
		role      string
		algorithm byte
		key       []byte
		want      error
	}{
		{RoleSIMProgramming, 'A', aes, ErrRequest}, {RoleSIMProgramming + RoleDES3, 'T', des, ErrRequest}, {RoleSIMTransport, 'A', aes, nil},
		{RoleSIMProgramming, 'A', []byte("another one of the same operator"), nil}, {RoleSIMTransport, 'A', []byte("another one of the same operator"), ErrRequest},
	} {
		value := hex.EncodeToString(c.key)
		_, err := s.importComponents(t.Context(), components(t, c.role, "7", value, kcvOf(t, c.algorithm, value)))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.role, err)
		}
	}
}

func opensslOf(t *testing.T, name string, key, plain []byte) []byte {
	t.Helper()
	args := []string{"enc", name, "-nopad", "-K", hex.EncodeToString(key)}
	if strings.HasSuffix(name, "cbc") {
		args = append(args, "-iv", strings.Repeat("0", 32))
		if strings.Contains(name, "des") {
			args[len(args)-1] = strings.Repeat("0", 16)
		}
	}
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(plain)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSIMTransportKeysComeIn has an operator's keys come in by components, as others
// do, and opens a row that openssl wrote under each.
func TestSIMTransportKeysComeIn(t *testing.T) {
	s, aes, des := simService(t)
	for _, c := range []struct {
		role, cipher string
		form         simkeys.Form
		algorithm    byte
		key          []byte
	}{{"sim-transport", "-aes-256-cbc", simkeys.AESCBC, 'A', aes}, {"sim-transport-des", "-des-ede3-cbc", simkeys.DES3CBC, 'T', des}} {
		value := hex.EncodeToString(c.key)
		if _, err := s.importComponents(t.Context(), components(t, c.role, "2", value, kcvOf(t, c.algorithm, value))); err != nil {
			t.Fatal(c.role, err)
		}
		row := SIMKeyRow{ICCID: simICCID, K: opensslOf(t, c.cipher, c.key, simK), OPc: opensslOf(t, c.cipher, c.key, simOPc)}
		all, err := s.simKeysIn(t.Context(), &SIMKeysInRequest{TransportKey: c.role + "/2", Form: c.form, Batch: simBatch, Rows: []SIMKeyRow{row}})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := s.subscriber(t.Context(), all.Keys[0])
		if err != nil || !bytes.Equal(sub.K, simK) || !bytes.Equal(sub.OPc, simOPc) {
			t.Error(c.role, err)
		}
	}
}

func TestSIMRefusals(t *testing.T) {
	s, _, _ := simService(t)
	ctx := t.Context()
	row, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Keys: TestSIMKeys{ICCID: simICCID, Batch: simBatch, K: bytes.Clone(simK), OPc: bytes.Clone(simOPc)}})
	if err != nil {
		t.Fatal(err)
	}
	in := func(change func(*SIMKeysInRequest)) error {
		r := SIMKeysInRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Batch: simBatch, Rows: []SIMKeyRow{*row}}
		change(&r)
		_, err := s.simKeysIn(ctx, &r)
		return err
	}
	for name, c := range map[string]struct {
		want   error
		change func(*SIMKeysInRequest)
	}{
		"fine":           {nil, func(*SIMKeysInRequest) {}},
		"no rows":        {ErrRequest, func(r *SIMKeysInRequest) { r.Rows = nil }},
		"twice":          {ErrRequest, func(r *SIMKeysInRequest) { r.Rows = append(r.Rows, r.Rows[0]) }},
		"another batch":  {ErrSealed, func(r *SIMKeysInRequest) { r.Batch = "other" }},
		"another SIM":    {ErrSealed, func(r *SIMKeysInRequest) { r.Rows[0].ICCID = "8998110000000000013" }},
		"no ICCID":       {ErrRequest, func(r *SIMKeysInRequest) { r.Rows[0].ICCID = "" }},
		"another key":    {ErrRequest, func(r *SIMKeysInRequest) { r.TransportKey = "sim-storage/1" }},
		"no such key":    {ErrNoKey, func(r *SIMKeysInRequest) { r.TransportKey = "sim-transport/9" }},
		"no form":        {ErrRequest, func(r *SIMKeysInRequest) { r.Form = "rot13" }},
		"a form for DES": {ErrRequest, func(r *SIMKeysInRequest) { r.Form = simkeys.DES3CBC }},
	} {
		if err := in(c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := s.simKeysIn(ctx, &SIMKeysInRequest{TransportKey: "sim-transport/1", Form: simkeys.AESGCM, Batch: simBatch, Rows: []SIMKeyRow{*row}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.simProgram(ctx, &SIMProgramRequest{Keys: all.Keys[0], Chip: simICCID}); !errors.Is(err, ErrRequest) {
		t.Errorf("an operator's keys come out: %v", err)
	}
	own, err := s.newSIMKeys(ctx, &newSIMKeysRequest{simICCID, simBatch, nil})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.simProgram(ctx, &SIMProgramRequest{Keys: *own, Chip: simICCID})
	if err != nil || len(plain.K) != 16 || len(plain.OPc) != 16 || plain.TUAK != nil || len(plain.OTA) != 0 {
		t.Fatal(err)
	}
	prove(t, s, *own, sim(t, plain.K, plain.OPc, 32*1000+5))
	moved := *own
	moved.ICCID = "8998110000000000013"
	if _, err := s.simProgram(ctx, &SIMProgramRequest{Keys: moved, Chip: moved.ICCID}); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	if _, err := s.simProgram(ctx, &SIMProgramRequest{Keys: *own, Chip: moved.ICCID}); !errors.Is(err, ErrRequest) {
		t.Errorf("keys of another SIM than the one that was read: %v", err)
	}
	good := SIMVectorRequest{Keys: *own, RAND: make([]byte, 16), Session: []byte{1}}
	for name, change := range map[string]func(*SIMVectorRequest){
		"RAND": func(r *SIMVectorRequest) { r.RAND = r.RAND[:15] }, "session": func(r *SIMVectorRequest) { r.Session = nil },
		"SQN": func(r *SIMVectorRequest) { r.Last = 1 << 48 }, "IND": func(r *SIMVectorRequest) { r.Scheme.INDBits = 17 },
		"used up": func(r *SIMVectorRequest) { r.Last = 1<<48 - 1 },
	} {
		r := good
		change(&r)
		if _, err := s.simVector(ctx, &r); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.simResync(ctx, &SIMResyncRequest{Keys: *own, RAND: make([]byte, 16), AUTS: make([]byte, 13)}); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	if _, err := s.sealTestSIM(ctx, &sealTestSIMRequest{TransportKey: "sim-transport/2", Form: simkeys.AESGCM}); !errors.Is(err, ErrDevelopment) {
		t.Error(err)
	}
}
