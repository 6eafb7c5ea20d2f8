package virtual

import (
	"encoding/binary"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Instructions of the issuer security domain (GPC_SPE_034 v2.3.1 section 11).
const (
	insInitializeUpdate     = 0x50
	insExternalAuthenticate = 0x82
	insGetData              = 0xCA
	insPutKey               = 0xD8
	insStoreData            = 0xE2
	insDelete               = 0xE4
	insLoad                 = 0xE8
	insInstall              = 0xE6
	insSetStatus            = 0xF0
	insGetStatus            = 0xF2
)

// domain executes a command while a security domain is selected.
func (c *Chip) domain(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if cmd.INS != insExternalAuthenticate && c.session.phase == initiated {
		c.closeSession() // only EXTERNAL AUTHENTICATE may follow INITIALIZE UPDATE
	}
	if cmd.INS != insGetStatus {
		c.page = statusPage{}
	}
	switch cmd.CLA {
	case 0x00:
		switch cmd.INS {
		case insGetData:
		case insSelect:
			return nil, apdu.SWIncorrectP1P2 // by AID alone
		default:
			if c.known(cmd.INS) {
				return nil, apdu.SWClassNotSupported
			}
			return nil, apdu.SWInstructionNotSupported
		}
	case 0x80, 0x84:
		if !c.known(cmd.INS) {
			return nil, apdu.SWInstructionNotSupported
		}
	default:
		return nil, apdu.SWClassNotSupported
	}
	if c.session.phase != open || cmd.INS == insInitializeUpdate {
		// In a session this comes after the protection was checked.
		if sw := c.allowed(cmd.INS); !sw.OK() {
			return nil, sw
		}
	}
	switch cmd.INS {
	case insInitializeUpdate:
		if cmd.CLA != 0x80 {
			return nil, apdu.SWClassNotSupported
		}
		return lengthChecked(cmd, func() ([]byte, apdu.StatusWord) { return c.initializeUpdate(cmd) })
	case insExternalAuthenticate:
		if cmd.CLA != 0x84 {
			c.closeSession()
			return nil, apdu.SWClassNotSupported
		}
		return c.externalAuthenticate(cmd)
	}
	return c.secured(cmd, c.management)
}

func (c *Chip) known(ins byte) bool {
	switch ins {
	case insBeginRMACSession, insEndRMACSession:
		return c.link().hasRMACSession()
	case insInitializeUpdate, insExternalAuthenticate, insGetData, insPutKey, insStoreData,
		insDelete, insInstall, insLoad, insSetStatus, insGetStatus:
		return true
	}
	return false
}

// allowed is what the card life cycle state permits (GPC_SPE_034 v2.3.1
// section 5.1.1 and table 11-1).
func (c *Chip) allowed(ins byte) apdu.StatusWord {
	switch c.reg.state {
	case Terminated:
		if ins != insGetData {
			return apdu.SWConditionsOfUseNotSatisfied
		}
	case CardLocked:
		switch ins {
		case insGetData, insInitializeUpdate, insExternalAuthenticate, insGetStatus, insSetStatus:
		default:
			return apdu.SWConditionsOfUseNotSatisfied
		}
	}
	return apdu.SWSuccess
}

// secured takes the secure messaging off a command, runs it and puts the
// secure messaging on its response. Whatever is wrong with the protection
// ends the session (GPC_SPE_034 v2.3.1 section 10.2.3).
func (c *Chip) secured(cmd apdu.Command, run func(apdu.Command) ([]byte, apdu.StatusWord)) ([]byte, apdu.StatusWord) {
	protected := cmd.CLA&0x04 != 0
	if c.session.phase != open {
		if protected {
			return nil, apdu.SWSecurityStatusNotSatisfied
		}
		if cmd.INS != insGetData {
			return nil, apdu.SWSecurityStatusNotSatisfied
		}
		return lengthChecked(cmd, func() ([]byte, apdu.StatusWord) { return c.getData(cmd) })
	}
	expected := c.session.level&levelCMAC != 0
	switch {
	case protected && !expected:
		c.closeSession()
		return nil, apdu.SWSecureMessagingNotSupported
	case !protected && expected:
		c.closeSession()
		return nil, apdu.SWSecurityStatusNotSatisfied
	case protected:
		plain, ok := c.session.unwrap(cmd)
		if !ok {
			sw := c.session.wrongMAC()
			c.closeSession()
			return nil, sw
		}
		cmd = plain
	}
	if c.session.scp02 != nil {
		c.session.scp02.note(cmd)
	}
	if c.session.level&levelRMAC == 0 { // a session of R-MACs begins after the command that begins it
		return run(cmd)
	}
	data, sw := run(cmd)
	return c.session.wrap(data, sw), sw
}

func (c *Chip) management(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if sw := c.allowed(cmd.INS); !sw.OK() {
		return nil, sw
	}
	switch cmd.INS {
	case insGetData:
		return c.getData(cmd)
	case insGetStatus:
		return c.getStatus(cmd)
	case insSetStatus:
		return c.setStatus(cmd)
	case insInstall:
		return c.install(cmd)
	case insLoad:
		return c.load(cmd)
	case insDelete:
		return c.delete(cmd)
	case insStoreData:
		return c.storeData(cmd)
	case insPutKey:
		return c.putKey(cmd)
	case insBeginRMACSession:
		return c.beginRMACSession(cmd)
	case insEndRMACSession:
		return c.endRMACSession(cmd)
	}
	return nil, apdu.SWInstructionNotSupported
}

// lengthChecked answers 6Cxx when the command asks for fewer bytes than there
// are (ISO/IEC 7816-4 clause 5.3.4). A command without Le gets them all:
// readers that speak T=0 leave it away.
func lengthChecked(cmd apdu.Command, run func() ([]byte, apdu.StatusWord)) ([]byte, apdu.StatusWord) {
	data, sw := run()
	if sw.OK() && cmd.Ne > 0 && len(data) > cmd.Ne && len(data) <= 256 {
		return nil, 0x6C00 | apdu.StatusWord(byte(len(data)))
	}
	return data, sw
}

// fci is the answer to SELECT of a security domain (GPC_SPE_034
// v2.3.1 table 11-82): 6F { 84 AID, A5 { 9F65 greatest command data } }. The
// optional security domain management data 73 stands in card recognition data
// alone: many chips leave it out here, and there is host software that gives up
// on a version of the specification that it does not know.
func (c *Chip) fci() []byte {
	return tlv.Encode(0x6F,
		tlv.Encode(0x84, c.invoker()),
		tlv.Encode(0xA5,
			tlv.Encode(0x9F65, []byte{apdu.MaxShortData})))
}

// Object identifiers under globalPlatform, 1.2.840.114283 (GPC_SPE_034
// v2.3.1 appendix H.1).
var (
	oidGlobalPlatform = []byte{0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B, 0x01}
	oidVersion231     = []byte{0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B, 0x02, 0x02, 0x03, 0x01}
	oidIdentification = []byte{0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B, 0x03}
	oidSecureChannel  = []byte{0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B, 0x04} // then the protocol and i
)

// managementData is the value of tag 73 in card recognition data (GPC_SPE_034
// v2.3.1 tables H-1 and H-2).
func (c *Chip) managementData() []byte {
	var b []byte
	b = append(b, tlv.Encode(0x06, oidGlobalPlatform)...)
	b = append(b, tlv.Encode(0x60, tlv.Encode(0x06, oidVersion231))...)
	if c.reg.space.Get(dataKey42) != nil && c.reg.space.Get(dataKey45) != nil {
		b = append(b, tlv.Encode(0x63, tlv.Encode(0x06, oidIdentification))...)
	}
	// The last arc of the identifier is i, base 128.
	arcs := []byte{c.reg.protocol, c.reg.scp & 0x7F}
	b = append(b, tlv.Encode(0x64, tlv.Encode(0x06, oidSecureChannel, arcs))...)
	return b
}

// getData is GET DATA (GPC_SPE_034 v2.3.1 section 11.3 and appendix H).
func (c *Chip) getData(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(cmd.Data) != 0 {
		return nil, apdu.SWWrongLength
	}
	tag := tlv.Tag(binary.BigEndian.Uint16([]byte{cmd.P1, cmd.P2}))
	switch tag {
	case 0x0042, 0x0045: // issuer and card image number, when stored
		v := c.ownKeys().space.Get(objectKey(tag))
		if v == nil {
			return nil, apdu.SWReferencedDataNotFound
		}
		return tlv.Encode(tag, v), apdu.SWSuccess
	case 0x0066: // card recognition data
		return tlv.Encode(0x66, tlv.Encode(0x73, c.managementData())), apdu.SWSuccess
	case 0x0067:
		return c.capabilities(), apdu.SWSuccess
	case 0x00CF: // key diversification data
		return tlv.Encode(0xCF, c.link().kdd), apdu.SWSuccess
	case 0x00C1: // sequence counter of the default key set
		k := c.channelKeys().keySet(0)
		if c.link().protocol == 2 {
			n := min(k.sequence, maxSequence02)
			return tlv.Encode(0xC1, []byte{byte(n >> 8), byte(n)}), apdu.SWSuccess
		}
		if c.link().i&SCP03PseudoRandomChallenge == 0 {
			return nil, apdu.SWReferencedDataNotFound
		}
		return tlv.Encode(0xC1, sequenceBytes(k)), apdu.SWSuccess
	case 0x00E0:
		return c.keyInformation(), apdu.SWSuccess
	case 0xFF21:
		return c.resources()
	case 0x9F7F:
		if c.reg.has(QuirkNoCPLC) {
			return nil, apdu.SWReferencedDataNotFound
		}
		return tlv.Encode(0x9F7F, c.reg.cplc), apdu.SWSuccess
	}
	return nil, apdu.SWReferencedDataNotFound
}

// Where issuer identification and card image number lie in the memory.
const (
	dataKey42 = "data/42"
	dataKey45 = "data/45"
)

func objectKey(tag tlv.Tag) string {
	if tag == 0x0042 {
		return dataKey42
	}
	return dataKey45
}

// keyInformation is the key information template: E0 { C0 { key identifier,
// version, type, length } … } (GPC_SPE_034 v2.3.1 section 11.3.3.1).
func (c *Chip) keyInformation() []byte {
	var b []byte
	for _, k := range c.ownKeys().keys {
		for id := byte(1); id <= 3; id++ {
			b = append(b, tlv.Encode(0xC0, []byte{id, k.version, k.typ.coded(), byte(len(k.enc))})...)
		}
	}
	for _, k := range c.ownKeys().singles {
		b = append(b, tlv.Encode(0xC0, k.information())...)
	}
	return tlv.Encode(0xE0, b)
}

// capabilities is card capability information (GPC_SPE_034 v2.3.1 table H-4):
// 67 { A0 { 80 SCP, 81 parameters i, 82 key sizes of SCP03 }, 81 privileges of
// security domains, 82 privileges of applications, 83 hashes of load files }.
func (c *Chip) capabilities() []byte {
	domain, app := c.reg.isdPrivileges()|PrivilegeCardReset|domainPrivileges, applicationPrivileges
	protocol := tlv.Encode(0x80, []byte{c.reg.protocol})
	protocol = tlv.Append(protocol, 0x81, []byte{c.reg.scp})
	if c.reg.protocol == 3 {
		protocol = tlv.Append(protocol, 0x82, []byte{0x07}) // AES-128, AES-192, AES-256
	}
	return tlv.Encode(0x67,
		tlv.Encode(0xA0, protocol),
		tlv.Encode(0x81, privilegeBytes(domain)),
		tlv.Encode(0x82, privilegeBytes(app)),
		tlv.Encode(0x83, []byte{0x01, 0x02, 0x03, 0x04})) // SHA-1, SHA-256, SHA-384, SHA-512
}

func privilegeBytes(p uint32) []byte { return []byte{byte(p >> 16), byte(p >> 8), byte(p)} }
