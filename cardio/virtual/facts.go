package virtual

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// DefaultLoadMemory is the non-volatile memory of a blank, in bytes, for load
// files and for what applications reserve.
const DefaultLoadMemory = 512 << 10

// volatileMemory is how many bytes of RAM applications can reserve.
const volatileMemory = 8 << 10

// Package is a package that load files can import: a version x.y serves
// whatever was built against x.0 to x.y (Java Card Virtual Machine
// Specification 3.0.5 section 4.5).
type Package struct {
	AID          []byte
	Major, Minor byte
}

// DefaultPackages are java.lang 1.0, and javacard.framework, javacard.security
// and javacardx.crypto 1.6, as of Java Card 3.0.5, and org.globalplatform 1.6.
func DefaultPackages() []Package {
	return []Package{
		{AID: mustHex("A0000000620001"), Major: 1, Minor: 0},
		{AID: mustHex("A0000000620101"), Major: 1, Minor: 6},
		{AID: mustHex("A0000000620102"), Major: 1, Minor: 6},
		{AID: mustHex("A0000000620201"), Major: 1, Minor: 6},
		{AID: mustHex("A00000015100"), Major: 1, Minor: 6},
	}
}

// Security domains are made from this module of this load file, the AIDs that
// GlobalPlatform assigned (GPC_SPE_034 v2.3.1 table H-1 and the UICC
// Configuration); both are in every card's ROM. In hexadecimal.
const (
	SecurityDomainLoadFileAID = "A0000001515350"
	SecurityDomainModuleAID   = "A000000151535041"
)

// domainLoadFile is no record of the memory: it is always there, and last.
func domainLoadFile() LoadFile {
	return LoadFile{AID: mustHex(SecurityDomainLoadFileAID), Version: [2]byte{1, 0}, Modules: [][]byte{mustHex(SecurityDomainModuleAID)}}
}

func (b Blank) checkContent() error {
	if b.ISDPrivileges&^(PrivilegeTokenVerification|PrivilegeReceiptGeneration) != 0 {
		return fmt.Errorf("virtual: privileges %06X are not for a blank to add to the issuer security domain", b.ISDPrivileges)
	}
	if b.LoadMemory < 0 || b.LoadMemory > 16<<20 {
		return fmt.Errorf("virtual: %d bytes of memory for load files are outside 0…16 MiB", b.LoadMemory)
	}
	for _, p := range b.Packages {
		if len(p.AID) < 5 || len(p.AID) > 16 {
			return errors.New("virtual: a package's AID has 5 to 16 bytes")
		}
	}
	for _, a := range b.Applications {
		if a.Privileges&PrivilegeSecurityDomain != 0 {
			return errors.New("virtual: security domains of a blank are listed as domains, not as applications")
		}
	}
	return nil
}

// putContentFacts writes only what differs from the default.
func (r *registry) putContentFacts(b Blank) {
	if b.ISDPrivileges != 0 {
		r.space.Set("privileges", privilegeBytes(b.ISDPrivileges))
	}
	if b.LoadMemory != 0 {
		r.space.Set("memory", binary.BigEndian.AppendUint32(nil, uint32(b.LoadMemory)))
	}
	if b.Packages != nil {
		v := []byte{}
		for _, p := range b.Packages {
			v = append(field(v, p.AID), p.Major, p.Minor)
		}
		r.space.Set("packages", v)
	}
}

func (r *registry) loadContentFacts() error {
	r.memory, r.packages = DefaultLoadMemory, DefaultPackages()
	if v := r.space.Get("privileges"); len(v) == 3 {
		r.extraPrivileges = uint32(v[0])<<16 | uint32(v[1])<<8 | uint32(v[2])
	}
	if v := r.space.Get("memory"); len(v) == 4 {
		r.memory = binary.BigEndian.Uint32(v)
	}
	if v := r.space.Get("confirmations"); len(v) == 2 {
		r.confirmations = binary.BigEndian.Uint16(v)
	}
	if v := r.space.Get("packages"); v != nil {
		r.packages = nil
		f := fields{b: v}
		for len(f.b) > 0 {
			p := Package{AID: f.next()}
			if f.bad || len(f.b) < 2 {
				return ErrNoCard
			}
			p.Major, p.Minor, f.b = f.b[0], f.b[1], f.b[2:]
			r.packages = append(r.packages, p)
		}
	}
	return nil
}

// extra is what an application has beyond the facts that a blank gives it.
type extra struct {
	domain           []byte // AID of the security domain it is associated with; empty for the issuer's
	quota            uint32 // most bytes of non-volatile data; 0 for no limit
	reserved         uint32 // bytes of non-volatile memory kept for it
	reservedVolatile uint32
	implicit         []byte // implicit selection parameters, a byte each
}

func (x extra) encode() []byte {
	if len(x.domain)+len(x.implicit) == 0 && x.quota|x.reserved|x.reservedVolatile == 0 {
		return nil
	}
	v := field(field(nil, x.domain), x.implicit)
	for _, n := range []uint32{x.quota, x.reserved, x.reservedVolatile} {
		v = binary.BigEndian.AppendUint32(v, n)
	}
	return v
}

func (a *application) decodeExtra(v []byte) error {
	if v == nil {
		return nil
	}
	f := fields{b: v}
	a.extra.domain, a.extra.implicit = f.next(), f.next()
	if f.bad || len(f.b) != 12 {
		return ErrNoCard
	}
	a.extra.quota, a.extra.reserved = binary.BigEndian.Uint32(f.b), binary.BigEndian.Uint32(f.b[4:])
	a.extra.reservedVolatile = binary.BigEndian.Uint32(f.b[8:])
	return nil
}

// isDefault says whether the application is selected by itself after a reset:
// by privilege, or by implicit selection on logical channel 0 through contacts
// (GPC_SPE_034 v2.3.1 table 11-50).
func (a *application) isDefault() bool {
	return a.privileges&PrivilegeCardReset != 0 ||
		slices.ContainsFunc(a.extra.implicit, func(b byte) bool { return b&0x5F == 0x40 })
}

// loadFileExtra is what a load file has beyond the facts that a blank gives
// it.
type loadFileExtra struct {
	domain  []byte // AID of its security domain; empty for the issuer's
	loaded  bool   // by LOAD, and so not in ROM
	size    uint32 // of its load file data block, bytes
	imports [][]byte
}

func (f *LoadFile) encodeExtra() []byte {
	x := f.loadFileExtra
	if !x.loaded && len(x.domain) == 0 {
		return nil
	}
	v := []byte{0}
	if x.loaded {
		v[0] = 1
	}
	v = field(binary.BigEndian.AppendUint32(v, x.size), x.domain)
	for _, i := range x.imports {
		v = field(v, i)
	}
	return v
}

func (f *LoadFile) decodeExtra(v []byte) error {
	if v == nil {
		return nil
	}
	if len(v) < 5 {
		return ErrNoCard
	}
	f.loaded, f.size = v[0] == 1, binary.BigEndian.Uint32(v[1:])
	rest := fields{b: v[5:]}
	f.domain = rest.next()
	for len(rest.b) > 0 && !rest.bad {
		f.imports = append(f.imports, rest.next())
	}
	if rest.bad {
		return ErrNoCard
	}
	return nil
}

// free is how many bytes of non-volatile and of volatile memory nothing has
// taken.
func (r *registry) free() (nonVolatile, volatile uint32) {
	nonVolatile, volatile = r.memory, volatileMemory
	for _, f := range r.loadFiles {
		nonVolatile -= min(nonVolatile, f.size)
	}
	for _, a := range r.apps {
		nonVolatile -= min(nonVolatile, a.extra.reserved)
		volatile -= min(volatile, a.extra.reservedVolatile)
	}
	return nonVolatile, volatile
}
