package intake

import (
	"slices"
	"time"

	"cardbureau/personalization/record"
)

// ProductRule says which records get a product. What it leaves unset, it does
// not ask for.
type ProductRule struct {
	Name    string   `toml:"name"`    // product profile
	Permits []string `toml:"permits"` // permit kinds
	MinAge  int      `toml:"min-age"` // full years that the holder may have reached
	MaxAge  int      `toml:"max-age"` // full years that the holder may not have passed
	Bank    *bool    `toml:"bank"`    // is the bank part present
	SIM     *bool    `toml:"sim"`     // is the SIM part present
}

// Product picks the product of a record: the first rule that fits. Where the
// birth date is partly unknown, a least age is taken from the earliest day it
// can be (doubt takes nothing away) and a greatest age from the latest (doubt
// protects). ok is false when no rule fits.
func Product(rules []ProductRule, r *record.Record, now time.Time) (name string, ok bool) {
	today := record.DateOf(now)
	for _, rule := range rules {
		switch {
		case len(rule.Permits) > 0 && !slices.Contains(rule.Permits, r.Residence.Permit):
		case rule.MinAge > 0 && r.Person.BirthDate.EntitlementAge(today) < rule.MinAge:
		case rule.MaxAge > 0 && r.Person.BirthDate.ProtectionAge(today) > rule.MaxAge:
		case rule.Bank != nil && *rule.Bank != (r.Bank != nil):
		case rule.SIM != nil && *rule.SIM != (r.SIM != nil):
		default:
			return rule.Name, true
		}
	}
	return "", false
}
