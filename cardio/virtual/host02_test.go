package virtual

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/hex"
	"fmt"
	"os/exec"
	"testing"

	"cardbureau/cardio/apdu"
)

// cbc is two-key 3DES in CBC mode, which is all that a host of SCP02 needs:
// single DES is 3DES under one half twice.
type cbc func(decrypt bool, key, iv, data []byte) []byte

// goCBC is Go's.
func goCBC(decrypt bool, key, iv, data []byte) []byte {
	b, err := des.NewTripleDESCipher(append(bytes.Clone(key), key[:8]...))
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(data))
	if decrypt {
		cipher.NewCBCDecrypter(b, iv).CryptBlocks(out, data)
	} else {
		cipher.NewCBCEncrypter(b, iv).CryptBlocks(out, data)
	}
	return out
}

// openSSL is the openssl command's.
func openSSL(t testing.TB) cbc {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("the openssl command is not here")
	}
	return func(decrypt bool, key, iv, data []byte) []byte {
		args := []string{"enc", "-des-ede-cbc", "-nopad", "-K", hex.EncodeToString(key), "-iv", hex.EncodeToString(iv)}
		if decrypt {
			args = append(args, "-d")
		}
		c := exec.Command("openssl", args...)
		c.Stdin = bytes.NewReader(data)
		out, err := c.Output()
		if err != nil || len(out) != len(data) {
			panic(fmt.Sprintf("openssl: %v, %d bytes", err, len(out)))
		}
		return out
	}
}

// host02 is a terminal that speaks SCP02, written apart from the chip's code.
type host02 struct {
	*host
	cbc             cbc
	keys            Keys
	i, level        byte
	enc, mac, rmac  []byte
	dek             []byte
	sequence        []byte
	challenge, card []byte
	icv, ricv       []byte
	first           bool
}

var zero8 = make([]byte, 8)

// desKeys are public development keys of SCP02.
func desKeys(version byte) Keys {
	k := testKeys(version, 16)
	k.Type = TripleDES
	return k
}

func newHost02(t testing.TB, i byte, change func(*Blank)) (*host02, *Chip) {
	t.Helper()
	blank := testBlank(desKeys(0x20))
	blank.SCP = i
	if change != nil {
		change(&blank)
	}
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	return &host02{host: &host{t: t, card: c}, cbc: goCBC, keys: blank.Keys, i: i}, c
}

func pad8(b []byte) []byte {
	b = append(bytes.Clone(b), 0x80)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func last8(b []byte) []byte { return b[len(b)-8:] }

func (h *host02) derive(key []byte, constant byte) []byte {
	return h.cbc(false, key, zero8, append([]byte{1, constant, h.sequence[0], h.sequence[1]}, make([]byte, 12)...))
}

func half(key []byte) []byte { return append(bytes.Clone(key[:8]), key[:8]...) }

func (h *host02) retail(key, icv, data []byte) []byte {
	data = pad8(data)
	end := len(data) - 8
	if end > 0 {
		icv = last8(h.cbc(false, half(key), icv, data[:end]))
	}
	return h.cbc(false, key, icv, data[end:])
}

// initUpdate sends INITIALIZE UPDATE, checks the card's cryptogram and
// prepares the session keys.
func (h *host02) initUpdate(version byte) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	h.challenge = []byte("hostchal")
	data, sw := h.raw(append(append([]byte{0x80, 0x50, version, 0, 8}, h.challenge...), 0))
	if !sw.OK() {
		return data, sw
	}
	if len(data) != 28 || data[11] != 0x02 {
		h.t.Fatalf("INITIALIZE UPDATE: %X", data)
	}
	h.sequence, h.card = data[12:14], data[14:20]
	h.enc, h.mac = h.derive(h.keys.ENC, 0x82), h.derive(h.keys.MAC, 0x01)
	h.rmac, h.dek = h.derive(h.keys.MAC, 0x02), h.derive(h.keys.DEK, 0x81)
	want := last8(h.cbc(false, h.enc, zero8, pad8(bytes.Join([][]byte{h.challenge, h.sequence, h.card}, nil))))
	if !bytes.Equal(data[20:], want) {
		h.t.Fatalf("card cryptogram %X, want %X", data[20:], want)
	}
	h.icv, h.first, h.level = zero8, true, 0
	return data, sw
}

func (h *host02) authentication(level byte) []byte {
	cryptogram := last8(h.cbc(false, h.enc, zero8, pad8(bytes.Join([][]byte{h.sequence, h.card, h.challenge}, nil))))
	c := append([]byte{0x84, 0x82, level, 0, 16}, cryptogram...)
	h.level = level
	h.icv = h.retail(h.mac, zero8, c)
	h.ricv, h.first = h.icv, false
	return append(c, h.icv...)
}

func (h *host02) open(level byte) {
	h.t.Helper()
	h.selectISD()
	if _, sw := h.initUpdate(0); !sw.OK() {
		h.t.Fatalf("INITIALIZE UPDATE: %v", sw)
	}
	if _, sw := h.raw(h.authentication(level)); !sw.OK() {
		h.t.Fatalf("EXTERNAL AUTHENTICATE: %v", sw)
	}
}

func (h *host02) wrap(c apdu.Command) []byte {
	h.t.Helper()
	if h.level&0x01 != 0 {
		icv := h.icv
		if h.i&0x10 != 0 {
			icv = h.cbc(false, half(h.mac), zero8, icv)
		}
		c.CLA |= 0x04
		mac := h.retail(h.mac, icv, append([]byte{c.CLA, c.INS, c.P1, c.P2, byte(len(c.Data) + 8)}, c.Data...))
		h.icv = mac
		if h.level&0x02 != 0 && len(c.Data) > 0 {
			c.Data = h.cbc(false, h.enc, zero8, pad8(c.Data))
		}
		c.Data = append(bytes.Clone(c.Data), mac...)
	}
	b, err := c.Bytes()
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *host02) send(c apdu.Command) ([]byte, apdu.StatusWord) {
	h.t.Helper()
	data, sw := h.raw(h.wrap(c))
	if h.level&0x10 == 0 || !sw.OK() && sw.SW1() != 0x62 && sw.SW1() != 0x63 {
		return data, sw
	}
	n := len(data) - 8
	if n < 0 {
		h.t.Fatalf("%v without R-MAC", sw)
	}
	covered := append([]byte{c.CLA, c.INS, c.P1, c.P2, byte(len(c.Data))}, c.Data...)
	covered = append(append(covered, byte(n)), data[:n]...)
	h.ricv = h.retail(h.rmac, h.ricv, append(covered, byte(sw>>8), byte(sw)))
	if !bytes.Equal(h.ricv, data[n:]) {
		h.t.Fatal("wrong R-MAC")
	}
	return data[:n], sw
}

func (h *host02) must(sw apdu.StatusWord, c apdu.Command) []byte {
	h.t.Helper()
	data, got := h.send(c)
	if got != sw {
		h.t.Fatalf("%v: %v, want %v", c, got, sw)
	}
	return data
}

// ecb is 3DES-ECB under the session's data encryption key, block by block.
func (h *host02) ecb(data []byte) (out []byte) {
	for ; len(data) > 0; data = data[8:] {
		out = append(out, h.cbc(false, h.dek, zero8, data[:8])...)
	}
	return out
}

func (h *host02) kcv(key []byte) []byte { return h.cbc(false, key, zero8, zero8)[:3] }

func (h *host02) putKeys(old byte, k Keys) apdu.Command {
	data := []byte{k.Version}
	for _, key := range [][]byte{k.ENC, k.MAC, k.DEK} {
		data = append(append(data, 0x80, 16), h.ecb(key)...)
		data = append(append(data, 3), h.kcv(key)...)
	}
	return cmd(insPutKey, old, 0x81, data...)
}
