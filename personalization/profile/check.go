package profile

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// check looks at everything that the YAML structure alone cannot say.
func (s *Set) check(docs map[string]*document) Problems {
	var out Problems
	// What has a mistake of its own is not planned with: that would only tell it
	// again in other words.
	add := func(name string, ps Problems) {
		out = append(out, ps...)
		if len(ps) > 0 {
			s.unsound[name] = true
		}
	}
	for _, v := range s.Diversifications {
		if d := docs[v.file]; d != nil {
			add("", s.checkDiversification(d, v))
		}
	}
	for _, c := range s.Chips {
		if d := docs[c.file]; d != nil {
			add(c.Name, s.checkChip(d, c))
		}
	}
	for _, a := range s.Applets {
		if d := docs[a.file]; d != nil {
			add(a.Name, s.checkApplet(d, a))
		}
	}
	for _, p := range s.Payments {
		if d := docs[s.named["payment "+p.Name]]; d != nil {
			c := checker{doc: d}
			c.name("payment scheme", p.Name)
			p.Check(c.bad)
			add("payment "+p.Name, c.out)
		}
	}
	for _, p := range s.Products {
		if d := docs[p.file]; d != nil {
			add("", s.checkProduct(d, p))
		}
	}
	return out
}

// sorted puts problems into the order in which a person would mend them.
func sorted(ps Problems) Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return ps
}

// checker collects the problems of one profile.
type checker struct {
	doc *document
	out Problems
}

func (c *checker) bad(path, format string, args ...any) {
	c.out = append(c.out, c.doc.problem(path, format, args...))
}

// name checks what every profile has.
func (c *checker) name(kind, name string) {
	if name == "" {
		c.bad("$.name", "a %s needs a name", kind)
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		c.bad("$.name", "name %q: use lower-case letters, digits and hyphens", name)
	}
}

func (c *checker) aid(path, what string, aid Hex) {
	if n := len(aid); n < 5 || n > 16 {
		c.bad(path, "the AID of %s has 5 to 16 bytes, this one has %d", what, n)
	}
}

func (c *checker) quirks(kind string, quirks []string) {
	for i, q := range quirks {
		if quirksOf[kind][q] == "" {
			c.bad(fmt.Sprintf("$.quirks[%d]", i), "quirk %q is not known of %ss%s", q, kind, suggest(q, keys(quirksOf[kind])))
		}
	}
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func parseAID(text string) (Hex, error) {
	b, err := hex.DecodeString(text)
	if err == nil && (len(b) < 5 || len(b) > 16) {
		err = fmt.Errorf("an AID has 5 to 16 bytes, %q has %d", text, len(b))
	}
	return b, err
}

// elements are the names that a card image can supply, but for the data groupings
// of payment applications.
var elements = []string{
	"file.binding", "file.card-access", "file.com", "file.sod", "file.services",
	"secret.emv-keys", "secret.emv-dn", "secret.emv-pin-block", "secret.emv-exponent", "secret.emv-modulus",
	"secret.emv-qinv", "secret.emv-dq", "secret.emv-dp", "secret.emv-q", "secret.emv-p", "secret.emv-d",
	"secret.bac", "secret.pace-mrz", "secret.pace-can", "secret.chip-authentication", "secret.pin", "secret.puk",
	"secret.pairing-key", "secret.receipt-key",
	"secret.mrz-document-number", "secret.mrz-birth-date", "secret.mrz-expiry-date",
	"secret.can-digits", "secret.pin-digits", "secret.puk-digits",
	"secret.aa-modulus", "secret.aa-private-exponent",
}

// publicFiles tell nothing of a person: anyone may read them off the card.
var publicFiles = []string{"file.card-access", "file.com"}

// keySecrets are the secrets that are keys, of which a key check value can be
// made.
var keySecrets = []string{"secret.bac", "secret.emv-keys", "secret.emv-dn"}

// grouping is the name of a data grouping of a payment application.
var grouping = regexp.MustCompile(`^(emv|pse|ppse)\.[0-9A-F]{4}$`)

// isKnown reports whether a card image may have an element of this name.
func isKnown(name string) bool { return slices.Contains(elements, name) || grouping.MatchString(name) }

func init() {
	for n := 1; n <= 16; n++ {
		elements = append(elements, fmt.Sprintf("file.dg%d", n))
	}
	slices.Sort(elements)
}
