// Package profile is the firmware-profile language: it reads the YAML files
// that describe chips, applets and products, checks them, and runs their steps
// on a card.
//
// A chip file says what the silicon and its card manager are, a
// diversification file how a card's keys follow from a master key, an applet
// file how an application is personalized (ordered steps in a small
// vocabulary, each with a probe that reads from the card whether it is done),
// and a product file which applications go on which chip. The package knows
// GlobalPlatform and ISO/IEC 7816-4; it knows no person, no database and no
// keys: values come as named elements, keys as named sets that a ChannelOpener
// turns into secure channels.
package profile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"cardbureau/cardio/gp"
	"cardbureau/personalization/payment"
)

// Hex is a byte string written as hexadecimal digits.
type Hex []byte

// UnmarshalYAML reads hexadecimal digits; spaces and colons are allowed.
func (h *Hex) UnmarshalYAML(n ast.Node) error {
	text := n.GetToken().Value
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(text))
	if err != nil {
		pos := n.GetToken().Position
		return &Problem{Line: pos.Line, Col: pos.Column, Message: fmt.Sprintf("%q is not an even number of hexadecimal digits: put it in quotes, two digits a byte", text)}
	}
	*h = b
	return nil
}

// String is upper-case hexadecimal.
func (h Hex) String() string { return strings.ToUpper(hex.EncodeToString(h)) }

// Pattern is a byte string in hexadecimal in which ".." stands for any byte.
type Pattern string

// Match reports whether b has the pattern's length and bytes. An empty pattern
// matches everything.
func (p Pattern) Match(b []byte) bool {
	if p == "" {
		return true
	}
	s := strings.ToUpper(strings.ReplaceAll(string(p), " ", ""))
	if len(s) != 2*len(b) {
		return false
	}
	got := strings.ToUpper(hex.EncodeToString(b))
	for i := 0; i < len(s); i += 2 {
		if s[i:i+2] != ".." && s[i:i+2] != got[i:i+2] {
			return false
		}
	}
	return true
}

func (p Pattern) valid() bool {
	s := strings.ReplaceAll(string(p), " ", "")
	if len(s)%2 != 0 {
		return false
	}
	for i := 0; i < len(s); i += 2 {
		if s[i:i+2] == ".." {
			continue
		}
		if _, err := hex.DecodeString(s[i : i+2]); err != nil {
			return false
		}
	}
	return true
}

// Chip describes a chip and its card manager.
type Chip struct {
	Kind  string `yaml:"kind"`
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	// Virtual says that it is a software card, and what it carries: refused in
	// production.
	Virtual *Virtual `yaml:"virtual"`
	// Untried says, in a sentence, that nobody has made a card with this
	// profile on the real chip yet. Such a profile is refused in production.
	Untried string   `yaml:"untried"`
	Sources []string `yaml:"sources"` // where the facts are from

	ATR  Pattern `yaml:"atr"`
	CPLC struct {
		Fabricator Hex `yaml:"fabricator"` // 2 bytes
		Type       Hex `yaml:"type"`       // 2 bytes
	} `yaml:"cplc"`
	GlobalPlatform struct {
		ISD      Hex    `yaml:"isd"`
		Protocol string `yaml:"protocol"` // scp02, scp03
		I        Hex    `yaml:"i"`        // 1 byte: options (GPC_SPE_034 E.1.1, Amendment D 5.1)
		Level    Hex    `yaml:"level"`    // 1 byte: security level of the channel
	} `yaml:"globalplatform"`
	Keys   map[string]KeySet `yaml:"keys"`
	Limits struct {
		CommandData  int `yaml:"commandData"`  // bytes of one command's data field
		ResponseData int `yaml:"responseData"` // bytes asked for by one READ BINARY; 0: what a short answer carries
		FileSize     int `yaml:"fileSize"`     // bytes of one elementary file
		LoadFile     int `yaml:"loadFile"`     // bytes of one load file data block; 0: not known
	} `yaml:"limits"`
	Quirks []string `yaml:"quirks"`
	Timing struct {
		Command time.Duration `yaml:"command"` // of one command, whatever it carries
		Byte    time.Duration `yaml:"byte"`    // of one byte of command or response
	} `yaml:"timing"`

	file string
}

// Virtual says what a software card is made with.
type Virtual struct {
	T0 bool `yaml:"t0"` // speaks T=0 instead of T=1
	// Installed are software applets that the card comes with, Carries those
	// whose load file alone is on it.
	Installed []string `yaml:"installed"`
	Carries   []string `yaml:"carries"`
	// Domains are security domains that the card comes with, beside the card
	// manager.
	Domains []VirtualDomain `yaml:"domains"`
}

// VirtualDomain is a security domain of a software card with what the maker has
// installed in it: what EMV CPS 1.1 section 2 calls pre-personalization. Channels
// with its applications have its keys.
type VirtualDomain struct {
	AID  Hex    `yaml:"aid"`
	Keys string `yaml:"keys"` // the chip's key set that it has, which says the protocol
	// KMCID is the first 6 bytes of KEYDATA, the identifier of the master key
	// (EMV CPS 1.1 table 6); the chip's serial number, 4 bytes, follows.
	KMCID     Hex               `yaml:"kmcId"`
	Instances []VirtualInstance `yaml:"instances"`
}

// VirtualInstance is an application that a maker has installed.
type VirtualInstance struct {
	Applet string `yaml:"applet"` // software applet, as in installed
	AID    Hex    `yaml:"aid"`
}

// KeySet names a set of card keys: ENC, MAC and DEK of one version,
// diversified from a master key in the token.
type KeySet struct {
	// Version is the key version number, 01 to 7F, or FF for the initial keys of
	// some chips. 00 opens a channel with the card's default keys.
	Version         byte   `yaml:"version"`
	Set             string `yaml:"set"`             // role and version of the master key: cmk.issuer/1
	Diversification string `yaml:"diversification"` // name of a diversification profile
	// Data is what the keys are diversified over: initialize-update (also when
	// empty), the ten bytes that INITIALIZE UPDATE begins with, or cplc, the
	// chip's serial number: fabricator, type, batch and serial of the CPLC.
	Data string `yaml:"data"`
	Type string `yaml:"type"` // aes (also when empty), 3des
	Bits int    `yaml:"bits"` // AES: 128, 192 or 256; 3DES: 128 (two keys)
	// Protocol and I are those of channels with these keys where they differ from
	// the chip's: a security domain of an application may speak another one. Level
	// goes with them.
	Protocol string `yaml:"protocol"` // scp02, scp03; empty: the chip's
	I        Hex    `yaml:"i"`        // 1 byte
	Level    Hex    `yaml:"level"`    // 1 byte

	template gp.Diversification
}

// DataCPLC is the Data of keys that are diversified over the CPLC.
const DataCPLC = "cplc"

// DiversificationData is the ten bytes that the keys of one card are diversified
// over. serial is the blank's serial number in hexadecimal, initializeUpdate the
// card's answer.
func (k KeySet) DiversificationData(serial string, initializeUpdate []byte) ([]byte, error) {
	if k.Data == DataCPLC {
		b, err := hex.DecodeString(serial)
		if err != nil || len(b) != diversificationSize {
			return nil, fmt.Errorf("the serial number of chip %s is not ten bytes in hexadecimal", serial)
		}
		return b, nil
	}
	if len(initializeUpdate) < diversificationSize {
		return nil, fmt.Errorf("%w: INITIALIZE UPDATE gave %d bytes", gp.ErrMalformed, len(initializeUpdate))
	}
	return bytes.Clone(initializeUpdate[:diversificationSize]), nil
}

const diversificationSize = 10

// Replaced is the version that PUT KEY replaces with another set: 00, which adds
// one, where the card has initial or default keys that PUT KEY cannot name.
func (k KeySet) Replaced() byte {
	if k.Version == factoryVersion {
		return 0
	}
	return k.Version
}

// Asked is the version that INITIALIZE UPDATE asks for: initial keys are found as
// the card's default ones.
func (k KeySet) Asked() byte { return k.Replaced() }

const factoryVersion = 0xFF

// Template is how the card's keys follow from the master key.
func (k KeySet) Template() gp.Diversification { return k.template }

// Diversification is a named way from a master key to a card's keys.
type Diversification struct {
	Kind   string `yaml:"kind"`
	Name   string `yaml:"name"`
	Title  string `yaml:"title"`
	Cipher string `yaml:"cipher"`
	Input  string `yaml:"input"`

	file string
}

// Applet describes how one application is personalized.
type Applet struct {
	Kind  string `yaml:"kind"`
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	AID   Hex    `yaml:"aid"`
	// Plaintext says, in a sentence, what travels to the card in the clear. Without
	// it no step may send a secret but enciphered.
	Plaintext string   `yaml:"plaintext"`
	Package   Package  `yaml:"package"`
	Reading   Reading  `yaml:"reading"`
	Quirks    []string `yaml:"quirks"`
	Steps     []Step   `yaml:"steps"`

	file    string
	capFile []byte
}

// Reading says how an application is read and proven.
type Reading struct {
	Access []string `yaml:"access"` // pace, bac: what a reader can open the application with
	// ChipProof is chip-authentication or active-authentication of an identity
	// application, offline-data-authentication of a payment application, none of
	// a directory that leads to one.
	ChipProof string `yaml:"chipProof"`
	PIN       bool   `yaml:"pin"` // it has a holder PIN, and the services file behind it
	// PINInPlain: over contacts the application takes PIN commands outside secure
	// messaging too, as the pin-pad of a reader sends them.
	PINInPlain bool `yaml:"pinInPlain"`
	// Pairings is how many SIM pairings' records file 0203 has places for, of 1024
	// bytes each; 0: the application has no such file.
	Pairings int `yaml:"pairings"`
}

// Package is the load file that an applet comes from.
type Package struct {
	AID    Hex    `yaml:"aid"`
	Module Hex    `yaml:"module"` // AID of the executable module; empty: the applet's
	CAP    string `yaml:"cap"`    // file beside the profiles, such as packages/applet.cap
	// SHA256 are the hashes of the load file data blocks that may be loaded.
	SHA256 []Hex `yaml:"sha256"`
}

// Product says which applications go on which chip, and with which options.
type Product struct {
	Kind         string        `yaml:"kind"`
	Name         string        `yaml:"name"`
	Title        string        `yaml:"title"`
	Chip         string        `yaml:"chip"`
	Applications []Application `yaml:"applications"`
	Photo        struct {
		MaxBytes int `yaml:"maxBytes"`
	} `yaml:"photo"`
	Validity struct {
		LifetimeYears int `yaml:"lifetimeYears"`
	} `yaml:"validity"`
	DataGroups []int `yaml:"dataGroups"`
	// Payment names the payment scheme of the bank application; empty: the product
	// has none.
	Payment string `yaml:"payment"`
	// Contactless offers the bank application over the contactless interface too.
	Contactless bool `yaml:"contactless"`

	file string
}

// Application is one application of a product.
type Application struct {
	Applet string `yaml:"applet"`
}

// Has reports whether the product makes a data group.
func (p *Product) Has(group int) bool {
	for _, n := range p.DataGroups {
		if n == group {
			return true
		}
	}
	return false
}

// Writes reports whether a step of one of the product's applets writes an
// element of the card image, such as file.services.
func (s *Set) Writes(p *Product, element string) bool {
	for _, app := range p.Applications {
		if a := s.Applets[app.Applet]; a != nil && a.written()[element] {
			return true
		}
	}
	return false
}

// Plaintext lists, in sentences, what the product's applets take in the clear;
// empty: nothing.
func (s *Set) Plaintext(p *Product) (out []string) {
	for _, app := range p.Applications {
		if a := s.Applets[app.Applet]; a != nil && a.Plaintext != "" {
			out = append(out, a.Plaintext)
		}
	}
	return out
}

// Payment is the payment scheme of a product, with what the product has chosen of
// it; nil: it has none.
func (s *Set) Payment(p *Product) *payment.Scheme {
	scheme := s.Payments[p.Payment]
	if scheme == nil {
		return nil
	}
	chosen := *scheme
	chosen.Contactless = p.Contactless
	return &chosen
}

// Identity is the product's identity application; nil: it has none.
func (s *Set) Identity(p *Product) *Applet {
	for _, app := range p.Applications {
		if a := s.Applets[app.Applet]; a != nil && !a.Partial() {
			return a
		}
	}
	return nil
}

// ProvenBy reports whether one of the product's applications proves its chip so:
// chip-authentication or active-authentication.
func (s *Set) ProvenBy(p *Product, proof string) bool {
	for _, app := range p.Applications {
		if a := s.Applets[app.Applet]; a != nil && a.Reading.ChipProof == proof {
			return true
		}
	}
	return false
}
