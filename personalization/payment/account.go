package payment

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Account is what the bank has opened for a person. It is personal data: it is
// sealed where it is kept, and prints as nothing.
type Account struct {
	IBAN    string `json:"iban" cbor:"1,keyasint"`
	Account string `json:"account" cbor:"2,keyasint"`
	// PAN is given by the bank; empty: the next of the range is allocated.
	PAN string `json:"pan,omitempty" cbor:"3,keyasint,omitempty"`
	// Name is the cardholder's as on card and track 1, 2 to 26 characters; empty:
	// made from the Latin name.
	Name string `json:"cardholderName,omitempty" cbor:"4,keyasint,omitempty"`
}

// String shows nothing.
func (a Account) String() string { return "bank account" }

// GoString is String.
func (a Account) GoString() string { return a.String() }

// LogValue shows nothing.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Check checks the account against the scheme.
func (a Account) Check(s *Scheme) error {
	if err := CheckIBAN(a.IBAN, s.BankCode); err != nil {
		return err
	}
	if err := CheckAccount(a.Account); err != nil {
		return err
	}
	if a.PAN != "" {
		if err := CheckPAN(a.PAN, s.BIN); err != nil {
			return err
		}
	}
	if a.Name != "" {
		return checkName(a.Name)
	}
	return nil
}

// Card is what data preparation needs to know of one card.
type Card struct {
	PAN      PAN
	Sequence byte   // PAN sequence number, 00 to 99
	Name     string // as Track 1 writes it, see CardholderName
	// Effective and Expiry are the days between which terminals take the card;
	// stripe and chip show the expiry's month.
	Effective, Expiry time.Time
}

// String names no one.
func (c Card) String() string { return "payment card " + c.PAN.String() }

// GoString is String.
func (c Card) GoString() string { return c.String() }

// YYMM is the expiry as tracks have it.
func (c Card) YYMM() string { return c.Expiry.Format("0601") }

// MMYY is the expiry as certificates have it.
func (c Card) MMYY() string { return c.Expiry.Format("0106") }

// nameCharacters are those of track 1 that a name may have: the separator
// between family and given names is a character of its own (ISO/IEC 7813).
const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ .'-"

const maxName = 26

// CardholderName is a name as track 1 and EMV's tag 5F20 have it: family name, a
// slash, given names, 2 to 26 characters. What does not fit is cut from the given
// names first. family and given are Latin, of any case; characters that track 1
// does not have become spaces.
func CardholderName(family, given string) string {
	family, given = tidy(family), tidy(given)
	if family == "" {
		family, given = given, ""
	}
	if len(family) > maxName-1 {
		family = strings.TrimRight(family[:maxName-1], " .'-")
	}
	name := family + "/" + given
	if len(name) > maxName {
		name = strings.TrimRight(name[:maxName], " .'-")
	}
	return name
}

func tidy(text string) string {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(nameCharacters, r) {
			return r
		}
		return ' '
	}, strings.ToUpper(text))
	return strings.Join(strings.Fields(text), " ")
}

// checkName checks a cardholder name that the bank has given.
func checkName(name string) error {
	if len(name) < 2 || len(name) > maxName || strings.Count(name, "/") > 1 {
		return fmt.Errorf("the cardholder name has 2 to %d characters and at most one slash", maxName)
	}
	for _, r := range name {
		if r != '/' && !strings.ContainsRune(nameCharacters, r) {
			return fmt.Errorf("the cardholder name has a character that track 1 does not have")
		}
	}
	return nil
}
