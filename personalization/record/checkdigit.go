package record

// Luhn reports whether s consists of digits of which the last is the check digit
// of ISO/IEC 7812-1 annex B, as in card numbers and (ITU-T E.118) ICCIDs.
func Luhn(s string) bool {
	return len(s) > 1 && digits(s) && LuhnDigit(s[:len(s)-1]) == s[len(s)-1]
}

// LuhnDigit is the ASCII check digit for the digits s (ISO/IEC 7812-1 annex B).
func LuhnDigit(s string) byte {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return byte('0' + (10-sum%10)%10)
}

// IBAN reports whether s is two capitals, two check digits and digits, with the
// check digits of ISO 7064 MOD 97-10 (ISO 13616-1 section 6).
func IBAN(s string) bool {
	return len(s) > 4 && digits(s[2:]) && capital(s[0]) && capital(s[1]) && mod97(s[4:]+s[:4]) == 1
}

// IBANDigits are the two check digits for the country's letters and the account
// part (ISO 13616-1 section 6).
func IBANDigits(country, account string) string {
	n := 98 - mod97(account+country+"00")
	return string([]byte{byte('0' + n/10), byte('0' + n%10)})
}

func capital(c byte) bool { return c >= 'A' && c <= 'Z' }

func mod97(s string) int {
	n := 0
	for i := range len(s) {
		if c := s[i]; capital(c) {
			n = (n*100 + int(c-'A') + 10) % 97
		} else {
			n = (n*10 + int(c-'0')) % 97
		}
	}
	return n
}

// nationalCode is the check of Iran's ten-digit national codes: weights 10 to 2,
// modulo 11; a remainder of 2 or more is taken from 11.
func nationalCode(s string) bool {
	if len(s) != 10 || !digits(s) {
		return false
	}
	sum := 0
	for i := range 9 {
		sum += int(s[i]-'0') * (10 - i)
	}
	want := sum % 11
	if want >= 2 {
		want = 11 - want
	}
	return int(s[9]-'0') == want
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
