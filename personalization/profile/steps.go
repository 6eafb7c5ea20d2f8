package profile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

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

	Select         *Select         `yaml:"select"`
	OpenChannel    *OpenChannel    `yaml:"open-channel"`
	Load           *LoadPackage    `yaml:"load"`
	InstallApplet  *InstallApplet  `yaml:"install"`
	MakeSelectable *MakeSelectable `yaml:"make-selectable"`
	Install        *Install        `yaml:"install-for-personalization"`
	Store          *Store          `yaml:"store"`
	Files          *Files          `yaml:"files"`
	Records        *Records        `yaml:"records"`
	PutData        *PutData        `yaml:"put-data"`
	PutKey         *PutKey         `yaml:"put-key"`
	GenerateKey    *Command        `yaml:"generate-key"`
	Command        *Command        `yaml:"command"`
	SetStatus      *SetStatus      `yaml:"set-status"`
	Lock           *Command        `yaml:"lock"`
	Refused        *Refused        `yaml:"refused"`
	Prove          string          `yaml:"prove"`

	// of is the applet whose step it is, in a run.
	of *Applet
}

// Select selects an application in the clear: what follows goes to it without
// secure messaging.
type Select struct {
	AID Hex `yaml:"aid"` // empty: the applet's
}

// OpenChannel selects a security domain, or an application that speaks for its
// own, and opens a secure channel with one of the chip's key sets.
type OpenChannel struct {
	Keys string `yaml:"keys"`
	// With is isd (also when empty), applet, or an AID.
	With  string `yaml:"with"`
	Level Hex    `yaml:"level"` // empty: the chip's
}

// LoadPackage is INSTALL [for load] and LOAD of the applet's package (GPC_SPE_034
// 11.5.2.3.1, 11.6).
type LoadPackage struct {
	Domain Hex `yaml:"domain"` // security domain that it goes to; empty: the selected one
}

// InstallApplet is INSTALL [for install], by default also [for make selectable]
// (GPC_SPE_034 11.5.2.3.2).
type InstallApplet struct {
	Privileges Hex   `yaml:"privileges"` // 3 bytes; empty: none
	Parameters Value `yaml:"parameters"` // C9: the application's own
	// InstalledOnly leaves it installed; a make-selectable step follows.
	InstalledOnly bool `yaml:"installed-only"`
}

// MakeSelectable is INSTALL [for make selectable] (GPC_SPE_034 11.5.2.3.3).
type MakeSelectable struct {
	Privileges Hex `yaml:"privileges"`
}

// Install is INSTALL [for personalization] of the applet: STORE DATA that
// follows goes to it (GPC_SPE_034 11.5.2.3.6).
type Install struct{}

// Store is one sequence of STORE DATA commands (GPC_SPE_034 11.11): the
// DGIs as one stream, cut into blocks as large as the channel carries. A block
// holds enciphered values or plain ones, never both.
type Store struct {
	Enciphered bool `yaml:"enciphered"` // all values are enciphered under the DEK
	// OnePerCommand begins a command with every DGI, for applets that do not take
	// a stream.
	OnePerCommand bool     `yaml:"one-per-command"`
	P1            *StoreP1 `yaml:"p1"` // left out: DGI format stated (08, 68), last 80
	DGIs          []DGI    `yaml:"dgis"`
}

// StoreP1 is what P1 of STORE DATA is where an applet does not take GlobalPlatform's:
// EMV CPS has 00 and 60, and 80 for the last block. 1 byte each.
type StoreP1 struct {
	Plain      Hex `yaml:"plain"`
	Enciphered Hex `yaml:"enciphered"`
	Last       Hex `yaml:"last"` // bits that are set in the last one; 00: it is not marked
}

// DGI is one data grouping: a two-byte identifier and a value. No value
// is an empty one.
type DGI struct {
	DGI   Hex   `yaml:"dgi"`
	Value Value `yaml:"value"`
	// Enciphered says that this value is enciphered under the DEK, where not all are.
	Enciphered bool `yaml:"enciphered"`
	// Optional leaves the DGI out of cards whose product does not make its value.
	Optional bool `yaml:"optional"`
}

// secret reports whether a DGI of the sequence is enciphered.
func (s *Store) secret(d *DGI) bool { return s.Enciphered || d.Enciphered }

// Command is a command of the application's own. Its header is four bytes; le is
// how many bytes of answer are asked for, 256 for all.
type Command struct {
	Header Value  `yaml:"header"`
	Data   Value  `yaml:"data"`
	Le     int    `yaml:"le"`
	Expect []Hex  `yaml:"expect"` // status words to go on after; none: 9000
	Chunk  *Chunk `yaml:"chunk"`
	// Capture names parts of the answer: captured.NAME in later steps.
	Capture map[string]Field `yaml:"capture"`
}

// Chunk sends a command once for each part of a value: it.chunk is the part,
// it.offset its offset in two bytes, it.index its number in one, from 00.
type Chunk struct {
	Of   Value `yaml:"of"`
	Size int   `yaml:"size"` // bytes of a part
	Max  int   `yaml:"max"`  // parts at most
	Last Hex   `yaml:"last"` // bits that are set in P1 of the last command, 1 byte
}

// Field is a part of a response: bytes "2..9" or "2..", or the value of a data
// object "tag 7F49/86".
type Field struct {
	first, last int // last < 0: to the end
	tags        []uint32
	text        string
}

// UnmarshalYAML reads a field.
func (f *Field) UnmarshalYAML(n ast.Node) error {
	tok := n.GetToken()
	parsed, err := parseField(tok.Value)
	if err != nil {
		return &Problem{Line: tok.Position.Line, Col: tok.Position.Column, Message: err.Error()}
	}
	*f = parsed
	return nil
}

func parseField(text string) (f Field, err error) {
	bad := fmt.Errorf("%q is no part of a response: write bytes as \"2..9\" or \"2..\", or a data object as \"tag 7F49/86\"", text)
	f.text = text
	if rest, ok := strings.CutPrefix(text, "tag "); ok {
		for _, s := range strings.Split(rest, "/") {
			n, err := strconv.ParseUint(strings.TrimSpace(s), 16, 24)
			if err != nil || n == 0 {
				return f, bad
			}
			f.tags = append(f.tags, uint32(n))
		}
		return f, nil
	}
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return f, bad
	}
	if f.first, err = strconv.Atoi(from); err != nil || f.first < 0 {
		return f, bad
	}
	if f.last = -1; to == "" {
		return f, nil
	}
	if f.last, err = strconv.Atoi(to); err != nil || f.last < f.first {
		return f, bad
	}
	return f, nil
}

// Files writes elementary files: each is created where a create command is
// given, selected, and written in parts. In its values it.fid is the file
// identifier, it.value the whole content.
type Files struct {
	Create *Command `yaml:"create"`
	Select *Command `yaml:"select"` // left out: SELECT by identifier, 00A4020C
	Update *Command `yaml:"update"` // left out: UPDATE BINARY, 00D6
	Chunk  int      `yaml:"chunk"`  // bytes of one update; left out: as many as fit
	List   []File   `yaml:"list"`
}

// File is one elementary file.
type File struct {
	FID   Hex   `yaml:"fid"` // 2 bytes
	Value Value `yaml:"value"`
}

// Records writes records of the files with these short identifiers: UPDATE
// RECORD (ISO/IEC 7816-4 11.4.4), or a command in which it.record is the number,
// it.reference P2 of UPDATE RECORD, it.sfi the identifier and it.value the
// record.
type Records struct {
	Update *Command `yaml:"update"`
	List   []Record `yaml:"list"`
}

// Record is one record of a file.
type Record struct {
	SFI    int   `yaml:"sfi"`
	Number int   `yaml:"number"`
	Value  Value `yaml:"value"`
}

// PutData writes data objects: PUT DATA (ISO/IEC 7816-4 11.5.3), or a command in
// which it.tag is the tag in two bytes and it.value the value.
type PutData struct {
	Update *Command `yaml:"update"`
	List   []Object `yaml:"list"`
}

// Object is one data object.
type Object struct {
	Tag   Hex   `yaml:"tag"` // 1 or 2 bytes
	Value Value `yaml:"value"`
}

// PutKey replaces one of the chip's key sets by another, or adds one (GPC_SPE_034
// 11.8), and checks the key check values that the card returns.
type PutKey struct {
	Replace string `yaml:"replace"`
	With    string `yaml:"with"`
}

// SetStatus moves a life cycle (GPC_SPE_034 11.10): the card's, or the
// application's.
type SetStatus struct {
	Card        string `yaml:"card"`        // op-ready, initialized, secured, card-locked, terminated
	Application Hex    `yaml:"application"` // 1 byte
}

// Refused sends a write that the card must refuse with the given status word: a
// DGI by STORE DATA, or a command.
type Refused struct {
	DGI     Hex      `yaml:"dgi"`
	Command *Command `yaml:"command"`
	Status  Hex      `yaml:"status"` // 2 bytes
}

// Probe reads from the card whether a step is done: exactly one question.
type Probe struct {
	KeyVersion       string        `yaml:"key-version"`       // the key information template lists this key set's version
	ApplicationState Hex           `yaml:"application-state"` // GET STATUS reports this life cycle state, 1 byte
	CardState        string        `yaml:"card-state"`        // GET STATUS reports this card life cycle state, or a later one
	Installed        bool          `yaml:"installed"`         // GET STATUS lists the application
	Loaded           bool          `yaml:"loaded"`            // GET STATUS lists the applet's package
	Answer           *ProbeCommand `yaml:"answer"`            // what the application answers to a command that changes nothing
}

// ProbeCommand selects the applet in the clear and sends it a command that
// changes nothing. Any other status word than those listed is an error.
type ProbeCommand struct {
	Header  Value `yaml:"header"`
	Data    Value `yaml:"data"`
	Le      int   `yaml:"le"`
	Done    []Hex `yaml:"done"`    // status words that say: done
	Pending []Hex `yaml:"pending"` // status words that say: not done
}

// Card life cycle states (GPC_SPE_034 table 11-6).
var cardStates = map[string]byte{
	"op-ready": 0x01, "initialized": 0x07, "secured": 0x0F, "card-locked": 0x7F, "terminated": 0xFF,
}
