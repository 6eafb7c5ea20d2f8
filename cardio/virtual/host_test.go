package virtual

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testKeys are public development keys.
func testKeys(version byte, size int) Keys {
	k := Keys{Version: version}
	for i, p := range []*[]byte{&k.ENC, &k.MAC, &k.DEK} {
		for j := range size {
			*p = append(*p, byte(0x40+i)^byte(j*7))
		}
	}
	return k
}

// probe is an applet that records what reaches it. INS 10 adds its data to a
// lasting value, 20 panics after having written, 30 says its life cycle, 40
// sets it, 50 asks for the data encryption key.
type probe struct {
	selects int
	stored  []byte // blocks of STORE DATA since power-up
}

func (p *probe) Select(e Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	p.selects++
	if cmd.INS == 0 {
		return []byte("by reset"), apdu.SWSuccess
	}
	if e.Memory().Get("refuse") != nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	return []byte("by name"), apdu.SWSuccess
}

func (p *probe) Deselect(Env) {}

func (p *probe) Process(e Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	switch cmd.INS {
	case 0x10:
		v := e.Memory().Get("value")
		e.Memory().WriteAt("value", len(v), cmd.Data)
		return e.Memory().Get("value"), apdu.SWSuccess
	case 0x20:
		e.Memory().Set("value", []byte("half"))
		panic("as the test wants")
	case 0x30:
		return []byte{e.LifeCycle()}, apdu.SWSuccess
	case 0x40:
		if e.SetLifeCycle(cmd.P1) != nil {
			return nil, apdu.SWWrongData
		}
		return nil, apdu.SWSuccess
	case 0x50:
		if _, err := e.DecipherDEK(make([]byte, 16)); err != nil {
			return nil, apdu.SWReferencedDataNotUsable
		}
		return nil, apdu.SWSuccess
	case 0x60:
		e.Memory().Set("refuse", []byte{1})
		return nil, apdu.SWSuccess
	}
	return nil, apdu.SWInstructionNotSupported
}

func (p *probe) StoreData(e Env, p1, p2 byte, data []byte) ([]byte, apdu.StatusWord) {
	if bytes.Equal(data, []byte("no")) {
		return nil, apdu.SWWrongData
	}
	if p1&0x60 == 0x60 {
		plain, err := e.DecipherDEK(data)
		if err != nil {
			return nil, apdu.SWWrongData
		}
		data = plain
	}
	p.stored = append(p.stored, data...)
	e.Memory().Set("stored", p.stored)
	return nil, apdu.SWSuccess
}

func testBlank(keys Keys) Blank { return LDSBlank(NewSerial(1, 7), keys) }

func testModules() map[string]func() Applet {
	return map[string]func() Applet{LDSAID: func() Applet { return &probe{} }}
}

// host drives a chip the way a terminal does.
type host struct {
	t      testing.TB
	card   apdu.Card
	keys   Keys
	length int     // of challenges and MACs
	s      session // the host's side of the channel
	tap    []byte  // the last command as sent
}

func newHost(t testing.TB, size int) (*host, *Chip) {
	t.Helper()
	return newHostOf(t, size, SCP03Full)
}

// newHostOf is a host and a blank that offers i.
func newHostOf(t testing.TB, size int, i byte) (*host, *Chip) {
	t.Helper()
	keys := testKeys(0x30, size)
	blank := testBlank(keys)
	blank.SCP = i
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	return &host{t: t, card: c, keys: keys, length: c.reg.link().length()}, c
}

// on opens a chip in a memory once more, as after a power cut.
func on(t testing.TB, mem *nvm.Memory, random io.Reader) *Chip {
	t.Helper()
	c, err := New(Config{Memory: mem, Applets: testModules(), Random: random})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *host) raw(command []byte) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	h.tap = bytes.Clone(command)
	out, err := h.card.Transmit(context.Background(), command)
	if err != nil {
		h.t.Fatalf("transmit: %v", err)
	}
	r, err := apdu.ParseResponse(out)
	if err != nil {
		h.t.Fatal(err)
	}
	return r.Data, r.SW
}

func (h *host) hex(command string) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	return h.raw(unhex(h.t, command))
}

func (h *host) want(sw apdu.StatusWord, command string) []byte {
	h.t.Helper()
	data, got := h.hex(command)
	if got != sw {
		h.t.Fatalf("%s: %v, want %v", command, got, sw)
	}
	return data
}

func (h *host) selectISD() { h.t.Helper(); h.want(apdu.SWSuccess, "00A4040000") }

// initUpdate sends INITIALIZE UPDATE and prepares the host's side.
func (h *host) initUpdate(version byte) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	h.s = session{host: []byte("hostchallenge 16")[:h.length], length: h.length}
	data, sw := h.raw(append(append([]byte{0x80, 0x50, version, 0, byte(h.length)}, h.s.host...), 0))
	if !sw.OK() {
		return data, sw
	}
	h.s.card = data[13 : 13+h.length]
	bits := len(h.keys.ENC) * 8
	mac := mustAESKey(h.keys.MAC)
	h.s.enc = mustAESKey(mustAESKey(h.keys.ENC).derive(4, bits, h.s.host, h.s.card))
	h.s.mac = mustAESKey(mac.derive(6, bits, h.s.host, h.s.card))
	h.s.rmac = mustAESKey(mac.derive(7, bits, h.s.host, h.s.card))
	return data, sw
}

// authentication is the EXTERNAL AUTHENTICATE that belongs to the session.
func (h *host) authentication(level byte) []byte {
	h.s.level = level
	cryptogram := h.s.mac.derive(1, h.length*8, h.s.host, h.s.card)
	c := append([]byte{0x84, 0x82, level, 0, byte(2 * h.length)}, cryptogram...)
	h.s.chaining = h.s.mac.cmac(h.s.chaining[:], c)
	return append(c, h.s.chaining[:h.length]...)
}

func (h *host) open(level byte) {
	h.t.Helper()
	h.selectISD()
	if _, sw := h.initUpdate(0); !sw.OK() {
		h.t.Fatalf("INITIALIZE UPDATE: %v", sw)
	}
	if _, sw := h.raw(h.authentication(level)); !sw.OK() {
		h.t.Fatalf("EXTERNAL AUTHENTICATE: %v", sw)
	}
}

// wrap protects a command on the host's side.
func (h *host) wrap(c apdu.Command) []byte {
	h.t.Helper()
	if h.s.level&levelCMAC != 0 {
		h.s.counter++
		if h.s.level&levelCENC != 0 && len(c.Data) > 0 {
			c.Data = h.s.enc.encryptCBC(h.s.icv(0), pad(c.Data))
		}
		c.CLA |= 0x04
		c.Data = append(bytes.Clone(c.Data), make([]byte, h.length)...)
		b, err := c.Bytes()
		if err != nil {
			h.t.Fatal(err)
		}
		end := len(b)
		if c.Ne > 0 {
			end--
			if b[4] == 0 {
				end--
			}
		}
		h.s.chaining = h.s.mac.cmac(h.s.chaining[:], b[:end-h.length])
		copy(b[end-h.length:end], h.s.chaining[:h.length])
		return b
	}
	b, err := c.Bytes()
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// send sends a command over the channel and checks what protects the answer.
func (h *host) send(c apdu.Command) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	data, sw := h.raw(h.wrap(c))
	return h.unwrap(data, sw), sw
}

func (h *host) unwrap(data []byte, sw apdu.StatusWord) []byte {
	h.t.Helper()
	if h.s.level&levelRMAC == 0 {
		return data
	}
	if !sw.OK() && sw.SW1() != 0x62 && sw.SW1() != 0x63 {
		if len(data) != 0 {
			h.t.Fatalf("an error status word came with %d bytes", len(data))
		}
		return nil
	}
	n := len(data) - h.length
	if n < 0 {
		h.t.Fatalf("%v without R-MAC", sw)
	}
	mac := h.s.rmac.cmac(h.s.chaining[:], data[:n], []byte{byte(sw >> 8), byte(sw)})
	if !bytes.Equal(mac[:h.length], data[n:]) {
		h.t.Fatal("wrong R-MAC")
	}
	data = data[:n]
	if h.s.level&levelRENC != 0 && n > 0 {
		plain, ok := unpad(h.s.enc.decryptCBC(h.s.icv(0x80), data))
		if !ok {
			h.t.Fatal("wrong padding of an enciphered response")
		}
		data = plain
	}
	return data
}

// must is send with the status word expected.
func (h *host) must(sw apdu.StatusWord, c apdu.Command) []byte {
	h.t.Helper()
	data, got := h.send(c)
	if got != sw {
		h.t.Fatalf("%v: %v, want %v", c, got, sw)
	}
	return data
}

func cmd(ins, p1, p2 byte, data ...byte) apdu.Command {
	return apdu.Command{CLA: 0x80, INS: ins, P1: p1, P2: p2, Data: data, Ne: 256}
}

// personalize is INSTALL [for personalization] of the LDS application.
func personalize() apdu.Command {
	aid := mustHex(LDSAID)
	data := append([]byte{0, 0, byte(len(aid))}, aid...)
	return cmd(insInstall, 0x20, 0, append(data, 0, 0, 0)...)
}

// putKeys is PUT KEY of a whole set under a DEK.
func putKeys(old byte, k Keys, dek []byte) apdu.Command {
	data := []byte{k.Version}
	d := mustAESKey(dek)
	for _, key := range [][]byte{k.ENC, k.MAC, k.DEK} {
		filled := make([]byte, (len(key)+15)/16*16)
		copy(filled, key)
		data = append(data, 0x88, byte(len(filled)+1), byte(len(key)))
		data = append(data, d.encryptCBC([16]byte{}, filled)...)
		data = append(data, 3)
		data = append(data, mustAESKey(key).kcv()...)
	}
	return cmd(insPutKey, old, 0x81, data...)
}

// cardFunc is a card that is a function.
type cardFunc func([]byte) []byte

func (f cardFunc) Transmit(_ context.Context, command []byte) ([]byte, error) { return f(command), nil }

func transmit(t testing.TB, c *Chip, command []byte) []byte {
	t.Helper()
	out, err := c.Transmit(context.Background(), command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
