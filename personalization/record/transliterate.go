package record

import (
	"errors"
	"strings"
	"unicode"
)

// ErrLetter says that a name holds a letter that the standard's tables do not
// have, so that its Latin spelling must be given.
var ErrLetter = errors.New("record: a letter without transliteration in ICAO 9303-3")

// arabicTable is ICAO Doc 9303-3 (2021) section 6 table C, with veh and feh with
// three dots below from appendix B.5.4. Letters that the standard does not
// encode are there with nothing.
var arabicTable = map[rune]string{
	'\u0621': "XE", '\u0622': "XAA", '\u0623': "XAE", '\u0624': "U", '\u0625': "I", '\u0626': "XI",
	'\u0627': "A", '\u0628': "B", '\u0629': "XTA", '\u062A': "T", '\u062B': "XTH", '\u062C': "J",
	'\u062D': "XH", '\u062E': "XKH", '\u062F': "D", '\u0630': "XDH", '\u0631': "R", '\u0632': "Z",
	'\u0633': "S", '\u0634': "XSH", '\u0635': "XSS", '\u0636': "XDZ", '\u0637': "XTT", '\u0638': "XZZ",
	'\u0639': "E", '\u063A': "G", '\u0641': "F", '\u0642': "Q", '\u0643': "K", '\u0644': "L",
	'\u0645': "M", '\u0646': "N", '\u0647': "H", '\u0648': "W", '\u0649': "XAY", '\u064A': "Y",

	'\u0671': "XXA", '\u0679': "XXT", '\u067C': "XRT", '\u067E': "P", '\u0681': "XKE", '\u0685': "XXH",
	'\u0686': "XC", '\u0688': "XXD", '\u0689': "XDR", '\u0691': "XXR", '\u0693': "XRR", '\u0696': "XRX",
	'\u0698': "XJ", '\u069A': "XXS", '\u06A4': "V", '\u06A5': "XF", '\u06A9': "XKK", '\u06AB': "XXK",
	'\u06AD': "XNG", '\u06AF': "XGG", '\u06BA': "XNN", '\u06BC': "XXN", '\u06BE': "XDO", '\u06C0': "XYH",
	'\u06C1': "XXG", '\u06C2': "XGE", '\u06C3': "XTG", '\u06CC': "XYA", '\u06CD': "XXY", '\u06D0': "Y",
	'\u06D2': "XYB", '\u06D3': "XBE",

	'\u069C': "", '\u06A2': "", '\u06A7': "", '\u06A8': "", // obsolete: not encoded
}

// endTehMarbuta is teh marbuta at the end of a name component (table C, note 2).
const endTehMarbuta = "XAH"

// Transliterate writes a name in Arabic script for the machine readable zone:
// ICAO 9303-3 section 6 table C letter by letter, name components separated by
// one filler (section 4.6). Give it the name as the registry wrote it, not the
// normalized one: the table keeps apart what Normalize unites (Arabic and Farsi
// yeh, kaf and keheh), and a shadda doubles its letter.
//
// Marks other than shadda, tatweel and ZWNJ are not encoded; punctuation and
// digits are left out (section 4.6). A letter without entry is ErrLetter.
func Transliterate(local string) (string, error) {
	var out strings.Builder
	runes := []rune(letters(local))
	before, gap := "", false // what a shadda repeats; whether a component has ended
	for i, r := range runes {
		var code string
		switch {
		case separates(r):
			before, gap = "", true
			continue
		case r == shadda:
			code = before
			before = ""
		case r == hamzaAbove:
			// NFC has no single letter for these: mend what is written.
			replaced := map[string]string{"H": "XYH", "XYA": "XI", "XAY": "XI"}[before]
			if replaced == "" {
				continue
			}
			s := strings.TrimSuffix(out.String(), before)
			out.Reset()
			out.WriteString(s)
			code, before = replaced, replaced
		default:
			if r == swashKaf {
				r = keheh
			}
			c, known := arabicTable[r]
			if !known {
				if unicode.IsLetter(r) && r != tatweel {
					return "", ErrLetter
				}
				continue
			}
			if r == tehMarbuta && endsComponent(runes[i+1:]) {
				c = endTehMarbuta
			}
			code, before = c, c
		}
		if code == "" {
			continue
		}
		if gap && out.Len() > 0 {
			out.WriteByte('<')
		}
		gap = false
		out.WriteString(code)
	}
	return out.String(), nil
}

// endsComponent reports whether no letter follows in the same component.
func endsComponent(rest []rune) bool {
	for _, r := range rest {
		if separates(r) {
			return true
		}
		if unicode.IsLetter(r) && r != tatweel {
			return false
		}
	}
	return true
}

// separates reports whether a character ends a name component: space, hyphen,
// comma (ICAO 9303-3 section 4.6). Other punctuation is left out without a gap.
func separates(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == ',' || r == '،'
}
