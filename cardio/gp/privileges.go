package gp

import (
	"fmt"
)

// Privileges are what an application may do, three bytes read big-endian
// (GPC_SPE_034 tables 11-7 to 11-9).
type Privileges uint32

// The privileges. PrivilegeDAP and PrivilegeMandatedDAP include the bit of a
// security domain, PrivilegeDelegated too: they mean nothing without it.
const (
	PrivilegeSecurityDomain       Privileges = 0x800000
	PrivilegeDAP                  Privileges = 0xC00000
	PrivilegeDelegated            Privileges = 0xA00000
	PrivilegeCardLock             Privileges = 0x100000
	PrivilegeCardTerminate        Privileges = 0x080000
	PrivilegeCardReset            Privileges = 0x040000 // selected by default
	PrivilegeCVM                  Privileges = 0x020000
	PrivilegeMandatedDAP          Privileges = 0xC10000
	PrivilegeTrustedPath          Privileges = 0x008000
	PrivilegeAuthorizedManagement Privileges = 0x004000
	PrivilegeTokenVerification    Privileges = 0x002000
	PrivilegeGlobalDelete         Privileges = 0x001000
	PrivilegeGlobalLock           Privileges = 0x000800
	PrivilegeGlobalRegistry       Privileges = 0x000400
	PrivilegeFinalApplication     Privileges = 0x000200
	PrivilegeGlobalService        Privileges = 0x000100
	PrivilegeReceiptGeneration    Privileges = 0x000080
	PrivilegeCipheredLoadFile     Privileges = 0x000040
)

// Bytes is the coding in commands: one byte where the other two would be 00,
// which every card takes, else three.
func (p Privileges) Bytes() []byte {
	if p&0xFFFF == 0 {
		return []byte{byte(p >> 16)}
	}
	return []byte{byte(p >> 16), byte(p >> 8), byte(p)}
}

// Has reports whether all privileges of q are in p.
func (p Privileges) Has(q Privileges) bool { return p&q == q }

// ParsePrivileges reads 1 or 3 bytes, such as those of a RegistryEntry.
// ErrMalformed for any other length.
func ParsePrivileges(b []byte) (Privileges, error) {
	switch len(b) {
	case 1:
		return Privileges(b[0]) << 16, nil
	case 3:
		return Privileges(b[0])<<16 | Privileges(b[1])<<8 | Privileges(b[2]), nil
	}
	return 0, fmt.Errorf("%w: privileges of %d bytes", ErrMalformed, len(b))
}
