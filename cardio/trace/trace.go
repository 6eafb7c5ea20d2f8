// Package trace records what goes over between a host and a card, as JSON
// lines that may be shown to a chip's maker, and plays a record back as a card.
//
// What a line may show is an allow-list (see redact.go): the answers to
// questions that anyone may ask a card, and the outlines of card content
// management. Everything else, and whatever travels inside secure messaging,
// is its length and a keyed digest. The key is random, another one for each
// card, and never leaves memory: equal data of one card can be seen to be
// equal, and nothing can be found by trying values afterwards. Serial numbers
// of chips are such digests too, so that a trace does not follow a card.
//
// What is inside secure messaging can be shown beside it, by the same
// allow-list, where whoever holds the channel says so: Card.Watch.
//
// The format is described in docs/trace.md. The package knows no reader: it
// stands between an apdu.Card and whoever uses it.
package trace

import "time"

// Format and Version are what a trace's first line says.
const (
	Format  = "cardbureau-apdu-trace"
	Version = 1
)

// Mode says how much a trace holds.
type Mode string

// The modes of a trace.
const (
	Redacted Mode = "redacted" // by the allow-list
	Full     Mode = "full"     // every byte: development only
)

// Header is a trace's first line.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Mode    Mode      `json:"mode"`
	Started time.Time `json:"started"` // UTC, to the second
	Reader  string    `json:"reader,omitempty"`
}

// Kind is what an event tells of.
type Kind string

// The kinds of events.
const (
	// CardIn: another card begins. Digests before and after it have different keys.
	CardIn Kind = "card"
	// Reset: the card was reset, warm or cold.
	Reset Kind = "reset"
	// Exchange: a command went to the card; with its answer, or with Error.
	Exchange Kind = "exchange"
	// Opened: what was inside the answer to an earlier exchange.
	Opened Kind = "opened"
)

// Event is a line after the first. Fields that do not belong to its kind are
// empty.
type Event struct {
	N    int   `json:"n"`  // 1, 2, 3…
	At   int64 `json:"at"` // microseconds since the trace began
	Kind Kind  `json:"event"`

	ATR  string `json:"atr,omitempty"`  // CardIn and Reset: answer to reset, hexadecimal
	Cold bool   `json:"cold,omitempty"` // Reset: by power

	*Command
	Answer
	// Error says why there is no answer: InDoubt or NotSent.
	Error string `json:"error,omitempty"`
	Took  int64  `json:"took,omitempty"` // microseconds

	// Inside is the command that the one sent protects.
	Inside *Command `json:"inside,omitempty"`
	// Of is the number of the exchange that an Opened answer belongs to.
	Of int `json:"of,omitempty"`
}

// Why there is no answer.
const (
	InDoubt = "in-doubt" // the command may have reached the card
	NotSent = "not-sent" // it certainly has not
)

// Command is a command APDU (ISO/IEC 7816-4 clause 5.1).
type Command struct {
	// Header is CLA INS P1 P2, 8 hexadecimal digits; empty where the bytes are
	// no command APDU, all of which are then in Data.
	Header   string `json:"header,omitempty"`
	Name     string `json:"name,omitempty"`    // of the instruction, for people
	Channel  int    `json:"channel,omitempty"` // logical channel
	Secured  bool   `json:"secured,omitempty"` // secure messaging
	Lc       int    `json:"lc"`                // bytes of data
	Ne       int    `json:"ne"`                // bytes of answer asked for
	Extended bool   `json:"extended,omitempty"`
	Data     Parts  `json:"data,omitempty"`
}

// Answer is a response APDU.
type Answer struct {
	SW       string `json:"sw,omitempty"`     // 4 hexadecimal digits
	Length   int    `json:"length,omitempty"` // bytes of data
	Response Parts  `json:"response,omitempty"`
}

// Parts are bytes, some of which are shown.
type Parts []Part

// Part is a run of bytes: shown in hexadecimal, or as length and keyed digest.
type Part struct {
	Hex    string `json:"hex,omitempty"`
	Length int    `json:"length,omitempty"` // of what is not shown
	Digest string `json:"digest,omitempty"` // 32 hexadecimal digits
}

// size is how many bytes a part stands for.
func (p Part) size() int {
	if p.Hex != "" {
		return len(p.Hex) / 2
	}
	return p.Length
}

// Size is how many bytes the parts stand for.
func (p Parts) Size() int {
	n := 0
	for _, one := range p {
		n += one.size()
	}
	return n
}
