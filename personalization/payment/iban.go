package payment

import (
	"errors"
	"fmt"
	"strings"
)

// IBANLength is the number of characters of an Iranian IBAN (SHEBA): IR, two
// check digits, 22 digits (ISO 13616 registry).
const IBANLength = 26

// ErrIBAN means that a text is no Iranian IBAN of the bank. The sentence shows
// no digit of it.
var ErrIBAN = errors.New("the IBAN is not valid")

// CheckIBAN checks length, characters, check digits (ISO 7064 MOD 97-10), and,
// unless bankCode is empty, that the account is kept by that bank: its three
// digits follow the check digits.
func CheckIBAN(iban, bankCode string) error {
	switch {
	case len(iban) != IBANLength:
		return fmt.Errorf("%w: an Iranian one has %d characters, IR and 24 digits, this one has %d", ErrIBAN, IBANLength, len(iban))
	case !strings.HasPrefix(iban, "IR") || !digits(iban[2:]):
		return fmt.Errorf("%w: an Iranian one is IR and 24 digits", ErrIBAN)
	case mod97(iban[4:]+"1827"+iban[2:4]) != 1:
		return fmt.Errorf("%w: its check digits are wrong", ErrIBAN)
	case bankCode != "" && !strings.HasPrefix(iban[4:], bankCode):
		return fmt.Errorf("%w: it is of another bank than %s", ErrIBAN, bankCode)
	}
	return nil
}

// IBAN makes the IBAN of an account: bank code, 3 digits; account type, 1 digit;
// account, at most 18 digits.
func IBAN(bankCode string, kind byte, account string) (string, error) {
	if len(bankCode) != 3 || !digits(bankCode) || kind > 9 || len(account) > 18 || !digits(account) || account == "" {
		return "", fmt.Errorf("%w: it is made of a bank code of 3 digits, a digit, and an account of at most 18", ErrIBAN)
	}
	bban := bankCode + string('0'+kind) + strings.Repeat("0", 18-len(account)) + account
	return fmt.Sprintf("IR%02d%s", 98-mod97(bban+"182700"), bban), nil
}

func mod97(text string) (m int) {
	for _, c := range text {
		m = (m*10 + int(c-'0')) % 97
	}
	return m
}

func digits(text string) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// ErrAccount means that a text is no account number.
var ErrAccount = errors.New("the account number is not valid")

// CheckAccount checks an account number: 5 to 19 digits.
func CheckAccount(account string) error {
	if len(account) < 5 || len(account) > 19 || !digits(account) {
		return fmt.Errorf("%w: it has 5 to 19 digits", ErrAccount)
	}
	return nil
}
