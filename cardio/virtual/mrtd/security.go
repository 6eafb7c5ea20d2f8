package mrtd

import (
	"bytes"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// Object identifiers, the value bytes of the OID (Doc 9303-11 clauses 9.2.2
// and 9.2.5; bsi-de is 0.4.0.127.0.7).
var (
	oidPACE          = icao.OIDPACE
	oidChip3DES      = []byte{0x04, 0x00, 0x7F, 0x00, 0x07, 0x02, 0x02, 0x03, 0x02, 0x01} // id-CA-ECDH-3DES-CBC-CBC
	oidChipAES       = []byte{0x04, 0x00, 0x7F, 0x00, 0x07, 0x02, 0x02, 0x03, 0x02, 0x02} // id-CA-ECDH-AES-CBC-CMAC-128
	oidChipPublicKey = []byte{0x04, 0x00, 0x7F, 0x00, 0x07, 0x02, 0x02, 0x01, 0x02}       // id-PK-ECDH
)

// P1 P2 of MANAGE SECURITY ENVIRONMENT.
const (
	setMutualAuthentication   = 0xC1A4 // PACE
	setInternalAuthentication = 0x41A4 // chip authentication, AES
	setKeyAgreement           = 0x41A6 // chip authentication, 3DES, in one command
)

// Data objects of MANAGE SECURITY ENVIRONMENT and GENERAL AUTHENTICATE.
const (
	tagMechanism     = tlv.Tag(0x80)
	tagPassword      = tlv.Tag(0x83)
	tagReference     = tlv.Tag(0x84)
	tagEphemeral     = tlv.Tag(0x91)
	tagDynamic       = tlv.Tag(0x7C)
	passwordMRZ      = 1
	passwordCAN      = 2
	tagTerminalPoint = tlv.Tag(0x80) // of chip authentication
)

// protocol is what GENERAL AUTHENTICATE continues.
type protocol byte

const (
	noProtocol protocol = iota
	protocolPACE
	protocolChip
)

// exchange is the state between two commands of one protocol.
type exchange struct {
	protocol protocol
	pace     *paceState
	chip3DES bool
}

// manageSecurity executes MANAGE SECURITY ENVIRONMENT: SET.
func (a *Applet) manageSecurity(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	objects, err := tlv.Parse(c.Data)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	values := map[tlv.Tag][]byte{}
	for _, o := range objects {
		if _, twice := values[o.Tag]; twice {
			return nil, apdu.SWWrongData
		}
		values[o.Tag] = o.Value
	}
	switch int(c.P1)<<8 | int(c.P2) {
	case setMutualAuthentication:
		return nil, a.preparePACE(e, values)
	case setInternalAuthentication:
		return nil, a.prepareChipAuthentication(e, values)
	case setKeyAgreement:
		return nil, a.agreeKey(e, values)
	case setSignature:
		return nil, a.chooseKey(e, values)
	}
	return nil, apdu.SWIncorrectP1P2
}

// onlyTags reports that there are no other tags than the listed ones.
func onlyTags(values map[tlv.Tag][]byte, tags ...tlv.Tag) bool {
	known := 0
	for _, t := range tags {
		if _, ok := values[t]; ok {
			known++
		}
	}
	return known == len(values)
}

// generalAuthenticate executes GENERAL AUTHENTICATE with the protocol that
// MANAGE SECURITY ENVIRONMENT has set.
func (a *Applet) generalAuthenticate(e virtual.Env, c secured, x exchange) ([]byte, apdu.StatusWord) {
	if c.P1 != 0 || c.P2 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	o, rest, err := tlv.Next(c.Data)
	if err != nil || len(rest) != 0 || o.Tag != tagDynamic {
		return nil, apdu.SWWrongData
	}
	chained := c.CLA&claChained != 0
	switch x.protocol {
	case protocolPACE:
		return a.continuePACE(e, x.pace, o.Value, chained)
	case protocolChip:
		if chained {
			return nil, apdu.SWLastCommandOfChainExpected
		}
		return a.finishChipAuthentication(e, x.chip3DES, o.Value)
	}
	return nil, apdu.SWConditionsOfUseNotSatisfied
}

// single takes the value of the one data object that b must consist of.
func single(b []byte, tag tlv.Tag) ([]byte, bool) {
	o, rest, err := tlv.Next(b)
	if err != nil || len(rest) != 0 || o.Tag != tag {
		return nil, false
	}
	return o.Value, true
}

// dynamic is an answer of GENERAL AUTHENTICATE.
func dynamic(tag tlv.Tag, value []byte) []byte {
	return tlv.Encode(tagDynamic, tlv.Encode(tag, value))
}

func sameOID(a, b []byte) bool { return bytes.Equal(a, b) }
