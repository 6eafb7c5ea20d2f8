// Package profile is the firmware-profile language: it reads the YAML files
// that describe chips, applets and products, checks them, and runs their steps
// on a card.
//
// A chip file says what the silicon and its card manager are, an applet file
// how an application is personalized (ordered steps in a small vocabulary, each
// with a probe that reads from the card whether it is done), and a product file
// which applications go on which chip. The package knows GlobalPlatform; it
// knows no person, no database and no keys: values come as named elements, keys
// as named sets that a ChannelOpener turns into secure channels.
package profile

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"cardbureau/cardio/gp"
)

// Hex is a byte string written as hexadecimal digits.
type Hex []byte

// UnmarshalYAML reads hexadecimal digits; spaces and colons are allowed.
func (h *Hex) UnmarshalYAML(n ast.Node) error {
	text := n.GetToken().Value
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(text))
	if err != nil {
		pos := n.GetToken().Position
		return &Problem{Line: pos.Line, Col: pos.Column, Message: fmt.Sprintf("%q is not an even number of hexadecimal digits", text)}
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
	Kind    string `yaml:"kind"`
	Name    string `yaml:"name"`
	Title   string `yaml:"title"`
	Virtual bool   `yaml:"virtual"` // a software card: refused in production

	ATR  Pattern `yaml:"atr"`
	CPLC struct {
		Fabricator Hex `yaml:"fabricator"` // 2 bytes
		Type       Hex `yaml:"type"`       // 2 bytes
	} `yaml:"cplc"`
	GlobalPlatform struct {
		ISD      Hex    `yaml:"isd"`
		Protocol string `yaml:"protocol"` // scp03
		I        Hex    `yaml:"i"`        // 1 byte: SCP03 options (GPC Amendment D 5.1)
		Level    Hex    `yaml:"level"`    // 1 byte: security level of the channel
	} `yaml:"globalplatform"`
	Keys   map[string]KeySet `yaml:"keys"`
	Limits struct {
		CommandData  int `yaml:"commandData"`  // bytes of one command's data field
		ResponseData int `yaml:"responseData"` // bytes asked for by one READ BINARY; 0: what a short answer carries
		FileSize     int `yaml:"fileSize"`     // bytes of one elementary file
	} `yaml:"limits"`

	file string
}

// KeySet names a set of card keys: ENC, MAC and DEK of one version,
// diversified from a master key in the token.
type KeySet struct {
	Version         byte   `yaml:"version"`
	Set             string `yaml:"set"` // role and version of the master key: cmk.issuer/1
	Diversification string `yaml:"diversification"`
	Bits            int    `yaml:"bits"` // 128, 192 or 256
}

// Template is the diversification that its name stands for.
func (k KeySet) Template() gp.Diversification {
	if k.Diversification == "kdf3" {
		return gp.Diversification{Cipher: gp.DiversifyAESCMAC, Input: "counter 000000 key 00 kdd"}
	}
	return gp.Diversification{Cipher: k.Diversification}
}

// Applet describes how one application is personalized.
type Applet struct {
	Kind  string `yaml:"kind"`
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	AID   Hex    `yaml:"aid"`
	Steps []Step `yaml:"steps"`

	file string
}

// Kind says what may be done with a step whose result is not known.
type Kind string

// The kinds of steps. A step without a kind changes nothing on the card.
const (
	Repeatable Kind = "repeatable" // may be sent again in whole
	Resumable  Kind = "resumable"  // may be continued where it stopped
	Final      Kind = "final"      // cannot be undone
)

// Step is one step of an applet's personalization: exactly one action.
type Step struct {
	ID    string `yaml:"id"`
	Kind  Kind   `yaml:"kind"`
	Probe *Probe `yaml:"probe"`

	OpenChannel *OpenChannel `yaml:"open-channel"`
	Install     *Install     `yaml:"install-for-personalization"`
	Store       *Store       `yaml:"store"`
	PutKey      *PutKey      `yaml:"put-key"`
	SetStatus   *SetStatus   `yaml:"set-status"`
	Refused     *Refused     `yaml:"refused"`
	Prove       string       `yaml:"prove"`
}

// OpenChannel selects the issuer security domain and opens a secure channel
// with one of the chip's key sets.
type OpenChannel struct {
	Keys string `yaml:"keys"`
}

// Install is INSTALL [for personalization] of the applet: STORE DATA that
// follows goes to it (GPC 2.3.1 section 11.5.2.3.6).
type Install struct{}

// Store is one sequence of STORE DATA commands (GPC 2.3.1 section 11.11): the
// DGIs as one stream, cut into blocks as large as the channel carries.
type Store struct {
	Enciphered bool  `yaml:"enciphered"` // values are enciphered under the DEK
	DGIs       []DGI `yaml:"dgis"`
}

// DGI is one data grouping: a two-byte identifier and a named value. No name
// means an empty value.
type DGI struct {
	DGI   Hex    `yaml:"dgi"`
	Value string `yaml:"value"`
}

// PutKey replaces one of the chip's key sets by another (GPC 2.3.1 section
// 11.8) and checks the key check values that the card returns.
type PutKey struct {
	Replace string `yaml:"replace"`
	With    string `yaml:"with"`
}

// SetStatus moves the card's life cycle (GPC 2.3.1 section 11.10).
type SetStatus struct {
	Card string `yaml:"card"` // initialized, secured
}

// Refused sends a write that the card must refuse with the given status word.
type Refused struct {
	DGI    Hex `yaml:"dgi"`
	Status Hex `yaml:"status"` // 2 bytes
}

// Probe reads from the card whether a step is done.
type Probe struct {
	KeyVersion       string `yaml:"key-version"`       // the key information template lists this key set's version
	ApplicationState Hex    `yaml:"application-state"` // GET STATUS reports this life cycle state, 1 byte
	CardState        string `yaml:"card-state"`        // GET STATUS reports this card life cycle state
}

// Card life cycle states (GPC 2.3.1 table 11-6).
var cardStates = map[string]byte{
	"op-ready": 0x01, "initialized": 0x07, "secured": 0x0F, "card-locked": 0x7F, "terminated": 0xFF,
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

	file string
}

// Application is one application of a product.
type Application struct {
	Applet string `yaml:"applet"`
}
