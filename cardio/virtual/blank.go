package virtual

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/virtual/nvm"
)

// IssuerSecurityDomainAID is the AID of the issuer security domain that cards
// come with (GPC_SPE_034 v2.3.1 appendix H.1.3), in hexadecimal.
const IssuerSecurityDomainAID = "A000000151000000"

// LDSAID is the AID of the ICAO LDS1 application (ICAO 9303-10 section 4.1),
// in hexadecimal; LDSLoadFileAID is that of the load file a blank names as
// its origin.
const (
	LDSAID         = "A0000002471001"
	LDSLoadFileAID = "A00000024710"
)

// Privileges of an application (GPC_SPE_034 v2.3.1 tables 11-7 to 11-9), the
// three bytes read big-endian. Those that this card knows:
const (
	PrivilegeSecurityDomain       uint32 = 0x800000
	PrivilegeDAP                  uint32 = 0x400000 // its DAP block is checked on what is loaded to it
	PrivilegeDelegated            uint32 = 0x200000 // manages content with tokens
	PrivilegeCardLock             uint32 = 0x100000
	PrivilegeCardTerminate        uint32 = 0x080000
	PrivilegeCardReset            uint32 = 0x040000 // selected by itself after a reset
	PrivilegeCVM                  uint32 = 0x020000
	PrivilegeMandatedDAP          uint32 = 0x010000 // its DAP block is checked on all that is loaded
	PrivilegeTrustedPath          uint32 = 0x008000
	PrivilegeAuthorizedManagement uint32 = 0x004000
	PrivilegeTokenVerification    uint32 = 0x002000
	PrivilegeGlobalDelete         uint32 = 0x001000
	PrivilegeGlobalLock           uint32 = 0x000800
	PrivilegeGlobalRegistry       uint32 = 0x000400
	PrivilegeFinalApplication     uint32 = 0x000200
	PrivilegeGlobalService        uint32 = 0x000100
	PrivilegeReceiptGeneration    uint32 = 0x000080
)

// isdPrivileges is what the issuer security domain always holds; Blank may add
// Token Verification and Receipt Generation. Card Reset is added when no
// application holds it.
const isdPrivileges = PrivilegeSecurityDomain | PrivilegeCardLock | PrivilegeCardTerminate |
	PrivilegeTrustedPath | PrivilegeAuthorizedManagement | PrivilegeGlobalDelete |
	PrivilegeGlobalLock | PrivilegeGlobalRegistry | PrivilegeFinalApplication

// DefaultATR is the answer to reset of a blank: T=1 alone; historical bytes
// of ISO/IEC 7816-4 clause 12.1.1 that offer selection by DF name, command
// chaining and extended length, and name the maker "CBV01".
var DefaultATR = []byte{
	0x3B, 0x8D, 0x01,
	0x80, 0x31, 0x80, 0x73, 0xC4, 0x21, 0xDC, 0x55, 'C', 'B', 'V', '0', '1',
	0xF4,
}

// DefaultT0ATR is the answer to reset of a blank with T0: T=0 alone, and the
// historical bytes of DefaultATR without extended length.
var DefaultT0ATR = []byte{
	0x3B, 0x0D,
	0x80, 0x31, 0x80, 0x73, 0xC4, 0x21, 0x9C, 0x55, 'C', 'B', 'V', '0', '0',
}

// SCP03 options: the parameter i (GPC_SPE_014 section 5.1).
const (
	SCP03RandomChallenge       byte = 0x00 // random challenge, no response protection, S8 mode
	SCP03S16                   byte = 0x01 // challenges, cryptograms and MACs of 16 bytes instead of 8
	SCP03PseudoRandomChallenge byte = 0x10
	SCP03ResponseMAC           byte = 0x20
	SCP03ResponseEncryption    byte = 0x60 // R-MAC and R-ENCRYPTION
	SCP03Full                  byte = 0x70 // pseudo-random challenge, R-MAC and R-ENCRYPTION
)

// LoadFile is an executable load file on the card with the modules that it
// brought.
type LoadFile struct {
	AID     []byte
	Version [2]byte
	Modules [][]byte

	loadFileExtra
}

// Installation is an application on a blank. Its code is the factory in
// Config.Applets under the ModuleKey of Module and the version of LoadFile, or
// else under the AID of the module alone.
type Installation struct {
	AID        []byte
	Module     []byte
	LoadFile   []byte
	Privileges uint32
	// Domain is the AID of the security domain that it is associated with, one
	// of Blank.Domains; nil is the issuer's.
	Domain []byte
}

// SecurityDomain is a supplementary security domain of a blank, in the life
// cycle state PERSONALIZED: what a card maker delivers for applications that
// another than the issuer personalizes, such as a bank's (EMV CPS 1.1 clause
// 2.2).
type SecurityDomain struct {
	AID  []byte
	Keys Keys // of the type of its protocol
	// Protocol and SCP are those of channels with it and with its applications, as
	// the same fields of Blank; the blank's when Protocol is 0.
	Protocol, SCP byte
	// KeyData is the first 10 bytes of its answer to INITIALIZE UPDATE: KEYDATA of
	// EMV CPS, KMC_ID (6 bytes) and chip serial number (4); the blank's when nil.
	KeyData []byte
	// Privileges beyond PrivilegeSecurityDomain.
	Privileges uint32
}

// Serial is what makes a chip unique in its CPLC data: 10 bytes, which are
// also the key diversification data that INITIALIZE UPDATE returns.
type Serial struct {
	Fabricator [2]byte // IC fabricator
	Type       [2]byte // IC type
	Batch      [2]byte // IC batch identifier
	Number     [4]byte // IC serial number
}

// NewSerial is the serial of a software chip (fabricator CBCB, type 0001).
func NewSerial(batch uint16, number uint32) Serial {
	s := Serial{Fabricator: [2]byte{0xCB, 0xCB}, Type: [2]byte{0x00, 0x01}}
	binary.BigEndian.PutUint16(s.Batch[:], batch)
	binary.BigEndian.PutUint32(s.Number[:], number)
	return s
}

// Bytes is fabricator, type, batch and number.
func (s Serial) Bytes() [10]byte {
	var b [10]byte
	copy(b[0:], s.Fabricator[:])
	copy(b[2:], s.Type[:])
	copy(b[4:], s.Batch[:])
	copy(b[6:], s.Number[:])
	return b
}

// String is the ten bytes in upper-case hexadecimal.
func (s Serial) String() string {
	b := s.Bytes()
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// CPLC lays out card production life cycle data, 42 bytes (GPC_SPE_034
// v2.3.1 section H.5 names the tag; the layout is Visa GlobalPlatform
// 2.1.1 Card Implementation Requirements, appendix A). Dates that a software
// chip has not are zero.
func (s Serial) CPLC() [42]byte {
	var b [42]byte
	copy(b[0:], s.Fabricator[:])
	copy(b[2:], s.Type[:])
	copy(b[4:], []byte{0xCB, 0x01}) // operating system id
	copy(b[8:], []byte{0x01, 0x00}) // operating system release level
	copy(b[12:], s.Number[:])
	copy(b[16:], s.Batch[:])
	return b
}

// Blank is what a card is when it leaves the maker: the facts that
// Manufacture burns into an empty memory.
type Blank struct {
	Serial    Serial
	Keys      Keys
	Protocol  byte   // of the secure channel: 03 (also 0) or 02
	SCP       byte   // its parameter i, of the options of the protocol
	T0        bool   // speak T=0 (see Chip.Transmit), not T=1
	ATR       []byte // DefaultATR or DefaultT0ATR when nil
	ISD       []byte // IssuerSecurityDomainAID when nil
	LoadFiles []LoadFile
	// Domains are supplementary security domains that the maker has installed
	// and given keys of their own.
	Domains      []SecurityDomain
	Applications []Installation
	// MaxFailures is after how many failed authentications in a row a key
	// set is blocked; 10 when 0, at most 255.
	MaxFailures int
	// ISDPrivileges are what the issuer security domain holds beyond what it
	// always does: PrivilegeTokenVerification and PrivilegeReceiptGeneration,
	// or none. The keys for them come with PUT KEY.
	ISDPrivileges uint32
	// LoadMemory is how many bytes of non-volatile memory there are for load
	// files and for what applications reserve; DefaultLoadMemory when 0.
	LoadMemory int
	// Packages are what load files may import besides each other;
	// DefaultPackages when nil.
	Packages []Package
	// KeyDiversificationData is the first 10 bytes of the answer to
	// INITIALIZE UPDATE; the serial when nil.
	KeyDiversificationData []byte
	// IIN and CIN are the issuer identification and the card image number
	// that GET DATA 42 and 45 answer, at most 16 bytes each; DefaultIIN and
	// the serial when nil, and none when empty: the card then claims no
	// identification scheme in its recognition data.
	IIN, CIN []byte
	Quirks   []Quirk
	Timing   Timing // the zero value answers at once
}

// DefaultIIN is the issuer identification number of a blank: zeros, which
// ISO/IEC 7812-1 gives to nobody.
var DefaultIIN = []byte{0x00, 0x00, 0x00}

// LDSBlank is a blank of this project: SCP03 i=70 under the transport keys,
// SCP02 i=55 when they are 3DES keys, with the LDS application installed and
// selected by default.
func LDSBlank(serial Serial, transport Keys) Blank {
	lds, file := mustHex(LDSAID), mustHex(LDSLoadFileAID)
	protocol, i := byte(3), SCP03Full
	if transport.Type == TripleDES {
		protocol, i = 2, SCP02Explicit|SCP02ICVEncryption|SCP02PseudoRandomChallenge
	}
	return Blank{
		Serial:    serial,
		Keys:      transport,
		Protocol:  protocol,
		SCP:       i,
		LoadFiles: []LoadFile{{AID: file, Version: [2]byte{1, 0}, Modules: [][]byte{lds}}},
		Applications: []Installation{
			{AID: lds, Module: lds, LoadFile: file, Privileges: PrivilegeCardReset},
		},
	}
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// ErrNotBlank means that Manufacture met a memory that already is a card.
var ErrNotBlank = errors.New("virtual: the memory already holds a card")

// Manufacture makes a blank in an empty memory and commits it. The card life
// cycle begins at OP_READY.
func Manufacture(mem *nvm.Memory, b Blank) error {
	if err := b.check(); err != nil {
		return err
	}
	s := mem.Space(chipSpace)
	if len(s.Keys("")) > 0 {
		return ErrNotBlank
	}
	atr, isd, kdd := b.ATR, b.ISD, b.KeyDiversificationData
	if atr == nil {
		atr = DefaultATR
		if b.T0 {
			atr = DefaultT0ATR
		}
	}
	if isd == nil {
		isd = mustHex(IssuerSecurityDomainAID)
	}
	sn := b.Serial.Bytes()
	if kdd == nil {
		kdd = sn[:]
	}
	iin, cin := b.IIN, b.CIN
	if iin == nil {
		iin = DefaultIIN
	}
	if cin == nil {
		cin = sn[:]
	}
	limit := b.MaxFailures
	if limit == 0 {
		limit = 10
	}
	cplc := b.Serial.CPLC()
	s.Set("atr", atr)
	s.Set("isd", isd)
	s.Set("kdd", kdd)
	s.Set("cplc", cplc[:])
	s.Set("i", []byte{b.SCP})
	s.Set("limit", []byte{byte(limit)})
	s.Set("state", []byte{byte(OpReady)})
	if len(iin) > 0 {
		s.Set(dataKey42, iin)
	}
	if len(cin) > 0 {
		s.Set(dataKey45, cin)
	}
	o := b.options()
	o.store(s)
	r := registry{keyring: keyring{space: s}, mem: mem}
	r.putContentFacts(b)
	r.putKeySet(&keySet{typ: b.Keys.Type, version: b.Keys.Version, enc: b.Keys.ENC, mac: b.Keys.MAC, dek: b.Keys.DEK}, 0)
	for _, f := range b.LoadFiles {
		r.putLoadFile(f)
	}
	for _, d := range b.Domains {
		a := &application{
			aid: d.AID, module: mustHex(SecurityDomainModuleAID), loadFile: mustHex(SecurityDomainLoadFileAID),
			privileges: d.Privileges | PrivilegeSecurityDomain, state: appPersonalized,
		}
		r.putApplication(a)
		k := d.Keys
		ring := keyring{space: r.domainSpace(a)}
		d.putLink(ring.space, link{o.protocol, b.SCP, kdd})
		ring.putKeySet(&keySet{typ: k.Type, version: k.Version, enc: k.ENC, mac: k.MAC, dek: k.DEK}, 0)
	}
	for _, a := range b.Applications {
		r.putApplication(&application{
			aid: a.AID, module: a.Module, loadFile: a.LoadFile, privileges: a.Privileges, state: AppSelectable,
			extra: extra{domain: a.Domain},
		})
	}
	return mem.Commit()
}

func (b Blank) options() options {
	protocol := b.Protocol
	if protocol == 0 {
		protocol = 3
	}
	return options{protocol: protocol, t0: b.T0, quirks: b.Quirks, timing: b.Timing}
}

func (b Blank) check() error {
	if err := b.Keys.check(); err != nil {
		return err
	}
	o := b.options()
	if err := o.check(); err != nil {
		return err
	}
	if b.Keys.Type != keyTypeOf(o.protocol) {
		return fmt.Errorf("virtual: the keys are not of the type of SCP%02X", o.protocol)
	}
	if (b.Keys.Version == factoryVersion) != o.has(QuirkFactoryVersion) {
		return fmt.Errorf("virtual: the version of the maker's keys is %02X with the quirk %s, and only then", factoryVersion, QuirkFactoryVersion)
	}
	own := link{protocol: o.protocol, i: b.SCP}
	if err := own.check(); err != nil {
		return err
	}
	for _, v := range [][]byte{b.IIN, b.CIN} {
		if len(v) > 16 {
			return errors.New("virtual: IIN and CIN have at most 16 bytes")
		}
	}
	if b.MaxFailures < 0 || b.MaxFailures > 255 {
		return fmt.Errorf("virtual: a limit of %d failures is outside 1…255", b.MaxFailures)
	}
	if err := b.checkContent(); err != nil {
		return err
	}
	if b.KeyDiversificationData != nil && len(b.KeyDiversificationData) != 10 {
		return errors.New("virtual: key diversification data has 10 bytes")
	}
	aids := [][]byte{}
	if b.ISD != nil {
		aids = append(aids, b.ISD)
	}
	for _, d := range b.Domains {
		aids = append(aids, d.AID)
		if err := d.Keys.check(); err != nil {
			return err
		}
		if err := d.check(own); err != nil {
			return err
		}
	}
	defaults := 0
	for _, a := range b.Applications {
		if a.Domain != nil && !slices.ContainsFunc(b.Domains, func(d SecurityDomain) bool { return bytes.Equal(d.AID, a.Domain) }) {
			return fmt.Errorf("virtual: the blank has no security domain %X for application %X", a.Domain, a.AID)
		}
		aids = append(aids, a.AID, a.Module, a.LoadFile)
		if a.Privileges&PrivilegeCardReset != 0 {
			defaults++
		}
	}
	for _, f := range b.LoadFiles {
		aids = append(aids, f.AID)
		aids = append(aids, f.Modules...)
	}
	for _, aid := range aids {
		if len(aid) < 5 || len(aid) > 16 {
			return fmt.Errorf("virtual: an AID of %d bytes, it has 5 to 16", len(aid))
		}
	}
	if defaults > 1 {
		return errors.New("virtual: two applications have the Card Reset privilege")
	}
	return nil
}
