package virtual

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

func TestATRIsWellFormed(t *testing.T) {
	atr := DefaultATR
	if len(atr) != 17 || atr[0] != 0x3B || int(atr[1]&0x0F) != len(atr)-4 {
		t.Fatalf("%X", atr)
	}
	var check byte
	for _, b := range atr[1:] {
		check ^= b
	}
	if check != 0 {
		t.Errorf("TCK does not close the sum: %02X", check)
	}
}

func TestDefaultSelectionAndSelect(t *testing.T) {
	h, c := newHost(t, 16)
	// After a reset the application with Card Reset is selected.
	if data := h.want(apdu.SWSuccess, "0030000000"); !bytes.Equal(data, []byte{0x07}) {
		t.Fatalf("%X", data)
	}
	fci := h.want(apdu.SWSuccess, "00A4040000")
	if got, _ := tlv.Path(fci, 0x6F, 0x84); !bytes.Equal(got, mustHex(IssuerSecurityDomainAID)) {
		t.Errorf("FCI %X", fci)
	}
	if got, _ := tlv.Path(fci, 0x6F, 0xA5, 0x9F65); !bytes.Equal(got, []byte{0xFF}) {
		t.Errorf("FCI %X", fci)
	}
	recognition := h.want(apdu.SWSuccess, "80CA006600")
	if got, _ := tlv.Path(recognition, 0x66, 0x73, 0x64, 0x06); !bytes.Equal(got, append(bytes.Clone(oidSecureChannel), 3, 0x70)) {
		t.Errorf("card recognition data %X", recognition)
	}
	for _, name := range []string{"00A4040008A000000151000000", "00A4040008A00000015100000000", "00A4040005A00000015100", "00A4040408A00000015100000000"} {
		if got := h.want(apdu.SWSuccess, name); !bytes.Equal(got, fci) {
			t.Errorf("%s: %X", name, got)
		}
	}
	if got := h.want(apdu.SWSuccess, "00A4040C08A000000151000000"); len(got) != 0 {
		t.Errorf("P2 = 0C answered %X", got)
	}
	if got := h.want(apdu.SWSuccess, "00A4040007A000000247100100"); string(got) != "by name" {
		t.Errorf("%q", got)
	}
	if got := h.want(apdu.SWSuccess, "00A4040C07A0000002471001"); len(got) != 0 {
		t.Errorf("P2 = 0C answered %X", got)
	}
	// Partial name: the security domain comes first, the application next.
	h.want(apdu.SWSuccess, "00A4040004A0000001")
	if got := h.want(apdu.SWSuccess, "00A4040203A00000"); string(got) != "by name" {
		t.Errorf("%q", got)
	}
	h.want(apdu.SWFileNotFound, "00A4040203A00000")
	// An application that refuses leaves the security domain selected.
	h.want(apdu.SWSuccess, "0060000000")
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00A4040007A000000247100100")
	h.want(apdu.SWSuccess, "80CA9F7F00")
	c.Reset()
	h.want(apdu.SWSuccess, "0030000000")
}

func TestGetData(t *testing.T) {
	h, c := newHost(t, 24)
	h.selectISD()
	cplc := h.want(apdu.SWSuccess, "80CA9F7F00")
	serial := NewSerial(1, 7)
	if len(cplc) != 45 || !bytes.Equal(cplc[:3], []byte{0x9F, 0x7F, 42}) ||
		!bytes.Equal(cplc[3:7], []byte{0xCB, 0xCB, 0, 1}) ||
		!bytes.Equal(cplc[15:19], serial.Number[:]) || !bytes.Equal(cplc[19:21], serial.Batch[:]) {
		t.Errorf("CPLC %X", cplc)
	}
	if got := h.want(apdu.SWSuccess, "00CA9F7F00"); !bytes.Equal(got, cplc) {
		t.Errorf("class 00: %X", got)
	}
	if got := h.want(apdu.SWSuccess, "80CA9F7F"); !bytes.Equal(got, cplc) {
		t.Errorf("without Le: %X", got)
	}
	want := "e012c00401308818c00402308818c00403308818"
	if got := h.want(apdu.SWSuccess, "80CA00E000"); !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("key information %X", got)
	}
	want = "6631732f06072a864886fc6b01600c060a2a864886fc6b02020301630906072a864886fc6b03640b06092a864886fc6b040370"
	if got := h.want(apdu.SWSuccess, "80CA006600"); !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("card data %X", got)
	}
	if got := h.want(apdu.SWSuccess, "80CA00C100"); !bytes.Equal(got, unhex(t, "c103000000")) {
		t.Errorf("sequence counter %X", got)
	}
	kdd := serial.Bytes()
	if got := h.want(apdu.SWSuccess, "80CA00CF00"); !bytes.Equal(got, append([]byte{0xCF, 10}, kdd[:]...)) {
		t.Errorf("key diversification data %X", got)
	}
	data, _ := h.initUpdate(0)
	if !bytes.Equal(data[:13], append(bytes.Clone(kdd[:]), 0x30, 0x03, 0x70)) || !bytes.Equal(data[29:], []byte{0, 0, 1}) {
		t.Errorf("INITIALIZE UPDATE %X", data)
	}
	if got := h.want(apdu.SWSuccess, "80CA00C100"); !bytes.Equal(got, unhex(t, "c103000001")) {
		t.Errorf("sequence counter %X", got)
	}
	h.open(0x33)
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x90, 0, 0x45, 2, 0xAB, 0xCD))
	if got := h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x45)); !bytes.Equal(got, unhex(t, "4502abcd")) {
		t.Errorf("CIN %X", got)
	}
	c.Reset()
	h.selectISD()
	if got := h.want(apdu.SWSuccess, "80CA004500"); !bytes.Equal(got, unhex(t, "4502abcd")) {
		t.Errorf("CIN %X", got)
	}
	if got := h.want(apdu.SWSuccess, "80CA006700"); len(got) < 10 || got[0] != 0x67 {
		t.Errorf("capabilities %X", got)
	}
}

func TestEveryLevelAndKeySize(t *testing.T) {
	for _, i := range []byte{SCP03Full, SCP03Full | SCP03S16} {
		everyLevelAndKeySize(t, i)
	}
}

func everyLevelAndKeySize(t *testing.T, i byte) {
	for _, size := range []int{16, 24, 32} {
		for _, level := range []byte{0x00, 0x01, 0x03, 0x11, 0x13, 0x33} {
			h, _ := newHostOf(t, size, i)
			h.open(level)
			got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 0x02, 0x4F, 0x00))
			if want := "e3134f08a0000001510000009f700101c50398de00"; !bytes.Equal(got, unhex(t, want)) {
				t.Fatalf("AES-%d level %02X: %X", size*8, level, got)
			}
			got = h.must(apdu.SWSuccess, cmd(insGetStatus, 0x40, 0x02, 0x4F, 0x00))
			if want := "e3244f07a00000024710019f700107c503040000c406a00000024710cc08a000000151000000"; !bytes.Equal(got, unhex(t, want)) {
				t.Fatalf("applications %X", got)
			}
			h.must(apdu.SWReferencedDataNotFound, cmd(insGetStatus, 0x40, 0x02, 0x4F, 0x01, 0x99))
			h.must(apdu.SWIncorrectP1P2, cmd(insGetStatus, 0x40, 0x00, 0x4F, 0x00))
			h.must(apdu.SWWrongData, cmd(insGetStatus, 0x40, 0x02))
			// A command without data.
			h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P1: 0x9F, P2: 0x7F, Ne: 256})
		}
	}
}

func TestGetStatusTagListAndPages(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x33)
	got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0x40, 0x02, 0x4F, 0x00, 0x5C, 0x03, 0x4F, 0x9F, 0x70))
	if !bytes.Equal(got, unhex(t, "e30d4f07a00000024710019f700107")) {
		t.Errorf("%X", got)
	}
	got = h.must(apdu.SWSuccess, cmd(insGetStatus, 0x10, 0x02, 0x4F, 0x00))
	if m, _ := tlv.Path(got, 0xE3, 0x84); !bytes.Equal(m, mustHex(LDSAID)) {
		t.Errorf("%X", got)
	}
	// Twelve more applications do not fit one answer.
	for i := range 12 {
		data := unhex(t, "06a0000002471007a000000247100108a0000002471002")
		data = append(data, byte(i), 1, 0, 0, 0)
		h.must(apdu.SWSuccess, cmd(insInstall, 0x0C, 0, data...))
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insGetStatus, 0x40, 0x03, 0x4F, 0x00))
	var all []byte
	p2 := byte(0x02)
	for pages := 0; ; pages++ {
		data, sw := h.send(cmd(insGetStatus, 0x40, p2, 0x4F, 0x00))
		all = append(all, data...)
		if sw.OK() {
			if pages < 2 {
				t.Errorf("only %d pages", pages+1)
			}
			break
		}
		if sw != swMoreData {
			t.Fatal(sw)
		}
		p2 = 0x03
	}
	objects, err := tlv.Parse(all)
	if err != nil || len(objects) != 13 {
		t.Fatalf("%d entries, %v", len(objects), err)
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insGetStatus, 0x40, 0x03, 0x4F, 0x00))
}

func TestInstallAndDelete(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	aid := "A000000247100299"
	data := unhex(t, "06a0000002471007a000000247100108"+aid+"01000000")
	if got := h.must(apdu.SWSuccess, cmd(insInstall, 0x04, 0, data...)); !bytes.Equal(got, []byte{0}) {
		t.Errorf("%X", got)
	}
	h.want(apdu.SWFileNotFound, "00A4040008"+aid) // installed, not selectable
	h.must(apdu.SWSuccess, cmd(insInstall, 0x08, 0, unhex(t, "000008"+aid+"01000000")...))
	h.want(apdu.SWSuccess, "00A4040008"+aid)
	h.want(apdu.SWSuccess, "0010000003414243")
	// What one instance stores is its own.
	h.want(apdu.SWSuccess, "00A4040007A0000002471001")
	if got := h.want(apdu.SWSuccess, "001000000158"); string(got) != "X" {
		t.Errorf("%q", got)
	}
	h.open(0x03)
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, append([]byte{0x4F, 8}, unhex(t, aid)...)...))
	h.must(apdu.SWReferencedDataNotFound, cmd(insDelete, 0, 0, append([]byte{0x4F, 8}, unhex(t, aid)...)...))
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0x80, append([]byte{0x4F, 6}, mustHex(LDSLoadFileAID)...)...))
	h.must(apdu.SWWrongData, cmd(insDelete, 0, 0))
	if len(c.mem.Space(appSpace+aid).Keys("")) != 0 {
		t.Error("a deleted application left data")
	}
	h.want(apdu.SWFileNotFound, "00A4040008"+aid)
}

func TestApplicationLock(t *testing.T) {
	h, c := newHost(t, 16)
	lds := mustHex(LDSAID)
	h.want(apdu.SWSuccess, "00401F0000") // the application moves itself to 1F
	h.open(0x33)
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x40, 0x00, lds...)) // not locked
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x80, lds...))
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x40, 0x80, lds...))
	h.must(apdu.SWConditionsOfUseNotSatisfied, personalize())
	h.must(apdu.SWReferencedDataNotFound, cmd(insSetStatus, 0x40, 0x80, 1, 2, 3, 4, 5))
	got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0x40, 0x02, 0x4F, 0x00))
	if s, _ := tlv.Path(got, 0xE3, 0x9F70); !bytes.Equal(s, []byte{0x9F}) {
		t.Errorf("state %X", s)
	}
	h.want(apdu.SWFileNotFound, "00A4040C07A0000002471001")
	c.Reset()
	h.want(apdu.SWSuccess, "80CA9F7F00") // the security domain is selected
	h.open(0x33)
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x00, lds...))
	h.want(apdu.SWSuccess, "00A4040C07A0000002471001")
	if got := h.want(apdu.SWSuccess, "0030000000"); !bytes.Equal(got, []byte{0x1F}) {
		t.Errorf("state after unlocking %X", got)
	}
}

func TestPersonalizationReachesTheApplication(t *testing.T) {
	for _, level := range []byte{0x03, 0x33} {
		h, c := newHost(t, 16)
		h.open(level)
		h.must(apdu.SWSuccess, personalize())
		h.must(apdu.SWSuccess, cmd(insStoreData, 0x08, 0, []byte("first ")...))
		secret := pad([]byte("secret"))
		h.must(apdu.SWSuccess, cmd(insStoreData, 0xE8, 1, mustAESKey(h.keys.DEK).encryptCBC([16]byte{}, secret)...))
		if got := c.mem.Space(appSpace + LDSAID).Get("stored"); !bytes.Equal(got, append([]byte("first "), secret...)) {
			t.Errorf("level %02X: %q", level, got)
		}
		// The key is not there for commands of the outside.
		h.want(apdu.SWSuccess, "00A4040C07A0000002471001")
		h.want(apdu.SWReferencedDataNotUsable, "0050000000")
	}
}

func TestPutKeyReplacesAddsAndPersists(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		h, c := newHost(t, 16)
		h.open(0x33)
		next := testKeys(0x31, size)
		next.MAC[3] ^= 0x10
		want := []byte{0x31}
		for _, k := range [][]byte{next.ENC, next.MAC, next.DEK} {
			want = append(want, mustAESKey(k).kcv()...)
		}
		if got := h.must(apdu.SWSuccess, putKeys(0x30, next, h.keys.DEK)); !bytes.Equal(got, want) {
			t.Errorf("%X, want %X", got, want)
		}
		// The session goes on, and so does its DEK.
		another := testKeys(0x32, 16)
		h.must(apdu.SWSuccess, putKeys(0, another, h.keys.DEK))
		h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0, 0x4F, 8, 0xA0, 0, 0, 1, 0x51, 0, 0, 0))
		h.card = on(t, c.mem, nil)
		h.selectISD()
		if _, sw := h.initUpdate(0x30); sw != apdu.SWReferencedDataNotFound {
			t.Errorf("the replaced version: %v", sw)
		}
		h.keys = next
		h.open(0x33) // the default is the set that took the old one's place
		h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0, 0xD2, 1, 0x31))
		h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, 0xD2, 1, 0x32))
		h.must(apdu.SWReferencedDataNotFound, cmd(insDelete, 0, 0, 0xD2, 1, 0x32))
	}
}

func TestPanicIsUndone(t *testing.T) {
	h, c := newHost(t, 16)
	h.want(apdu.SWSuccess, "0010000003414243")
	h.want(apdu.SWNoPreciseDiagnosis, "0020000000")
	c.Reset()
	if got := h.want(apdu.SWSuccess, "001000000144"); string(got) != "ABCD" {
		t.Errorf("%q", got)
	}
}

func TestPower(t *testing.T) {
	h, c := newHost(t, 16)
	c.PowerOff()
	if _, err := c.Transmit(t.Context(), unhex(t, "00A4040000")); !errors.Is(err, ErrNoPower) {
		t.Fatal(err)
	}
	if !bytes.Equal(c.PowerOn(), DefaultATR) || !bytes.Equal(c.ATR(), DefaultATR) {
		t.Error("answer to reset")
	}
	h.selectISD()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Transmit(ctx, unhex(t, "00A4040000")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestCardInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	mem, err := nvm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	keys := testKeys(0x30, 16)
	if err := Manufacture(mem, testBlank(keys)); err != nil {
		t.Fatal(err)
	}
	if err := Manufacture(mem, testBlank(keys)); !errors.Is(err, ErrNotBlank) {
		t.Fatal(err)
	}
	h := &host{t: t, card: on(t, mem, nil), keys: keys, length: 8}
	h.open(0x03)
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Initialized)))
	if err := mem.Close(); err != nil {
		t.Fatal(err)
	}
	// A memory that is closed accepts nothing more.
	if _, sw := h.send(cmd(insSetStatus, 0x80, byte(Secured))); sw != apdu.SWMemoryFailure {
		t.Fatalf("%v", sw)
	}
	if mem, err = nvm.Open(path); err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	c := on(t, mem, nil)
	if c.State() != Initialized {
		t.Errorf("state %02X", c.State())
	}
	if _, err := New(Config{}); !errors.Is(err, ErrNoCard) {
		t.Errorf("an empty memory: %v", err)
	}
	if _, err := New(Config{Memory: mem}); err == nil {
		t.Error("a card without its code was accepted")
	}
}

func TestBlankChecks(t *testing.T) {
	for name, edit := range map[string]func(*Blank){
		"key version": func(b *Blank) { b.Keys.Version = 0x80 },
		"key length":  func(b *Blank) { b.Keys.MAC = b.Keys.MAC[:15] },
		"i":           func(b *Blank) { b.SCP = 0x78 },
		"R-ENC alone": func(b *Blank) { b.SCP = 0x40 },
		"failures":    func(b *Blank) { b.MaxFailures = 256 },
		"AID":         func(b *Blank) { b.ISD = []byte{1, 2, 3, 4} },
		"two resets":  func(b *Blank) { b.Applications = append(b.Applications, b.Applications[0]) },
		"kdd":         func(b *Blank) { b.KeyDiversificationData = []byte{1} },
	} {
		b := testBlank(testKeys(0x30, 16))
		edit(&b)
		if Manufacture(nvm.InMemory(), b) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFaults(t *testing.T) {
	count := []byte("\x00\x10\x00\x00\x01A")
	for fault, stored := range map[Fault]string{TearBefore: "A", TearAfter: "AA", Silence: "AA", Garbage: "AA"} {
		_, c := newHost(t, 16)
		f := &Faulty{Chip: c, At: 2, Fault: fault}
		if _, err := f.Transmit(t.Context(), count); err != nil {
			t.Fatal(err)
		}
		out, err := f.Transmit(t.Context(), count)
		switch fault {
		case TearBefore, TearAfter:
			if !errors.Is(err, apdu.ErrInDoubt) || !errors.Is(err, ErrTorn) {
				t.Fatalf("%v: %v", fault, err)
			}
		case Silence:
			if err != nil || len(out) != 0 {
				t.Fatalf("%X %v", out, err)
			}
		case Garbage:
			if err != nil || !bytes.Equal(out, []byte("A@\x90\x00")) {
				t.Fatalf("%X %v", out, err)
			}
			continue
		}
		if f.Count() != 2 {
			t.Errorf("count %d", f.Count())
		}
		if _, err := f.Transmit(t.Context(), count); !errors.Is(err, ErrNoPower) {
			t.Fatal(err)
		}
		c.Reset()
		if got := string(c.mem.Space(appSpace + LDSAID).Get("value")); got != stored {
			t.Errorf("fault %v left %q", fault, got)
		}
	}
}

// FuzzTransmit throws bytes at a chip, plain and with a session open; it must
// answer every command with a status word and never fail inside.
func FuzzTransmit(f *testing.F) {
	for _, s := range []string{"00A4040000", "80CA9F7F00", "8050000008000102030405060700", "80F28002024F0000",
		"80E62000 0D 000007A0000002471001000000", "80E2880001FF", "80D8308101", "80E4000002D200", "00A4040203A00000"} {
		f.Add(unhex(f, string(bytes.ReplaceAll([]byte(s), []byte(" "), nil))), true)
	}
	f.Fuzz(func(t *testing.T, command []byte, inSession bool) {
		h, c := newHost(t, 16)
		if inSession {
			h.open(0x00)
		}
		out, err := c.Transmit(t.Context(), command)
		if err != nil || len(out) < 2 {
			t.Fatalf("%X %v", out, err)
		}
		if bytes.Equal(out, []byte{0x6F, 0x00}) && c.selected == nil && (len(command) < 2 || command[1] != 0x20) {
			t.Fatal("the chip failed inside")
		}
	})
}

func BenchmarkStoreDataLevel33(b *testing.B) {
	h, c := newHost(b, 16)
	h.open(0x33)
	var batch [][]byte
	batch = append(batch, h.wrap(personalize()))
	h.s.level = 0x33
	for i := range 80 {
		batch = append(batch, h.wrap(cmd(insStoreData, 0x08, byte(i), make([]byte, 239)...)))
	}
	saved := c.session
	b.ResetTimer()
	for b.Loop() {
		c.session = saved
		c.reg.apps[0].code = nil // what the probe stored would grow and grow
		for _, command := range batch {
			if out, err := c.Transmit(context.Background(), command); err != nil || out[len(out)-2] != 0x90 {
				b.Fatalf("%X %v", out, err)
			}
		}
	}
}
