package content

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
)

// Action is what a plan does, a stable word.
type Action string

// The actions.
const (
	Load    Action = "load"
	Install Action = "install"
	Delete  Action = "delete"
	Lock    Action = "lock"
	Unlock  Action = "unlock"
)

// Step is one thing that a plan does on the card.
type Step struct {
	Text     string // "announce load file A000000001"
	Commands []apdu.Command
}

// Plan is what is to be sent.
type Plan struct {
	Action Action
	Object []byte // AID of what is loaded, installed, deleted or locked
	Card   bool   // the whole card is
	Final  bool   // nothing brings the card back to the life cycle state it has
	Steps  []Step
}

// Commands are how many commands the plan has.
func (p *Plan) Commands() (n int) {
	for _, s := range p.Steps {
		n += len(s.Commands)
	}
	return n
}

// Bytes are how many bytes of data its commands carry, before protection.
func (p *Plan) Bytes() (n int) {
	for _, s := range p.Steps {
		for _, c := range s.Commands {
			n += len(c.Data)
		}
	}
	return n
}

// AID writes an AID in capital hexadecimal digits.
func AID(aid []byte) string { return strings.ToUpper(hex.EncodeToString(aid)) }

// LoadOptions say how a package is loaded.
type LoadOptions struct {
	MaxData    int         // bytes of data in one command; see gp.MaxPlainData
	Domain     []byte      // AID of the security domain it goes to; empty: the issuer's
	Hash       crypto.Hash // put into INSTALL [for load]; 0: none
	Token      []byte      // empty outside delegated management
	DAPs       []cap.DAP
	Block      cap.BlockOptions
	Parameters gp.LoadParameters
	// Allowed are the hashes of load file data blocks that may be loaded, SHA-1
	// to SHA-512 told by their length; nil allows every one.
	Allowed [][]byte
	// Extended loads a file in the extended format: the card is known to take it.
	Extended bool
}

// hashSizes tell a hash by its length.
var hashSizes = map[int]crypto.Hash{20: crypto.SHA1, 32: crypto.SHA256, 48: crypto.SHA384, 64: crypto.SHA512}

// PlanLoad loads a package. It refuses with ErrHash, ErrThere, ErrImport,
// ErrExtended, ErrFull and ErrNotThere (the security domain).
func (inv *Inventory) PlanLoad(f *cap.File, o LoadOptions) (*Plan, error) {
	aid, block := f.Package.AID, f.LoadFileDataBlock(o.Block)
	if err := CheckHash(f, o.Block, o.Allowed); err != nil {
		return nil, err
	}
	if f.Extended && !o.Extended {
		return nil, refuse(ErrExtended, "package %s", AID(aid))
	}
	if inv.taken(aid) {
		return nil, refuse(ErrThere, "package %s: delete it first", AID(aid))
	}
	if err := inv.imports(f); err != nil {
		return nil, err
	}
	if len(o.Domain) > 0 && !bytes.Equal(o.Domain, inv.ISD.AID) {
		if _, ok := find(inv.Domains, o.Domain); !ok {
			return nil, refuse(ErrNotThere, "security domain %s", AID(o.Domain))
		}
	}
	if r := inv.Resources; r != nil && r.NonVolatile >= 0 && r.NonVolatile < len(block) {
		return nil, refuse(ErrFull, "package %s has %d bytes, %d are free", AID(aid), len(block), r.NonVolatile)
	}
	install := gp.InstallForLoad{LoadFile: aid, Domain: o.Domain, Parameters: o.Parameters, Token: o.Token}
	if o.Hash != 0 {
		h, err := cap.Hash(o.Hash, block)
		if err != nil {
			return nil, err
		}
		install.Hash = h
	}
	announce, err := install.Commands(o.MaxData)
	if err != nil {
		return nil, err
	}
	file, err := cap.LoadFile(block, o.DAPs...)
	if err != nil {
		return nil, err
	}
	load, err := gp.LoadCommands(file, o.MaxData)
	if err != nil {
		return nil, err
	}
	return &Plan{Action: Load, Object: aid, Steps: []Step{
		{Text: "announce load file " + AID(aid), Commands: announce},
		{Text: fmt.Sprintf("load %d bytes", len(file)), Commands: load},
	}}, nil
}

// CheckHash compares the hash of a file's load file data block with those that
// may be, SHA-1 to SHA-512 told by their length: ErrHash where it is none of
// them. nil allows every one.
func CheckHash(f *cap.File, o cap.BlockOptions, hashes [][]byte) error {
	if hashes == nil {
		return nil
	}
	block := f.LoadFileDataBlock(o)
	for _, want := range hashes {
		h, ok := hashSizes[len(want)]
		if !ok {
			return fmt.Errorf("an allowed hash of %d bytes: SHA-1 has 20, SHA-256 32, SHA-384 48, SHA-512 64", len(want))
		}
		got, err := cap.Hash(h, block)
		if err != nil {
			return err
		}
		if bytes.Equal(got, want) {
			return nil
		}
	}
	got, err := cap.Hash(crypto.SHA256, block)
	if err != nil {
		return err
	}
	return refuse(ErrHash, "SHA-256 of the load file data block is %x", got)
}

// imports compares what the package needs with what the card lists. Packages
// that a card's maker provides are often not listed: they count as there.
func (inv *Inventory) imports(f *cap.File) error {
	for _, want := range f.Imports {
		name := cap.PackageName(want.AID)
		if name == "" {
			name = "package " + AID(want.AID)
		}
		there, listed := find(inv.LoadFiles, want.AID)
		switch {
		case !listed && cap.PackageName(want.AID) == "":
			return refuse(ErrImport, "%s, version %v", name, want.Version)
		case listed && len(there.Version) == 2:
			have := cap.Version{Major: there.Version[0], Minor: there.Version[1]}
			if have.Major != want.Version.Major || have.Minor < want.Version.Minor {
				return refuse(ErrImport, "%s, version %v: the card has version %v", name, want.Version, have)
			}
		}
	}
	return nil
}

// InstallOptions say what becomes an application.
type InstallOptions struct {
	MaxData    int
	LoadFile   []byte // AIDs
	Module     []byte
	Instance   []byte // empty: the module's
	Privileges gp.Privileges
	Parameters gp.InstallParameters
	Token      []byte // empty outside delegated management
	Selectable bool   // also make it selectable
}

// PlanInstall installs an application. It refuses with ErrNotThere (load file
// or module) and ErrThere (the instance).
func (inv *Inventory) PlanInstall(o InstallOptions) (*Plan, error) {
	file, ok := find(inv.LoadFiles, o.LoadFile)
	if !ok {
		return nil, refuse(ErrNotThere, "load file %s: load it first", AID(o.LoadFile))
	}
	if len(file.Modules) > 0 && !contains(file.Modules, o.Module) {
		return nil, refuse(ErrNotThere, "module %s in load file %s", AID(o.Module), AID(o.LoadFile))
	}
	instance := o.Instance
	if len(instance) == 0 {
		instance = o.Module
	}
	if inv.taken(instance) {
		return nil, refuse(ErrThere, "object %s: choose another --instance", AID(instance))
	}
	commands, err := gp.InstallForInstall{
		LoadFile: o.LoadFile, Module: o.Module, Application: instance, Privileges: o.Privileges,
		Parameters: o.Parameters, Token: o.Token, Selectable: o.Selectable,
	}.Commands(o.MaxData)
	if err != nil {
		return nil, err
	}
	text := "install " + AID(instance)
	if o.Selectable {
		text += " and make it selectable"
	}
	return &Plan{Action: Install, Object: instance, Steps: []Step{{Text: text, Commands: commands}}}, nil
}

func contains(list [][]byte, b []byte) bool {
	for _, one := range list {
		if bytes.Equal(one, b) {
			return true
		}
	}
	return false
}
