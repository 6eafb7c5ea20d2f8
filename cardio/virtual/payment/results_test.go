package payment

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Bits of the card verification results (EMV 4.4 Book 3, table CCD 10): byte, bit.
var (
	authMissedBit = [2]byte{0, 0x02}
	authWrongBit  = [2]byte{0, 0x01}
	cutShortBit   = [2]byte{1, 0x01}
	dataFailedBit = [2]byte{3, 0x04}
	unableBit     = [2]byte{3, 0x01}
)

// TestCardVerificationResults: what the card reports in a cryptogram of transactions
// before it (Book 3, Common Core Definitions 9.2.3.2).
func TestCardVerificationResults(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	all := [][2]byte{authMissedBit, authWrongBit, cutShortBit, dataFailedBit, unableBit}
	check := func(step string, p1 byte, arc string, want ...[2]byte) {
		t.Helper()
		_, cvr := c.generate(p1, arc)
		for _, b := range all {
			expected := false
			for _, w := range want {
				expected = expected || w == b
			}
			if got := cvr[b[0]]&b[1] != 0; got != expected {
				t.Errorf("%s: byte %d bit %02X is %v in %X", step, b[0]+1, b[1], got, cvr)
			}
		}
	}
	c.begin()
	check("a new card", typeARQC, "")
	check("the terminal cannot go online", typeTC, "Y3", authMissedBit, unableBit)
	c.begin()
	check("after it", typeARQC, "", authMissedBit)
	check("the terminal cannot, and declines", typeAAC, "Z3", authMissedBit, unableBit)
	c.begin()
	check("no second GENERATE AC comes", typeARQC, "", authMissedBit)
	c.begin()
	check("after that", typeARQC, "", authMissedBit, cutShortBit)
	check("no answer of the issuer", typeTC, "00", authMissedBit, cutShortBit)
	c.begin()
	check("until it is authenticated", typeARQC, "", authMissedBit, cutShortBit)
	wrong := c.authentication(0, 0x82, 0, 0)
	wrong[0] ^= 1
	c.want(apdu.SWAuthenticationFailed, 0, insExternalAuthenticate, 0, 0, wrong)
	check("a wrong answer", typeTC, "00", authWrongBit, cutShortBit)
	c.begin()
	check("is told in the next", typeAAC, "", authWrongBit, cutShortBit)
	c.begin()
	check("and the one after", typeARQC, "", authWrongBit, cutShortBit)
	c.approve(0, 0x82, 0, 0)
	check("until the issuer is authenticated", typeTC, "00")
	c.begin()
	check("then nothing is left", typeARQC, "")
}

// TestDataAuthenticationFailed: a TVR that says so is reported in the next
// transaction, and until one has gone online or was approved offline.
func TestDataAuthenticationFailed(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	for _, bit := range []byte{0x40, 0x08, 0x04} {
		for _, step := range []struct {
			tvr, p1    byte
			arc        string
			was, after bool
		}{
			{bit, typeAAC, "", false, false},
			{0, typeAAC, "", true, false},
			{0, typeARQC, "Z3", true, true},
			{0, typeARQC, "00", true, true},
			{0, typeARQC, "00", false, false},
			{bit, typeARQC, "00", false, false},
			{0, typeARQC, "00", true, true},
			{0, typeARQC, "00", false, false},
		} {
			c.begin()
			c.tvr = []byte{step.tvr, 0, 0, 0, 0}
			if _, cvr := c.generate(step.p1, ""); (cvr[3]&0x04 != 0) != step.was {
				t.Errorf("%02X: %+v: %X", bit, step, cvr)
			}
			if step.arc == "" {
				continue
			}
			if step.arc == "00" {
				c.approve(0, 0x82, 0, 0)
			}
			if _, cvr := c.generate(typeAAC, step.arc); (cvr[3]&0x04 != 0) != step.after {
				t.Errorf("%02X: second of %+v: %X", bit, step, cvr)
			}
		}
	}
}

// TestIssuerAuthenticationInSecondGenerateAC: as the Common Core Definitions have it
// (6.5.4.1, 6.5.5.1), CDOL2 carries the issuer authentication data.
func TestIssuerAuthenticationInSecondGenerateAC(t *testing.T) {
	within := sample(t, cciDES, 0)
	for i, g := range within {
		switch g.id {
		case 0x0202:
			list := append([]byte{0x8A, 2, 0x91, 8}, unhex(t, cdol1)...)
			within[i].value = tlv.Encode(0x70, tlv.Encode(0x8C, unhex(t, cdol1)), tlv.Encode(0x8D, list))
		case 0x9104:
			within[i].value = bytes.Replace(g.value, []byte{0x7D, 0}, []byte{0x79, 0}, 1)
		}
	}
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   byte
		cvr    byte // its bits for an issuer that was not there, or was wrong
	}{
		"authentic":    {func(b []byte) []byte { return b }, typeTC, 0},
		"altered":      {func(b []byte) []byte { b[0] ^= 1; return b }, typeAAC, 0x01},
		"not there":    {func(b []byte) []byte { return make([]byte, 8) }, typeAAC, 0x02},
		"not approved": {func([]byte) []byte { return nil }, typeAAC, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := insert(t, issuedMemory(t, within), nil)
			c := &terminal{reader: r, aip: 0x79}
			c.begin()
			c.generate(typeARQC, "")
			c.want(apdu.SWInstructionNotSupported, 0, insExternalAuthenticate, 0, 0, c.authentication(0, 0x82, 0, 0))
			if c.within = test.change(c.authentication(0, 0x82, 0, 0)); c.within == nil {
				c.within = c.authentication(0, 0x02, 0, 0)
			}
			if give, cvr := c.generate(typeTC|wantCDA, "00"); give != test.want || cvr[0]&0x03 != test.cvr {
				t.Errorf("%02X %X", give, cvr)
			}
			c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeTC, 0, append(make([]byte, 8), values("00")...))
		})
	}
}
