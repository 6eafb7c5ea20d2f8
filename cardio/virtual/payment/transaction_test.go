package payment

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// block2 is a PIN block of ISO 9564-1 format 2.
func block2(t testing.TB, pin string) []byte {
	return unhex(t, fmt.Sprintf("2%X%s%s", len(pin), pin, strings.Repeat("F", 14-len(pin))))
}

func TestReading(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	fci := c.choose(AID)
	if label, _ := tlv.Path(fci, 0x6F, 0xA5, 0x50); string(label) != "BANK SEPAH" {
		t.Errorf("FCI %X", fci)
	}
	c.want(apdu.SWWrongData, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 1, 0})
	c.want(apdu.SWIncorrectP1P2, 0x80, insGetProcessingOptions, 1, 0, []byte{0x83, 0})
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeARQC, 0, values(""))
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0, insVerify, 0, 0x80, block2(t, "1234"))
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0, insInternalAuthenticate, 0, 0, number)
	got := c.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	if !bytes.Equal(got, tlv.Encode(0x77, of(sample(t, cciDES, 0), 0x9104))) {
		t.Errorf("GPO %X", got)
	}
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	for _, g := range sample(t, cciDES, 0) {
		if record(g.id) {
			if got := c.want(apdu.SWSuccess, 0, insReadRecord, byte(g.id), byte(g.id>>8)<<3|4, nil); !bytes.Equal(got, g.value) {
				t.Errorf("record %04X", g.id)
			}
		}
	}
	c.want(apdu.SWRecordNotFound, 0, insReadRecord, 9, 0x0C, nil)
	c.want(apdu.SWFileNotFound, 0, insReadRecord, 1, 0x7C, nil)
	c.want(apdu.SWIncorrectP1P2, 0, insReadRecord, 0, 0x0C, nil)
	c.want(apdu.SWIncorrectP1P2, 0, insReadRecord, 1, 0x0D, nil)
	if got := c.want(apdu.SWSuccess, 0x80, insGetData, 0x9F, 0x17, nil); !bytes.Equal(got, []byte{0x9F, 0x17, 1, 3}) {
		t.Errorf("tries %X", got)
	}
	if got := c.want(apdu.SWSuccess, 0x80, insGetData, 0x9F, 0x36, nil); !bytes.Equal(got, []byte{0x9F, 0x36, 2, 0, 1}) {
		t.Errorf("ATC %X", got)
	}
	for _, tag := range []uint16{0x9F4F, 0x9F4D, 0x005A, 0x0057, 0xC300, 0x8010} {
		c.want(apdu.SWReferencedDataNotFound, 0x80, insGetData, byte(tag>>8), byte(tag), nil)
	}
	c.want(apdu.SWInstructionNotSupported, 0, 0xB0, 0, 0, nil)
	c.want(apdu.SWInstructionNotSupported, 0x80, 0x2A, 0, 0, nil)
	c.want(apdu.SWClassNotSupported, 0x80, insReadRecord, 1, 0x0C, nil)
	c.want(apdu.SWClassNotSupported, 0xA0, insGetData, 0x9F, 0x36, nil)
}

func TestDynamicAuthentication(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.begin()
	c.want(apdu.SWWrongLength, 0, insInternalAuthenticate, 0, 0, number[:3])
	out := c.want(apdu.SWSuccess, 0, insInternalAuthenticate, 0, 0, number)
	sdad, _ := tlv.Path(out, 0x77, 0x9F4B)
	first := bytes.Clone(c.recoverSDAD(sdad, number))
	if len(first) != 9 || first[0] != 8 {
		t.Errorf("dynamic number %X", first)
	}
	if _, cvr := c.generate(typeAAC, ""); cvr[0]&0x04 == 0 {
		t.Error("the card verification results do not tell of DDA")
	}
	c.begin()
	sdad, _ = tlv.Path(c.want(apdu.SWSuccess, 0, insInternalAuthenticate, 0, 0, number), 0x77, 0x9F4B)
	if bytes.Equal(first, c.recoverSDAD(sdad, number)) {
		t.Error("the dynamic number stayed")
	}
}

// TestOnline is an approved transaction, with both cryptograms' suites, with and
// without CDA.
func TestOnline(t *testing.T) {
	for _, cci := range []byte{cciDES, cciAES} {
		for _, cda := range []byte{0, wantCDA} {
			c := newTerminal(t, cci, 0)
			c.begin()
			c.want(apdu.SWWrongLength, 0x80, insGenerateAC, typeARQC, 0, values("")[1:])
			c.want(apdu.SWIncorrectP1P2, 0x80, insGenerateAC, 0xC0, 0, values(""))
			c.want(apdu.SWConditionsOfUseNotSatisfied, 0, insExternalAuthenticate, 0, 0, make([]byte, 8))
			give, cvr := c.generate(typeARQC|cda, "")
			if give != typeARQC || cvr[0]&0xF0 != 0xA0 || cvr[0]&0x03 != 0 || cvr[0]&0x08 != cda>>1 {
				t.Errorf("first: %02X %X", give, cvr)
			}
			c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeARQC, 0, values("00"))
			c.want(apdu.SWWrongLength, 0, insExternalAuthenticate, 0, 0, make([]byte, 7))
			c.approve(0, 0x82, 0, 0)
			c.want(apdu.SWConditionsOfUseNotSatisfied, 0, insExternalAuthenticate, 0, 0, c.authentication(0, 0x82, 0, 0))
			give, cvr = c.generate(typeTC|cda, "00")
			if give != typeTC || cvr[0]&0xF3 != 0x60 {
				t.Errorf("second: %02X %X", give, cvr)
			}
			c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeTC, 0, values("00"))
			if got := c.want(apdu.SWSuccess, 0x80, insGetData, 0x9F, 0x13, nil); !bytes.Equal(got, []byte{0x9F, 0x13, 2, 0, 1}) {
				t.Errorf("last online %X", got)
			}
		}
	}
}

// TestIssuerAuthenticationFails: a wrong ARPC ends in an AAC, and the next
// transaction goes online.
func TestIssuerAuthenticationFails(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.begin()
	c.generate(typeARQC, "")
	wrong := c.authentication(0, 0x82, 0, 0)
	wrong[0] ^= 1
	c.want(apdu.SWAuthenticationFailed, 0, insExternalAuthenticate, 0, 0, wrong)
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0, insExternalAuthenticate, 0, 0, c.authentication(0, 0x82, 0, 0))
	if give, cvr := c.generate(typeTC, "00"); give != typeAAC || cvr[0]&0x03 != 0x01 {
		t.Errorf("%02X %X", give, cvr)
	}
	c.begin()
	if give, cvr := c.generate(typeTC, ""); give != typeARQC || cvr[0]&0x03 != 0x01 || cvr[1]&0x01 != 0 {
		t.Errorf("next: %02X %X", give, cvr)
	}
	c.approve(0, 0x00, 0, 0) // authentic, but not approved
	if give, _ := c.generate(typeTC, "05"); give != typeAAC {
		t.Errorf("not approved: %02X", give)
	}
	c.begin()
	c.generate(typeARQC, "")
	if give, cvr := c.generate(typeTC, "00"); give != typeAAC || cvr[0]&0x02 == 0 { // no issuer authentication
		t.Errorf("unauthenticated: %02X %X", give, cvr)
	}
}

func TestARPCMethod1(t *testing.T) {
	c := newTerminal(t, cciDES, 0x80)
	arpc := func(arc string) []byte {
		b := bytes.Clone(c.arqc)
		b[0], b[1] = b[0]^arc[0], b[1]^arc[1]
		c.cipher(c.sessionKey()).Encrypt(b, b)
		return append(b, arc...)
	}
	for arc, want := range map[string]byte{"00": typeTC, "05": typeAAC} {
		c.begin()
		c.generate(typeARQC, "")
		c.want(apdu.SWSuccess, 0, insExternalAuthenticate, 0, 0, arpc(arc))
		if give, _ := c.generate(typeTC, arc); give != want {
			t.Errorf("%s: %02X", arc, give)
		}
	}
	c.begin()
	c.generate(typeARQC, "")
	b := arpc("00")
	b[9] = '1'
	c.want(apdu.SWAuthenticationFailed, 0, insExternalAuthenticate, 0, 0, b)
}

// TestOfflineLimits: two transactions offline, then online.
func TestOfflineLimits(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	for i, want := range []byte{typeTC, typeTC, typeARQC} {
		c.begin()
		give, cvr := c.generate(typeTC|wantCDA, "")
		if give != want || (cvr[2]&0x40 != 0) != (want == typeARQC) || (cvr[2]&0x80 != 0) != (i > 0) {
			t.Errorf("%d: %02X %X", i, give, cvr)
		}
	}
	c.approve(0, 0x82, 0, 0)
	c.generate(typeTC, "00")
	c.begin()
	if give, _ := c.generate(typeTC, ""); give != typeTC {
		t.Errorf("after the counters' reset: %02X", give)
	}
	c.begin()
	c.generate(typeARQC, "")
	c.approve(0, 0x88, 0, 0) // go online next time
	c.generate(typeTC, "00")
	c.begin()
	if give, cvr := c.generate(typeTC, ""); give != typeARQC || cvr[3]&0x02 == 0 {
		t.Errorf("go online: %02X %X", give, cvr)
	}
	c.approve(0x02, 0xB0, 0, 0) // block the application, two PIN tries
	if give, _ := c.generate(typeTC, "00"); give != typeAAC {
		t.Errorf("blocked: %02X", give)
	}
	c.want(apdu.SWSelectedFileInvalidated, 0, 0xA4, 4, 0, unhex(t, AID))
	if got := c.want(apdu.SWSuccess, 0x80, insGetData, 0x9F, 0x17, nil); got[3] != 2 {
		t.Errorf("tries %X", got)
	}
}

// TestSelectByNameAlone: SELECT has no other way (Book 1, section 11.3.2).
func TestSelectByNameAlone(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.begin()
	for _, p1 := range []byte{0, 2, 8} {
		c.want(apdu.SWIncorrectP1P2, 0, insSelect, p1, 0, unhex(t, AID))
	}
	c.want(apdu.SWSuccess, 0, insSelect, 4, 0, unhex(t, AID))
}

func TestPIN(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.begin()
	c.want(apdu.SWIncorrectP1P2, 0, insVerify, 0, 0x81, block2(t, "1234"))
	c.want(apdu.SWWrongLength, 0, insVerify, 0, 0x80, block2(t, "1234")[:7])
	c.want(0x63C2, 0, insVerify, 0, 0x80, block2(t, "1235"))
	c.want(apdu.SWSuccess, 0, insVerify, 0, 0x80, block2(t, "1234"))
	if _, cvr := c.generate(typeAAC, ""); cvr[1] != 0x38 {
		t.Errorf("CVR %X", cvr)
	}
	// Enciphered.
	c.begin()
	pub := iccKey().PublicKey
	encipher := func(header byte, pin string, challenge []byte) []byte {
		b := make([]byte, 176)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		b[0] = header
		copy(b[1:], block2(t, pin))
		copy(b[9:], challenge)
		return new(big.Int).Exp(new(big.Int).SetBytes(b), big.NewInt(int64(pub.E)), pub.N).FillBytes(b)
	}
	challenge := func() []byte { return c.want(apdu.SWSuccess, 0, insGetChallenge, 0, 0, nil) }
	c.want(apdu.SWSuccess, 0, insVerify, 0, 0x88, encipher(0x7F, "1234", challenge()))
	c.want(0x63C2, 0, insVerify, 0, 0x88, encipher(0x7F, "9999", challenge()))
	used := challenge()
	c.want(apdu.SWSuccess, 0, insVerify, 0, 0x88, encipher(0x7F, "1234", used))
	c.want(apdu.SWReferencedDataNotUsable, 0, insVerify, 0, 0x88, encipher(0x7F, "1234", used)) // no challenge before
	challenge()
	c.want(apdu.SWReferencedDataNotUsable, 0, insVerify, 0, 0x88, encipher(0x7F, "1234", used)) // an old one
	c.want(apdu.SWReferencedDataNotUsable, 0, insVerify, 0, 0x88, encipher(0x6A, "1234", challenge()))
	challenge()
	c.want(apdu.SWWrongLength, 0, insVerify, 0, 0x88, make([]byte, 8))
	// To the end of the tries.
	for i := range 3 {
		c.want(apdu.StatusWord(0x63C2-i), 0, insVerify, 0, 0x80, block2(t, "0000"))
	}
	c.want(apdu.SWAuthenticationMethodBlocked, 0, insVerify, 0, 0x80, block2(t, "1234"))
	challenge()
	c.want(apdu.SWAuthenticationMethodBlocked, 0, insVerify, 0, 0x88, make([]byte, 176))
	if give, cvr := c.generate(typeTC, ""); give != typeARQC || cvr[1] != 0x0E {
		t.Errorf("%02X %X", give, cvr)
	}
	// The issuer unblocks it.
	c.approve(0, 0x82, 0, 0)
	c.run(apdu.SWSuccess, c.script(insPINChange, 0, 0, nil))
	c.begin()
	c.want(apdu.SWSuccess, 0, insVerify, 0, 0x80, block2(t, "1234"))
}

// TestLastTransaction: at 65,535 the application is dead.
func TestLastTransaction(t *testing.T) {
	mem := issuedMemory(t, with(sample(t, cciDES, 0), 0x3000, unhex(t, "9F3602FFFE")))
	r, _ := insert(t, mem, nil)
	r.choose(AID)
	r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	for range 2 {
		r.choose(AID)
		r.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	}
	if got := r.want(apdu.SWSuccess, 0x80, insGetData, 0x9F, 0x36, nil); !bytes.Equal(got[3:], []byte{0xFF, 0xFF}) {
		t.Errorf("ATC %X", got)
	}
}
