package record

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// latinTable holds the letters of ICAO Doc 9303-3 (2021) section 6 table A that
// are more than a letter with a mark; where the table leaves a choice, its first
// entry. All others lose their marks.
var latinTable = map[rune]string{
	'Ä': "AE", 'Å': "AA", 'Æ': "AE", 'Ð': "D", 'Ö': "OE", 'Ø': "OE", 'Ü': "UE", 'Þ': "TH",
	'Đ': "D", 'Ħ': "H", 'ı': "I", 'Ĳ': "IJ", 'Ŀ': "L", 'Ł': "L", 'Ŋ': "N", 'Œ': "OE", 'Ŧ': "T",
	'ẞ': "SS", 'ß': "SS",
}

// LatinMRZ writes a Latin name for the machine readable zone: capitals A to Z,
// name components separated by one filler (ICAO 9303-3 sections 4.6 and 6 table
// A). Apostrophes, other punctuation and digits are left out; hyphens and
// commas separate. A letter that is not Latin is ErrLetter.
func LatinMRZ(name string) (string, error) {
	var out strings.Builder
	gap := false
	for _, r := range norm.NFC.String(name) {
		if separates(r) {
			gap = true
			continue
		}
		code, err := latinLetter(r)
		if err != nil {
			return "", err
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

// latinLetter returns nothing for what the machine readable zone leaves out.
func latinLetter(r rune) (string, error) {
	up := unicode.ToUpper(r)
	if up >= 'A' && up <= 'Z' {
		return string(up), nil
	}
	if s, ok := latinTable[up]; ok {
		return s, nil
	}
	if s, ok := latinTable[r]; ok {
		return s, nil
	}
	if unicode.Is(unicode.Lm, r) { // ʻ ʼ and the like, written as apostrophes
		return "", nil
	}
	if !unicode.IsLetter(r) {
		return "", nil
	}
	base := []rune(norm.NFD.String(string(up)))
	if base[0] >= 'A' && base[0] <= 'Z' {
		return string(base[0]), nil
	}
	return "", ErrLetter
}
