package profile

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

func (s *Set) checkDiversification(d *document, v *Diversification) Problems {
	c := checker{doc: d}
	c.name("diversification", v.Name)
	if err := (gp.Diversification{Cipher: v.Cipher, Input: v.Input}).Validate(); err != nil {
		c.bad("$.input", "%v", err)
	}
	return c.out
}

func (s *Set) checkChip(d *document, chip *Chip) Problems {
	c := checker{doc: d}
	c.name("chip", chip.Name)
	if !chip.ATR.valid() {
		c.bad("$.atr", "atr must be pairs of hexadecimal digits or dots")
	}
	for path, b := range map[string]Hex{"$.cplc.fabricator": chip.CPLC.Fabricator, "$.cplc.type": chip.CPLC.Type} {
		if len(b) != 0 && len(b) != 2 {
			c.bad(path, "a CPLC field has 2 bytes, this one has %d", len(b))
		}
	}
	if chip.ATR == "" && len(chip.CPLC.Fabricator) == 0 && len(chip.CPLC.Type) == 0 {
		c.bad("$.name", "chip %s fits every card: say its atr, or cplc with fabricator and type", chip.Name)
	}
	for _, other := range s.Chips {
		if other.Name < chip.Name && chip.overlaps(other) {
			c.bad("$.cplc", "every card of chip %s may be taken for one of chip %s: make atr or cplc of one of them narrower", chip.Name, other.Name)
		}
	}
	if len(chip.Keys) == 0 {
		c.bad("$.name", "chip %s has no key sets: add keys: { transport: { version: 0x01, set: cmk.maker/1, diversification: kdf3, type: aes, bits: 128 } }", chip.Name)
	}
	c.globalPlatform(chip)
	for _, name := range keys(chip.Keys) {
		k := chip.Keys[name]
		c.keySet(s, chip, name, &k)
		chip.Keys[name] = k
	}
	c.domains(chip)
	l := chip.Limits
	if l.CommandData < 32 || l.CommandData > apdu.MaxExtendedData {
		c.bad("$.limits.commandData", "commandData must be 32 to 65535 bytes")
	}
	if l.ResponseData < 0 || l.ResponseData > 65000 {
		c.bad("$.limits.responseData", "responseData must be 0 to 65000 bytes")
	}
	if l.FileSize < 256 {
		c.bad("$.limits.fileSize", "fileSize must be at least 256 bytes")
	}
	if t := chip.Virtual; t != nil && t.T0 && (l.CommandData > apdu.MaxShortData || l.ResponseData > apdu.MaxShortNe) {
		c.bad("$.limits", "T=0 carries at most 255 bytes of command data and 256 of response data")
	}
	if chip.Timing.Command < 0 || chip.Timing.Byte < 0 {
		c.bad("$.timing", "a time is not negative")
	}
	c.quirks("chip", chip.Quirks)
	if chip.Has(QuirkCountDataOnly) && chip.Protocol().SCP != 3 {
		c.bad("$.quirks", "quirk %s is one of scp03", QuirkCountDataOnly)
	}
	if chip.Untried != "" && len(chip.Sources) == 0 {
		c.bad("$.untried", "a chip that nobody has tried says where its facts are from: add sources")
	}
	return c.out
}

// keyProtocol checks what a key set says of its channels.
func (c *checker) keyProtocol(chip *Chip, name string, k *KeySet) {
	at := "$.keys." + name
	if k.Protocol == "" {
		if len(k.I) > 0 || len(k.Level) > 0 {
			c.bad(at, "i and level go with a protocol of the key set's own: add protocol: scp02 or scp03")
		}
		return
	}
	if protocols[k.Protocol] == 0 {
		c.bad(at+".protocol", "protocol %q is not known%s", k.Protocol, suggest(k.Protocol, keys(protocols)))
		return
	}
	if len(k.I) != 1 || len(k.Level) != 1 {
		c.bad(at, "a key set with a protocol of its own says i and level, 1 byte each")
		return
	}
	if err := chip.ProtocolOf(name).Check(); err != nil {
		c.bad(at+".i", "%v", err)
		return
	}
	c.level(at+".level", chip.ProtocolOf(name), k.Level[0])
}

func (c *checker) globalPlatform(chip *Chip) {
	g := chip.GlobalPlatform
	c.aid("$.globalplatform.isd", "the card manager", g.ISD)
	if protocols[g.Protocol] == 0 {
		c.bad("$.globalplatform.protocol", "protocol %q is not known%s", g.Protocol, suggest(g.Protocol, keys(protocols)))
		return
	}
	if len(g.I) != 1 {
		c.bad("$.globalplatform.i", "i must be 1 byte: the options of the protocol, as INITIALIZE UPDATE or the card recognition data tell them")
		return
	}
	if err := chip.Protocol().Check(); err != nil {
		c.bad("$.globalplatform.i", "%v", err)
	}
	if len(g.Level) != 1 {
		c.bad("$.globalplatform.level", "level must be 1 byte, such as 03 or 33")
		return
	}
	c.level("$.globalplatform.level", chip.Protocol(), g.Level[0])
}

// level checks a security level against what the chip offers.
func (c *checker) level(path string, p gp.Protocol, level byte) {
	switch {
	case level&0x03 != 0x03:
		c.bad(path, "level %02X leaves card data in the clear: use one with C-DECRYPTION, %s", level, levelsOf(p.SCP))
	case p.SCP == 2 && !slices.Contains([]byte{0x03, 0x13}, level),
		p.SCP == 3 && !slices.Contains([]byte{0x03, 0x13, 0x33}, level):
		c.bad(path, "scp%02d has no level %02X: use %s", p.SCP, level, levelsOf(p.SCP))
	case !p.Offers(gp.Level(level)):
		c.bad(path, "a chip with i %02X does not offer level %02X", p.I, level)
	}
}

// overlaps reports whether a card may fit both chips.
func (c *Chip) overlaps(o *Chip) bool {
	same := func(a, b Hex) bool { return len(a) == 0 || len(b) == 0 || string(a) == string(b) }
	return same(c.CPLC.Fabricator, o.CPLC.Fabricator) && same(c.CPLC.Type, o.CPLC.Type) && c.ATR.overlaps(o.ATR)
}

// overlaps reports whether an answer to reset may fit both patterns.
func (p Pattern) overlaps(o Pattern) bool {
	a, b := strings.ToUpper(strings.ReplaceAll(string(p), " ", "")), strings.ToUpper(strings.ReplaceAll(string(o), " ", ""))
	if a == "" || b == "" {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && a[i] != '.' && b[i] != '.' {
			return false
		}
	}
	return true
}

func levelsOf(protocol byte) string {
	if protocol == 2 {
		return "03 or 13"
	}
	return "03, 13 or 33"
}

func (c *checker) keySet(s *Set, chip *Chip, name string, k *KeySet) {
	at := "$.keys." + name
	switch {
	case k.Type == "":
		k.Type = "aes"
	case k.Type != "aes" && k.Type != "3des":
		c.bad(at+".type", "key set %s: type %q is not known%s", name, k.Type, suggest(k.Type, []string{"aes", "3des"}))
	}
	switch {
	case k.Type == "aes" && k.Bits != 128 && k.Bits != 192 && k.Bits != 256:
		c.bad(at+".bits", "key set %s: bits must be 128, 192 or 256", name)
	case k.Type == "3des" && k.Bits != 128:
		c.bad(at+".bits", "key set %s: bits must be 128, 3DES with two keys", name)
	}
	c.keyProtocol(chip, name, k)
	if scp := chip.ProtocolOf(name).SCP; (scp == 2) != (k.Type == "3des") {
		c.bad(at, "key set %s: %s has %s keys", name, cmp.Or(k.Protocol, chip.GlobalPlatform.Protocol), map[bool]string{true: "3des", false: "aes"}[scp == 2])
	}
	if k.Data != "" && k.Data != "initialize-update" && k.Data != DataCPLC {
		c.bad(at+".data", "key set %s: data %q is not known%s", name, k.Data, suggest(k.Data, []string{"initialize-update", DataCPLC}))
	}
	if k.Version > 0x7F && k.Version != factoryVersion {
		c.bad(at+".version", "key set %s: a key version is 01 to 7F, 00 for the card's default keys, or FF for the initial keys of some chips", name)
	}
	switch v := s.Diversifications[k.Diversification]; {
	case v != nil:
		k.template = gp.Diversification{Cipher: v.Cipher, Input: v.Input}
	case k.Diversification == "":
		c.bad(at, "key set %s: say the diversification, by which its keys follow from the master key (%s)", name, joined(keys(s.Diversifications)))
	case !s.broken[k.Diversification]:
		c.bad(at+".diversification", "key set %s: diversification %q is not known%s", name, k.Diversification, suggest(k.Diversification, keys(s.Diversifications)))
	}
	if !masterKey.MatchString(k.Set) {
		c.bad(at+".set", "key set %s: set %q names no card master key: write its role and version, as cmk.issuer/1, or kmc/1 of a bank's", name, k.Set)
	}
	if text := c.doc.text(at + ".version"); text != "" && strings.Contains("123456789", text[:1]) {
		c.bad(at+".version", "key set %s: write the version in hexadecimal, 0x%02X for %s", name, k.Version, text)
	}
	c.diversifies(at, name, k)
}

// masterKey is the role and version of a master of card keys.
var masterKey = regexp.MustCompile(`^(cmk\.[a-z0-9][a-z0-9.-]*|kmc(\.[a-z0-9][a-z0-9.-]*)?)/[0-9A-Za-z-]+$`)

// diversifies checks that the template makes keys of the set's size, three that
// differ, and others for other cards.
func (c *checker) diversifies(at, name string, k *KeySet) {
	t := k.template
	if t.Cipher == "" || t.Cipher == gp.DiversifyNone || k.Bits%8 != 0 {
		return
	}
	if k.Type == "3des" && t.Cipher != gp.DiversifyDES3ECB {
		c.bad(at+".diversification", "key set %s: 3des keys are diversified with 3des-ecb", name)
		return
	}
	inputs := func(kind byte, kdd string) string {
		in, err := t.Inputs(kind, []byte(kdd), k.Bits/8)
		if err != nil {
			c.bad(at+".diversification", "key set %s: diversification %s does not make keys of %d bits: %v", name, k.Diversification, k.Bits, err)
			return ""
		}
		return string(bytes.Join(in, nil))
	}
	first := inputs(gp.KeyENC, "0123456789")
	switch {
	case first == "":
	case first == inputs(gp.KeyMAC, "0123456789"):
		c.bad(at+".diversification", "key set %s: diversification %s makes ENC, MAC and DEK the same: its input lacks the word key", name, k.Diversification)
	case first == inputs(gp.KeyENC, "012345xxxx"):
		c.bad(at+".diversification", "key set %s: diversification %s leaves the serial number out (kdd[6..9]): cards would share keys", name, k.Diversification)
	}
}

func joined(names []string) string {
	out := ""
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			out += " or "
		default:
			out += ", "
		}
		out += n
	}
	return out
}
