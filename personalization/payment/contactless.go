package payment

import (
	"slices"

	"cardbureau/cardio/tlv"
)

// contactlessNames are the data groupings that a contactless card has beside those
// of every card: its own file control information and options, the record with its
// track 2 equivalent data, and PPSE's entries.
var contactlessNames = []string{"emv.0102", "emv.9103", "emv.9105", "ppse.9102"}

// ContactlessNames lists the data groupings that only contactless cards have.
func ContactlessNames() []string { return slices.Clone(contactlessNames) }

// contactlessPDOL asks the terminal for amount, country, currency and a random
// number (9F02, 9F1A, 5F2A, 9F37: EMV Book 3 annex A). What else a kernel wants in
// a PDOL is its scheme's own.
var contactlessPDOL = unhex("9F02069F1A025F2A029F3704")

// addContactless adds the groupings of the contactless application and PPSE (EMV
// Contactless Book B, section 3.3). The AFL leaves the file with the holder's name
// out: whoever comes near reads no name. The track 2 equivalent data, with the iCVV,
// stands in a record of its own; records that are signed, AIP and certificates are
// those of the contact application, so that one signature holds for both.
func addContactless(out map[string][]byte, s *Scheme, track2, afl []byte) {
	near := append([]byte{1 << 3, 2, 2, 0}, afl[4:]...)
	out["emv.0102"] = tlv.Encode(0x70, object(nil, 0x57, track2))
	out["emv.9103"] = tlv.Encode(0xA5, fciProprietary(s, contactlessPDOL))
	out["emv.9105"] = object(object(nil, 0x82, s.AIP()), 0x94, near)
	out["ppse.9102"] = tlv.Encode(0xA5, tlv.Encode(0xBF0C, directoryEntry(s)))
}
