package payment

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
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

// Public development keys: of the issuer security domain, and of the bank's.
func devKeys(typ virtual.KeyType, version, seed byte) virtual.Keys {
	k := virtual.Keys{Type: typ, Version: version}
	for i, p := range []*[]byte{&k.ENC, &k.MAC, &k.DEK} {
		for j := range 16 {
			*p = append(*p, seed+byte(i)^byte(j*7))
		}
	}
	return k
}

var bankDomain = []byte{0xF0, 0, 0, 0x03, 0x64, 0x53, 0x44}

// blank is a card with the bank's domain and, in it, application, PSE and PPSE.
func blank(t testing.TB, typ virtual.KeyType) virtual.Blank {
	b := virtual.LDSBlank(virtual.NewSerial(1, 7), devKeys(typ, 0x20, 0x40))
	module, file := unhex(t, ModuleAID), unhex(t, PackageAID)
	b.LoadFiles, b.Applications = []virtual.LoadFile{{AID: file, Version: [2]byte{1, 0}, Modules: [][]byte{module}}}, nil
	b.Domains = []virtual.SecurityDomain{{AID: bankDomain, Keys: devKeys(typ, 0x31, 0x60)}}
	for _, aid := range []string{PSE, PPSE, AID} {
		b.Applications = append(b.Applications, virtual.Installation{AID: unhex(t, aid), Module: module, LoadFile: file, Domain: bankDomain})
	}
	return b
}

// reader drives a chip as a terminal or a personalization machine does.
type reader struct {
	testing.TB
	card apdu.Card
	s    channel
}

// channel is the host's side of a secure channel at level 01, C-MAC.
type channel interface {
	mac(c apdu.Command) []byte
	encipher(b []byte) []byte
}

func insert(t testing.TB, mem *nvm.Memory, b *virtual.Blank) (*reader, *virtual.Chip) {
	t.Helper()
	c, err := virtual.New(virtual.Config{
		Memory: mem, Blank: b,
		Applets: map[string]func() virtual.Applet{ModuleAID: func() virtual.Applet { return New() }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &reader{TB: t, card: c}, c
}

func (r *reader) raw(b []byte) ([]byte, apdu.StatusWord, error) {
	out, err := r.card.Transmit(r.Context(), b)
	if err != nil {
		return nil, 0, err
	}
	a, err := apdu.ParseResponse(out)
	return a.Data, a.SW, err
}

// send sends a command and gives its answer.
func (r *reader) send(cla, ins, p1, p2 byte, data []byte) ([]byte, apdu.StatusWord) {
	r.Helper()
	b, err := apdu.Command{CLA: cla, INS: ins, P1: p1, P2: p2, Data: data, Ne: 256}.Bytes()
	if err != nil {
		r.Fatal(err)
	}
	out, sw, err := r.raw(b)
	if err != nil {
		r.Fatal(err)
	}
	return out, sw
}

func (r *reader) want(sw apdu.StatusWord, cla, ins, p1, p2 byte, data []byte) []byte {
	r.Helper()
	out, got := r.send(cla, ins, p1, p2, data)
	if got != sw {
		r.Fatalf("%02X%02X%02X%02X: %v, want %v", cla, ins, p1, p2, got, sw)
	}
	return out
}

func (r *reader) choose(aid string) []byte {
	r.Helper()
	return r.want(apdu.SWSuccess, 0, 0xA4, 4, 0, unhex(r, aid))
}

// try sends a command under the channel.
func (r *reader) try(ins, p1, p2 byte, data []byte) (apdu.StatusWord, error) {
	c := apdu.Command{CLA: 0x84, INS: ins, P1: p1, P2: p2, Data: data}
	c.Data = append(bytes.Clone(data), r.s.mac(c)...)
	b, err := c.Bytes()
	if err != nil {
		return 0, err
	}
	_, sw, err := r.raw(b)
	return sw, err
}

// open opens a channel with what is selected.
func (r *reader) open(k virtual.Keys) {
	r.Helper()
	challenge := []byte("hostchal")
	answer := r.want(apdu.SWSuccess, 0x80, 0x50, 0, 0, challenge)
	var cryptogram []byte
	if k.Type == virtual.TripleDES {
		r.s, cryptogram = openSCP02(k, challenge, answer)
	} else {
		r.s, cryptogram = openSCP03(k, challenge, answer)
	}
	if sw, err := r.try(0x82, 0x01, 0, cryptogram); err != nil || !sw.OK() {
		r.Fatal("EXTERNAL AUTHENTICATE:", sw, err)
	}
}

// scp02 is i=55 (GPC_SPE_034 appendix E).
type scp02 struct {
	sMAC, dek []byte
	icv       []byte
}

func cbc(k, iv, data []byte) []byte {
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(icao.NewTripleDES(k), iv).CryptBlocks(out, data)
	return out
}

func openSCP02(k virtual.Keys, challenge, answer []byte) (*scp02, []byte) {
	derive := func(key []byte, constant byte) []byte {
		return cbc(key, make([]byte, 8), append([]byte{1, constant, answer[12], answer[13]}, make([]byte, 12)...))
	}
	s := &scp02{sMAC: derive(k.MAC, 0x01), dek: derive(k.DEK, 0x81)}
	b := cbc(derive(k.ENC, 0x82), make([]byte, 8), icao.Pad(append(bytes.Clone(answer[12:20]), challenge...), 8))
	return s, b[len(b)-8:]
}

func (s *scp02) mac(c apdu.Command) []byte {
	half := func(k []byte) []byte { return append(bytes.Clone(k[:8]), k[:8]...) }
	icv := make([]byte, 8)
	if s.icv != nil {
		icv = cbc(half(s.sMAC), icv, s.icv)
	}
	message := icao.Pad(append([]byte{c.CLA, c.INS, c.P1, c.P2, byte(len(c.Data) + 8)}, c.Data...), 8)
	if n := len(message) - 8; n > 0 {
		icv = cbc(half(s.sMAC), icv, message[:n])[n-8:]
		message = message[n:]
	}
	s.icv = cbc(s.sMAC, icv, message)
	return s.icv
}

func (s *scp02) encipher(b []byte) (out []byte) {
	if len(b)%8 != 0 {
		b = icao.Pad(b, 8)
	}
	c := icao.NewTripleDES(s.dek)
	out = make([]byte, len(b))
	for i := 0; i < len(b); i += 8 {
		c.Encrypt(out[i:], b[i:])
	}
	return out
}

// scp03 is that of AES keys of 16 bytes (GPC_SPE_014).
type scp03 struct {
	cmac  *icao.CMAC
	chain []byte
	dek   []byte
}

func openSCP03(k virtual.Keys, challenge, answer []byte) (*scp03, []byte) {
	context := append(bytes.Clone(challenge), answer[13:21]...)
	derive := func(key []byte, constant byte, bits byte) []byte {
		m := append(make([]byte, 11), constant, 0, 0, bits, 1)
		t := icao.NewCMAC(key).Sum(append(m, context...))
		return t[:int(bits)/8]
	}
	sMAC := derive(k.MAC, 0x06, 0x80)
	s := &scp03{cmac: icao.NewCMAC(sMAC), chain: make([]byte, 16), dek: k.DEK}
	return s, derive(sMAC, 0x01, 0x40)
}

func (s *scp03) mac(c apdu.Command) []byte {
	message := append(bytes.Clone(s.chain), c.CLA, c.INS, c.P1, c.P2, byte(len(c.Data)+8))
	t := s.cmac.Sum(append(message, c.Data...))
	s.chain = t[:]
	return t[:8]
}

func (s *scp03) encipher(b []byte) []byte {
	if len(b)%16 != 0 {
		b = icao.Pad(b, 16)
	}
	c, err := aes.NewCipher(s.dek)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(b))
	cipher.NewCBCEncrypter(c, make([]byte, 16)).CryptBlocks(out, b)
	return out
}
