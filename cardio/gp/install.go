package gp

import (
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// P1 of INSTALL (GPC_SPE_034 table 11-41).
const (
	installLoad           = 0x02
	installInstall        = 0x04
	installMakeSelectable = 0x08
	installExtradition    = 0x10
	installRegistry       = 0x40
)

// Quota is a number of bytes of memory. 0 says nothing of it.
type Quota uint32

// append writes two bytes up to 32,767, else four.
func (q Quota) append(dst []byte, tag tlv.Tag) []byte {
	switch {
	case q == 0:
		return dst
	case q <= 0x7FFF:
		return tlv.Append(dst, tag, []byte{byte(q >> 8), byte(q)})
	}
	return tlv.Append(dst, tag, []byte{byte(q >> 24), byte(q >> 16), byte(q >> 8), byte(q)})
}

// Process is P2 of INSTALL: where a command stands in the combined process of
// loading, installing and making selectable (GPC_SPE_034 11.5.2.2).
type Process byte

// The places in a combined process.
const (
	ProcessNone   Process = 0x00
	ProcessBegins Process = 0x01 // INSTALL [for load, install and make selectable]
	ProcessEnds   Process = 0x03 // INSTALL [for install and make selectable]
)

// LoadParameters are what a load file needs of the card, the load parameter
// field of INSTALL [for load] (GPC_SPE_034 table 11-49): all but the
// signature's reference go into the system specific parameters, EF.
type LoadParameters struct {
	Code        Quota  // C6: non-volatile, for the code
	Volatile    Quota  // C7: for data
	NonVolatile Quota  // C8: for data
	Format      []byte // CD: load file data block format, 1 byte of the maker's choosing
	DataBlock   []byte // DD: load file data block parameters of the maker's choosing
	// Signature, B6, says by which key a token is verified.
	Signature *SignatureReference
}

// Bytes is the parameter field; empty where nothing is said.
func (p LoadParameters) Bytes() []byte {
	v := p.NonVolatile.append(p.Volatile.append(p.Code.append(nil, 0xC6), 0xC7), 0xC8)
	v = appendSaid(appendSaid(v, 0xCD, p.Format), 0xDD, p.DataBlock)
	return p.Signature.append(appendSaid(nil, 0xEF, v))
}

// InstallParameters are what an application gets when it is installed
// (GPC_SPE_034 table 11-49). C7 to CF go into the system specific parameters,
// EF.
type InstallParameters struct {
	// Application is the application's own part, C9, which is always there.
	Application         []byte
	Volatile            Quota  // C7: the most that it may take
	NonVolatile         Quota  // C8: the most that it may take
	Service             []byte // CB: global service parameters
	VolatileReserved    Quota  // D7: kept for it alone
	NonVolatileReserved Quota  // D8: kept for it alone
	UICC                []byte // CA: parameters of ETSI TS 102 226 8.2.1.3.2.2
	Implicit            []byte // CF: implicit selection parameters, a byte each
	// Signature, B6, says by which key a token is verified.
	Signature *SignatureReference
	// More is appended as it is: further data objects, such as EA.
	More []byte
}

// Bytes is the parameter field.
func (p InstallParameters) Bytes() []byte {
	out := tlv.Encode(0xC9, p.Application)
	system := p.NonVolatile.append(p.Volatile.append(nil, 0xC7), 0xC8)
	system = appendSaid(system, 0xCB, p.Service)
	system = p.NonVolatileReserved.append(p.VolatileReserved.append(system, 0xD7), 0xD8)
	system = appendSaid(system, 0xCA, p.UICC)
	for _, b := range p.Implicit {
		system = tlv.Append(system, 0xCF, []byte{b})
	}
	return append(p.Signature.append(appendSaid(out, 0xEF, system)), p.More...)
}

// RegistryParameters are the parameter field of INSTALL [for make selectable],
// [for extradition] and [for registry update] (GPC_SPE_034 table 11-49); each
// of them takes fewer.
type RegistryParameters struct {
	Service  []byte // CB, registry update: global service parameters
	Implicit []byte // CF, make selectable and registry update: a byte each
	Restrict []byte // D9, registry update: what is forbidden from now on, 1 byte
	// Signature, B6, says by which key a token is verified.
	Signature *SignatureReference
}

// Bytes is the parameter field; empty where nothing is said.
func (p RegistryParameters) Bytes() []byte {
	system := appendSaid(nil, 0xCB, p.Service)
	for _, b := range p.Implicit {
		system = tlv.Append(system, 0xCF, []byte{b})
	}
	return p.Signature.append(appendSaid(nil, 0xEF, appendSaid(system, 0xD9, p.Restrict)))
}

// SignatureReference is the control reference template for a digital
// signature, B6: whose token it is (GPC_SPE_034 tables 11-22 and 11-49).
// Empty fields are left out.
type SignatureReference struct {
	DomainIdentification []byte // 42: identification number of the domain that verifies
	DomainImage          []byte // 45: image number of the domain that verifies
	Provider             []byte // 5F20: application provider identifier
	Token                []byte // 93: token identifier or number
}

func (r *SignatureReference) append(dst []byte) []byte {
	if r == nil {
		return dst
	}
	v := appendSaid(appendSaid(nil, 0x42, r.DomainIdentification), 0x45, r.DomainImage)
	return tlv.Append(dst, 0xB6, appendSaid(appendSaid(v, 0x5F20, r.Provider), 0x93, r.Token))
}

// appendSaid appends a data object that has a value.
func appendSaid(dst []byte, tag tlv.Tag, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return tlv.Append(dst, tag, v)
}

// InstallForLoad announces a load file (GPC_SPE_034 11.5.2.3.1).
type InstallForLoad struct {
	LoadFile   []byte // its AID, 5 to 16 bytes
	Domain     []byte // AID of the security domain it goes to; empty for the selected one
	Hash       []byte // of the load file data block; empty where neither a token nor a DAP block needs it
	Parameters LoadParameters
	Token      []byte // empty outside delegated management
	// Combined begins the combined process: INSTALL [for load, install and make
	// selectable], which an InstallForInstall with Combined ends after the last
	// LOAD.
	Combined bool
}

// Command is INSTALL [for load]. It is an error where an AID has another
// length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForLoad) Command() (apdu.Command, error) { return short(i.build()) }

// Commands is INSTALL [for load] as MoreCommands cuts it.
func (i InstallForLoad) Commands(maxData int) ([]apdu.Command, error) { return cut(i.build, maxData) }

// TokenData is what a load token is made over (GPC_SPE_034 C.4.1).
func (i InstallForLoad) TokenData() ([]byte, error) {
	i.Token = nil
	return tokenData(i.build())
}

func (i InstallForLoad) build() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("load file", i.LoadFile, false)
	b.aid("security domain", i.Domain, true)
	b.field(i.Hash)
	b.field(i.Parameters.Bytes())
	b.field(i.Token)
	if i.Combined {
		return b.command(installLoad|installInstall|installMakeSelectable, ProcessBegins)
	}
	return b.command(installLoad, ProcessNone)
}

// InstallForInstall makes an application out of a module (GPC_SPE_034
// 11.5.2.3.2).
type InstallForInstall struct {
	LoadFile    []byte // AIDs, 5 to 16 bytes each
	Module      []byte
	Application []byte
	Privileges  Privileges
	Parameters  InstallParameters
	Token       []byte // empty outside delegated management
	// Selectable also makes it selectable, in the same command.
	Selectable bool
	// Combined ends the combined process that an InstallForLoad began; the
	// application becomes selectable.
	Combined bool
}

// Command is INSTALL [for install] or INSTALL [for install and make
// selectable]. It is an error where an AID has another length than 5 to 16
// bytes, or the fields do not fit into one command.
func (i InstallForInstall) Command() (apdu.Command, error) { return short(i.build()) }

// Commands is the same as MoreCommands cuts it.
func (i InstallForInstall) Commands(maxData int) ([]apdu.Command, error) {
	return cut(i.build, maxData)
}

// TokenData is what an install token is made over (GPC_SPE_034 C.4.2).
func (i InstallForInstall) TokenData() ([]byte, error) {
	i.Token = nil
	return tokenData(i.build())
}

func (i InstallForInstall) build() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("load file", i.LoadFile, false)
	b.aid("module", i.Module, false)
	b.aid("application", i.Application, false)
	b.field(i.Privileges.Bytes())
	b.field(i.Parameters.Bytes())
	b.field(i.Token)
	switch {
	case i.Combined:
		return b.command(installInstall|installMakeSelectable, ProcessEnds)
	case i.Selectable:
		return b.command(installInstall|installMakeSelectable, ProcessNone)
	}
	return b.command(installInstall, ProcessNone)
}

// InstallForMakeSelectable makes an installed application selectable
// (GPC_SPE_034 11.5.2.3.3).
type InstallForMakeSelectable struct {
	Application []byte // its AID, 5 to 16 bytes
	Privileges  Privileges
	Parameters  []byte // RegistryParameters; empty for none
	Token       []byte // empty outside delegated management
}

// Command is INSTALL [for make selectable]. It is an error where the AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForMakeSelectable) Command() (apdu.Command, error) { return short(i.build()) }

// Commands is the same as MoreCommands cuts it.
func (i InstallForMakeSelectable) Commands(maxData int) ([]apdu.Command, error) {
	return cut(i.build, maxData)
}

// TokenData is what a make selectable token is made over (GPC_SPE_034 C.4.3).
func (i InstallForMakeSelectable) TokenData() ([]byte, error) {
	i.Token = nil
	return tokenData(i.build())
}

func (i InstallForMakeSelectable) build() (apdu.Command, error) {
	b := installBuilder{}
	b.field(nil)
	b.field(nil)
	b.aid("application", i.Application, false)
	b.field(i.Privileges.Bytes())
	b.field(i.Parameters)
	b.field(i.Token)
	return b.command(installMakeSelectable, ProcessNone)
}

// InstallForExtradition moves an application or load file to another security
// domain (GPC_SPE_034 11.5.2.3.4).
type InstallForExtradition struct {
	Domain     []byte // AID of the security domain it goes to, 5 to 16 bytes
	Object     []byte // AID of what is moved, 5 to 16 bytes
	Parameters []byte // RegistryParameters; empty for none
	Token      []byte // empty outside delegated management
}

// Command is INSTALL [for extradition]. It is an error where an AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForExtradition) Command() (apdu.Command, error) { return short(i.build()) }

// Commands is the same as MoreCommands cuts it.
func (i InstallForExtradition) Commands(maxData int) ([]apdu.Command, error) {
	return cut(i.build, maxData)
}

// TokenData is what an extradition token is made over (GPC_SPE_034 C.4.4).
func (i InstallForExtradition) TokenData() ([]byte, error) {
	i.Token = nil
	return tokenData(i.build())
}

func (i InstallForExtradition) build() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("security domain", i.Domain, false)
	b.field(nil)
	b.aid("application or load file", i.Object, false)
	b.field(nil)
	b.field(i.Parameters)
	b.field(i.Token)
	return b.command(installExtradition, ProcessNone)
}

// InstallForRegistryUpdate changes what the registry says of an application
// (GPC_SPE_034 11.5.2.3.5).
type InstallForRegistryUpdate struct {
	Domain      []byte      // AID of the security domain it goes to; empty to leave it
	Application []byte      // its AID, 5 to 16 bytes; empty for the selected security domain
	Privileges  *Privileges // nil to leave them
	Parameters  []byte      // RegistryParameters; empty for none
	Token       []byte      // empty outside delegated management
}

// Command is INSTALL [for registry update]. It is an error where an AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForRegistryUpdate) Command() (apdu.Command, error) { return short(i.build()) }

// Commands is the same as MoreCommands cuts it.
func (i InstallForRegistryUpdate) Commands(maxData int) ([]apdu.Command, error) {
	return cut(i.build, maxData)
}

// TokenData is what a registry update token is made over (GPC_SPE_034 C.4.5).
func (i InstallForRegistryUpdate) TokenData() ([]byte, error) {
	i.Token = nil
	return tokenData(i.build())
}

func (i InstallForRegistryUpdate) build() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("security domain", i.Domain, true)
	b.field(nil)
	b.aid("application", i.Application, true)
	if i.Privileges != nil {
		b.field(i.Privileges.Bytes())
	} else {
		b.field(nil)
	}
	b.field(i.Parameters)
	b.field(i.Token)
	return b.command(installRegistry, ProcessNone)
}

// installBuilder lines up fields with their lengths and keeps the first error.
type installBuilder struct {
	data []byte
	err  error
}

func (b *installBuilder) aid(what string, aid []byte, optional bool) {
	if err := checkAID(what, aid, optional); err != nil && b.err == nil {
		b.err = err
	}
	b.field(aid)
}

func (b *installBuilder) field(v []byte) {
	b.data = append(tlv.AppendLength(b.data, len(v)), v...)
}

func (b *installBuilder) command(p1 byte, p2 Process) (apdu.Command, error) {
	if b.err != nil {
		return apdu.Command{}, b.err
	}
	return apdu.Command{CLA: 0x80, INS: 0xE6, P1: p1, P2: byte(p2), Data: b.data, Ne: apdu.MaxShortNe}, nil
}

func checkAID(what string, aid []byte, optional bool) error {
	if len(aid) == 0 && optional {
		return nil
	}
	if len(aid) < 5 || len(aid) > 16 {
		return fmt.Errorf("gp: AID of the %s has %d bytes, not 5 to 16", what, len(aid))
	}
	return nil
}
