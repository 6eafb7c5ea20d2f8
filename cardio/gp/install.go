package gp

import (
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// P1 of INSTALL (GPC_SPE_034 11.5).
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

// LoadParameters are what a load file needs of the card, the system specific
// parameters EF of INSTALL [for load] (GPC_SPE_034 11.5.2.3).
type LoadParameters struct {
	Code        Quota // C6: non-volatile, for the code
	Volatile    Quota // C7: for data
	NonVolatile Quota // C8: for data
}

// Bytes is the parameter field; empty where nothing is said.
func (p LoadParameters) Bytes() []byte {
	v := p.NonVolatile.append(p.Volatile.append(p.Code.append(nil, 0xC6), 0xC7), 0xC8)
	if len(v) == 0 {
		return nil
	}
	return tlv.Encode(0xEF, v)
}

// InstallParameters are what an application gets when it is installed
// (GPC_SPE_034 11.5.2.3).
type InstallParameters struct {
	// Application is the application's own part, C9, which is always there.
	Application []byte
	Volatile    Quota  // C7: the most that it may take
	NonVolatile Quota  // C8: the most that it may take
	Service     []byte // CB: global service parameters
	Implicit    []byte // CF: implicit selection parameters, a byte each
	// More is appended as it is: further data objects, such as EA.
	More []byte
}

// Bytes is the parameter field.
func (p InstallParameters) Bytes() []byte {
	out := tlv.Encode(0xC9, p.Application)
	system := p.NonVolatile.append(p.Volatile.append(nil, 0xC7), 0xC8)
	if len(p.Service) > 0 {
		system = tlv.Append(system, 0xCB, p.Service)
	}
	for _, b := range p.Implicit {
		system = tlv.Append(system, 0xCF, []byte{b})
	}
	if len(system) > 0 {
		out = tlv.Append(out, 0xEF, system)
	}
	return append(out, p.More...)
}

// InstallForLoad announces a load file (GPC_SPE_034 11.5.2.3.1).
type InstallForLoad struct {
	LoadFile   []byte // its AID, 5 to 16 bytes
	Domain     []byte // AID of the security domain it goes to; empty for the selected one
	Hash       []byte // of the load file data block; empty where neither a token nor a DAP block needs it
	Parameters LoadParameters
	Token      []byte // empty outside delegated management
}

// Command is INSTALL [for load]. It is an error where an AID has another
// length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForLoad) Command() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("load file", i.LoadFile, false)
	b.aid("security domain", i.Domain, true)
	b.field(i.Hash)
	b.field(i.Parameters.Bytes())
	b.field(i.Token)
	return b.command(installLoad)
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
}

// Command is INSTALL [for install] or INSTALL [for install and make
// selectable]. It is an error where an AID has another length than 5 to 16
// bytes, or the fields do not fit into one command.
func (i InstallForInstall) Command() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("load file", i.LoadFile, false)
	b.aid("module", i.Module, false)
	b.aid("application", i.Application, false)
	b.field(i.Privileges.Bytes())
	b.field(i.Parameters.Bytes())
	b.field(i.Token)
	p1 := byte(installInstall)
	if i.Selectable {
		p1 |= installMakeSelectable
	}
	return b.command(p1)
}

// InstallForMakeSelectable makes an installed application selectable
// (GPC_SPE_034 11.5.2.3.3).
type InstallForMakeSelectable struct {
	Application []byte // its AID, 5 to 16 bytes
	Privileges  Privileges
	Parameters  []byte // data objects; empty for none
	Token       []byte // empty outside delegated management
}

// Command is INSTALL [for make selectable]. It is an error where the AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForMakeSelectable) Command() (apdu.Command, error) {
	b := installBuilder{}
	b.field(nil)
	b.field(nil)
	b.aid("application", i.Application, false)
	b.field(i.Privileges.Bytes())
	b.field(i.Parameters)
	b.field(i.Token)
	return b.command(installMakeSelectable)
}

// InstallForExtradition moves an application or load file to another security
// domain (GPC_SPE_034 11.5.2.3.4).
type InstallForExtradition struct {
	Domain     []byte // AID of the security domain it goes to, 5 to 16 bytes
	Object     []byte // AID of what is moved, 5 to 16 bytes
	Parameters []byte // data objects; empty for none
	Token      []byte // empty outside delegated management
}

// Command is INSTALL [for extradition]. It is an error where an AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForExtradition) Command() (apdu.Command, error) {
	b := installBuilder{}
	b.aid("security domain", i.Domain, false)
	b.field(nil)
	b.aid("application or load file", i.Object, false)
	b.field(nil)
	b.field(i.Parameters)
	b.field(i.Token)
	return b.command(installExtradition)
}

// InstallForRegistryUpdate changes what the registry says of an application
// (GPC_SPE_034 11.5.2.3.5).
type InstallForRegistryUpdate struct {
	Domain      []byte      // AID of the security domain it goes to; empty to leave it
	Application []byte      // its AID, 5 to 16 bytes; empty for the selected security domain
	Privileges  *Privileges // nil to leave them
	Parameters  []byte      // data objects; empty for none
	Token       []byte      // empty outside delegated management
}

// Command is INSTALL [for registry update]. It is an error where an AID has
// another length than 5 to 16 bytes, or the fields do not fit into one command.
func (i InstallForRegistryUpdate) Command() (apdu.Command, error) {
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
	return b.command(installRegistry)
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

func (b *installBuilder) command(p1 byte) (apdu.Command, error) {
	if b.err != nil {
		return apdu.Command{}, b.err
	}
	if len(b.data) > apdu.MaxShortData {
		return apdu.Command{}, fmt.Errorf("gp: INSTALL of %d bytes, at most %d", len(b.data), apdu.MaxShortData)
	}
	return apdu.Command{CLA: 0x80, INS: 0xE6, P1: p1, Data: b.data, Ne: apdu.MaxShortNe}, nil
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
