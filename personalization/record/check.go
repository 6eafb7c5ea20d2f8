package record

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rules are what a bureau's configuration adds to the schema. The zero Rules
// check everything that needs no configuration.
type Rules struct {
	// UniqueID names the check-digit rule of unique ids: "" (none), "luhn"
	// (ISO/IEC 7812-1 annex B) or "mod11" (that of Iran's national codes, ten
	// digits).
	UniqueID string
	// BankCode is the issuing bank's three digits in an IBAN (Sepah: 015); empty:
	// every bank.
	BankCode string
	// PANPrefixes are the ranges of card numbers that the bank gave; empty: all.
	PANPrefixes []string
	// Operators are the SIM operators (MCC and MNC) that are paired, each with
	// the number prefixes set aside for it (+98910…); an operator without
	// prefixes takes every number. An empty map allows every operator.
	Operators map[string][]string
	// MinPhoto and MaxPhotoSize bound width and height in pixels; zero:
	// DefaultMinPhoto and DefaultMaxPhoto.
	MinPhoto, MaxPhotoSize Size
}

// Check says whether the rules themselves can be followed.
func (r Rules) Check() error {
	switch r.UniqueID {
	case "", "luhn", "mod11":
	default:
		return fmt.Errorf("unique-id rule %q is not known: use luhn or mod11, or leave it empty", r.UniqueID)
	}
	if r.BankCode != "" && (len(r.BankCode) != 3 || !digits(r.BankCode)) {
		return fmt.Errorf("bank code %q must have three digits", r.BankCode)
	}
	return nil
}

// MaxPhoto is the greatest photo in bytes that a record can carry (schema).
const MaxPhoto = 98304

// Default bounds of a portrait in pixels. The smaller is what the token image of
// ISO/IEC 19794-5:2005 section 9 has; the greater keeps 600 dpi scans and stops
// pictures that no card needs.
var (
	DefaultMinPhoto = Size{Width: 240, Height: 320}
	DefaultMaxPhoto = Size{Width: 1200, Height: 1600}
)

// greatestAge is more full years than anyone has lived.
const greatestAge = 130

// check looks at what the schema cannot say, as of a moment.
func (v *Verifier) check(r *Record, key *TrustKey, at time.Time, encrypted bool) *Refusal {
	switch {
	case r.Audience != v.Audience:
		return refuse(WrongAudience, "")
	case r.IssuedAt.After(at.Add(clockSkew)):
		return refuse(NotYetValid, "")
	case !r.ExpiresAt.After(at):
		return refuse(Expired, "")
	case r.ExpiresAt.Before(r.IssuedAt):
		return refuse(DateOrder, "expiresAt is before issuedAt")
	case !key.allows(r.Residence.Permit):
		return refuse(PermitNotGiven, "")
	}
	for _, part := range []func() *Refusal{
		func() *Refusal { return checkDates(r, at) },
		func() *Refusal { return checkPerson(r, at, v.Rules) },
		func() *Refusal { return v.checkPhoto(&r.Person.Photo) },
		func() *Refusal { return checkBank(r.Bank, encrypted, v.Rules) },
		func() *Refusal { return checkSIM(r.SIM, v.Rules) },
	} {
		if ref := part(); ref != nil {
			return ref
		}
	}
	return nil
}

func checkDates(r *Record, at time.Time) *Refusal {
	today, birth := DateOf(at), r.Person.BirthDate
	switch {
	// A day of grace: the sun is ahead of UTC in the registry's country.
	case DateOf(at.AddDate(0, 0, 1)).Before(birth.Earliest()):
		return refuse(DateOrder, "the birth date is in the future")
	case birth.ProtectionAge(today) > greatestAge:
		return refuse(DateImpossible, fmt.Sprintf("the birth date makes the person older than %d", greatestAge))
	case r.Residence.ValidUntil.Before(r.Residence.ValidFrom):
		return refuse(DateOrder, "residence validUntil is before validFrom")
	}
	for i, s := range r.Services {
		if !s.ValidFrom.IsZero() && !s.ValidUntil.IsZero() && s.ValidUntil.Before(s.ValidFrom) {
			return refuse(DateOrder, fmt.Sprintf("service %d: validUntil is before validFrom", i+1))
		}
	}
	return nil
}

func checkPerson(r *Record, at time.Time, rules Rules) *Refusal {
	p := &r.Person
	if !uniqueIDFits(p.UniqueID, rules.UniqueID) {
		return refuse(UniqueIDCheck, "")
	}
	if ref := checkNationality(p.Nationality); ref != nil {
		return ref
	}
	if ref := checkNames(p); ref != nil {
		return ref
	}
	if _, err := r.MRZName(); err != nil {
		return refusalOfName(err)
	}
	if r.Minor(at) && p.Guardian == nil {
		return refuse(NoGuardian, "")
	}
	return nil
}

func uniqueIDFits(id, rule string) bool {
	switch rule {
	case "luhn":
		return Luhn(id)
	case "mod11":
		return nationalCode(id)
	}
	return true
}

func (v *Verifier) checkPhoto(p *Photo) *Refusal {
	most := v.MaxPhoto
	if most == 0 || most > MaxPhoto {
		most = MaxPhoto
	}
	if len(p.Data) > most {
		return refuse(PhotoTooLarge, fmt.Sprintf("%d bytes, at most %d", len(p.Data), most))
	}
	info, err := InspectPhoto(p.MediaType, p.Data)
	if err != nil {
		return refuse(PhotoUnreadable, strings.TrimPrefix(err.Error(), "photo: "))
	}
	least, greatest := v.Rules.MinPhoto, v.Rules.MaxPhotoSize
	if least == (Size{}) {
		least = DefaultMinPhoto
	}
	if greatest == (Size{}) {
		greatest = DefaultMaxPhoto
	}
	switch {
	case info.Width < least.Width || info.Height < least.Height:
		return refuse(PhotoSize, fmt.Sprintf("%v, at least %v", info.Size, least))
	case info.Width > greatest.Width || info.Height > greatest.Height:
		return refuse(PhotoSize, fmt.Sprintf("%v, at most %v", info.Size, greatest))
	case info.Width > info.Height:
		return refuse(PhotoSize, fmt.Sprintf("%v, a portrait is not wider than high", info.Size))
	}
	return nil
}

func checkBank(b *Bank, encrypted bool, rules Rules) *Refusal {
	if b == nil {
		return nil
	}
	if !IBAN(b.IBAN) {
		return refuse(IBANCheck, "")
	}
	// IR, two check digits, three digits of the bank (Central Bank of Iran).
	if rules.BankCode != "" && b.IBAN[4:7] != rules.BankCode {
		return refuse(IBANBank, "")
	}
	if b.PAN == "" {
		return nil
	}
	switch {
	case !encrypted:
		return refuse(PANInClear, "")
	case !Luhn(b.PAN):
		return refuse(PANLuhn, "")
	case len(rules.PANPrefixes) > 0 && !hasPrefix(b.PAN, rules.PANPrefixes):
		return refuse(PANPrefix, "")
	}
	return nil
}

func checkSIM(s *SIM, rules Rules) *Refusal {
	if s == nil {
		return nil
	}
	prefixes, known := rules.Operators[s.Operator]
	switch {
	case len(rules.Operators) > 0 && !known:
		return refuse(SIMOperator, "")
	case len(prefixes) > 0 && !hasPrefix(s.MSISDN, prefixes):
		return refuse(MSISDNPrefix, "")
	case s.ICCID != "" && !Luhn(s.ICCID):
		return refuse(ICCIDLuhn, "")
	}
	return nil
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
