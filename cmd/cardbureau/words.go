package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"

	"cardbureau/personalization/profile"
)

// reasonWord is a reason that goes into the audit, where nothing about a person
// may stand: one word, not a sentence.
type reasonWord string

var reasonForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// UnmarshalText refuses what is no such word.
func (r *reasonWord) UnmarshalText(b []byte) error {
	if len(b) > 40 || !reasonForm.Match(b) {
		return errors.New("a reason is one word of small letters, digits and hyphens, as torn or identity-confirmed: it is kept for good, so it names nobody")
	}
	*r = reasonWord(b)
	return nil
}

// counted is a number with its noun: 1 card, 2 cards.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// warnPlaintext says what of a product travels to its chip in the clear.
func warnPlaintext(w io.Writer, set *profile.Set, p *profile.Product) {
	for _, exposed := range set.Plaintext(p) {
		fmt.Fprintf(w, "WARNING: product %s is written in the clear: %s.\n", p.Name, exposed)
	}
}
