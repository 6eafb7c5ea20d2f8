package endtoend

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cardbureau/personalization/record"
)

// needles are what must not be found: secrets in every form that they may take
// on the way to a log, a table or a message.
type needles struct {
	// forms of at least shortest bytes, by their first shortest bytes
	forms map[uint64][]needle
	first [1 << 16]bool // first two bytes of any form
	// digits are short numbers (CAN, PIN): found only as a number of their own,
	// for their digits stand in many places by chance.
	digits map[string]string
	kinds  map[string]bool
}

type needle struct {
	kind string // what it is, and whose
	form []byte
}

// shortest is the length in bytes below which a form would be found by chance.
const shortest = 8

func newNeedles() *needles {
	return &needles{forms: map[uint64][]needle{}, digits: map[string]string{}, kinds: map[string]bool{}}
}

func (n *needles) form(kind string, form []byte) {
	if len(form) < shortest {
		return
	}
	key := binary.BigEndian.Uint64(form)
	for _, known := range n.forms[key] {
		if bytes.Equal(known.form, form) {
			return
		}
	}
	n.forms[key] = append(n.forms[key], needle{kind, bytes.Clone(form)})
	n.first[binary.BigEndian.Uint16(form)] = true
}

// value adds bytes as they are, in hexadecimal digits and in base64, wherever
// in a longer text they begin.
func (n *needles) value(kind string, b []byte) {
	n.kinds[kind] = true
	n.form(kind, b)
	n.encoded(kind, b)
}

func (n *needles) encoded(kind string, b []byte) {
	n.form(kind, []byte(hex.EncodeToString(b)))
	n.form(kind, []byte(strings.ToUpper(hex.EncodeToString(b))))
	for before := range 3 {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, before), b...))
			// Without the characters that neighbours have a part in.
			text = text[(before*8+5)/6:]
			if (before+len(b))%3 != 0 {
				text = text[:len(text)-1]
			}
			n.form(kind, []byte(text))
		}
	}
}

// photo adds slices of a picture, which stand for the whole.
func (n *needles) photo(kind string, b []byte) {
	for _, at := range []int{len(b) / 3, len(b) / 2, len(b) - 64} {
		n.value(kind, b[at:at+32])
		// In a signed record it is base64 of base64.
		inner := base64.StdEncoding.EncodeToString(b)
		at = at / 3 * 4
		n.encoded(kind, []byte(inner[at:at+32]))
	}
}

// text adds a name as people and programs write it.
func (n *needles) text(kind, s string) {
	if s == "" {
		return
	}
	var escaped, upper strings.Builder
	for _, r := range s {
		if r < 0x80 {
			escaped.WriteRune(r)
			upper.WriteRune(r)
			continue
		}
		fmt.Fprintf(&escaped, `\u%04x`, r)
		fmt.Fprintf(&upper, `\u%04X`, r)
	}
	for _, form := range []string{
		s, strings.ToUpper(s), strings.ToLower(s), record.Normalize(s), escaped.String(), upper.String(),
		url.QueryEscape(s), strings.ToLower(url.QueryEscape(s)), fmt.Sprintf("%+q", s),
	} {
		n.value(kind, []byte(strings.Trim(form, `"`)))
	}
}

// number adds a number: long ones anywhere, short ones as a number of its own.
func (n *needles) number(kind, digits string) {
	n.kinds[kind] = true
	n.encoded(kind, []byte(digits))
	if len(digits) > shortest {
		n.form(kind, []byte(digits))
		return
	}
	n.digits[digits] = kind
}

// search names what is found in a text, each kind once.
func (n *needles) search(b []byte) (found []string) {
	note := func(kind string) {
		if !slices.Contains(found, kind) {
			found = append(found, kind)
		}
	}
	for i := 0; i+shortest <= len(b); i++ {
		if !n.first[binary.BigEndian.Uint16(b[i:])] {
			continue
		}
		for _, f := range n.forms[binary.BigEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], f.form) {
				note(f.kind)
			}
		}
	}
	for i := 0; i < len(b); i++ {
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		if i-start < 6 || i-start > shortest || i < len(b) && letter(b[i]) {
			continue
		}
		// What follows a point is a fraction: of a second, mostly.
		if start > 0 && (letter(b[start-1]) || b[start-1] == '.') {
			continue
		}
		if kind, ok := n.digits[string(b[start:i])]; ok {
			note(kind)
		}
	}
	return found
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// TestSearch plants secrets in every form, between other bytes, and finds them:
// else the silence of the other test would mean nothing.
func TestSearch(t *testing.T) {
	photo := make([]byte, 4000)
	for i := range photo {
		photo[i] = byte(i * i >> 3)
	}
	key := []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff")
	n := newNeedles()
	n.photo("photo", photo)
	n.value("key", key)
	n.text("name", "گل\u200cاندام")
	n.text("latin", "Qushqurban")
	n.number("unique id", "100234567890")
	n.number("CAN", "271828")
	n.number("PUK", "31415926")
	b64 := base64.StdEncoding.EncodeToString
	for what, c := range map[string]struct{ hay, want string }{
		"photo":                {string(photo), "photo"},
		"photo, hex":           {hex.EncodeToString(photo), "photo"},
		"photo, base64":        {b64(photo), "photo"},
		"photo, base64, later": {b64([]byte("x" + string(photo))), "photo"},
		"photo in a JWS":       {base64.RawURLEncoding.EncodeToString([]byte(`{"data":"` + b64(photo) + `"}`)), "photo"},
		"key":                  {string(key), "key"},
		"key, hex":             {fmt.Sprintf("%X", key), "key"},
		"key, base64":          {b64([]byte("ab" + string(key) + "c")), "key"},
		"name":                 {"name=گل\u200cاندام.", "name"},
		"name, normalized":     {record.Normalize("گل\u200cاندام"), "name"},
		"name, escaped":        {fmt.Sprintf("%+q", "گل\u200cاندام"), "name"},
		"name, in a URL":       {"/x?n=" + url.QueryEscape("گل\u200cاندام"), "name"},
		"name, base64":         {b64([]byte("1گل\u200cاندام")), "name"},
		"latin":                {"P<UTOQUSHQURBAN<<", "latin"},
		"latin, hex":           {hex.EncodeToString([]byte("QUSHQURBAN")), "latin"},
		"unique id":            {"id1002345678901", "unique id"},
		"CAN":                  {"can=271828;", "CAN"},
		"CAN, JSON":            {`{"can":"271828"}`, "CAN"},
		"CAN, hex":             {hex.EncodeToString([]byte("271828")), "CAN"},
		"PUK":                  {"\x0031415926\x00", "PUK"},
		"a longer number":      {"2718281", ""},
		"a fraction":           {"06:10:20.271828+00", ""},
		"part of a name":       {"QUSHQURBA", ""},
	} {
		found := n.search([]byte("\xfe..." + c.hay + "...\x01"))
		if c.want == "" && len(found) > 0 || c.want != "" && !slices.Equal(found, []string{c.want}) {
			t.Errorf("%s: found %q", what, found)
		}
	}
}
