package record

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Code points of Arabic script that need a name of their own here.
const (
	zwnj         = '\u200C' // zero width non-joiner
	tatweel      = '\u0640'
	shadda       = '\u0651'
	hamzaAbove   = '\u0654'
	alefMaksura  = '\u0649'
	arabicYeh    = '\u064A'
	farsiYeh     = '\u06CC'
	yehHamza     = '\u0626'
	arabicKaf    = '\u0643'
	swashKaf     = '\u06AA'
	keheh        = '\u06A9'
	heh          = '\u0647'
	hehYeh       = '\u06C0' // heh with yeh above
	tehMarbuta   = '\u0629'
	arabicHamza  = '\u0621'
	highHamzaYeh = '\u0678'
)

// Normalize is the one spelling of a text in Arabic script that is stored,
// compared, printed and written to the chip:
//
//   - presentation forms become letters, and the text is NFC;
//   - Arabic yeh and alef maksura become Farsi yeh (ی), Arabic kaf becomes keheh
//     (ک); the letters of Pashto (ټ ډ ړ ږ ښ ګ ڼ ې ۍ) and Urdu stay;
//   - harakat, Quranic marks and tatweel go; hamza stays;
//   - Arabic-Indic and Persian digits become ASCII digits, which the interface
//     shows in the reader's own;
//   - white space becomes single spaces, none at the ends;
//   - a ZWNJ stays where it keeps two letters from joining, and nowhere else;
//     other invisible characters (bidi marks, ZWJ, soft hyphen, BOM) go.
//
// Normalize is idempotent. Latin text passes with its spaces put in order.
func Normalize(local string) string {
	var out []rune
	for _, r := range letters(local) {
		if unicode.Is(unicode.Mn, r) { // a mark belongs to its letter
			for len(out) > 0 && out[len(out)-1] == zwnj {
				out = out[:len(out)-1]
			}
		}
		switch {
		case r == zwnj:
		case unicode.IsSpace(r):
			r = ' '
		case unicode.In(r, unicode.Cc, unicode.Cf) || vowelMark(r) || r == tatweel:
			continue
		case r == hamzaAbove && len(out) > 0 && out[len(out)-1] == farsiYeh:
			out[len(out)-1] = yehHamza
			continue
		default:
			r = fold(r)
		}
		out = append(out, r)
	}
	return norm.NFC.String(string(joiners(out)))
}

// letters is s in NFC with the presentation forms of Arabic script
// (U+FB50…FDFF, U+FE70…FEFC) replaced by the letters that they show.
func letters(s string) string {
	if strings.IndexFunc(s, presentation) >= 0 {
		var b strings.Builder
		for _, r := range s {
			if presentation(r) {
				b.WriteString(norm.NFKC.String(string(r)))
			} else {
				b.WriteRune(r)
			}
		}
		s = b.String()
	}
	return norm.NFC.String(s)
}

func presentation(r rune) bool { return r >= 0xFB50 && r <= 0xFDFF || r >= 0xFE70 && r <= 0xFEFC }

func fold(r rune) rune {
	switch {
	case r == arabicYeh || r == alefMaksura:
		return farsiYeh
	case r == arabicKaf || r == swashKaf:
		return keheh
	case r == highHamzaYeh:
		return yehHamza
	case r >= '٠' && r <= '٩':
		return r - '٠' + '0'
	case r >= '۰' && r <= '۹':
		return r - '۰' + '0'
	}
	return r
}

// vowelMark is true for the marks that spelling leaves out: harakat, superscript
// alef and the signs of the Quran. Madda and hamza are part of letters and stay.
func vowelMark(r rune) bool {
	switch {
	case r >= 0x0653 && r <= 0x0655:
		return false
	case r >= 0x0610 && r <= 0x061A, r >= 0x064B && r <= 0x065F, r == 0x0670,
		r >= 0x06D6 && r <= 0x06DC, r >= 0x06DF && r <= 0x06E8, r >= 0x06EA && r <= 0x06ED,
		r >= 0x08CA && r <= 0x08FF:
		return true
	}
	return false
}

// joiners drops the ZWNJ and spaces that show nothing.
func joiners(in []rune) []rune {
	out := in[:0]
	for i, r := range in {
		switch r {
		case ' ':
			if len(out) == 0 || out[len(out)-1] == ' ' {
				continue
			}
			if out[len(out)-1] == zwnj {
				out[len(out)-1] = ' '
				continue
			}
		case zwnj:
			if len(out) == 0 || !joinsForward(last(out)) || !joinsNext(in[i+1:]) {
				continue
			}
		}
		out = append(out, r)
	}
	for len(out) > 0 && (out[len(out)-1] == ' ' || out[len(out)-1] == zwnj) {
		out = out[:len(out)-1]
	}
	return out
}

// last is the last letter of s, over the marks on it; a space or ZWNJ is
// returned as it is.
func last(s []rune) rune {
	for i := len(s) - 1; i > 0; i-- {
		if !unicode.Is(unicode.Mn, s[i]) {
			return s[i]
		}
	}
	return s[0]
}

func joinsNext(rest []rune) bool {
	return len(rest) > 0 && arabicLetter(rest[0]) && rest[0] != arabicHamza
}

func arabicLetter(r rune) bool { return unicode.Is(unicode.Arabic, r) && unicode.IsLetter(r) }

// joinsForward reports whether a letter would join the next one: every letter of
// the script but those of joining types R and U (Unicode, ArabicShaping.txt).
func joinsForward(r rune) bool {
	if !arabicLetter(r) {
		return false
	}
	switch {
	case r == arabicHamza, r >= 0x0622 && r <= 0x0625, r == 0x0627, r == tehMarbuta,
		r >= 0x062F && r <= 0x0632, r == 0x0648,
		r >= 0x0671 && r <= 0x0677, r >= 0x0688 && r <= 0x0699,
		r == hehYeh, r >= 0x06C3 && r <= 0x06CB, r == 0x06CD, r == 0x06CF,
		r == 0x06D2, r == 0x06D3, r == 0x06D5, r == 0x06EE, r == 0x06EF:
		return false
	}
	return true
}
