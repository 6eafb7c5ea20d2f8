package virtual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

// TestSCP02Vector replays the session of osmocom pySim's tests from the card's
// side. It names key version 20 and its card answers with 70: the chip is
// asked for its default.
func TestSCP02Vector(t *testing.T) {
	var file struct {
		SCP02 []struct {
			ENC, MAC, DEK                        string
			InitUpdate, InitUpdateResponse       string
			ExternalAuthenticate, WrappedCommand string
			PlainCommand                         string
		} `json:"scp02"`
	}
	b, err := os.ReadFile("testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.SCP02) == 0 {
		t.Fatal("the vectors are not there", err)
	}
	for _, v := range file.SCP02 {
		answer := unhex(t, v.InitUpdateResponse)
		mem := nvm.InMemory()
		err := Manufacture(mem, Blank{
			Protocol: 2, SCP: 0x15, KeyDiversificationData: answer[:10],
			Keys: Keys{Type: TripleDES, Version: answer[10], ENC: unhex(t, v.ENC), MAC: unhex(t, v.MAC), DEK: unhex(t, v.DEK)},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := on(t, mem, bytes.NewReader(answer[14:20]))
		c.reg.keys[0].sequence = 1
		h := &host{t: t, card: c}
		initUpdate := unhex(t, v.InitUpdate)
		initUpdate[2] = 0
		if got, sw := h.raw(initUpdate); !sw.OK() || !bytes.Equal(got, answer) {
			t.Fatalf("INITIALIZE UPDATE: %X %v\nwant %X", got, sw, answer)
		}
		h.want(apdu.SWSuccess, v.ExternalAuthenticate)
		wrapped, err := apdu.Parse(unhex(t, v.WrappedCommand))
		if err != nil {
			t.Fatal(err)
		}
		plain, ok := c.session.unwrap(wrapped)
		if !ok {
			t.Fatal("the recorded command is refused")
		}
		if got, _ := plain.Bytes(); !bytes.Equal(got, unhex(t, v.PlainCommand)) {
			t.Errorf("unwrapped %X, want %s", got, v.PlainCommand)
		}
	}
}

// TestSCP02Sessions replays the sessions of another project's tests, one of
// them with C-DECRYPTION.
func TestSCP02Sessions(t *testing.T) {
	var file struct {
		Sessions []struct {
			Level, InitUpdate, InitUpdateResponse string
			ExternalAuthenticate                  string
			Commands                              []struct{ Wrapped, Plain string }
		}
	}
	b, err := os.ReadFile("testdata/scp02-globalplatform-c.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.Sessions) == 0 {
		t.Fatal("the vectors are not there", err)
	}
	key := unhex(t, "404142434445464748494a4b4c4d4e4f")
	for _, v := range file.Sessions {
		answer := unhex(t, v.InitUpdateResponse)
		mem := nvm.InMemory()
		if err := Manufacture(mem, Blank{
			Protocol: 2, SCP: 0x15, KeyDiversificationData: answer[:10],
			Keys: Keys{Type: TripleDES, Version: answer[10], ENC: key, MAC: key, DEK: key},
		}); err != nil {
			t.Fatal(err)
		}
		c := on(t, mem, bytes.NewReader(answer[14:20]))
		c.reg.keys[0].sequence = uint32(answer[12])<<8 | uint32(answer[13])
		h := &host{t: t, card: c}
		if got := h.want(apdu.SWSuccess, v.InitUpdate); !bytes.Equal(got, answer) {
			t.Fatalf("level %s: INITIALIZE UPDATE %X\nwant %X", v.Level, got, answer)
		}
		h.want(apdu.SWSuccess, v.ExternalAuthenticate)
		for _, command := range v.Commands {
			wrapped, err := apdu.Parse(unhex(t, command.Wrapped))
			if err != nil {
				t.Fatal(err)
			}
			plain, ok := c.session.unwrap(wrapped)
			if !ok {
				t.Fatalf("level %s: %s is refused", v.Level, command.Wrapped)
			}
			if got, _ := plain.Bytes(); !bytes.Equal(got, unhex(t, command.Plain)) {
				t.Errorf("level %s: unwrapped %X, want %s", v.Level, got, command.Plain)
			}
		}
	}
}

// TestDESKeyCheckValues are those of the public test key 40 … 4F that tools
// print, and of the keys that EMV's scheme diversifies from it in
// GlobalPlatformPro's tests: six bytes of card data, F0, number; the same with
// 0F; enciphered under the master key.
func TestDESKeyCheckValues(t *testing.T) {
	if got := mustDESKey(unhex(t, "404142434445464748494a4b4c4d4e4f")).kcv(); !bytes.Equal(got, unhex(t, "8baf47")) {
		t.Errorf("%X", got)
	}
	var file struct {
		Schemes []struct {
			Scheme, Master string
			Data           string   `json:"keyDiversificationData"`
			KCV            []string `json:"kcv"`
		} `json:"diversificationKcv"`
	}
	b, err := os.ReadFile("testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.Schemes) == 0 {
		t.Fatal("the vectors are not there", err)
	}
	for _, v := range file.Schemes {
		if v.Scheme != "emv" {
			continue
		}
		master, card := mustDESKey(unhex(t, v.Master)), unhex(t, v.Data)[4:10]
		for i, want := range v.KCV {
			key := make([]byte, 0, 16)
			for _, half := range []byte{0xF0, 0x0F} {
				key = append(key, master.encryptCBC(append(bytes.Clone(card), half, byte(i+1)))...)
			}
			if got := mustDESKey(key).kcv(); !bytes.Equal(got, unhex(t, want)) {
				t.Errorf("key %d: KCV %X, want %s", i+1, got, want)
			}
		}
	}
}

// TestSCP02AgainstOpenSSL runs whole sessions with a host whose only cipher is
// the openssl command.
func TestSCP02AgainstOpenSSL(t *testing.T) {
	engine := openSSL(t)
	for _, i := range []byte{0x15, 0x75} {
		h, c := newHost02(t, i, nil)
		h.cbc = engine
		level := byte(0x03)
		if i&0x20 != 0 {
			level = 0x13
		}
		h.open(level)
		h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x66))
		next := desKeys(0x21)
		for j := range next.ENC {
			next.ENC[j] ^= 0x5A
		}
		h.must(apdu.SWSuccess, h.putKeys(0x20, next))
		h.keys = next
		h.open(level)
		h.must(apdu.SWSuccess, personalize())
		secret := []byte("sixteen bytes at")
		h.must(apdu.SWSuccess, cmd(insStoreData, 0xE0, 0, h.ecb(secret)...))
		if got := c.mem.Space(appSpace + LDSAID).Get("stored"); !bytes.Equal(got, secret) {
			t.Errorf("i %02X: stored %q", i, got)
		}
		c.Reset()
	}
}

func TestSCP02EveryOptionAndLevel(t *testing.T) {
	for _, i := range []byte{0x05, 0x15, 0x25, 0x35, 0x45, 0x55, 0x65, 0x75} {
		for _, level := range []byte{0x00, 0x01, 0x03, 0x10, 0x11, 0x13, 0x02, 0x30, 0x33} {
			t.Run(fmt.Sprintf("i %02X level %02X", i, level), func(t *testing.T) {
				h, _ := newHost02(t, i, nil)
				h.selectISD()
				data, _ := h.initUpdate(0)
				if i&0x40 != 0 {
					want := h.retail(h.mac, zero8, mustHex(IssuerSecurityDomainAID))
					if !bytes.Equal(data[14:20], want[:6]) {
						t.Errorf("card challenge %X, want %X", data[14:20], want[:6])
					}
				}
				offered := level == 0 || level == 1 || level == 3 || i&0x20 != 0 && level&0x20 == 0 && level != 2
				if _, sw := h.raw(h.authentication(level)); sw.OK() != offered {
					t.Fatalf("EXTERNAL AUTHENTICATE: %v", sw)
				}
				if !offered {
					return
				}
				h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
				h.must(apdu.SWSuccess, cmd(insGetData, 0, 0xE0))
				h.must(apdu.SWReferencedDataNotFound, cmd(insGetData, 0x12, 0x34))
				h.must(apdu.SWSuccess, cmd(insStoreData, 0x90, 0, 0x45, 1, 7))
				if got := h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x45)); !bytes.Equal(got, []byte{0x45, 1, 7}) {
					t.Errorf("CIN %X", got)
				}
			})
		}
	}
}

func TestSCP02TellsTheTruthAboutItself(t *testing.T) {
	h, _ := newHost02(t, 0x55, nil)
	h.selectISD()
	if got := h.want(apdu.SWSuccess, "80CA00E000"); !bytes.Equal(got, unhex(t, "e012c00401208010c00402208010c00403208010")) {
		t.Errorf("key information %X", got)
	}
	recognition := h.want(apdu.SWSuccess, "80CA006600")
	if got, _ := tlv.Path(recognition, 0x66, 0x73, 0x64, 0x06); !bytes.Equal(got, unhex(t, "2a864886fc6b040255")) {
		t.Errorf("card recognition data %X", recognition)
	}
	capability := h.want(apdu.SWSuccess, "80CA006700")
	if got, _ := tlv.Path(capability, 0x67, 0xA0); !bytes.Equal(got, unhex(t, "800102810155")) {
		t.Errorf("capabilities %X", capability)
	}
	if got := h.want(apdu.SWSuccess, "80CA00C100"); !bytes.Equal(got, unhex(t, "c1020000")) {
		t.Errorf("sequence counter %X", got)
	}
	if got := h.want(apdu.SWSuccess, "80CA004500"); len(got) != 12 {
		t.Errorf("CIN %X", got)
	}
}

// TestPageSize: i = 01 means S16 mode in SCP03 alone.
func TestPageSize(t *testing.T) {
	h02, c := newHost02(t, 0x75, nil)
	if got := c.reg.pageSize(); got != 239 {
		t.Errorf("SCP02 i=%02X: %d", h02.i, got)
	}
	if _, c = newHostOf(t, 16, SCP03Full|SCP03S16); c.reg.pageSize() != 223 {
		t.Errorf("S16 mode: %d", c.reg.pageSize())
	}
}

// TestIdentificationIsClaimedWhereItIs: the scheme of IIN and CIN stands in
// card recognition data on cards that have both.
func TestIdentificationIsClaimedWhereItIs(t *testing.T) {
	for _, there := range []bool{true, false} {
		h, _ := newHost02(t, 0x55, func(b *Blank) {
			if !there {
				b.IIN = []byte{}
			}
		})
		h.selectISD()
		recognition := h.want(apdu.SWSuccess, "80CA006600")
		if _, claimed := tlv.Path(recognition, 0x66, 0x73, 0x63); claimed != there {
			t.Errorf("card recognition data %X", recognition)
		}
		_, sw := h.hex("80CA004200")
		if sw.OK() != there {
			t.Errorf("GET DATA 42: %v", sw)
		}
	}
}

// TestSCP02SequenceCounter advances with a success and lasts.
func TestSCP02SequenceCounter(t *testing.T) {
	h, c := newHost02(t, 0x55, nil)
	h.selectISD()
	for range 3 {
		h.initUpdate(0)
		if !bytes.Equal(h.sequence, []byte{0, 0}) {
			t.Fatalf("sequence %X", h.sequence)
		}
	}
	h.want(apdu.SWAuthenticationFailed, "8482010010"+"00112233445566778899aabbccddeeff")
	h.open(0x01)
	c.Reset()
	h.selectISD()
	h.initUpdate(0)
	if !bytes.Equal(h.sequence, []byte{0, 1}) {
		t.Fatalf("sequence %X", h.sequence)
	}
	c.reg.keys[0].sequence = maxSequence02
	h.open(0x01)
	h.selectISD()
	if _, sw := h.initUpdate(0); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Fatalf("a session beyond the last counter: %v", sw)
	}
}

func TestSCP02FailuresBlockTheKeySet(t *testing.T) {
	h, c := newHost02(t, 0x55, func(b *Blank) { b.MaxFailures = 3 })
	h.selectISD()
	for range 3 {
		h.initUpdate(0)
		h.want(apdu.SWAuthenticationFailed, "848201001000112233445566778899aabbccddeeff")
	}
	c.Reset()
	h.selectISD()
	if _, sw := h.initUpdate(0); sw != apdu.SWAuthenticationMethodBlocked {
		t.Fatalf("%v", sw)
	}
}

func TestSCP02ErrorsEndTheSession(t *testing.T) {
	for name, spoil := range map[string]func(h *host02) []byte{
		"C-MAC": func(h *host02) []byte {
			b := h.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))
			b[len(b)-2] ^= 1
			return b
		},
		"data": func(h *host02) []byte {
			b := h.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))
			b[5] ^= 1
			return b
		},
		"header": func(h *host02) []byte {
			b := h.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))
			b[2] = 0x40
			return b
		},
		"replay": func(h *host02) []byte {
			b := h.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))
			h.raw(b)
			return b
		},
		"short": func(h *host02) []byte { return []byte{0x84, 0xF2, 0x80, 2, 4, 1, 2, 3, 4, 0} },
		"half block": func(h *host02) []byte {
			return append(append([]byte{0x84, 0xF2, 0x80, 2, 12}, make([]byte, 12)...), 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHost02(t, 0x55, nil)
			h.open(0x03)
			if _, sw := h.raw(spoil(h)); sw != apdu.SWSecurityStatusNotSatisfied {
				t.Fatalf("%v", sw)
			}
			h.want(apdu.SWSecurityStatusNotSatisfied, "80F28002024F0000")
		})
	}
	h, c := newHost02(t, 0x55, nil)
	h.selectISD()
	h.initUpdate(0)
	b := h.authentication(0x01)
	b[len(b)-1] ^= 1
	if _, sw := h.raw(b); sw != apdu.SWSecurityStatusNotSatisfied {
		t.Fatalf("EXTERNAL AUTHENTICATE with a wrong C-MAC: %v", sw)
	}
	if c.reg.keys[0].sequence != 0 || c.reg.keys[0].failures != 1 {
		t.Error("a failure counts as one, and as no session")
	}
}

func TestSCP02PutKeyRefusals(t *testing.T) {
	h, _ := newHost02(t, 0x55, nil)
	h.open(0x01)
	good := h.putKeys(0, desKeys(0x22))
	for _, v := range []struct {
		at   int
		to   byte
		want apdu.StatusWord
	}{
		{1, 0x88, swAlgorithmNotSupported}, {2, 17, apdu.SWWrongData}, {19, 2, apdu.SWWrongData},
		{20, 0, swInvalidKeyCheckValue}, {0, 0xFF, apdu.SWWrongData}, {3, 0, swInvalidKeyCheckValue},
	} {
		c := good
		c.Data = bytes.Clone(good.Data)
		if c.Data[v.at] == v.to {
			v.to ^= 0x80
		}
		c.Data[v.at] = v.to
		h.must(v.want, c)
	}
	h.must(apdu.SWSuccess, good)
}

func TestRMACSession(t *testing.T) {
	h, _ := newHost02(t, 0x75, nil)
	h.open(0x01)
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insEndRMACSession, 0, 3))
	h.must(apdu.SWIncorrectP1P2, cmd(insBeginRMACSession, 0x30, 1))
	h.must(apdu.SWWrongData, cmd(insBeginRMACSession, 0x10, 1, 3, 1))
	h.must(apdu.SWSuccess, cmd(insBeginRMACSession, 0x10, 1, 2, 0xAB, 0xCD))
	h.level, h.ricv = 0x11, h.icv
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insBeginRMACSession, 0x10, 1))
	h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x66))
	want := h.ricv
	if got := h.must(apdu.SWSuccess, cmd(insEndRMACSession, 0, 1)); !bytes.Equal(got, want) {
		t.Errorf("END R-MAC SESSION: %X, want %X", got, want)
	}
	want = h.ricv
	h.level = 0x01
	if got := h.must(apdu.SWSuccess, cmd(insEndRMACSession, 0, 3)); !bytes.Equal(got, want) {
		t.Errorf("END R-MAC SESSION: %X, want %X", got, want)
	}
	h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x66))
	// Without the option there are no such commands.
	h, _ = newHost02(t, 0x55, nil)
	h.open(0x01)
	h.must(apdu.SWInstructionNotSupported, cmd(insBeginRMACSession, 0x10, 1))
}

func TestBlanksThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Blank){
		"implicit":            func(b *Blank) { b.SCP = 0x1A },
		"one base key":        func(b *Blank) { b.SCP = 0x14 },
		"unmodified APDU":     func(b *Blank) { b.SCP = 0x17 },
		"ICV over the AID":    func(b *Blank) { b.SCP = 0x1D },
		"reserved bit":        func(b *Blank) { b.SCP = 0x95 },
		"AES keys":            func(b *Blank) { b.Keys = testKeys(0x20, 16) },
		"24-byte keys":        func(b *Blank) { b.Keys.ENC = make([]byte, 24) },
		"another protocol":    func(b *Blank) { b.Protocol = 1 },
		"3DES keys for SCP03": func(b *Blank) { b.Protocol, b.SCP = 3, 0x70 },
		"FF without quirk":    func(b *Blank) { b.Keys.Version = 0xFF },
		"no such quirk":       func(b *Blank) { b.Quirks = []Quirk{"odd"} },
		"SCP03's quirk":       func(b *Blank) { b.Quirks = []Quirk{QuirkCountDataOnly} },
		"long IIN":            func(b *Blank) { b.IIN = make([]byte, 17) },
		"negative time":       func(b *Blank) { b.Timing.PerByte = -1 },
	} {
		b := testBlank(desKeys(0x20))
		change(&b)
		if err := Manufacture(nvm.InMemory(), b); err == nil {
			t.Errorf("%s is manufactured", name)
		}
	}
}

// FuzzSCP02 sends a command as it is, and under the right C-MAC, into a
// session: nothing fails but with a status word.
func FuzzSCP02(f *testing.F) {
	for _, s := range []string{"80F28002024F00", "80D800810122", "807A10010201", "80780003", "80CA0066", "80E2900003450107"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, command []byte) {
		h, c := newHost02(t, 0x75, nil)
		h.open(0x13)
		if parsed, err := apdu.Parse(command); err == nil && len(parsed.Data) < 230 && !parsed.Extended {
			parsed.CLA = 0x80
			transmit(t, c, h.wrap(parsed))
		}
		transmit(t, c, command)
	})
}
