package virtual

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
)

// closedNow checks that no session is open any more.
func (h *host) closedNow() {
	h.t.Helper()
	if data, sw := h.raw(h.wrap(cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))); sw != apdu.SWSecurityStatusNotSatisfied || len(data) != 0 {
		h.t.Fatalf("after the error a protected command drew %v", sw)
	}
}

func TestWrongCryptogramIsRefused(t *testing.T) {
	h, c := newHost(t, 16)
	h.selectISD()
	h.initUpdate(0)
	command := h.authentication(0x33)
	command[5] ^= 1
	if _, sw := h.raw(command); sw != apdu.SWAuthenticationFailed {
		t.Fatalf("%v", sw)
	}
	if c.reg.keys[0].failures != 1 {
		t.Error("the failure was not counted")
	}
	h.closedNow()
}

func TestWrongMACOfExternalAuthenticateIsRefused(t *testing.T) {
	h, c := newHost(t, 16)
	h.selectISD()
	h.initUpdate(0)
	command := h.authentication(0x33)
	command[len(command)-1] ^= 1
	if _, sw := h.raw(command); sw != apdu.SWSecureMessagingIncorrect {
		t.Fatalf("%v", sw)
	}
	if c.reg.keys[0].failures != 1 {
		t.Error("the failure was not counted")
	}
	h.closedNow()
}

func TestWrongMACEndsTheSession(t *testing.T) {
	for _, level := range []byte{0x01, 0x03, 0x11, 0x13, 0x33} {
		h, _ := newHost(t, 16)
		h.open(level)
		command := h.wrap(cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
		command[len(command)-2] ^= 1
		if _, sw := h.raw(command); sw != apdu.SWSecureMessagingIncorrect {
			t.Fatalf("level %02X: %v", level, sw)
		}
		h.closedNow()
	}
}

func TestReplayedCommandIsRefused(t *testing.T) {
	for _, level := range []byte{0x01, 0x03, 0x33} {
		h, _ := newHost(t, 16)
		h.open(level)
		h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
		if _, sw := h.raw(h.tap); sw != apdu.SWSecureMessagingIncorrect {
			t.Fatalf("level %02X: the same bytes again: %v", level, sw)
		}
		h.closedNow()
	}
}

func TestReplayedSessionIsRefused(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	h.initUpdate(0)
	initUpdate := h.tap
	authentication := h.authentication(0x33)
	if _, sw := h.raw(authentication); !sw.OK() {
		t.Fatal(sw)
	}
	if _, sw := h.raw(initUpdate); !sw.OK() {
		t.Fatal(sw)
	}
	if _, sw := h.raw(authentication); sw != apdu.SWAuthenticationFailed {
		t.Fatalf("a recorded authentication: %v", sw)
	}
}

func TestSwappedCommandsAreRefused(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x33)
	first := h.wrap(cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
	second := h.wrap(cmd(insGetStatus, 0x40, 0x02, 0x4F, 0x00))
	if _, sw := h.raw(second); sw != apdu.SWSecureMessagingIncorrect {
		t.Fatalf("%v", sw)
	}
	if _, sw := h.raw(first); sw != apdu.SWSecurityStatusNotSatisfied {
		t.Fatalf("%v", sw)
	}
}

func TestAuthenticationOutOfOrderIsRefused(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	h.want(apdu.SWConditionsOfUseNotSatisfied, "848203001000112233445566778899AABBCCDDEEFF")
	// Another command between the two.
	h.initUpdate(0)
	authentication := h.authentication(0x03)
	h.want(apdu.SWSuccess, "80CA006600")
	if _, sw := h.raw(authentication); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Fatalf("%v", sw)
	}
	// The same authentication twice.
	h.initUpdate(0)
	authentication = h.authentication(0x03)
	if _, sw := h.raw(authentication); !sw.OK() {
		t.Fatal(sw)
	}
	if _, sw := h.raw(authentication); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Fatalf("%v", sw)
	}
	h.closedNow()
}

func TestPlainCommandInASessionEndsIt(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x01)
	h.want(apdu.SWSecurityStatusNotSatisfied, "80CA006600")
	h.closedNow()
}

func TestMissingMACEndsTheSession(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.want(apdu.SWSecureMessagingIncorrect, "84F28002024F0000")
	h.closedNow()
}

func TestWrongPaddingUnderTheMACEndsTheSession(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.s.counter++
	// Sixteen bytes deciphered without the padding byte anywhere.
	data := h.s.enc.encryptCBC(h.s.icv(0), bytes.Repeat([]byte{0x11}, 16))
	h.s.level = 0x01 // a MAC over data that the host says is enciphered already
	h.s.counter--
	if _, sw := h.raw(h.wrap(cmd(insGetStatus, 0x80, 0x02, data...))); sw != apdu.SWSecureMessagingIncorrect {
		t.Fatalf("%v", sw)
	}
	h.closedNow()
}

func TestProtectedCommandWithoutMACLevelIsRefused(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x00)
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
	h.want(apdu.SWSecureMessagingNotSupported, "84F28002024F0000")
	h.want(apdu.SWSecurityStatusNotSatisfied, "80F28002024F0000")
}

func TestSelectionEndsTheSession(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.selectISD()
	h.closedNow()
}

func TestSelectionThatFailsLeavesTheSession(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.want(apdu.SWFileNotFound, "00A4040005A0A0A0A0A000")
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
}

func TestResetEndsTheSession(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	c.Reset()
	h.selectISD()
	h.closedNow()
}

func TestManagementNeedsASession(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	for _, command := range []string{
		"80F28002024F0000", "80F0800700", "80E62000010000", "80E40000024F0000", "80E2900003420100", "80D80081013000",
		"84F28002024F0000",
	} {
		h.want(apdu.SWSecurityStatusNotSatisfied, command)
	}
}

func TestExhaustedAuthentications(t *testing.T) {
	h, c := newHost(t, 16)
	right := h.keys
	h.selectISD()
	fail := func() {
		t.Helper()
		h.keys = testKeys(0x30, 16)
		h.keys.MAC = bytes.Repeat([]byte{9}, 16)
		h.initUpdate(0)
		if _, sw := h.raw(h.authentication(0x01)); sw != apdu.SWAuthenticationFailed {
			t.Fatal(sw)
		}
		h.keys = right
	}
	for range 9 {
		fail()
	}
	h.open(0x03) // the tenth try is right: the count begins again
	for range 10 {
		fail()
	}
	if _, sw := h.initUpdate(0); sw != apdu.SWAuthenticationMethodBlocked {
		t.Fatalf("after ten failures: %v", sw)
	}
	c.PowerOff()
	c.PowerOn()
	h.selectISD()
	if _, sw := h.initUpdate(0x30); sw != apdu.SWAuthenticationMethodBlocked {
		t.Fatalf("after ten failures and a power cut: %v", sw)
	}
	// A chip made from the same memory knows too.
	h.card = on(t, c.mem, nil)
	h.selectISD()
	if _, sw := h.initUpdate(0x30); sw != apdu.SWAuthenticationMethodBlocked {
		t.Fatalf("another process: %v", sw)
	}
}

func TestTearDuringAuthenticationCounts(t *testing.T) {
	h, c := newHost(t, 16)
	h.selectISD()
	h.initUpdate(0)
	f := &Faulty{Chip: c, At: 1, Fault: TearAfter}
	if _, err := f.Transmit(t.Context(), unhex(t, "848203001000112233445566778899AABBCCDDEEFF")); err == nil {
		t.Fatal("no tear")
	}
	if on(t, c.mem, nil).reg.keys[0].failures != 1 {
		t.Error("the failure is forgotten")
	}
}

func TestInitializeUpdateRefusals(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	h.want(apdu.SWReferencedDataNotFound, "8050310008000102030405060700")
	h.want(apdu.SWIncorrectP1P2, "8050000108000102030405060700")
	h.want(apdu.SWWrongLength, "80500000070001020304050600")
	h.want(apdu.SWClassNotSupported, "8450000008000102030405060700")
	h.want(apdu.SWClassNotSupported, "0050000008000102030405060700")
}

func TestExternalAuthenticateRefusals(t *testing.T) {
	for _, c := range []struct {
		command string
		sw      apdu.StatusWord
	}{
		{"848202001000112233445566778899AABBCCDDEEFF", apdu.SWIncorrectP1P2}, // C-DECRYPTION without C-MAC
		{"848230001000112233445566778899AABBCCDDEEFF", apdu.SWIncorrectP1P2}, // responses alone
		{"848203011000112233445566778899AABBCCDDEEFF", apdu.SWIncorrectP1P2},
		{"848203000F00112233445566778899AABBCCDDEE", apdu.SWWrongLength},
		{"808203001000112233445566778899AABBCCDDEEFF", apdu.SWClassNotSupported},
	} {
		h, chip := newHost(t, 16)
		h.selectISD()
		h.initUpdate(0)
		h.want(c.sw, c.command)
		if chip.reg.keys[0].failures != 0 {
			t.Error("something that was no try was counted")
		}
	}
}

func TestResponseLevelsNeedTheOption(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	blank.SCP = SCP03RandomChallenge
	c, err := New(Config{Blank: &blank, Applets: testModules(), Random: bytes.NewReader(bytes.Repeat([]byte("cardchal"), 4))})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	h.selectISD()
	data, _ := h.initUpdate(0)
	if len(data) != 29 || !bytes.Equal(data[13:21], []byte("cardchal")) {
		t.Fatalf("a random challenge has no sequence counter: %X", data)
	}
	if _, sw := h.raw(h.authentication(0x33)); sw != apdu.SWIncorrectP1P2 {
		t.Fatalf("%v", sw)
	}
	h.want(apdu.SWReferencedDataNotFound, "80CA00C100")
	h.open(0x03)
}

func TestLockedCard(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x33)
	for _, s := range []CardState{Initialized, Secured, CardLocked} {
		h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(s)))
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, personalize())
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insStoreData, 0x90, 0, 0x42, 0x01, 0x01))
	c.Reset()
	// The issuer security domain is selected, not the application.
	h.want(apdu.SWSuccess, "80CA9F7F00")
	if data := h.want(apdu.SWSelectedFileInvalidated, "00A4040000"); len(data) == 0 {
		t.Error("no FCI from a locked card")
	}
	h.want(apdu.SWFunctionNotSupported, "00A4040C07A0000002471001")
	h.initUpdate(0)
	if _, sw := h.raw(h.authentication(0x03)); !sw.OK() {
		t.Fatal(sw)
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, putKeys(0x30, testKeys(0x31, 16), h.keys.DEK))
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Secured)))
	c.Reset()
	h.want(apdu.SWSuccess, "00A4040C07A0000002471001")
}

func TestTerminatedCard(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Terminated)))
	c.Reset()
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00A4040000")
	h.want(apdu.SWConditionsOfUseNotSatisfied, "8050000008000102030405060700")
	h.want(apdu.SWSuccess, "80CA9F7F00")
}

func TestIllegalLifeCycleTransitions(t *testing.T) {
	states := []CardState{OpReady, Initialized, Secured, CardLocked, Terminated}
	path := map[CardState][]CardState{
		OpReady: {}, Initialized: {Initialized}, Secured: {Initialized, Secured},
		CardLocked: {Initialized, Secured, CardLocked},
	}
	legal := map[[2]CardState]bool{
		{OpReady, Initialized}: true, {Initialized, Secured}: true,
		{Secured, CardLocked}: true, {CardLocked, Secured}: true,
	}
	for from, steps := range path {
		for _, to := range states {
			h, c := newHost(t, 16)
			h.open(0x01)
			for _, s := range steps {
				h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(s)))
			}
			want := apdu.SWConditionsOfUseNotSatisfied
			if to == Terminated || legal[[2]CardState{from, to}] {
				want = apdu.SWSuccess
			}
			h.must(want, cmd(insSetStatus, 0x80, byte(to)))
			if want != apdu.SWSuccess && c.State() != from {
				t.Errorf("%02X is %02X after a refused transition to %02X", from, c.State(), to)
			}
		}
	}
	h, _ := newHost(t, 16)
	h.open(0x01)
	h.must(apdu.SWIncorrectP1P2, cmd(insSetStatus, 0x80, 0x1F))
	h.must(apdu.SWIncorrectP1P2, cmd(insSetStatus, 0x20, 0x07))
}

func TestStoreDataOutOfOrder(t *testing.T) {
	block := func(p1, p2 byte) apdu.Command { return cmd(insStoreData, p1, p2, 'd') }
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.must(apdu.SWSuccess, personalize())
	h.must(apdu.SWIncorrectP1P2, block(0x08, 1)) // begins at 00
	h.must(apdu.SWSuccess, personalize())
	h.must(apdu.SWSuccess, block(0x08, 0))
	h.must(apdu.SWIncorrectP1P2, block(0x08, 0)) // again
	h.must(apdu.SWIncorrectP1P2, block(0x08, 1)) // the sequence is over
	h.must(apdu.SWSuccess, personalize())
	h.must(apdu.SWSuccess, block(0x88, 0))
	// The last block was sent: what follows is for the security domain,
	// which knows no such data.
	h.must(apdu.SWWrongData, block(0x88, 0))
	for _, p1 := range []byte{0x18, 0x40, 0x02, 0x04} {
		h.must(apdu.SWSuccess, personalize())
		h.must(apdu.SWIncorrectP1P2, block(p1, 0))
	}
	// An error of the application ends the sequence too.
	h.must(apdu.SWSuccess, personalize())
	h.must(apdu.SWSuccess, block(0x08, 0))
	h.must(apdu.SWWrongData, cmd(insStoreData, 0x08, 1, 'n', 'o'))
	h.must(apdu.SWIncorrectP1P2, block(0x08, 2))
}

func TestInstallRefusals(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	for _, c := range []struct {
		p1, p2 byte
		data   string
		sw     apdu.StatusWord
	}{
		{0x20, 0, "000006A0A0A0A0A0A0000000", apdu.SWReferencedDataNotFound},
		{0x20, 0, "000007A00000024710010000", apdu.SWWrongData}, // one field short
		{0x20, 1, "000007A0000002471001000000", apdu.SWIncorrectP1P2},
		{0x02, 0, "06A0000002471000000000", apdu.SWConditionsOfUseNotSatisfied}, // is on the card
		{0x0C, 0, "06A0000002471107A000000247100107A0000002471002010000 00", apdu.SWReferencedDataNotFound},
		{0x0C, 0, "06A0000002471007A000000247100107A000000247100101000000", apdu.SWConditionsOfUseNotSatisfied}, // exists
		{0x0C, 0, "06A0000002471007A000000247100107A000000247100201040000", apdu.SWConditionsOfUseNotSatisfied}, // Card Reset is taken
		{0x0C, 0, "06A0000002471007A000000247100107A000000247100201800000", apdu.SWWrongData},                   // no security domains
	} {
		data := unhex(t, string(bytes.ReplaceAll([]byte(c.data), []byte(" "), nil)))
		h.must(c.sw, cmd(insInstall, c.p1, c.p2, data...))
	}
}

func TestPutKeyRefusals(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		h, c := newHost(t, size)
		h.open(0x33)
		next := testKeys(0x31, size)
		next.ENC[0] ^= 0x55
		right := putKeys(0x30, next, h.keys.DEK)
		change := func(edit func(*apdu.Command)) apdu.Command {
			x := right
			x.Data = bytes.Clone(right.Data)
			edit(&x)
			return x
		}
		h.must(swInvalidKeyCheckValue, change(func(x *apdu.Command) { x.Data[len(x.Data)-1] ^= 1 }))
		h.must(swInvalidKeyCheckValue, putKeys(0x30, next, testKeys(1, size).ENC)) // under a wrong DEK
		h.must(swAlgorithmNotSupported, change(func(x *apdu.Command) { x.Data[1] = 0x80 }))
		h.must(apdu.SWReferencedDataNotFound, change(func(x *apdu.Command) { x.P1 = 0x40 }))
		h.must(apdu.SWIncorrectP1P2, change(func(x *apdu.Command) { x.P2 = 0x01 }))
		h.must(apdu.SWWrongData, change(func(x *apdu.Command) { x.Data = x.Data[:len(x.Data)-1] }))
		h.must(apdu.SWWrongData, change(func(x *apdu.Command) { x.Data = append(x.Data, 0) }))
		h.must(apdu.SWWrongData, change(func(x *apdu.Command) { x.Data[0] = 0 }))
		h.must(apdu.SWWrongData, change(func(x *apdu.Command) { x.Data[0] = 0x80 }))
		h.must(apdu.SWWrongData, change(func(x *apdu.Command) { x.P1, x.Data[0] = 0, 0x30 })) // adds one that exists
		if k := c.reg.keys; len(k) != 1 || k[0].version != 0x30 || !bytes.Equal(k[0].enc, h.keys.ENC) {
			t.Fatal("a refused PUT KEY changed the keys")
		}
	}
}

func TestClassAndChannelRefusals(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	h.want(apdu.SWLogicalChannelNotSupported, "01A4040000")
	h.want(apdu.SWLogicalChannelNotSupported, "81CA006600")
	h.want(apdu.SWLogicalChannelNotSupported, "40A4040000")
	h.want(apdu.SWIncorrectP1P2, "0070400001")
	h.want(apdu.SWClassNotSupported, "FFCA000000")
	h.want(apdu.SWClassNotSupported, "90CA006600")
	h.want(apdu.SWInstructionNotSupported, "80AA000000")
	h.want(apdu.SWInstructionNotSupported, "00B0000000")
	h.want(apdu.SWSecurityStatusNotSatisfied, "80E8000000") // LOAD
	h.want(apdu.SWIncorrectP1P2, "00A40000023F0000")
	h.want(apdu.SWIncorrectP1P2, "00A4040100")
	h.want(apdu.SWIncorrectP1P2, "00A4040800")
	h.want(apdu.SWWrongLength, "00A404")
	h.want(apdu.SWWrongLength, "00A4040005A000")
	h.want(apdu.SWFileNotFound, "00A4040005A0A0A0A0A0")
	h.want(apdu.SWSuccess, "80CA004200")
	h.want(apdu.SWReferencedDataNotFound, "80CA123400")
	h.want(apdu.StatusWord(0x6C2D), "80CA9F7F10")
}
