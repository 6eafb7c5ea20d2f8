package payment

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// near is what a contactless card has beside the sample: record 2 of file 1, its
// own file control information with a PDOL of four bytes, and an AFL without the
// first record.
func near(t testing.TB) []grouping {
	return []grouping{
		{id: 0x0102, value: tlv.Encode(0x70, unhex(t, "57085892100000000016"))},
		{id: dgiFCINear, value: tlv.Encode(0xA5, unhex(t, "500A42414E4B205345504148"+"9F38039F3704"))},
		{id: dgiOptionsNr, value: unhex(t, "82027D00"+"940C"+"080202001001020118010200")},
	}
}

// TestContactless: over the air the application has its own file control
// information, options and records, takes no PIN, and signs what the PDOL asked
// for; over contacts it is as without.
func TestContactless(t *testing.T) {
	mem := issuedMemory(t, append(near(t), sample(t, cciDES, 0)...))
	r, chip := insert(t, mem, nil)
	contact := r.choose(AID)
	r.want(apdu.SWWrongData, 0x80, insGetProcessingOptions, 0, 0, append([]byte{0x83, 4}, number...))
	r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
	r.want(apdu.SWSuccess, 0, insReadRecord, 1, 1<<3|4, nil)

	chip.ResetContactless()
	c := &terminal{reader: r}
	if fci := r.choose(AID); bytes.Equal(fci, contact) {
		t.Error("the file control information is that of the contacts")
	}
	for _, wrong := range [][]byte{{0x83, 0}, {0x83, 3, 1, 2, 3}, {0x84, 4, 1, 2, 3, 4}, {0x83}, append([]byte{0x83, 4}, append(number, 0)...)} {
		r.want(apdu.SWWrongData, 0x80, insGetProcessingOptions, 0, 0, wrong)
	}
	options := r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, append([]byte{0x83, 4}, number...))
	if !bytes.Equal(options, tlv.Encode(0x77, of(near(t), dgiOptionsNr))) {
		t.Errorf("options %X", options)
	}
	r.want(apdu.SWRecordNotFound, 0, insReadRecord, 1, 1<<3|4, nil)
	r.want(apdu.SWSuccess, 0, insReadRecord, 2, 1<<3|4, nil)
	r.want(apdu.SWConditionsOfUseNotSatisfied, 0, insVerify, 0, 0x80, block2(t, "1234"))
	c.sent = [][]byte{number}
	if give, _ := c.generate(typeARQC|wantCDA, ""); give != typeARQC {
		t.Errorf("%02X", give)
	}

	chip.Reset()
	if !bytes.Equal(r.choose(AID), contact) {
		t.Error("after a reset the contacts are not back")
	}
	r, chip = insert(t, issuedMemory(t, sample(t, cciDES, 0)), nil) // a contact card
	chip.ResetContactless()
	r.want(apdu.SWFileNotFound, 0, 0xA4, 4, 0, unhex(t, AID))
}

// TestContactlessRefused: options that promise what is not there, or another AIP
// than the one that is signed, complete no card.
func TestContactlessRefused(t *testing.T) {
	for name, options := range map[string]string{
		"a record that is missing": "82027D00" + "940C" + "080203001001020118010200",
		"another AIP":              "82027C00" + "940C" + "080202001001020118010200",
		"no PAN":                   "82027D00" + "9404" + "08020200",
		"no AFL":                   "82027D00",
	} {
		b := blank(t, virtual.TripleDES)
		r, _ := insert(t, nvm.InMemory(), &b)
		r.own(virtual.TripleDES, AID)
		list := append(with(near(t), dgiOptionsNr, unhex(t, options)), sample(t, cciDES, 0)...)
		if sw, err := r.put(cut(list, r.s.encipher, 200)); err != nil || sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("%s: %v, %v", name, sw, err)
		}
	}
}
