package document

import (
	"testing"
	"time"
)

// The forms are those of the Unicode charts; U+E2xx are the font's own, for letters
// that the charts have no forms of (fonts/make.py).
func TestShape(t *testing.T) {
	for word, want := range map[string]string{
		"سلام":        "\uFEB3\uFEFC\uFEE1",                   // lam and alef are one glyph
		"کارت":        "\uFB90\uFE8E\uFEAD\uFE95",             // by keheh, not kaf
		"ښوونځی":      "\uE26A\uFEEE\uFEED\uFEE7\uE207\uFBFD", // Pashto: school
		"پښتو":        "\uFB58\uE26B\uFE98\uFEEE",
		"ګډ":          "\uE2AE\uE225",
		"سړی":         "\uFEB3\uE24D\uFBFC",
		"می\u200cشود": "\uFEE3\uFBFD\u200C\uFEB7\uFEEE\uFEA9", // no joining over U+200C
		"ب":           "\uFE8F",
		"قمّری":       "\uFED7\uFEE4\u0651\uFEAE\uFBFC", // a mark lies over the joining
		"ab ۱۲":       "ab ۱۲",
		"\U0001F600":  "?",
	} {
		if got := shape(word); got != want {
			t.Errorf("%s: %+q, not %+q", word, got, want)
		}
	}
}

func TestPashtoLettersHaveForms(t *testing.T) {
	letters, _ := arabicForms()
	for _, r := range "ټځڅښګڼېپچکگیه" {
		f := letters[r]
		for n, form := range f {
			if glyph(form) == 0 {
				t.Errorf("%c has no form %d", r, n)
			}
		}
	}
	for _, r := range "ډړږۍژدذرزوا" {
		f := letters[r]
		if glyph(f[isolated]) == 0 || glyph(f[final]) == 0 || f[initial] != 0 || f[medial] != 0 {
			t.Errorf("%c: %+q", r, f)
		}
	}
}

func TestVisual(t *testing.T) {
	for line, want := range map[string]string{
		"سلام":                                "\uFEE1\uFEFC\uFEB3",
		"ب " + latinIn("7KXW2M4BC 12") + " ب": "\uFE8F 7KXW2M4BC 12 \uFE8F",
		"ب ۱۴۰۵/۰۹/۰۵":                        "۱۴۰۵/۰۹/۰۵ \uFE8F",
		"ب (ب) «ب»":                           "«\uFE8F» (\uFE8F) \uFE8F",
		"کارت bureau-01":                      "bureau-01 \uFE95\uFEAD\uFE8E\uFB90",
	} {
		if got := visual(line); got != want {
			t.Errorf("%s: %+q, not %+q", line, got, want)
		}
	}
}

func TestJalali(t *testing.T) {
	for day, want := range map[string][3]int{
		"2026-11-26": {1405, 9, 5},
		"2024-03-20": {1403, 1, 1},
		"2025-03-20": {1403, 12, 30},
		"2025-03-21": {1404, 1, 1},
		"1979-02-11": {1357, 11, 22},
		"1975-03-20": {1353, 12, 29},
		"2030-03-20": {1408, 12, 30},
	} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if y, m, d := jalali(at); [3]int{y, m, d} != want {
			t.Errorf("%s is %d-%d-%d, not %v", day, y, m, d, want)
		}
	}
	// Half past eight in the evening, UTC, is the next day in Tehran.
	if got := jalaliText(time.Date(2026, 11, 25, 20, 30, 0, 0, time.UTC)); got != "۱۴۰۵/۰۹/۰۵ ساعت ۰۰:۰۰" {
		t.Error(got)
	}
}
