package profile

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"cardbureau/cardio/tlv"
)

// Value is a byte string that a profile puts together: hexadecimal digits,
// named elements, and a few pure functions of them, one after the other.
//
//	"62 tlv(04, secret.document-number) length(file.dg1, 2) 90 00"
//
// A word with a dot in it is a name, a word before a bracket is a function, and
// every other word is hexadecimal digits. There is nothing else: no variables,
// no conditions, no arithmetic.
type Value struct {
	text      string
	terms     []term
	line, col int
}

// term is one part of a value: literal bytes, a name, or a function.
type term struct {
	bytes []byte
	name  string
	call  string
	args  [][]term
	count int // the numeric argument of length and pad
	at    int // offset in the text
}

// UnmarshalYAML reads a value.
func (v *Value) UnmarshalYAML(n ast.Node) error {
	tok := n.GetToken()
	v.line, v.col = tok.Position.Line, tok.Position.Column
	parsed, err := ParseValue(tok.Value)
	if err != nil {
		return &Problem{Line: v.line, Col: v.col, Message: err.Error()}
	}
	v.text, v.terms = parsed.text, parsed.terms
	return nil
}

// String is the value as it stands in the profile.
func (v Value) String() string { return v.text }

// Empty reports whether the value has no parts.
func (v Value) Empty() bool { return len(v.terms) == 0 }

// ParseValue reads the text of a value. The error says what is wrong, in one
// sentence.
func ParseValue(text string) (Value, error) {
	p := valueParser{text: text}
	terms, err := p.terms(0)
	if err == nil && p.pos < len(text) {
		err = fmt.Errorf("%q: the bracket at character %d closes nothing", text, p.pos+1)
	}
	if err != nil {
		return Value{}, err
	}
	return Value{text: text, terms: terms}, nil
}

// functions are what a value may call: how many arguments each takes at least
// and at most, and whether the last is a number.
var functions = map[string]struct {
	least, most int
	number      bool // the second argument is a decimal number
}{
	"length":   {1, 2, true},
	"tlv":      {2, 2, false},
	"pad":      {2, 2, true},
	"encipher": {1, 1, false},
	"kcv":      {1, 1, false},
}

const maxNesting = 8

type valueParser struct {
	text string
	pos  int
}

func (p *valueParser) space() {
	for p.pos < len(p.text) && strings.ContainsRune(" \t\r\n", rune(p.text[p.pos])) {
		p.pos++
	}
}

// terms reads up to the end, a comma or a closing bracket.
func (p *valueParser) terms(depth int) (out []term, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%q: functions are nested more than %d deep", p.text, maxNesting)
	}
	for {
		p.space()
		if p.pos == len(p.text) || p.text[p.pos] == ',' || p.text[p.pos] == ')' {
			if depth == 0 && p.pos < len(p.text) && p.text[p.pos] == ',' {
				return nil, fmt.Errorf("%q: a comma at character %d outside a function", p.text, p.pos+1)
			}
			return out, nil
		}
		start := p.pos
		for p.pos < len(p.text) && isWord(p.text[p.pos]) {
			p.pos++
		}
		word := p.text[start:p.pos]
		if word == "" {
			return nil, fmt.Errorf("%q: character %d cannot stand in a value", p.text, start+1)
		}
		t := term{at: start}
		switch {
		case p.pos < len(p.text) && p.text[p.pos] == '(':
			t.call = word
			err = p.arguments(&t, depth)
		case strings.Contains(word, "."):
			t.name = word
		default:
			if t.bytes, err = hex.DecodeString(word); err != nil {
				err = fmt.Errorf("%q: %q is neither an even number of hexadecimal digits nor a name such as file.dg1", p.text, word)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
}

func isWord(c byte) bool {
	return c == '.' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *valueParser) arguments(t *term, depth int) error {
	f, ok := functions[t.call]
	if !ok {
		names := make([]string, 0, len(functions))
		for n := range functions {
			names = append(names, n)
		}
		return fmt.Errorf("%q: there is no function %s%s", p.text, t.call, suggest(t.call, names))
	}
	p.pos++ // the bracket
	for n := 0; ; n++ {
		if n == 1 && f.number {
			number, err := p.number()
			if err != nil {
				return err
			}
			t.count = number
		} else {
			arg, err := p.terms(depth + 1)
			if err != nil {
				return err
			}
			if len(arg) == 0 {
				return fmt.Errorf("%q: %s has an empty argument", p.text, t.call)
			}
			t.args = append(t.args, arg)
		}
		p.space()
		if p.pos == len(p.text) {
			return fmt.Errorf("%q: the bracket of %s is not closed", p.text, t.call)
		}
		end := p.text[p.pos] == ')'
		p.pos++
		if !end {
			if n+1 == f.most {
				return fmt.Errorf("%q: %s takes %d arguments at most", p.text, t.call, f.most)
			}
			continue
		}
		if n+1 < f.least {
			return fmt.Errorf("%q: %s takes %d arguments at least", p.text, t.call, f.least)
		}
		return p.fixed(t)
	}
}

func (p *valueParser) number() (int, error) {
	p.space()
	start := p.pos
	for p.pos < len(p.text) && isWord(p.text[p.pos]) {
		p.pos++
	}
	n, err := strconv.Atoi(p.text[start:p.pos])
	if err != nil || n < 1 || n > 64 {
		return 0, fmt.Errorf("%q: %q is no number from 1 to 64", p.text, p.text[start:p.pos])
	}
	return n, nil
}

// fixed checks what a function wants of its arguments whatever the card.
func (p *valueParser) fixed(t *term) error {
	switch t.call {
	case "length":
		if t.count > 4 {
			return fmt.Errorf("%q: a length has at most 4 bytes", p.text)
		}
	case "tlv":
		tag := t.args[0]
		if len(tag) != 1 || tag[0].bytes == nil {
			return fmt.Errorf("%q: the tag of tlv is hexadecimal digits", p.text)
		}
		if _, ok := tlvTag(tag[0].bytes); !ok {
			return fmt.Errorf("%q: %X is no tag", p.text, tag[0].bytes)
		}
	case "encipher", "kcv":
		arg := t.args[0]
		if len(arg) != 1 || !strings.HasPrefix(arg[0].name, secretPrefix) {
			return fmt.Errorf("%q: %s takes one secret, such as secret.pin", p.text, t.call)
		}
	}
	return nil
}

func tlvTag(b []byte) (tlv.Tag, bool) {
	if len(b) == 0 || len(b) > 3 {
		return 0, false
	}
	// One byte, or more where the low five bits of the first are all set and bit
	// 80 says that another follows (ISO/IEC 8825-1 8.1.2.4).
	if (b[0]&0x1F == 0x1F) != (len(b) > 1) {
		return 0, false
	}
	t := tlv.Tag(b[0])
	for i, c := range b[1:] {
		if (c&0x80 != 0) != (i < len(b)-2) {
			return 0, false
		}
		t = t<<8 | tlv.Tag(c)
	}
	return t, b[0] != 0
}

// Where names come from.
const (
	filePrefix    = "file."     // a file of the card image
	emvPrefix     = "emv."      // a data grouping of the payment application
	psePrefix     = "pse."      // one of its directory
	ppsePrefix    = "ppse."     // one of its contactless directory
	secretPrefix  = "secret."   // a secret of the card image
	capturePrefix = "captured." // what an earlier step took from a response
	loopPrefix    = "it."       // what a step that repeats is at
)

// reference is one use of a name: how it is used decides what may be used.
type reference struct {
	name string
	how  string // "", encipher or kcv
}

// references lists the names that a value uses.
func (v Value) references() (out []reference) {
	var walk func([]term, string)
	walk = func(terms []term, how string) {
		for _, t := range terms {
			switch {
			case t.name != "":
				out = append(out, reference{t.name, how})
			case t.call == "encipher" || t.call == "kcv":
				walk(t.args[0], t.call)
			case t.call == "length":
				walk(t.args[0], how)
			case t.call == "tlv":
				walk(t.args[1], how)
			case t.call == "pad":
				walk(t.args[0], how)
			}
		}
	}
	walk(v.terms, "")
	return out
}

// constant is the value's bytes where nothing in it depends on a card.
func (v Value) constant() ([]byte, bool) {
	if len(v.references()) > 0 {
		return nil, false
	}
	b, err := v.eval(nil)
	return b, err == nil
}

// loopNumbers are the names of a loop that say where it is, not what it holds,
// with their sizes in bytes.
var loopNumbers = map[string]int{
	"it.fid": 2, "it.tag": 2, "it.offset": 2, "it.index": 1, "it.sfi": 1, "it.record": 1, "it.reference": 1,
}

// headerSize is how many bytes the value comes to where that does not depend on
// a card.
func (v Value) headerSize() (n int, known bool) {
	for _, t := range v.terms {
		size, number := loopNumbers[t.name]
		switch {
		case t.bytes != nil:
			n += len(t.bytes)
		case number:
			n += size
		case t.call == "length" && t.count > 0:
			n += t.count
		default:
			return 0, false
		}
	}
	return n, true
}

// prefix is the first two bytes of a header: class and instruction.
func (v Value) prefix() (h [2]byte, ok bool) {
	var b []byte
	for _, t := range v.terms {
		if t.bytes == nil || len(b) >= len(h) {
			break
		}
		b = append(b, t.bytes...)
	}
	return h, copy(h[:], b) == len(h)
}

// lookup finds the bytes of a name; how is encipher or kcv for a secret that
// is wanted so.
type lookup func(name, how string) ([]byte, error)

// eval puts the bytes together.
func (v Value) eval(find lookup) ([]byte, error) { return evalTerms(v.terms, find) }

func evalTerms(terms []term, find lookup) (out []byte, err error) {
	for _, t := range terms {
		var b []byte
		switch {
		case t.name != "":
			b, err = find(t.name, "")
		case t.call != "":
			b, err = t.eval(find)
		default:
			b = t.bytes
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

func (t term) eval(find lookup) ([]byte, error) {
	switch t.call {
	case "encipher", "kcv":
		return find(t.args[0][0].name, t.call)
	case "tlv":
		v, err := evalTerms(t.args[1], find)
		if err != nil {
			return nil, err
		}
		tag, _ := tlvTag(t.args[0][0].bytes)
		return tlv.Encode(tag, v), nil
	}
	b, err := evalTerms(t.args[0], find)
	if err != nil {
		return nil, err
	}
	switch {
	case t.call == "pad":
		b = append(b, 0x80)
		for len(b)%t.count != 0 {
			b = append(b, 0)
		}
		return b, nil
	case t.count == 0:
		return tlv.AppendLength(nil, len(b)), nil
	}
	if n := len(b); t.count < 4 && n >= 1<<(8*t.count) {
		return nil, planMistake("a length of %d does not fit %d bytes", n, t.count)
	}
	out := make([]byte, t.count)
	for i, n := t.count-1, len(b); i >= 0; i, n = i-1, n>>8 {
		out[i] = byte(n)
	}
	return out, nil
}
