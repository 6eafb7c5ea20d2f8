package virtual

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/nvm"
)

// AIDs of the synthetic package of these tests.
var (
	packageAID = mustHex("F0CB000001")
	moduleAID  = mustHex("F0CB00000101")
	appAID     = mustHex("F0CB0000010101")
	domainAID  = mustHex("F0CB00000D01")
)

// component is a CAP component with its tag and size.
func component(tag byte, content string) []byte {
	b := mustHex(content)
	return append([]byte{tag, byte(len(b) >> 8), byte(len(b))}, b...)
}

// capParts are the components of the smallest applet, by tag, written by hand
// from the layouts of the Java Card Virtual Machine Specification, chapter 6.
// filler is how many bytes its Method component has.
func capParts(filler int) map[byte][]byte {
	return map[byte][]byte{
		1: component(1, "decaffed"+"0102"+"04"+"0301"+"05f0cb000001"),
		3: component(3, "01"+"06f0cb00000101"+"0001"),
		4: component(4, "02"+"0001"+"07a0000000620001"+"0301"+"07a0000000620101"),
		5: component(5, "0000"),
		6: component(6, "00"),
		7: component(7, "00"+hex.EncodeToString(bytes.Repeat([]byte{0x7A}, filler))),
		8: component(8, "00000000000000000000"),
		9: component(9, "00000000"),
	}
}

// withDirectory adds the Directory that fits.
func withDirectory(parts map[byte][]byte) map[byte][]byte {
	size := func(tag byte) int { return max(len(parts[tag])-3, 0) }
	var d []byte
	for tag := byte(1); tag <= 11; tag++ {
		n := size(tag)
		if tag == 2 {
			n = 11*2 + 6 + 3
		}
		d = binary.BigEndian.AppendUint16(d, uint16(n))
	}
	d = append(d, 0, 0, 0, 0, 0, 0, parts[4][3])
	if a := parts[3]; a != nil {
		d = append(d, a[3], 0)
	} else {
		d = append(d, 0, 0)
	}
	parts[2] = component(2, hex.EncodeToString(d))
	return parts
}

// block lines components up in the order of a load file.
func block(parts map[byte][]byte) []byte {
	var out []byte
	for _, tag := range []byte{1, 2, 4, 3, 6, 7, 8, 10, 5, 9, 11, 12, 0x80} {
		out = append(out, parts[tag]...)
	}
	return out
}

// testCAP is a load file data block.
func testCAP(filler int) []byte { return block(withDirectory(capParts(filler))) }

// lv is fields with a length before each.
func lv(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(tlv.AppendLength(out, len(p)), p...)
	}
	return out
}

func forLoad(file, domain, hash, parameters, token []byte) apdu.Command {
	return cmd(insInstall, installLoad, 0, lv(file, domain, hash, parameters, token)...)
}

func forInstall(p1 byte, file, module, aid, privileges, parameters []byte) apdu.Command {
	return cmd(insInstall, p1, 0, lv(file, module, aid, privileges, parameters, nil)...)
}

// loads are the LOAD commands of a load file.
func loads(file []byte, size int) []apdu.Command {
	var out []apdu.Command
	for b := range slices.Chunk(file, size) {
		out = append(out, cmd(insLoad, 0, byte(len(out)), b...))
	}
	out[len(out)-1].P1 = 0x80
	return out
}

// loadAll loads a load file data block; every LOAD succeeds.
func (h *host) loadAll(block []byte) {
	h.t.Helper()
	h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	for _, c := range loads(tlv.Encode(0xC4, block), 200) {
		h.must(apdu.SWSuccess, c)
	}
}

// list is the AIDs that GET STATUS gives for a P1; fields of an entry by tag.
func (h *host) list(p1 byte) map[string][]tlv.Object {
	h.t.Helper()
	out := map[string][]tlv.Object{}
	for p2, sw := byte(2), swMoreData; sw == swMoreData; p2 = 3 {
		var data []byte
		data, sw = h.send(cmd(insGetStatus, p1, p2, 0x4F, 0x00))
		if sw == apdu.SWReferencedDataNotFound {
			break
		}
		if !sw.OK() && sw != swMoreData {
			h.t.Fatalf("GET STATUS: %v", sw)
		}
		entries, err := tlv.Parse(data)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			o, err := tlv.Parse(e.Value)
			if err != nil {
				h.t.Fatal(err)
			}
			out[aidKey(o[0].Value)] = o
		}
	}
	return out
}

func fieldOf(objects []tlv.Object, tag tlv.Tag) string {
	for _, o := range objects {
		if o.Tag == tag {
			return aidKey(o.Value)
		}
	}
	return ""
}

// free is the free non-volatile memory that the card says it has.
func (h *host) free() uint32 {
	h.t.Helper()
	data := h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P1: 0xFF, P2: 0x21, Ne: 256})
	v, ok := tlv.Path(data, 0xFF21, 0x82)
	if !ok || len(v) != 4 {
		h.t.Fatalf("card resources %X", data)
	}
	return binary.BigEndian.Uint32(v)
}

// contents is what lasts on a card but for counters of sessions and receipts.
func contents(mem *nvm.Memory) map[string]string {
	out := map[string]string{}
	for _, space := range []string{chipSpace, appSpace + aidKey(appAID), appSpace + LDSAID, "sd:" + aidKey(domainAID)} {
		s := mem.Space(space)
		for _, k := range s.Keys("") {
			if !bytes.HasPrefix([]byte(k), []byte("count/")) && k != "confirmations" {
				out[space+" "+k] = string(s.Get(k))
			}
		}
	}
	return out
}

func TestLoadInstallSelectDelete(t *testing.T) {
	for _, level := range []byte{0x01, 0x03, 0x33} {
		h, c := newHost(t, 16)
		before := contents(c.mem)
		h.open(level)
		free := h.free()
		cap := testCAP(900)
		hash := blockHash(32, cap)
		if got := h.must(apdu.SWSuccess, forLoad(packageAID, mustHex(IssuerSecurityDomainAID), hash, unhex(t, "EF04C602"+"0400"), nil)); !bytes.Equal(got, []byte{0}) {
			t.Errorf("%X", got)
		}
		commands := loads(tlv.Encode(0xC4, cap), 200)
		for i, command := range commands {
			got := h.must(apdu.SWSuccess, command)
			if last := i == len(commands)-1; len(got) != 0 != last {
				t.Errorf("block %d: %X", i, got)
			}
		}
		if h.free() != free-uint32(len(cap)) {
			t.Errorf("%d bytes free, %d before", h.free(), free)
		}
		file := h.list(0x10)[aidKey(packageAID)]
		if fieldOf(file, 0x84) != aidKey(moduleAID) || fieldOf(file, 0xCE) != "0103" || fieldOf(file, 0xCC) != IssuerSecurityDomainAID {
			t.Errorf("%v", file)
		}
		h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900")))
		if app := h.list(0x40)[aidKey(appAID)]; fieldOf(app, 0x9F70) != "07" || fieldOf(app, 0xC4) != aidKey(packageAID) {
			t.Errorf("%v", app)
		}
		// Its code is not there: it can be selected and does nothing.
		h.card = on(t, c.mem, nil)
		if got := h.want(apdu.SWSuccess, "00A4040007F0CB000001010100"); !bytes.Equal(got, unhex(t, "6F0B8407F0CB0000010101A500")) {
			t.Errorf("FCI %X", got)
		}
		h.want(apdu.SWInstructionNotSupported, "0030000000")
		h.want(apdu.SWInstructionNotSupported, "80500000080102030405060708")
		h.open(level)
		// While there is an application the load file stays, and what is there
		// cannot be loaded again.
		h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...))
		h.must(apdu.SWConditionsOfUseNotSatisfied, forLoad(packageAID, nil, nil, nil, nil))
		h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, appAID)...))
		if got := h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...)); !bytes.Equal(got, []byte{0}) {
			t.Errorf("%X", got)
		}
		h.must(apdu.SWReferencedDataNotFound, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...))
		if h.free() != free {
			t.Errorf("%d bytes free, %d before", h.free(), free)
		}
		if !maps.Equal(contents(c.mem), before) {
			t.Error("the memory is not as it was")
		}
		// And once more, deleted with all that was made of it.
		h.loadAll(cap)
		h.must(apdu.SWSuccess, forInstall(installForInstall, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900")))
		h.must(apdu.SWSuccess, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
		if !maps.Equal(contents(c.mem), before) {
			t.Error("the memory is not as it was")
		}
	}
}

func TestLoadRefusals(t *testing.T) {
	cap := testCAP(300)
	file := tlv.Encode(0xC4, cap)
	right := loads(file, 100)
	begin := forLoad(packageAID, nil, blockHash(20, cap), nil, nil)
	changed := func(i int, edit func(*apdu.Command)) []apdu.Command {
		out := slices.Clone(right)
		out[i].Data = bytes.Clone(out[i].Data)
		edit(&out[i])
		return out
	}
	wrong := bytes.Clone(cap)
	wrong[len(wrong)-20] ^= 1
	for name, test := range map[string]struct {
		begin    apdu.Command
		commands []apdu.Command // the last one is refused
		sw       apdu.StatusWord
	}{
		"begins at 01":       {begin, changed(0, func(c *apdu.Command) { c.P2 = 1 })[:1], apdu.SWIncorrectP1P2},
		"a block twice":      {begin, []apdu.Command{right[0], right[0]}, apdu.SWIncorrectP1P2},
		"a block left out":   {begin, []apdu.Command{right[0], right[2]}, apdu.SWIncorrectP1P2},
		"P1":                 {begin, changed(0, func(c *apdu.Command) { c.P1 = 0x40 })[:1], apdu.SWIncorrectP1P2},
		"last too early":     {begin, changed(1, func(c *apdu.Command) { c.P1 = 0x80 })[:2], apdu.SWWrongData},
		"too long":           {begin, changed(len(right)-1, func(c *apdu.Command) { c.Data = append(c.Data, 0) }), apdu.SWWrongData},
		"too short":          {begin, changed(len(right)-1, func(c *apdu.Command) { c.Data = c.Data[1:] }), apdu.SWWrongData},
		"after the end":      {begin, append(slices.Clone(right), cmd(insLoad, 0, byte(len(right)), 1)), apdu.SWConditionsOfUseNotSatisfied},
		"empty block":        {begin, []apdu.Command{cmd(insLoad, 0, 0)}, apdu.SWWrongData},
		"another tag":        {begin, []apdu.Command{cmd(insLoad, 0, 0, 0xC5, 0x82, 1, 0, 0, 0)}, apdu.SWWrongData},
		"an empty file":      {begin, []apdu.Command{cmd(insLoad, 0x80, 0, 0xC4, 0)}, apdu.SWWrongData},
		"a head alone":       {begin, []apdu.Command{cmd(insLoad, 0x80, 0, 0xC4)}, apdu.SWWrongData},
		"another hash":       {begin, loads(tlv.Encode(0xC4, wrong), 100), apdu.SWWrongData},
		"another SHA-256":    {forLoad(packageAID, nil, make([]byte, 32), nil, nil), right, apdu.SWWrongData},
		"another AID":        {forLoad(moduleAID, nil, nil, nil, nil), right, apdu.SWWrongData},
		"a DAP of nobody":    {begin, loads(append(tlv.Encode(0xE2, tlv.Encode(0x4F, domainAID), tlv.Encode(0xC3, []byte{1})), file...), 200), apdu.SWWrongData},
		"a huge DAP":         {begin, []apdu.Command{cmd(insLoad, 0, 0, 0xE2, 0x82, 0x20, 0, 0, 0)}, apdu.SWWrongData},
		"more than the card": {begin, []apdu.Command{cmd(insLoad, 0, 0, 0xC4, 0x83, 0x09, 0, 0, 0)}, apdu.SWNotEnoughMemory},
	} {
		h, c := newHost(t, 16)
		h.open(0x01)
		before := contents(c.mem)
		h.must(apdu.SWSuccess, test.begin)
		for i, command := range test.commands {
			if i < len(test.commands)-1 {
				h.must(apdu.SWSuccess, command)
				continue
			}
			if _, sw := h.send(command); sw != test.sw {
				t.Errorf("%s: %v, want %v", name, sw, test.sw)
			}
		}
		if name != "after the end" && !maps.Equal(contents(c.mem), before) {
			t.Errorf("%s: something changed", name)
		}
		// The process is over.
		h.must(apdu.SWConditionsOfUseNotSatisfied, right[1])
	}
}

// TestCommandBetweenLoads: whatever comes between ends the process.
func TestCommandBetweenLoads(t *testing.T) {
	right := loads(tlv.Encode(0xC4, testCAP(300)), 100)
	for _, between := range []apdu.Command{
		cmd(insGetStatus, 0x80, 2, 0x4F, 0), {CLA: 0x80, INS: insGetData, P2: 0x66, Ne: 256}, personalize(), cmd(insDelete, 0, 0),
	} {
		h, _ := newHost(t, 16)
		h.open(0x03)
		h.must(apdu.SWConditionsOfUseNotSatisfied, right[0]) // not announced
		h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
		h.must(apdu.SWSuccess, right[0])
		h.send(between)
		h.must(apdu.SWConditionsOfUseNotSatisfied, right[1])
	}
	h, _ := newHost(t, 16)
	h.open(0x03)
	h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	h.want(apdu.SWFileNotFound, "00A4040005A0A0A0A0A000")
	h.must(apdu.SWConditionsOfUseNotSatisfied, right[0])
	// A session of its own does not go on with what another began.
	h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
	h.open(0x03)
	h.must(apdu.SWConditionsOfUseNotSatisfied, right[0])
}

// TestHashes: what the card says it knows, it checks.
func TestHashes(t *testing.T) {
	lengths := map[byte]int{1: 20, 2: 32, 3: 48, 4: 64}
	h, _ := newHost(t, 16)
	h.open(0x01)
	capabilities := h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P2: 0x67, Ne: 256})
	known, _ := tlv.Path(capabilities, 0x67, 0x83)
	if len(known) != len(lengths) {
		t.Fatalf("%X", capabilities)
	}
	cap := testCAP(10)
	for _, k := range known {
		hash := blockHash(lengths[k], cap)
		hash[0] ^= 1
		h.must(apdu.SWSuccess, forLoad(packageAID, nil, hash, nil, nil))
		h.must(apdu.SWWrongData, loads(tlv.Encode(0xC4, cap), 240)[0])
		hash[0] ^= 1
		h.must(apdu.SWSuccess, forLoad(packageAID, nil, hash, nil, nil))
		h.must(apdu.SWSuccess, loads(tlv.Encode(0xC4, cap), 240)[0])
		h.must(apdu.SWSuccess, deletionOf(packageAID))
	}
}

func TestInstallForLoadRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		command apdu.Command
		sw      apdu.StatusWord
	}{
		"AID of a load file":    {forLoad(mustHex(LDSLoadFileAID), nil, nil, nil, nil), apdu.SWConditionsOfUseNotSatisfied},
		"AID of an application": {forLoad(mustHex(LDSAID), nil, nil, nil, nil), apdu.SWConditionsOfUseNotSatisfied},
		"AID of the ISD":        {forLoad(mustHex(IssuerSecurityDomainAID), nil, nil, nil, nil), apdu.SWConditionsOfUseNotSatisfied},
		"built-in":              {forLoad(mustHex(SecurityDomainLoadFileAID), nil, nil, nil, nil), apdu.SWConditionsOfUseNotSatisfied},
		"short AID":             {forLoad(packageAID[:4], nil, nil, nil, nil), apdu.SWWrongData},
		"no AID":                {forLoad(nil, nil, nil, nil, nil), apdu.SWWrongData},
		"unknown domain":        {forLoad(packageAID, domainAID, nil, nil, nil), apdu.SWReferencedDataNotFound},
		"no domain":             {forLoad(packageAID, mustHex(LDSAID), nil, nil, nil), apdu.SWReferencedDataNotFound},
		"hash of no length":     {forLoad(packageAID, nil, make([]byte, 21), nil, nil), apdu.SWWrongData},
		"token":                 {forLoad(packageAID, nil, make([]byte, 20), nil, make([]byte, 128)), apdu.SWConditionsOfUseNotSatisfied},
		"code":                  {forLoad(packageAID, nil, nil, unhex(t, "EF06C60400080001"), nil), apdu.SWNotEnoughMemory},
		"code and data":         {forLoad(packageAID, nil, nil, unhex(t, "EF0CC60400040000C80400040001"), nil), apdu.SWNotEnoughMemory},
		"RAM":                   {forLoad(packageAID, nil, nil, unhex(t, "EF04C7022001"), nil), apdu.SWNotEnoughMemory},
		"all there is":          {forLoad(packageAID, nil, nil, unhex(t, "EF0AC60400080000C7022000"), nil), apdu.SWSuccess},
		"three bytes":           {forLoad(packageAID, nil, nil, unhex(t, "EF05C603000001"), nil), apdu.SWWrongData},
		"twice":                 {forLoad(packageAID, nil, nil, unhex(t, "EF08C6020001C6020001"), nil), apdu.SWWrongData},
		"parameters of install": {forLoad(packageAID, nil, nil, unhex(t, "C900"), nil), apdu.SWWrongData},
		"unknown parameter":     {forLoad(packageAID, nil, nil, unhex(t, "EF03D00101"), nil), apdu.SWWrongData},
		"other format":          {forLoad(packageAID, nil, nil, unhex(t, "EF03CD0101"), nil), apdu.SWWrongData},
		"format and reference":  {forLoad(packageAID, nil, nil, unhex(t, "EF03CD0100"+"B60342"+"0101"), nil), apdu.SWSuccess},
		"reference":             {forLoad(packageAID, nil, nil, unhex(t, "B603430101"), nil), apdu.SWWrongData},
		"six fields":            {cmd(insInstall, installLoad, 0, lv(packageAID, nil, nil, nil, nil, nil)...), apdu.SWWrongData},
		"four fields":           {cmd(insInstall, installLoad, 0, lv(packageAID, nil, nil, nil)...), apdu.SWWrongData},
		"combined process":      {cmd(insInstall, installLoad, 1, lv(packageAID, nil, nil, nil, nil)...), apdu.SWIncorrectP1P2},
		"two purposes":          {cmd(insInstall, 0x06, 0, lv(packageAID, nil, nil, nil, nil)...), apdu.SWIncorrectP1P2},
		"more to come":          {cmd(insInstall, 0x82, 0, lv(packageAID, nil, nil, nil, nil)...), apdu.SWIncorrectP1P2},
	} {
		h, _ := newHost(t, 16)
		h.open(0x01)
		if _, sw := h.send(test.command); sw != test.sw {
			t.Errorf("%s: %v, want %v", name, sw, test.sw)
		}
	}
}

// TestCardFull: load files share a memory, and deleting gives it back.
func TestCardFull(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	cap := testCAP(1000)
	blank.LoadMemory = len(cap) + 100
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	h.open(0x03)
	h.loadAll(cap)
	second := forLoad(moduleAID, nil, nil, nil, nil)
	h.must(apdu.SWSuccess, second)
	h.must(apdu.SWNotEnoughMemory, loads(tlv.Encode(0xC4, cap), 200)[0])
	if h.free() != 100 {
		t.Errorf("%d bytes free", h.free())
	}
	// What an application reserves counts too.
	h.must(apdu.SWNotEnoughMemory, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900EF04D8020065")))
	h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900EF04D8020064")))
	if h.free() != 0 {
		t.Errorf("%d bytes free", h.free())
	}
	h.must(apdu.SWNotEnoughMemory, forLoad(moduleAID, nil, nil, unhex(t, "EF04C6020001"), nil))
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...))
	h.loadAll(cap)
}
