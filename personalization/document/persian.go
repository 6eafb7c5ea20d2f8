package document

import (
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// The PDF library draws one glyph a code, from left to right. So Persian and Pashto
// are shaped and ordered here: letters become the forms that stand at their place in
// the word, and a line becomes what is seen of it, first to last from the left.

// Forms of an Arabic letter, in the order of Unicode's presentation forms.
const (
	isolated = iota
	final
	initial
	medial
	formCount
)

type forms [formCount]rune

const (
	lam            = 'ل'
	tatweel        = 'ـ'
	zeroWidthJoin  = '\u200D'
	noGlyph        = '?'
	privateForms   = 0xE000 // as fonts/make.py gives them
	firstPrivate   = 0x0620
	behindPrivate  = 0x0700
	leftToRight    = "\u2066"
	endOfIsolation = "\u2069"
)

// arabicForms are the forms of letters, and of lam with an alef (keyed by the alef).
// They come from Unicode's compatibility decompositions (blocks Arabic Presentation
// Forms A and B), and for letters without such codes from the font.
var arabicForms = sync.OnceValues(func() (letters, lamAlef map[rune]forms) {
	seen, seenLam := map[rune][]rune{}, map[rune][]rune{}
	for code := rune(0xFB50); code <= 0xFEFC; code++ {
		if glyph(code) == 0 || code == 0xFBE8 || code == 0xFBE9 { // forms of Uighur's letter that shares alef maksura
			continue
		}
		switch base := []rune(norm.NFKC.String(string(code))); {
		case len(base) == 1 && base[0] != code && unicode.IsLetter(base[0]):
			seen[base[0]] = append(seen[base[0]], code)
		case len(base) == 2 && base[0] == lam && code >= 0xFEF5:
			seenLam[base[1]] = append(seenLam[base[1]], code)
		}
	}
	letters, lamAlef = map[rune]forms{}, map[rune]forms{}
	for base, codes := range seen {
		var f forms
		copy(f[:], codes)
		letters[base] = f
	}
	for base, codes := range seenLam {
		var f forms
		copy(f[:], codes)
		lamAlef[base] = f
	}
	for r := rune(firstPrivate); r < behindPrivate; r++ {
		if _, ok := letters[r]; ok || glyph(r) == 0 {
			continue
		}
		f := forms{isolated: r}
		for n := final; n <= medial; n++ {
			if code := privateForms + 4*(r-0x0600) + rune(n); glyph(code) != 0 {
				f[n] = code
			}
		}
		if f[final] != 0 {
			letters[r] = f
		}
	}
	letters[tatweel] = forms{tatweel, tatweel, tatweel, tatweel}
	return letters, lamAlef
})

// shape gives every letter of a text its form, still in the order of reading. Letters
// without a glyph become a question mark, never an empty box.
func shape(text string) string {
	letters, lamAlef := arabicForms()
	in := []rune(norm.NFC.String(text))
	// joins reports whether the letter next to i, over marks, joins towards it.
	joins := func(i, step int) bool {
		for i += step; i >= 0 && i < len(in); i += step {
			if unicode.Is(unicode.Mn, in[i]) {
				continue
			}
			if in[i] == zeroWidthJoin {
				return true
			}
			f := letters[in[i]]
			return step < 0 && f[initial] != 0 || step > 0 && f[final] != 0
		}
		return false
	}
	var out strings.Builder
	for i := 0; i < len(in); i++ {
		r := in[i]
		f, ok := letters[r]
		before := ok && joins(i, -1)
		after := ok && f[initial] != 0 && joins(i, 1)
		if r == lam && i+1 < len(in) {
			if both, ok := lamAlef[in[i+1]]; ok {
				f, after = both, false
				i++
			}
		}
		switch {
		case ok && before && after:
			r = f[medial]
		case ok && before && f[final] != 0:
			r = f[final]
		case ok && after:
			r = f[initial]
		case ok:
			r = f[isolated]
		}
		if glyph(r) == 0 && !unicode.Is(unicode.Cf, r) {
			r = noGlyph
		}
		out.WriteRune(r)
	}
	return out.String()
}

// mirrored are characters that turn around in text from right to left (Unicode,
// Bidi_Mirroring_Glyph), as far as the font has them.
var mirrored = map[rune]rune{'(': ')', ')': '(', '[': ']', ']': '[', '{': '}', '}': '{', '<': '>', '>': '<', '«': '»', '»': '«'}

// visual orders a line of a paragraph from right to left as it is seen, from the left
// (UAX #9). The line is shaped first, and format characters are gone afterwards. What
// is isolated from left to right holds no letters from right to left.
func visual(line string) string {
	var p bidi.Paragraph
	if _, err := p.SetString(shape(line), bidi.DefaultDirection(bidi.RightToLeft)); err != nil {
		return line
	}
	order, err := p.Order()
	if err != nil {
		return line
	}
	var out []rune
	for i := order.NumRuns() - 1; i >= 0; i-- { // they come in the order of reading
		run := order.Run(i)
		rs := []rune(run.String())
		if run.Direction() == bidi.RightToLeft {
			for a, b := 0, len(rs)-1; a < b; a, b = a+1, b-1 {
				rs[a], rs[b] = rs[b], rs[a]
			}
			for j, r := range rs {
				if m, ok := mirrored[r]; ok {
					rs[j] = m
				}
			}
		}
		for _, r := range rs {
			if !unicode.Is(unicode.Cf, r) {
				out = append(out, r)
			}
		}
	}
	return string(out)
}

// latinIn isolates Latin text or a number in Persian text.
func latinIn(text string) string { return leftToRight + text + endOfIsolation }

// persianDigits writes a number with Persian digits.
func persianDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r - '0' + '۰'
		}
		return r
	}, text)
}
