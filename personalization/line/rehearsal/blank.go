package rehearsal

import (
	"context"
	"encoding/hex"
	"fmt"

	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/jmrtd"
	"cardbureau/cardio/virtual/mrtd"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/payment"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/cardio/virtual/vpcd"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/vault"
)

// software is a software applet that chip profiles name.
type software struct {
	file, module string // AIDs, in hexadecimal
	version      [2]byte
	privileges   uint32
	code         func() virtual.Applet
}

// applets are the software applets by their name in chip profiles.
var applets = map[string]software{
	"lds": {
		file: virtual.LDSLoadFileAID, module: virtual.LDSAID, version: [2]byte{1, 0}, privileges: virtual.PrivilegeCardReset,
		code: func() virtual.Applet { return mrtd.New() },
	},
	"payment": {
		file: payment.PackageAID, module: payment.ModuleAID, version: [2]byte{1, 0},
		code: func() virtual.Applet { return payment.New() },
	},
	"jmrtd": {
		file: jmrtd.PackageAID, module: jmrtd.AID, version: [2]byte{9, 45},
		code: func() virtual.Applet { return jmrtd.New() },
	},
	"jmrtd-pace": {
		file: jmrtd.PackageAID, module: jmrtd.AID, version: [2]byte{10, 0},
		code: func() virtual.Applet { return jmrtd.NewPACE() },
	},
}

// NewChip powers a software card on the memory of a card that Blank described,
// whichever of the software applets it carries.
func NewChip(mem *nvm.Memory) (*virtual.Chip, error) {
	code := map[string]func() virtual.Applet{}
	for _, a := range applets {
		code[virtual.ModuleKey(a.module, a.version)] = a.code
	}
	return virtual.New(virtual.Config{Memory: mem, Applets: code})
}

// NewCard powers whatever software card a memory holds: a SIM, or one of
// NewChip's.
func NewCard(mem *nvm.Memory) (vpcd.Card, error) {
	if usim.Is(mem) {
		return usim.New(usim.Config{Memory: mem})
	}
	return NewChip(mem)
}

// Blank describes a software blank of a software chip's profile, with the
// keys that the vault derives for it: development keys only. The caller zeroes
// them.
func Blank(ctx context.Context, v *vault.Client, chip *profile.Chip, batch uint16, number uint32) (virtual.Blank, error) {
	if !chip.IsVirtual() {
		return virtual.Blank{}, fmt.Errorf("chip %s is no software card: only its maker makes blanks of it", chip.Name)
	}
	return BlankWith(chip, batch, number, func(set profile.KeySet, kdd []byte) (virtual.Keys, error) {
		keys, err := v.BlankKeys(ctx, vault.BlankKeysRequest{
			KeySet: set.Set, Diversification: set.Template(), KeyType: set.Type, KeyBits: set.Bits, KeyDiversificationData: kdd,
		})
		if err != nil {
			return virtual.Keys{}, fmt.Errorf("blank %s: %w", serialOf(chip, batch, number), err)
		}
		return virtual.Keys{ENC: keys.ENC, MAC: keys.MAC, DEK: keys.DEK}, nil
	})
}

// KeysOf gives the keys of a software blank for one of its chip's key sets;
// BlankWith says their version and type. kdd is what they are diversified over,
// 10 bytes.
type KeysOf func(set profile.KeySet, kdd []byte) (virtual.Keys, error)

func serialOf(chip *profile.Chip, batch uint16, number uint32) virtual.Serial {
	s := virtual.NewSerial(batch, number)
	copy(s.Fabricator[:], chip.CPLC.Fabricator)
	copy(s.Type[:], chip.CPLC.Type)
	return s
}

// BlankWith describes a software blank that plays a chip as its profile says:
// answer to reset, protocol and options, quirks, timing, initial key version. Of a
// chip that is no software card it carries the software LDS applet, to try the
// profile on. Where it fails, keys that it had been given are zeroed.
func BlankWith(chip *profile.Chip, batch uint16, number uint32, keys KeysOf) (blank virtual.Blank, err error) {
	defer func() {
		if err != nil {
			blank.ZeroKeys()
			blank = virtual.Blank{}
		}
	}()
	set, serial := chip.Keys["transport"], serialOf(chip, batch, number)
	kdd := serial.Bytes()
	blank = virtual.Blank{
		Serial:   serial,
		Protocol: chip.Protocol().SCP, SCP: chip.Protocol().I, ISD: chip.GlobalPlatform.ISD,
		Timing: virtual.Timing{PerCommand: chip.Timing.Command, PerByte: chip.Timing.Byte},
	}
	if blank.Keys, err = keysOf(keys, set, kdd[:]); err != nil {
		return blank, err
	}
	has := chip.Virtual
	if has == nil {
		has = &profile.Virtual{Installed: []string{"lds"}}
		if atr, err := hex.DecodeString(string(chip.ATR)); err == nil && len(atr) > 0 {
			blank.ATR = atr // one without dots
		}
	}
	blank.T0 = has.T0
	for _, q := range chip.Quirks {
		blank.Quirks = append(blank.Quirks, virtual.Quirk(q))
	}
	if set.Version == initialVersion {
		blank.Quirks = append(blank.Quirks, virtual.QuirkFactoryVersion)
	}
	for _, name := range append(append([]string{}, has.Installed...), has.Carries...) {
		a, ok := applets[name]
		if !ok {
			return blank, fmt.Errorf("chip %s: there is no software applet %q", chip.Name, name)
		}
		blank.LoadFiles = append(blank.LoadFiles, virtual.LoadFile{AID: aid(a.file), Version: a.version, Modules: [][]byte{aid(a.module)}})
	}
	for _, name := range has.Installed {
		a := applets[name]
		blank.Applications = append(blank.Applications, virtual.Installation{
			AID: aid(a.module), Module: aid(a.module), LoadFile: aid(a.file), Privileges: a.privileges,
		})
	}
	for _, d := range has.Domains {
		if err := addDomain(&blank, chip, d, keys); err != nil {
			return blank, fmt.Errorf("chip %s: %w", chip.Name, err)
		}
	}
	return blank, nil
}

func keysOf(keys KeysOf, set profile.KeySet, kdd []byte) (virtual.Keys, error) {
	k, err := keys(set, kdd)
	k.Version, k.Type = set.Version, keyTypes[set.Type]
	return k, err
}

// addDomain adds a security domain of the maker's with what is installed in it.
func addDomain(blank *virtual.Blank, chip *profile.Chip, d profile.VirtualDomain, keys KeysOf) error {
	set, protocol := chip.Keys[d.Keys], chip.ProtocolOf(d.Keys)
	kdd := blank.Serial.Bytes()
	domain := virtual.SecurityDomain{AID: d.AID, Protocol: protocol.SCP, SCP: protocol.I}
	if len(d.KMCID) > 0 {
		copy(kdd[:], d.KMCID)
		copy(kdd[len(d.KMCID):], blank.Serial.Number[:])
		domain.KeyData = kdd[:]
	}
	var err error
	if domain.Keys, err = keysOf(keys, set, kdd[:]); err != nil {
		return err
	}
	blank.Domains = append(blank.Domains, domain)
	for _, i := range d.Instances {
		a, ok := applets[i.Applet]
		if !ok {
			return fmt.Errorf("there is no software applet %q", i.Applet)
		}
		blank.Applications = append(blank.Applications, virtual.Installation{AID: i.AID, Module: aid(a.module), LoadFile: aid(a.file), Domain: d.AID})
	}
	return nil
}

// initialVersion is the version of the initial keys of some chips.
const initialVersion = 0xFF

var keyTypes = map[string]virtual.KeyType{"aes": virtual.AES, "3des": virtual.TripleDES}

func aid(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
