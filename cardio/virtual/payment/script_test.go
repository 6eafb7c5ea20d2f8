package payment

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/icao"
)

// online gets an ARQC answered.
func (t *terminal) online() {
	t.Helper()
	t.begin()
	if give, _ := t.generate(typeARQC, ""); give != typeARQC {
		t.Fatalf("%02X for an ARQC", give)
	}
	t.approve(0, 0x82, 0, 0)
}

func TestScripts(t *testing.T) {
	for _, cci := range []byte{cciDES, cciAES} {
		c := newTerminal(t, cci, 0)
		c.online()
		c.run(apdu.SWSuccess, c.script(insPINChange, 0, 2, block2(t, "98765")))
		c.run(apdu.SWSuccess, c.script(insPutData, 0x9F, 0x23, []byte{5}))
		c.run(apdu.SWReferencedDataNotFound, c.script(insPutData, 0x9F, 0x36, []byte{0, 1}))
		record := tlv.Encode(0x70, []byte{0x57, 1, 0x58})
		c.run(apdu.SWSuccess, c.script(insUpdateRecord, 1, 0x0C, record))
		c.run(apdu.SWConditionsOfUseNotSatisfied, c.script(insUpdateRecord, 1, 0x14, record)) // signed
		c.run(apdu.SWRecordNotFound, c.script(insUpdateRecord, 9, 0x0C, record))
		give, cvr := c.generate(typeTC, "00")
		if give != typeTC || cvr[3] != 0x68 { // six right MACs, one failed
			t.Errorf("%02X %X", give, cvr)
		}
		c.begin()
		c.want(0x63C2, 0, insVerify, 0, 0x80, block2(t, "1234"))
		c.want(apdu.SWSuccess, 0, insVerify, 0, 0x80, block2(t, "98765"))
		if got := c.want(apdu.SWSuccess, 0, insReadRecord, 1, 0x0C, nil); !bytes.Equal(got, record) {
			t.Errorf("record %X", got)
		}
		// The issuer hears of the scripts in the next ARQC, and only there.
		if _, cvr = c.generate(typeARQC, ""); cvr[3] != 0x68 {
			t.Errorf("next: %X", cvr)
		}
		c.approve(0, 0x82, 0, 0)
		if _, cvr = c.generate(typeTC, "00"); cvr[3] != 0 {
			t.Errorf("after that: %X", cvr)
		}
	}
}

// TestScriptRefusals: a wrong MAC, another transaction's command, none at all.
func TestScriptRefusals(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.choose(AID)
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x84, insApplicationBlock, 0, 0, make([]byte, 8))
	c.begin()
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x84, insApplicationBlock, 0, 0, make([]byte, 8))
	c.generate(typeTC, "") // offline: there is no issuer
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x84, insApplicationBlock, 0, 0, make([]byte, 8))

	c.online()
	old := c.script(insApplicationBlock, 0, 0, nil)
	wrong := c.script(insPutData, 0x9F, 0x23, []byte{5})
	wrong.Data[0]++
	right := c.script(insPutData, 0x9F, 0x23, []byte{5})
	c.run(apdu.SWSecureMessagingIncorrect, wrong)
	c.run(apdu.SWConditionsOfUseNotSatisfied, right) // no more scripts
	if _, cvr := c.generate(typeTC, "00"); cvr[3] != 0x08 {
		t.Errorf("CVR %X", cvr)
	}
	c.online()
	c.run(apdu.SWSecureMessagingIncorrect, old)
	c.online()
	c.want(apdu.SWSecureMessagingObjectsMissing, 0x84, insApplicationBlock, 0, 0, make([]byte, 7))
	c.online()
	plain := c.script(insPINChange, 0, 0, nil)
	plain.P2 = 2 // the MAC is over the header
	c.run(apdu.SWSecureMessagingIncorrect, plain)
	c.online()
	c.run(apdu.SWWrongData, c.script(insPINChange, 0, 2, unhex(t, "2412FFFFFFFFFFFF")))
	c.want(apdu.SWInstructionNotSupported, 0x84, 0x2C, 0, 0, make([]byte, 8))
	c.want(apdu.SWClassNotSupported, 0x8C, insApplicationBlock, 0, 0, make([]byte, 8)) // format 1 is not this card's
}

// TestBlockAndUnblock: the application, then the card's payment.
func TestBlockAndUnblock(t *testing.T) {
	c := newTerminal(t, cciDES, 0)
	c.online()
	c.run(apdu.SWSuccess, c.script(insApplicationBlock, 0, 0, nil))
	if give, _ := c.generate(typeTC, "00"); give != typeAAC {
		t.Errorf("%02X", give)
	}
	for _, ask := range []byte{typeTC, typeARQC} {
		c.want(apdu.SWSelectedFileInvalidated, 0, 0xA4, 4, 0, unhex(t, AID))
		c.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
		c.sent = nil
		if give, _ := c.generate(ask, ""); give != typeAAC {
			t.Errorf("a blocked application gave %02X", give)
		}
	}
	c.run(apdu.SWSuccess, c.script(insApplicationUnblock, 0, 0, nil))
	c.online()
	if give, _ := c.generate(typeTC, "00"); give != typeTC {
		t.Errorf("%02X", give)
	}
	c.run(apdu.SWSuccess, c.script(insCardBlock, 0, 0, nil)) // after the second cryptogram: template 72
	c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetData, 0x9F, 0x36, nil)
	c.want(apdu.SWFunctionNotSupported, 0, 0xA4, 4, 0, unhex(t, AID))
}

// TestFormat1: data objects, and MACs that are chained.
func TestFormat1(t *testing.T) {
	c := newTerminal(t, cciDES, 0x40)
	c.online()
	keys := unhex(t, masters)
	macKey, encKey := c.session(keys[16:32], c.arqc), c.session(keys[32:48], c.arqc)
	chain := c.arqc
	command := func(ins, p1, p2 byte, object []byte, size int) apdu.Command {
		message := append(bytes.Clone(chain), 0x8C, ins, p1, p2, 0x80, 0, 0, 0)
		mac := c.mac(macKey, append(message, object...))
		chain = mac
		return apdu.Command{CLA: 0x8C, INS: ins, P1: p1, P2: p2, Data: append(bytes.Clone(object), tlv.Encode(0x8E, mac[:size])...)}
	}
	c.run(apdu.SWSuccess, command(insPutData, 0x9F, 0x23, []byte{0x81, 1, 9}, 8))
	change := command(insPINChange, 0, 2, tlv.Encode(0x87, []byte{1}, c.encrypt(encKey, icao.Pad(block2(t, "4321"), 8))), 4)
	c.run(apdu.SWSuccess, change)
	c.run(apdu.SWSecureMessagingIncorrect, change) // replayed: the chain went on
	if _, cvr := c.generate(typeTC, "00"); cvr[3] != 0x28 {
		t.Errorf("CVR %X", cvr)
	}
	c.begin()
	c.want(apdu.SWSuccess, 0, insVerify, 0, 0x80, block2(t, "4321"))
}

// TestPaddedMAC: MACs of format 1, to whose blocks nothing is added (Book 2, 9.2.3),
// as the openssl command makes them: DES-CBC, and DES of the last block; CMAC.
func TestPaddedMAC(t *testing.T) {
	k := unhex(t, "0123456789abcdeffedcba9876543210")
	for _, c := range []struct {
		aes           bool
		message, want string
	}{
		{false, "11223344556677888c24000080000000", "0612512bbd63b9ec"},
		{true, "112233445566778800000000000000008c24000280000000000000000000000087030102038000000000000000000000", "c6991e5da504edcd8b6426915d581ff8"},
	} {
		if got := (suite{aes: c.aes}).macPadded(k, unhex(t, c.message)); !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("AES %v: %X", c.aes, got)
		}
	}
}
