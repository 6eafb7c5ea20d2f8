package iso8583

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	lib "github.com/moov-io/iso8583"

	"cardbureau/cardio/tlv"
	"cardbureau/personalization/bank"
)

// echo is what an answer repeats of a message.
type echo struct {
	values map[int]string
	pans   []string // that the message names
	fits   bool     // nothing of the message is wrong, and nothing had to be left out
}

// echoOf takes the elements of echoed that are there, are what they must be and hold no
// PAN of the message. All of them are looked at, whatever else is wrong.
func echoOf(in *lib.Message, text []byte) echo {
	// The library makes an element that is asked for: what is there comes first.
	present := in.GetFields()
	e := echo{values: map[int]string{}, fits: whole(in, text)}
	value := func(n int) string {
		if present[n] == nil {
			return ""
		}
		v, err := in.GetString(n)
		e.fits = e.fits && err == nil
		return v
	}
	for _, n := range echoed {
		if present[n] != nil {
			e.values[n] = value(n)
		}
	}
	for _, n := range numeric {
		if strings.Trim(value(n), "0123456789") != "" {
			e.drop(n)
		}
	}
	e.pans = numbers(value)
	for n, v := range e.values {
		switch {
		case holds(v, e.pans):
			e.drop(n)
		case slices.Contains(free, n) && holds(v, parts(e.pans)):
			e.drop(free...) // the rest of it may be beside
		}
	}
	e.part("")
	return e
}

func (e *echo) drop(elements ...int) {
	e.fits = false
	for _, n := range elements {
		delete(e.values, n)
	}
}

// free are the elements that can hold whatever a switch likes.
var free = []int{32, 37, 41, 42}

// shown is how many digits of a PAN may be seen, first six and last four.
const shown = 10

// parts are the runs of digits of PANs that say more of them than may be seen: a PAN
// that was cut to an element's length. Those of zeros stand in numbers by chance.
func parts(pans []string) (out []string) {
	for _, p := range pans {
		for i := range len(p) - shown {
			if run := p[i : i+shown+1]; strings.Count(run, "0") < shown-1 {
				out = append(out, run)
			}
		}
	}
	return out
}

// part leaves elements out that hold a PAN together, where code is element 39 among
// them: first those go that can hold whatever a switch likes, then all.
func (e *echo) part(code string) {
	for _, free := range [][]int{free, echoed} {
		together := maps.Clone(e.values)
		together[fieldCode] = code
		var all strings.Builder
		for _, n := range slices.Sorted(maps.Keys(together)) {
			all.WriteString(together[n])
		}
		if !holds(all.String(), e.pans) {
			return
		}
		e.drop(free...)
	}
}

// whole reports whether the message is the one that its elements make: nothing follows
// them, and no length is written in another way. A second bitmap may have no bit set.
func whole(in *lib.Message, text []byte) bool {
	again, err := in.Pack()
	if err != nil || len(again) < 5 {
		return false
	}
	again[4] |= text[4] & secondBitmap
	return bytes.Equal(again, text)
}

// shortestPAN is the fewest digits of a number that is looked for: fewer stand in
// amounts and times by chance.
const shortestPAN = 8

// numbers are the PANs that the message names: in elements 2 and 34, on its tracks,
// and in the card's data.
func numbers(value func(n int) string) (out []string) {
	candidates := []string{value(fieldPAN), digits(value(34)), digits(value(35)), digits(value(45))}
	if track3 := digits(value(36)); len(track3) > 2 {
		candidates = append(candidates, track3[2:]) // after the format code (ISO/IEC 4909)
	}
	icc, err := hex.DecodeString(value(fieldICC)) // as the library prints it
	for _, tag := range []tlv.Tag{tagPAN, tagTrack2} {
		if v, ok := tlv.Find(icc, tag); ok && err == nil {
			candidates = append(candidates, digits(hex.EncodeToString(v)))
		}
	}
	for _, c := range candidates {
		if len(c) >= shortestPAN {
			out = append(out, c)
		}
	}
	return out
}

// digits are the first that follow one another in a text: of a track, the PAN.
func digits(text string) string {
	text = strings.TrimLeftFunc(text, noDigit)
	if end := strings.IndexFunc(text, noDigit); end >= 0 {
		return text[:end]
	}
	return text
}

func noDigit(c rune) bool { return c < '0' || c > '9' }

// holds reports whether a text has one of the numbers, with or without what stands
// between its digits.
func holds(text string, numbers []string) bool {
	bare := strings.Join(strings.FieldsFunc(text, noDigit), "")
	return slices.ContainsFunc(numbers, func(n string) bool { return strings.Contains(text, n) || strings.Contains(bare, n) })
}

// Objects of element 55 that the message's own elements are compared with.
const (
	tagPAN      = 0x5A
	tagTrack2   = 0x57
	tagAmount   = 0x9F02 // amount, authorized: n 12, 6 bytes
	tagCurrency = 0x5F2A // transaction currency code: n 3, 2 bytes
)

// agree reports whether amount and currency of the message are those that the
// cryptogram covers: an approval is for what the card has signed.
func agree(in *lib.Message, icc []byte) bool {
	have, err := bank.Objects(icc)
	if err != nil {
		return false
	}
	amount, ok := have[tagAmount]
	said, err := in.GetString(fieldAmount)
	if err != nil || !ok || hex.EncodeToString(amount) != said {
		return false
	}
	currency, ok := have[tagCurrency]
	said, err = in.GetString(fieldCurrency)
	return err == nil && ok && (said == "" || hex.EncodeToString(currency) == "0"+said)
}
