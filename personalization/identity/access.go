package identity

import (
	"crypto/sha1" //nolint:gosec // Doc 9303-11 prescribes SHA-1 here
	"fmt"
	"math/bits"
	"strings"
)

// Sizes in bytes of the keys that guard a chip.
const (
	BACKeysSize      = 32 // K_Enc ‖ K_MAC, two-key 3DES each
	PACEPasswordSize = 20 // SHA-1 of the MRZ information
)

// MRZInformation is the string that BAC and PACE with the MRZ are keyed with:
// document number, date of birth and date of expiry, each with its check digit
// (Doc 9303-11, 4.3.2 and 9.7.1.2). birth and expiry are YYMMDD as they stand
// in the MRZ, with '<' where the date is unknown. A document number of fewer
// than nine characters is filled with '<'; a longer one stands in full, without
// the filler that the MRZ puts after its ninth character.
func MRZInformation(documentNumber, birth, expiry string) (string, error) {
	n, err := field("document number", documentNumber, max(len(documentNumber), numberField), lettersDigits)
	if err != nil {
		return "", err
	}
	for what, date := range map[string]string{"date of birth": birth, "date of expiry": expiry} {
		if len(date) != 6 || strings.Trim(date, "0123456789<") != "" {
			return "", fmt.Errorf("%w: the %s is six characters, YYMMDD", ErrMRZ, what)
		}
	}
	return n + digit(n) + birth + digit(birth) + expiry + digit(expiry), nil
}

// Information is the MRZ information of a zone that TD1 accepts.
func (m MRZ) Information() (string, error) {
	birth, err := MRZDate(m.BirthDate)
	if err != nil {
		return "", err
	}
	expiry, err := MRZDate(m.ExpiryDate)
	if err != nil {
		return "", err
	}
	return MRZInformation(m.DocumentNumber, birth, expiry)
}

// PACEPassword is the key K of PACE with the MRZ: the SHA-1 of the MRZ
// information, 20 bytes (Doc 9303-11, 4.4.4.1). The caller keeps it sealed.
func PACEPassword(information string) [PACEPasswordSize]byte {
	return sha1.Sum([]byte(information)) //nolint:gosec // prescribed
}

// BACKeys derives the Document Basic Access Keys K_Enc ‖ K_MAC: 3DES keys of
// two halves with odd parity (Doc 9303-11, 9.7.1 and 9.7.2, appendix D.2). The
// caller keeps them sealed.
func BACKeys(information string) [BACKeysSize]byte {
	seed := PACEPassword(information)
	var out [BACKeysSize]byte
	for i, counter := range []byte{1, 2} {
		h := sha1.Sum(append(append(make([]byte, 0, 20), seed[:16]...), 0, 0, 0, counter)) //nolint:gosec // prescribed
		for j, b := range h[:16] {
			if bits.OnesCount8(b)%2 == 0 {
				b ^= 1
			}
			out[16*i+j] = b
		}
	}
	clear(seed[:])
	return out
}
