package mrtd

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
	"cardbureau/cardio/virtual/nvm"
)

// chip is the least of a card around the application: it routes SELECT of the
// AID in plain, keeps the memory, and can be reset.
type chip struct {
	t         testing.TB
	applet    *Applet
	memory    *nvm.Memory
	random    io.Reader
	lifeCycle byte
	dek       []byte
	domain    *domain // of PACE, where a test wants another
	storing   bool
	whole     apdu.Card // answers instead, where a test has one
}

func newChip(t testing.TB) *chip {
	c := &chip{t: t, memory: nvm.InMemory(), random: rand.Reader, lifeCycle: LifeCyclePersonalizing, dek: make([]byte, 16)}
	c.reset()
	return c
}

func (c *chip) Memory() nvm.Space { return c.memory.Space("lds") }
func (c *chip) Random() io.Reader { return c.random }
func (c *chip) AID() []byte       { return []byte{0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01} }

func (c *chip) LifeCycle() byte { return c.lifeCycle }
func (c *chip) SetLifeCycle(b byte) error {
	c.lifeCycle = b
	return nil
}

func (c *chip) DecipherDEK(data []byte) ([]byte, error) {
	if !c.storing || len(data) == 0 || len(data)%16 != 0 {
		return nil, errors.New("no")
	}
	block, _ := aes.NewCipher(c.dek)
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(out, data)
	return out, nil
}

var _ virtual.Env = (*chip)(nil)

func (c *chip) reset() {
	c.applet = New()
	if c.domain != nil {
		c.applet.domain = *c.domain
	}
	if _, sw := c.applet.Select(c, apdu.Command{}); !sw.OK() {
		c.t.Fatalf("default selection: %v", sw)
	}
}

func (c *chip) transmit(command []byte) []byte {
	if c.whole != nil {
		answer, err := c.whole.Transmit(context.Background(), command)
		if err != nil {
			c.t.Fatal(err)
		}
		return answer
	}
	cmd, err := apdu.Parse(command)
	if err != nil {
		return []byte{0x67, 0x00}
	}
	var data []byte
	var sw apdu.StatusWord
	if cmd.CLA == 0 && cmd.INS == 0xA4 && cmd.P1 == 0x04 && bytes.Equal(cmd.Data, aid) {
		c.applet.Deselect(c)
		data, sw = c.applet.Select(c, cmd)
	} else {
		data, sw = c.applet.Process(c, cmd)
	}
	if err := c.memory.Commit(); err != nil {
		c.t.Fatal(err)
	}
	return apdu.Response{Data: data, SW: sw}.Bytes()
}

// raw sends a command in hexadecimal and compares the whole answer.
func (c *chip) raw(command, want string) {
	c.t.Helper()
	if got := c.transmit(unhex(c.t, command)); !strings.EqualFold(hex.EncodeToString(got), want) {
		c.t.Errorf("command %s:\n got %X\nwant %s", command, got, want)
	}
}

// store sends one block of STORE DATA.
func (c *chip) store(p1, p2 byte, data []byte) apdu.StatusWord {
	c.storing = true
	defer func() { c.storing = false }()
	_, sw := c.applet.StoreData(c, p1, p2, data)
	if err := c.memory.Commit(); err != nil {
		c.t.Fatal(err)
	}
	return sw
}

type grouping struct {
	id    dgi
	value []byte
}

func (g grouping) bytes() []byte {
	out := []byte{byte(g.id >> 8), byte(g.id)}
	if n := len(g.value); n < 0xFF {
		out = append(out, byte(n))
	} else {
		out = append(out, 0xFF, byte(n>>8), byte(n))
	}
	return append(out, g.value...)
}

// sequence sends data groupings as one stream in blocks of size bytes and
// returns the first status word that is not 9000.
func (c *chip) sequence(size int, enciphered bool, groupings ...grouping) apdu.StatusWord {
	var b []byte
	for _, g := range groupings {
		if enciphered {
			g.value = c.encipher(icao.Pad(g.value, 16))
		}
		b = append(b, g.bytes()...)
	}
	for p2 := 0; ; p2++ {
		n := min(size, len(b))
		p1 := byte(storeFormatDGI)
		if enciphered {
			p1 |= storeEnciphered
		}
		if n == len(b) {
			p1 |= storeLast
		}
		if sw := c.store(p1, byte(p2), b[:n]); !sw.OK() {
			return sw
		}
		if b = b[n:]; len(b) == 0 {
			return apdu.SWSuccess
		}
	}
}

func (c *chip) encipher(b []byte) []byte {
	block, _ := aes.NewCipher(c.dek)
	out := make([]byte, len(b))
	cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(out, b)
	return out
}

func (c *chip) complete() apdu.StatusWord { return c.sequence(200, false, grouping{id: dgiComplete}) }

// holder is a card's content.
type holder struct {
	mrz      string // MRZ information
	can      string
	private  []byte // of chip authentication
	public   []byte
	pin, puk string
	files    []grouping
}

func efDG(t testing.TB, tag tlv.Tag, n int) []byte {
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(i * 7)
	}
	return tlv.Encode(tag, value)
}

func newHolder(t testing.TB) holder {
	private, err := icao.NewScalar(rand.Reader, icao.P256{})
	if err != nil {
		t.Fatal(err)
	}
	public, err := icao.P256{}.Mul(nil, private)
	if err != nil {
		t.Fatal(err)
	}
	keyInfo := tlv.Encode(0x30, tlv.Encode(0x06, oidChipPublicKey), tlv.Encode(0x30), tlv.Encode(0x02, []byte{5}))
	return holder{
		mrz: "T22000129364081251010318", can: "123456",
		private: private, public: public, pin: "483920", puk: "11223344",
		files: []grouping{
			{dgi(fidCOM), unhex(t, "60145F0104303130365F36063034303030305C026175")},
			{dgi(fidSOD), efDG(t, 0x77, 1500)},
			{dgi(fidDG1), efDG(t, 0x61, 93)},
			{dgi(fidDG2), efDG(t, 0x75, 16000)},
			{dgi(fidDG14), tlv.Encode(0x6E, tlv.Encode(0x31, keyInfo))},
			{dgi(fidCardAccess), unhex(t, "31143012060A04007F0007020204020202010202010C")},
			{dgi(fidServices), efDG(t, 0x53, 300)},
			{dgi(fidDG3), efDG(t, 0x63, 40)},
		},
	}
}

func (h holder) secrets() []grouping {
	return []grouping{
		{dgiBACKeys, append(icao.KDF(mrzSeed(h.mrz)[:16], 1), icao.KDF(mrzSeed(h.mrz)[:16], 2)...)},
		{dgiPACEMRZ, mrzSeed(h.mrz)},
		{dgiPACECAN, []byte(h.can)},
		{dgiChipKey, h.private},
		{dgiPIN, append([]byte{3}, h.pin...)},
		{dgiPUK, append([]byte{5}, h.puk...)},
		{dgiPairingKey, h.private},
		{dgiReceiptKey, bytes.Repeat([]byte{7}, 32)},
	}
}

func (h holder) file(id fid) []byte {
	for _, f := range h.files {
		if f.id == dgi(id) {
			return f.value
		}
	}
	return nil
}

// issued is a chip with a holder's content, completed.
func issued(t testing.TB) (*chip, holder) {
	t.Helper()
	c, h := personalized(t)
	must(t, c.complete(), apdu.SWSuccess)
	c.reset()
	return c, h
}

// personalized is a chip with all content, not completed.
func personalized(t testing.TB) (*chip, holder) {
	t.Helper()
	c, h := newChip(t), newHolder(t)
	must(t, c.sequence(239, false, h.files...), apdu.SWSuccess)
	must(t, c.sequence(239, true, h.secrets()...), apdu.SWSuccess)
	c.reset()
	return c, h
}

func must(t testing.TB, got, want apdu.StatusWord) {
	t.Helper()
	if got != want {
		t.Fatalf("status word %v, want %v", got, want)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vectors are the known answers of testdata/identity.json.
type vectors struct {
	BAC struct {
		DocumentNumber, Check, Birth, Expiry              string
		KSeed, KEnc, KMac, RndIC, KIFD, KsEnc, KsMac, SSC string
	}
	PaceGm struct{ Z, KPi, S string }
}

func loadVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/identity.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
