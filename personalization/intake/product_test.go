package intake_test

import (
	"testing"
	"time"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

func TestProductRules(t *testing.T) {
	yes, no := true, false
	rules := []intake.ProductRule{
		{Name: "student-bank", Permits: []string{"student"}, Bank: &yes},
		{Name: "child", MaxAge: 17},
		{Name: "senior-sim", MinAge: 60, SIM: &yes},
		{Name: "senior", MinAge: 60, SIM: &no},
		{Name: "adult", MinAge: 18, MaxAge: 59, Permits: []string{"amayesh", "hoviat"}},
	}
	now := time.Date(2026, 3, 21, 23, 59, 59, 0, time.UTC)
	date := func(s string) record.BirthDate {
		d, err := record.ParseBirthDate(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		birth, permit string
		bank, sim     bool
		want          string
	}{
		{"2008-03-22", "amayesh", false, false, "child"}, // 18 tomorrow
		{"2008-03-21", "amayesh", false, false, "adult"}, // 18 today
		{"1966-03-22", "amayesh", false, false, "adult"}, // 59 still
		{"1966-03-21", "amayesh", false, false, "senior"},
		{"1966-03-21", "amayesh", false, true, "senior-sim"},
		{"1966-03-22", "passport", false, true, ""}, // no rule
		{"2008-02-29", "amayesh", false, false, "adult"},

		// In doubt a greatest age protects and a least age gives.
		{"2008-00-00", "amayesh", false, false, "child"}, // may be born in December
		{"2007-00-00", "amayesh", false, false, "adult"},
		{"2008-03-00", "amayesh", false, false, "child"},
		{"2008-02-00", "amayesh", false, false, "adult"},
		{"1966-00-00", "amayesh", false, false, "senior"}, // may be born in January
		{"1966-04-00", "hoviat", false, false, "adult"},
		{"1966-03-00", "hoviat", false, false, "senior"},

		// The first rule that fits.
		{"2015-01-01", "student", true, false, "student-bank"},
		{"2015-01-01", "student", false, false, "child"},
		{"1990-01-01", "student", false, false, ""},
	} {
		r := record.Record{Person: record.Person{BirthDate: date(c.birth)}, Residence: record.Residence{Permit: c.permit}}
		if c.bank {
			r.Bank = &record.Bank{}
		}
		if c.sim {
			r.SIM = &record.SIM{}
		}
		name, ok := intake.Product(rules, &r, now)
		if name != c.want || ok != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, name, ok)
		}
	}
}

// TestNoProduct refuses what no rule fits.
func TestNoProduct(t *testing.T) {
	h := open(t)
	h.service.Rules = []intake.ProductRule{{Name: "identity", Permits: []string{"amayesh"}, MinAge: 18}}
	h.want(h.one(sign(t, registry, h.person(30, 0))), intake.Accepted)
	h.want(h.one(sign(t, registry, h.person(30, 2))), record.NoProduct) // eleven years old
	h.want(h.one(sign(t, registry, h.person(30, 4))), record.NoProduct) // another permit
	h.service.Rules = nil
	h.want(h.one(sign(t, registry, h.person(30, 1))), record.NoProduct)
}
