package jmrtd_test

import (
	"context"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/virtual/jmrtd"
)

// step is a command and its whole answer, in hexadecimal.
type step struct{ command, want string }

func run(t *testing.T, c *card, steps []step) {
	t.Helper()
	for _, s := range steps {
		c.raw(s.command, s.want)
	}
}

const (
	seed      = "00DA00621D621B0409 4C38393839303243 3C0406 363930383036 0406 393430363233"
	createDG1 = "00E0000006630400080101"
	selectDG1 = "00A4020C020101"
)

// TestQuirks has the facts of the vectors' passportApplet, each as commands.
func TestQuirks(t *testing.T) {
	for name, q := range map[string][]step{
		"DG16 unsupported":                   {{"00E0000006630400080110", "6F00"}, {"00A4020C020110", "6A82"}},
		"no place for other files":           {{"00E0000006630400080120", "6F00"}},
		"DG3 and DG4 want terminal auth":     {{"00E0000006630400080103", "6982"}, {"00A4020C020104", "6982"}},
		"files up to 32767 bytes":            {{"00E0000006 6304 7FFF 0102", "9000"}, {"00E0000006 6304 8000 010B", "6F00"}, {"00A4020C020102", "9000"}, {"00D67FFE01AA", "9000"}, {"00D67FFE02AAAA", "6A84"}, {"00D6800001AA", "6F00"}},
		"READ BINARY needs BAC":              {{createDG1, "9000"}, {selectDG1, "9000"}, {"00B0000004", "6982"}},
		"re-CREATE at the same size":         {{createDG1, "9000"}, {selectDG1, "9000"}, {"00D6000002AABB", "9000"}, {createDG1, "9000"}, {"00D6000002AABB", "9000"}},
		"re-CREATE smaller, then as before":  {{createDG1, "9000"}, {"00E0000006630400040101", "9000"}, {selectDG1, "9000"}, {"00D600000500112233 44", "6A84"}, {createDG1, "9000"}, {"00D60000050011223344", "9000"}},
		"re-CREATE larger":                   {{createDG1, "9000"}, {"00E0000006630400090101", "6A84"}},
		"a write beyond the end":             {{createDG1, "9000"}, {selectDG1, "9000"}, {"00D6000702AABB", "6A84"}, {"00D6000701AA", "9000"}},
		"a write without a file":             {{"00D6000001AA", "6985"}},
		"SELECT of what is not there":        {{createDG1, "9000"}, {selectDG1, "9000"}, {"00A4020C020102", "6A82"}, {"00D6000001AA", "6985"}, {"00A4020C03010101", "6700"}},
		"CREATE FILE of another kind":        {{"00E0000006640400080101", "6984"}, {"00E000000563040008 01", "6700"}, {"00E0000006630300080101", "6700"}},
		"no challenge before the seed":       {{"0084000008", "6982"}, {"0082000028" + strings.Repeat("00", 40), "6982"}},
		"a seed with a wrong character":      {{"00DA00621D621B0409 4C3839383930322B 3C0406 363930383036 0406 393430363233", "6D04"}, {"0084000008", "6982"}},
		"a seed with a short date":           {{"00DA006211 620F 0401 4C 0405 3639303830 0403 393430", "6F00"}},
		"Le of GET CHALLENGE is 08":          {{seed, "9000"}, {"0084000000", "6700"}, {"0084000010", "6700"}},
		"authentication without a challenge": {{seed, "9000"}, {"0082000028" + strings.Repeat("00", 40), "6982"}},
		"INTERNAL AUTHENTICATE needs BAC":    {{"00880000080102030405060708", "6982"}},
		"the length of the key's template":   {{"00DA006007 6005 0403 112233", "6F00"}},
		"a modulus of another length":        {{"00DA006007 6000 0403 112233", "6F00"}},
		"no extended access control":         {{"00DA006305 8203 112233", "6A86"}, {"0022 41A6 02 9100", "6982"}, {"002A00BE 01 00", "6982"}},
		"no PACE":                            {{"00DA006500", "6A86"}, {"0022C1A40F800A04007F00070202040202830102", "6982"}, {"10860000027C0000", "6D00"}, {"00DADEAF", "6A86"}},
		"no secure messaging without BAC":    {{"0CB00000 0D 970104 8E08 ED6705417E96BA55 00", "6882"}},
		"other instructions":                 {{"00B1000004 5402 0000 00", "6D00"}, {"00200081", "6D00"}},
		"no extended length":                 {{"00B000000000FF", "6700"}},
		"after lock writes 6985":             {{seed, "9000"}, {createDG1, "9000"}, {selectDG1, "9000"}, {"00DADEAD", "9000"}, {"00D6000001AA", "6985"}, {createDG1, "6985"}, {seed, "6985"}, {"00DADEAD", "6985"}},
		"after lock SELECT EF without BAC":   {{createDG1, "9000"}, {"00DADEAD", "9000"}, {selectDG1, "6982"}, {"00A4020C020102", "6982"}, {"00A4040C07A0000002471001", "9000"}},
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t, jmrtd.New), q) })
	}
}

// TestForkQuirks has what the fork does otherwise.
func TestForkQuirks(t *testing.T) {
	const access = "00E0000006 6304 0016 011C"
	for name, q := range map[string][]step{
		"lock only after personalize":   {{"00DADEAD", "6985"}, {"00DADEAF", "9000"}, {"00DADEAF", "9000"}, {"00DADEAD", "9000"}, {"00DADEAD", "9000"}, {"00DADEAF", "6985"}},
		"personalized takes no writes":  {{createDG1, "9000"}, {selectDG1, "9000"}, {"00DADEAF", "9000"}, {"00D6000001AA", "6986"}, {createDG1, "6986"}, {seed, "6986"}, {"00DADEAD", "9000"}, {"00D6000001AA", "6985"}, {createDG1, "6985"}, {seed, "6985"}},
		"the state takes no data":       {{"00DADEAF0100", "6700"}, {"00DADEAA", "6A86"}},
		"EF.CardAccess is free to read": {{access, "9000"}, {"00A4020C02011C", "9000"}, {"00D600001631143012060A04007F0007020204020202010202010C", "9000"}, {"00DADEAF", "9000"}, {"00DADEAD", "9000"}, {"00A4020C02011C", "9000"}, {"00B0000004", "311430129000"}, {"00B0001400", "010C9000"}, {"00B0001604", "9000"}, {"00B0001704", "6F00"}},
		"other files are not":           {{createDG1, "9000"}, {selectDG1, "9000"}, {"00B0000004", "6982"}, {"00DADEAF", "9000"}, {"00DADEAD", "9000"}, {selectDG1, "6982"}},
		"EF.COM where it was allowed":   {{"00E0000006 6304 0002 011E", "9000"}, {"00A4020C02011E", "9000"}, {"00D60000026000", "9000"}, {"00DADEFE0101", "9000"}, {"00B0000002", "6982"}, {"00DADEAF", "9000"}, {"00DADEAD", "9000"}, {"00A4020C02011E", "9000"}, {"00B0000002", "60009000"}, {"00DADEFE0100", "9000"}, {"00B0000002", "6982"}, {"00DADEFE0102", "6A80"}, {"00DADEFE", "6700"}},
		"PACE passwords":                {{"00DA006506 6504 6602 02 31", "9000"}, {"00DA006504 6602 02 31", "9000"}, {"00DA006506 6504 6702 02 31", "6A80"}, {"00DA006505 6503 6601 02", "6700"}, {"00DA006506 6504 6602 05 31", "6F00"}},
		"PACE that nobody offers":       {{"0022C1A40F800A04007F00070202040202830102", "6A88"}, {"0022C1A403830102", "6A80"}, {"10860000027C0000", "6985"}},
		"a password by MSE":             {{"0022C1A40F800A04007F00070202040202660102", "6A80"}},
		"today's date":                  {{"00DA006706020600010001", "9000"}, {"00DA0067020206", "6700"}},
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t, jmrtd.NewPACE), q) })
	}
}

// opened is an issued card with secure messaging of Basic Access Control.
func opened(t *testing.T) (*card, *lds.SecureMessaging) {
	t.Helper()
	d := newDocument(t, "")
	c := issued(t, jmrtd.New, d)
	sm, err := lds.OpenBAC(context.Background(), c.chip, d.password(t))
	if err != nil {
		t.Fatal(err)
	}
	return c, sm
}

// TestInsideSecureMessaging has what the applet answers to protected commands.
func TestInsideSecureMessaging(t *testing.T) {
	_, sm := opened(t)
	read := func(p1, p2 byte, ne int) apdu.Command { return apdu.Command{INS: 0xB0, P1: p1, P2: p2, Ne: ne} }
	selectEF := func(fid uint16) apdu.Command {
		return apdu.Command{INS: 0xA4, P1: 2, P2: 0x0C, Data: []byte{byte(fid >> 8), byte(fid)}}
	}
	for _, s := range []struct {
		name string
		cmd  apdu.Command
		n    int // bytes of the answer
		sw   apdu.StatusWord
	}{
		{"READ BINARY without a file", read(0, 0, 4), 0, 0x6985},
		{"SELECT", selectEF(0x0102), 0, 0x9000},
		{"Le = 00 reads 0 bytes", read(0, 0, 256), 0, 0x9000},
		{"Le = 04", read(0, 0, 4), 4, 0x9000},
		{"Le = E7 gives what the buffer holds", read(0, 0, 231), 224, 0x9000},
		{"past the end", read(0x05, 0xDC, 20), 4, 0x9000},
		{"at the end", read(0x05, 0xE0, 20), 0, 0x9000},
		{"no Le", read(0, 0, 0), 0, 0x9000},
		{"a file that is not there", selectEF(0x0105), 0, 0x6A82},
		{"the file is lost by it", read(0, 0, 4), 0, 0x6985},
		{"DG3", selectEF(0x0103), 0, 0x6982},
		{"SELECT of the application", apdu.Command{INS: 0xA4, P1: 4, P2: 0x0C, Data: lds.AID}, 0, 0x6700},
		{"GET CHALLENGE", apdu.Command{INS: 0x84, Ne: 8}, 0, 0x6982},
		{"a write", apdu.Command{INS: 0xD6, Data: []byte{1}}, 0, 0x6985},
		{"INTERNAL AUTHENTICATE of 7 bytes", apdu.Command{INS: 0x88, Data: make([]byte, 7), Ne: 128}, 0, 0x6700},
		{"INTERNAL AUTHENTICATE", apdu.Command{INS: 0x88, Data: make([]byte, 8), Ne: 128}, 128, 0x9000},
		{"MSE", apdu.Command{INS: 0x22, P1: 0x41, P2: 0xA6, Data: []byte{0x91, 0}}, 0, 0x6D00},
		{"READ BINARY with odd INS", apdu.Command{INS: 0xB1, Data: []byte{0x54, 1, 0}, Ne: 4}, 0, 0x6D00},
	} {
		r, err := apdu.Send(context.Background(), sm, s.cmd)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if len(r.Data) != s.n || r.SW != s.sw {
			t.Errorf("%s: %d bytes, %v; want %d, %04X", s.name, len(r.Data), r.SW, s.n, uint16(s.sw))
		}
	}
	// An exception of the machine is answered in plain, and secure messaging
	// is out of step from there on.
	if _, err := apdu.Send(context.Background(), sm, selectEF(0x0102)); err != nil {
		t.Fatal(err)
	}
	if _, err := apdu.Send(context.Background(), sm, read(0x7F, 0xFF, 4)); err == nil {
		t.Error("READ BINARY behind the end is answered with protection")
	}
}

// TestSessionOutlastsSelection: what Basic Access Control opened ends with a
// reset only, and plain commands do not end it.
func TestSessionOutlastsSelection(t *testing.T) {
	c, sm := opened(t)
	c.raw("00A4040C07A0000002471001", "9000")
	c.raw("0084000008", "6982") // no second Basic Access Control
	c.raw(selectDG1, "9000")
	c.raw("00B0000004", "9000") // no Le without secure messaging
	if r, err := apdu.Send(context.Background(), sm, apdu.Command{INS: 0xB0, Ne: 4}); err != nil || len(r.Data) != 4 {
		t.Errorf("%d bytes, %v", len(r.Data), err)
	}
	c.chip.Reset()
	c.raw(selectDG1, "6982")
}

// TestWrongChecksum: 6985, protected, and the session goes on.
func TestWrongChecksum(t *testing.T) {
	ctx := context.Background()
	c, sm := opened(t)
	raw, err := sm.Wrap([]apdu.Command{{INS: 0xA4, P1: 2, P2: 0x0C, Data: []byte{1, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	raw[0][len(raw[0])-2] ^= 1 // of the checksum
	answer, err := c.chip.Transmit(ctx, raw[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := apdu.ParseResponse(answer)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sm.Unwrap([]apdu.Response{{Data: r.Data, SW: r.SW}}, 1)
	if err != nil || plain[0].SW != apdu.SWConditionsOfUseNotSatisfied {
		t.Fatalf("%v, %v", plain, err)
	}
	if _, err := lds.ReadFile(ctx, sm, 0x0101); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
