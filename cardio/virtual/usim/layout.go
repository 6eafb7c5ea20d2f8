package usim

import "encoding/binary"

// Services of EF.UST (TS 31.102 clause 4.2.8) that this card has or looks at.
const (
	serviceGSMAccess = 27
	serviceGSM       = 38 // GSM security context
	serviceGBA       = 68
)

// serviceTable sets the bit of each service; the table has n bytes.
func serviceTable(n int, services ...int) []byte {
	t := make([]byte, n)
	for _, s := range services {
		t[(s-1)/8] |= 1 << ((s - 1) % 8)
	}
	return t
}

func (c *Chip) service(n int) bool {
	t := c.space.Get(dataPrefix + dataService)
	return (n-1)/8 < len(t) && t[(n-1)/8]&(1<<((n-1)%8)) != 0
}

// noLocation is EF.LOCI of a card that was in no network: no TMSI, the location
// area of nobody, "not updated".
func noLocation() []byte {
	return []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0xFF, 0x01}
}

// usimFiles are those of ADF.USIM (TS 31.102 clause 4.2), with the short
// identifiers of annex H.
func (m maker) usimFiles() []entry {
	p := m.profile
	plmn := encodePLMN(p.IMSI, p.MNCDigits)
	home := filled(20)
	if p.IMSI != "" {
		home = padded(append(plmn[:3:3], 0xC0, 0x80), 20) // E-UTRAN, UTRAN, GSM
	}
	acc := binary.BigEndian.AppendUint16(nil, p.ACC)
	services := serviceTable(12, 1, 2, 10, 12, 19, 20, serviceGSMAccess, 33, serviceGSM, 42, 43, 51, serviceGBA, 85)
	return []entry{
		{fid: "6F05", sfi: 0x02, rule: ruleUserAlways, data: []byte("faen")},
		{fid: "6F07", sfi: 0x07, rule: ruleReadPIN, data: encodeIMSI(p.IMSI)},
		{fid: "6F08", sfi: 0x08, rule: ruleUser, data: append([]byte{0x07}, filled(32)...)},
		{fid: "6F09", sfi: 0x09, rule: ruleUser, data: append([]byte{0x07}, filled(32)...)},
		{fid: "6F31", sfi: 0x12, rule: ruleReadPIN, data: []byte{0x05}},
		{fid: "6F38", sfi: 0x04, rule: ruleReadPIN, data: services},
		{fid: "6F39", rule: ruleCounter, record: 3, cyclic: true, data: make([]byte, 3*3)},
		{fid: "6F3C", rule: ruleUser, record: 176, shares: telecomPath + "/6F3C"},
		{fid: "6F40", rule: ruleUser, record: 28, data: append(encodeMSISDN(p.MSISDN, 14), filled(28)...)},
		{fid: "6F42", rule: ruleUser, record: 42, shares: telecomPath + "/6F42"},
		{fid: "6F46", rule: ruleReadAlways, data: padded(append([]byte{0x01}, p.SPN...), 17)},
		{fid: "6F56", sfi: 0x05, rule: ruleADMOrUser, data: []byte{0x00}},
		{fid: "6F60", sfi: 0x0A, rule: ruleUser, data: filled(40)},
		{fid: "6F61", sfi: 0x11, rule: ruleReadPIN, data: filled(40)},
		{fid: "6F62", sfi: 0x13, rule: ruleReadPIN, data: home},
		{fid: "6F73", sfi: 0x0C, rule: ruleUser, data: append(filled(13), 0x01)},
		{fid: "6F78", sfi: 0x06, rule: ruleReadPIN, data: acc},
		{fid: "6F7B", sfi: 0x0D, rule: ruleUser, data: filled(12)},
		{fid: "6F7E", sfi: 0x0B, rule: ruleUser, data: noLocation()},
		{fid: "6FAD", sfi: 0x03, rule: ruleReadAlways, data: []byte{0x00, 0x00, 0x00, byte(p.MNCDigits)}},
		{fid: "6FB7", sfi: 0x01, rule: ruleReadAlways, record: 4, data: append([]byte{0x11, 0xF2, 0xFF, 0x00}, filled(4)...)},
		{fid: "6FC4", rule: ruleUser, data: filled(64)},
		{fid: "6FD6", rule: ruleUser, data: filled(gbaSize)},
		{fid: "6FE3", sfi: 0x1E, rule: ruleUser, data: append(filled(17), 0x01)},
		{fid: "6FE4", sfi: 0x18, rule: ruleUser, record: 80, data: filled(80)},
	}
}

// telecomFiles are those of DF.TELECOM (TS 51.011 clause 10.5).
func (m maker) telecomFiles() []entry {
	messages := make([]byte, 0, 10*176)
	for range 10 {
		messages = append(append(messages, 0x00), filled(175)...)
	}
	return []entry{
		{fid: "6F3A", rule: ruleUser, record: 28, data: filled(50 * 28)},
		{fid: "6F3C", rule: ruleUser, record: 176, data: messages},
		{fid: "6F40", rule: ruleUser, record: 28, shares: usimPath + "/6F40"},
		{fid: "6F42", rule: ruleUser, record: 42, data: filled(42)},
		{fid: "6F44", rule: ruleUser, record: 28, cyclic: true, data: filled(5 * 28)},
	}
}

// gsmFiles are those of DF.GSM (TS 51.011 clause 10.3); most are the USIM's
// under another name.
func (m maker) gsmFiles() []entry {
	same := func(fid string, rule byte) entry { return entry{fid: fid, rule: rule, shares: usimPath + "/" + fid} }
	return []entry{
		same("6F07", ruleReadPIN), same("6F31", ruleReadPIN), same("6F46", ruleReadAlways), same("6F78", ruleReadPIN),
		same("6F7B", ruleUser), same("6F7E", ruleUser), same("6FAD", ruleReadAlways),
		{fid: "6F05", rule: ruleUserAlways, data: []byte{0x01}},
		{fid: "6F20", rule: ruleUser, shares: usimPath + "/5F3B/4F20"},
		{fid: "6F30", rule: ruleUser, data: filled(24)},
		{fid: "6F38", rule: ruleReadPIN, data: []byte{0xFF, 0x3F, 0xFF, 0x0F, 0x0C, 0x00, 0xF0, 0x03}},
		{fid: "6F39", rule: ruleCounter, record: 3, cyclic: true, shares: usimPath + "/6F39"},
		{fid: "6F74", rule: ruleUser, data: filled(16)},
		{fid: "6FAE", rule: ruleReadAlways, data: []byte{0x03}},
	}
}

// identityFile is how long files of an ISIM's identities are; maxIdentity fits behind tag
// and length.
const (
	identityFile = 128
	maxIdentity  = identityFile - 3
)

// isimFiles are those of ADF.ISIM (TS 31.103 clause 4.2).
func (m maker) isimFiles() []entry {
	p := m.profile
	return []entry{
		{fid: "6F02", sfi: 0x02, rule: ruleReadPIN, data: impu(p.IMPI, identityFile)},
		{fid: "6F03", sfi: 0x05, rule: ruleReadPIN, data: impu(p.Domain, identityFile)},
		{fid: "6F04", sfi: 0x04, rule: ruleReadPIN, record: identityFile, data: impu(p.IMPU, identityFile)},
		{fid: "6F07", sfi: 0x07, rule: ruleReadPIN, data: []byte{0x00, 0x00}},
		{fid: "6FAD", sfi: 0x03, rule: ruleReadAlways, data: []byte{0x00, 0x00, 0x00}},
	}
}
