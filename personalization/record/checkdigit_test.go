package record

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCheckDigits(t *testing.T) {
	for _, c := range []struct {
		f    func(string) bool
		s    string
		want bool
	}{
		{Luhn, "79927398713", true}, {Luhn, "79927398710", false}, // ISO/IEC 7812-1 annex B's usual example
		{Luhn, "5892100000000016", true}, {Luhn, "8998110000000000012", true}, {Luhn, "8988211000000430010", true},
		{Luhn, "", false}, {Luhn, "0", false}, {Luhn, "12a4", false},
		{IBAN, "GB82WEST12345698765432", false},                                            // letters in the account: not Iran's form
		{IBAN, "DE89370400440532013000", true}, {IBAN, "IR580540105180021273113007", true}, // IBAN registry
		{IBAN, "IR580540105180021273113008", false}, {IBAN, "IR", false}, {IBAN, "", false},
		{nationalCode, "0499370899", true}, {nationalCode, "0790419904", true}, {nationalCode, "0499370898", false}, {nationalCode, "049937089", false},
	} {
		if got := c.f(c.s); got != c.want {
			t.Errorf("%s: %v", c.s, got)
		}
	}
}

func TestCheckDigitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{5,22}`).Draw(t, "digits")
		whole := s + string(LuhnDigit(s))
		i := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
		d := rapid.IntRange(1, 9).Draw(t, "by")
		wrong := whole[:i] + string('0'+(whole[i]-'0'+byte(d))%10) + whole[i+1:]
		if !Luhn(whole) || Luhn(wrong) {
			t.Fatalf("%s, %s", whole, wrong)
		}
		iban := "IR" + IBANDigits("IR", s) + s
		wrong = iban[:4+i%len(s)] + string('0'+(iban[4+i%len(s)]-'0'+byte(d))%10) + iban[4+i%len(s)+1:]
		if !IBAN(iban) || IBAN(wrong) {
			t.Fatalf("%s, %s", iban, wrong)
		}
	})
}

func TestRulesCheck(t *testing.T) {
	for _, r := range []Rules{{}, {UniqueID: "luhn"}, {UniqueID: "mod11", BankCode: "015"}} {
		if err := r.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []Rules{{UniqueID: "magic"}, {BankCode: "15"}, {BankCode: "O15"}} {
		if r.Check() == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

func TestNationalities(t *testing.T) {
	iso := len(nationalities) - 29
	if iso != 248 { // ISO 3166-1 has 249 codes; DEU is D
		t.Errorf("%d ISO codes", iso)
	}
}
