package usim

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"cardbureau/cardio/virtual/nvm"
)

// ErrNotBlank means that Manufacture met a memory that already is a card.
var ErrNotBlank = errors.New("usim: the memory already holds a card")

// AIDs of the applications: RID and application code of 3GPP (TS 101 220 annex
// E), then country 364, provider and version.
const (
	USIMAID = "A0000000871002FFFFFFFF8907090000"
	ISIMAID = "A0000000871004FFFFFFFF8907090000"
)

// Is says whether a memory holds a SIM of this package.
func Is(mem *nvm.Memory) bool { return mem.Space(chipSpace).Get(keyKind) != nil }

// Manufacture makes a SIM in an empty memory and commits it.
func Manufacture(mem *nvm.Memory, p Profile) error {
	p = p.defaults()
	if err := p.check(); err != nil {
		return err
	}
	if len(mem.Dump()) > 0 {
		return ErrNotBlank
	}
	s := mem.Space(chipSpace)
	s.Set(keyKind, []byte{byte(p.Kind)})
	s.Set(keyATR, p.ATR)
	s.Set(keyVariant, append([]byte{p.Variant.PIN1}, p.Variant.Select...))
	m := maker{space: s, profile: p}
	m.all()
	putPIN(s, keyPIN1, pin{value: pinBlock(string(p.PIN1)), puk: pinBlock(string(p.PUK1)), enabled: !p.PIN1Disabled})
	putPIN(s, keyPIN2, pin{value: pinBlock(string(p.PIN2)), puk: pinBlock(string(p.PUK2)), enabled: true})
	putPIN(s, keyADM1, pin{value: [pinSize]byte([]byte(p.ADM1)), enabled: true})
	var queue []byte
	for _, c := range p.Proactive {
		queue = append(append(queue, byte(len(c))), c...)
	}
	s.Set(keyToolkit, queue)
	return mem.Commit()
}

// maker lays out files.
type maker struct {
	space   nvm.Space
	profile Profile
}

func (m maker) put(path string, f file, content []byte) {
	_, name, _ := cutLast(path)
	if f.kind == application {
		f.fid = fidADF
	} else {
		id, err := hex.DecodeString(name)
		if err != nil || len(id) != 2 {
			panic(fmt.Sprintf("usim: the path %s", path))
		}
		f.fid = binary.BigEndian.Uint16(id)
	}
	if f.data == "" {
		f.data = path
	}
	m.space.Set(filePrefix+path, f.encode())
	if content != nil {
		m.space.Set(dataPrefix+f.data, content)
	}
}

// entry is a line of the layout: a file below a folder.
type entry struct {
	fid    string
	sfi    byte
	rule   byte
	record int // 0: transparent
	cyclic bool
	data   []byte
	shares string // the path whose content it has too
}

func (m maker) entries(under string, list []entry) {
	for _, e := range list {
		f := file{kind: transparent, sfi: e.sfi, rule: e.rule, record: e.record, data: e.shares}
		if e.record > 0 {
			f.kind = linear
			if e.cyclic {
				f.kind = cyclic
			}
		}
		content := e.data
		if e.shares != "" {
			content = nil
		}
		m.put(under+"/"+e.fid, f, content)
	}
}

func (m maker) folder(path string, rule byte) { m.put(path, file{kind: folder, rule: rule}, nil) }

func (m maker) application(aid string) string {
	path := rootPath + "/" + aid
	id, _ := hex.DecodeString(aid)
	m.put(path, file{kind: application, rule: ruleReadAlways, aid: id}, nil)
	return path
}

// paths of the applications and folders.
const (
	usimPath    = rootPath + "/" + USIMAID
	isimPath    = rootPath + "/" + ISIMAID
	gsmPath     = rootPath + "/7F20"
	telecomPath = rootPath + "/7F10"
	systemPath  = rootPath + "/A515"
)

// Contents of keys and counters, in the layout of SJA2's files, that an
// operator's SIM has without the files.
const (
	dataKey     = usimPath + "/AF20"
	dataISIMKey = isimPath + "/AF20" // of a blank, whose ISIM has a key of its own
	dataKey2G   = usimPath + "/AF22"
	dataSQN     = usimPath + "/AF30"
	dataSIMKey  = systemPath + "/6F20"
	dataConfig  = systemPath + "/6F21"
	dataGBA     = usimPath + "/6FD6"
	dataIMSI    = usimPath + "/6F07"
	dataService = usimPath + "/6F38"
)

func (m maker) all() {
	p := m.profile
	m.folder(rootPath, ruleReadAlways)
	directory := padded(tlv(0x61, join(tlv(0x4F, mustHex(USIMAID)...), tlv(0x50, []byte("USIM")...))...), 48)
	second := filled(48)
	if p.ISIM {
		second = padded(tlv(0x61, join(tlv(0x4F, mustHex(ISIMAID)...), tlv(0x50, []byte("ISIM")...))...), 48)
	}
	rootARR := rootPath + "/2F06"
	m.entries(rootPath, []entry{
		{fid: "2F00", sfi: 0x1E, rule: ruleReadAlways, record: 48, data: join(directory, second)},
		{fid: "2F05", sfi: 0x05, rule: ruleUserAlways, data: []byte("faen")},
		{fid: "2F06", sfi: 0x06, rule: ruleReadAlways, record: arrRecord, data: p.Variant.rules()},
		{fid: "2FE2", sfi: 0x02, rule: ruleFixed, data: swapped(p.ICCID, 10)},
	})
	m.application(USIMAID)
	m.entries(usimPath, m.usimFiles())
	m.entries(usimPath, []entry{{fid: "6F06", sfi: 0x17, rule: ruleReadAlways, record: arrRecord, shares: rootARR}})
	m.folder(usimPath+"/5F3A", ruleReadAlways)
	m.entries(usimPath+"/5F3A", []entry{
		{fid: "4F30", rule: ruleReadPIN, record: 16, data: padded([]byte{0xA8, 0x04, 0xC0, 0x02, 0x4F, 0x3A}, 16)},
		{fid: "4F3A", rule: ruleUser, record: 28, shares: telecomPath + "/6F3A"},
	})
	m.folder(usimPath+"/5F3B", ruleReadAlways)
	m.entries(usimPath+"/5F3B", []entry{{fid: "4F20", sfi: 0x01, rule: ruleUser, data: padded(nil, 9)}})
	m.folder(telecomPath, ruleReadAlways)
	m.entries(telecomPath, m.telecomFiles())
	m.entries(telecomPath, []entry{{fid: "6F06", rule: ruleReadAlways, record: arrRecord, shares: rootARR}})
	m.folder(gsmPath, ruleReadAlways)
	m.entries(gsmPath, m.gsmFiles())
	if p.ISIM {
		m.application(ISIMAID)
		m.entries(isimPath, m.isimFiles())
		m.entries(isimPath, []entry{{fid: "6F06", sfi: 0x06, rule: ruleReadAlways, record: arrRecord, shares: rootARR}})
	}
	m.keys()
}

// keys writes what AUTHENTICATE reads, and on a blank the files over it.
func (m maker) keys() {
	p := m.profile
	key := make([]byte, keyFileSize)
	if len(p.K) > 0 && p.TUAK == nil {
		key = join([]byte{configOPc | algorithmMilenage}, []byte(p.K), []byte(p.OPc))
	}
	first := key // of AF20: the others have no room for TUAK
	if p.TUAK != nil {
		first = join(p.TUAK.file(len(p.K)), []byte(p.OPc), []byte(p.K))
	}
	if p.TUAK != nil || p.Kind == DelegatedSJA5 {
		first = append(first, make([]byte, tuakFileSize-len(first))...)
	}
	config := append([]byte{}, p.R...)
	for _, c := range p.C {
		config = append(config, c...)
	}
	contents := []struct {
		path string
		data []byte
	}{{dataKey, first}, {dataKey2G, key}, {dataSIMKey, key}, {dataConfig, config}, {dataSQN, newFreshness(p)}}
	if p.Kind == OperatorIssued {
		for _, c := range contents {
			m.space.Set(dataPrefix+c.path, c.data)
		}
		return
	}
	m.folder(systemPath, ruleADM)
	for _, c := range contents {
		m.put(c.path, file{kind: transparent, rule: ruleADM}, c.data)
	}
	m.entries(systemPath, []entry{{fid: "6F22", rule: ruleADM, record: otaRecord, data: m.otaKeys()}, {fid: "6F23", rule: ruleADM, record: 7, data: m.otaCounters()}})
	if p.ISIM {
		m.put(dataISIMKey, file{kind: transparent, rule: ruleADM}, first)
		m.entries(isimPath, []entry{{fid: "AF30", rule: ruleADM, shares: dataSQN}})
	}
}

// Keys for messages over the air, as the maker delivers them: three sets of KIc, KID
// and KIK of 16 bytes for triple DES. EF.0348_KEY has in a record the security domain,
// the set, a byte of length and type, and the key; EF.0348_COUNT the domain, the set
// and a counter of 5 bytes.
const (
	otaRecord = 35
	otaDomain = 0xFE
	otaSets   = 3
)

func (m maker) otaKeys() (out []byte) {
	for set := range otaSets {
		for kind := range 3 {
			key := make([]byte, 16)
			for i := range key {
				key[i] = byte(0x10*(set+1) + kind)
			}
			out = append(out, padded(join([]byte{otaDomain, byte(set + 1), 0x10 | byte(kind)}, key), otaRecord)...)
		}
	}
	return out
}

func (m maker) otaCounters() (out []byte) {
	for set := range otaSets {
		out = append(out, otaDomain, byte(set+1), 0, 0, 0, 0, 0)
	}
	return out
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// impu is a TLV of a string, in a record of n bytes (TS 31.103 clause 4.2.4).
func impu(s string, n int) []byte { return padded(tlv(0x80, []byte(strings.TrimSpace(s))...), n) }
