package payment

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // EMV hash algorithm indicator 01
	"math/big"
	"slices"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/icao"
)

// terminal is the least of a terminal, and an issuer with the card's keys.
type terminal struct {
	*reader
	suite
	answer []byte // of the last GENERATE AC
	sent   [][]byte
	arqc   []byte
	tvr    []byte // in place of zeros
	aip    byte   // its first byte, in place of 7D
	within []byte // issuer authentication data, where CDOL2 asks for it
}

func newTerminal(t testing.TB, cci, control byte) *terminal {
	t.Helper()
	r, _ := issued(t, cci, control)
	return &terminal{reader: r, suite: suite{aes: cci == cciAES}}
}

func (t *terminal) begin() {
	t.Helper()
	t.choose(AID)
	t.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	t.sent, t.arqc = nil, nil
}

// number is the unpredictable one.
var number = []byte{0xDE, 0xAD, 0xBE, 0xEF}

// values are what CDOL1 asks for; those of CDOL2 have the response code before.
func values(arc string) []byte {
	b := append([]byte(arc), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x64, 0, 0, 0, 0, 0, 0x03, 0x64, 0x26, 0x11, 0x25, 0)
	return append(b, number...)
}

// generate sends GENERATE AC and checks the cryptogram; it gives the type and the
// CVR.
func (t *terminal) generate(p1 byte, arc string) (byte, []byte) {
	t.Helper()
	data := values(arc)
	copy(data[len(arc)+14:], t.tvr)
	if arc != "" && t.within != nil {
		data = slices.Insert(data, len(arc), t.within...)
	}
	aip := []byte{0x7D, 0x00}
	if t.aip != 0 {
		aip[0] = t.aip
	}
	t.answer = t.want(apdu.SWSuccess, 0x80, insGenerateAC, p1, 0, data)
	t.sent = append(t.sent, data)
	cid, _ := tlv.Path(t.answer, 0x77, 0x9F27)
	counter, _ := tlv.Path(t.answer, 0x77, 0x9F36)
	iad, _ := tlv.Path(t.answer, 0x77, 0x9F10)
	ac, plain := tlv.Path(t.answer, 0x77, 0x9F26)
	if len(cid) != 1 || len(counter) != 2 || len(iad) != 32 || iad[0] != 0x0F || iad[16] != 0x0F {
		t.Fatalf("GENERATE AC %X", t.answer)
	}
	if !plain {
		ac = t.combined(cid, counter, iad)
	}
	message := append(append(bytes.Clone(data), aip...), counter...)
	message = append(message, iad...)
	k := t.session(unhex(t, masters)[:16], append(bytes.Clone(counter), 0, 0, 0, 0, 0, 0))
	if !bytes.Equal(ac, t.mac(k, message)) {
		t.Fatal("another cryptogram")
	}
	if len(t.sent) == 1 {
		t.arqc = ac
	}
	return cid[0], iad[3:8]
}

// combined checks CDA (Book 2, 6.6.2).
func (t *terminal) combined(cid, counter, iad []byte) []byte {
	t.Helper()
	sdad, _ := tlv.Path(t.answer, 0x77, 0x9F4B)
	dynamic := t.recoverSDAD(sdad, number)
	n := int(dynamic[0])
	if len(dynamic) != 1+n+1+8+20 || dynamic[1+n] != cid[0] {
		t.Fatal("dynamic data of CDA")
	}
	h := sha1.New() //nolint:gosec // as above
	for _, b := range append(append([][]byte{}, t.sent...), tlv.Encode(0x9F27, cid), tlv.Encode(0x9F36, counter), tlv.Encode(0x9F10, iad)) {
		h.Write(b)
	}
	if !bytes.Equal(h.Sum(nil), dynamic[len(dynamic)-20:]) {
		t.Fatal("transaction data hash code")
	}
	return dynamic[2+n : 10+n]
}

// recoverSDAD checks signed dynamic application data and gives the card's part.
func (t *terminal) recoverSDAD(sdad, sent []byte) []byte {
	t.Helper()
	pub := iccKey().PublicKey
	b := new(big.Int).Exp(new(big.Int).SetBytes(sdad), big.NewInt(int64(pub.E)), pub.N).FillBytes(make([]byte, 176))
	if len(sdad) != 176 || b[0] != 0x6A || b[1] != 5 || b[2] != 1 || b[175] != 0xBC {
		t.Fatal("no signed dynamic data")
	}
	h := sha1.New() //nolint:gosec // as above
	h.Write(b[1:155])
	h.Write(sent)
	if !bytes.Equal(h.Sum(nil), b[155:175]) {
		t.Fatal("hash of signed dynamic data")
	}
	return b[4 : 4+b[3]]
}

func (t *terminal) sessionKey() []byte {
	counter, _ := tlv.Path(t.answer, 0x77, 0x9F36)
	return t.session(unhex(t, masters)[:16], append(bytes.Clone(counter), 0, 0, 0, 0, 0, 0))
}

// authentication is issuer authentication data of method 2.
func (t *terminal) authentication(csu ...byte) []byte {
	return append(t.mac(t.sessionKey(), append(bytes.Clone(t.arqc), csu...))[:4], csu...)
}

// approve answers an ARQC.
func (t *terminal) approve(csu ...byte) {
	t.Helper()
	t.want(apdu.SWSuccess, 0, insExternalAuthenticate, 0, 0, t.authentication(csu...))
}

// script is an issuer's command in format 2.
func (t *terminal) script(ins, p1, p2 byte, data []byte) apdu.Command {
	keys := unhex(t, masters)
	if ins == insPINChange && len(data) > 0 {
		size := 8
		if t.aes {
			size = 16
		}
		data = t.encrypt(t.session(keys[32:48], t.arqc), icao.Pad(data, size))
	}
	counter, _ := tlv.Path(t.answer, 0x77, 0x9F36)
	message := append([]byte{0x84, ins, p1, p2, byte(len(data) + 8)}, counter...)
	message = append(append(message, t.arqc...), data...)
	return apdu.Command{CLA: 0x84, INS: ins, P1: p1, P2: p2, Data: append(bytes.Clone(data), t.mac(t.session(keys[16:32], t.arqc), message)...)}
}

func (t *terminal) run(sw apdu.StatusWord, c apdu.Command) {
	t.Helper()
	t.want(sw, c.CLA, c.INS, c.P1, c.P2, c.Data)
}

// encrypt is CBC from zero.
func (t *terminal) encrypt(k, b []byte) []byte {
	c := t.cipher(k)
	out, iv := []byte{}, make([]byte, c.BlockSize())
	for ; len(b) > 0; b = b[len(iv):] {
		for i := range iv {
			iv[i] ^= b[i]
		}
		c.Encrypt(iv, iv)
		out = append(out, iv...)
	}
	return out
}
