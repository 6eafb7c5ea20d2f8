package payment

import (
	"encoding/hex"
	"fmt"
	"strings"

	"cardbureau/cardio/tlv"
)

// Certificates are what the scheme's authority and the issuer have signed.
type Certificates struct {
	CAIndex         byte
	Issuer          []byte // tag 90
	IssuerRemainder []byte // tag 92; nil: none
	IssuerExponent  []byte // tag 9F32; nil with xda
	Static          []byte // tag 93, signed static application data; nil without sda
	ICC             []byte // tag 9F46; nil without dda and xda
	ICCRemainder    []byte // tag 9F48
	ICCExponent     []byte // tag 9F47
}

// maxRecord is the longest record, template included (EMV Book 1, 11.2.1; 255
// bytes and a status word would not be carried by T=0).
const maxRecord = 254

// record is one record of the application.
type record struct {
	sfi, number int
	signed      bool // it is part of the static data to be authenticated
	data        []byte
}

func (r record) dgi() string { return fmt.Sprintf("%02X%02X", r.sfi, r.number) }

// object appends a data object.
func object(dst []byte, tag tlv.Tag, value []byte) []byte {
	return append(dst, tlv.Encode(tag, value)...)
}

// signedRecords are those that the signatures are over: all that identifies the
// account and decides a transaction's risk.
func signedRecords(s *Scheme, c Card) []record {
	var one []byte
	one = object(one, 0x5A, panBytes(string(c.PAN)))
	one = object(one, 0x5F34, []byte{bcd(int(c.Sequence))})
	one = object(one, 0x5F24, unhex(c.Expiry.Format("060102")))
	one = object(one, 0x5F25, unhex(c.Effective.Format("060102")))
	one = object(one, 0x5F28, unhex("0"+s.Country))
	one = object(one, 0x9F07, s.Usage)
	one = object(one, 0x8E, cvmList(s))
	one = object(one, 0x9F0D, s.ActionCodes.Default)
	one = object(one, 0x9F0E, s.ActionCodes.Denial)
	one = object(one, 0x9F0F, s.ActionCodes.Online)
	if !s.Authenticates(XDA) { // which has the AIP signed whether a list says so or not
		one = object(one, 0x9F4A, []byte{0x82})
	}
	return []record{{sfi: 2, number: 1, signed: true, data: one}}
}

// otherRecords are the rest but for the certificates.
func otherRecords(s *Scheme, c Card, chip Verification, track2 []byte) []record {
	var name, risk []byte
	name = object(name, 0x57, track2)
	name = object(name, 0x5F20, []byte(c.Name))
	name = object(name, 0x9F1F, []byte(chip.discretionary()))
	risk = object(risk, 0x8C, s.CDOL1)
	risk = object(risk, 0x8D, s.CDOL2)
	risk = object(risk, 0x5F30, unhex("0"+s.ServiceCode))
	risk = object(risk, 0x9F42, unhex("0"+s.Currency))
	risk = object(risk, 0x9F44, []byte{byte(s.Exponent)})
	risk = object(risk, 0x9F08, []byte{0x00, 0x02})
	return []record{{sfi: 1, number: 1, data: name}, {sfi: 2, number: 2, data: risk}}
}

// certificateRecords are what a terminal authenticates the card with.
func certificateRecords(s *Scheme, k Certificates) []record {
	first := object(nil, 0x8F, []byte{k.CAIndex})
	if s.Authenticates(XDA) {
		return numbered([][]byte{first, object(nil, 0x90, k.Issuer), object(nil, 0x9F46, k.ICC)})
	}
	first = object(first, 0x9F32, k.IssuerExponent)
	if len(k.IssuerRemainder) > 0 {
		first = object(first, 0x92, k.IssuerRemainder)
	}
	parts := [][]byte{first, object(nil, 0x90, k.Issuer)}
	if s.Authenticates(SDA) {
		parts = append(parts, object(nil, 0x93, k.Static))
	}
	if s.Authenticates(DDA) {
		last := object(nil, 0x9F47, k.ICCExponent)
		if len(k.ICCRemainder) > 0 {
			last = object(last, 0x9F48, k.ICCRemainder)
		}
		last = object(last, 0x9F49, s.DDOL)
		parts = append(parts, object(nil, 0x9F46, k.ICC), last)
	}
	return numbered(parts)
}

// numbered are the certificates' records. None of them is signed: the ICC
// certificate cannot be over itself, and each has a signature of its own.
func numbered(parts [][]byte) []record {
	out := make([]record, len(parts))
	for i, p := range parts {
		out[i] = record{sfi: 3, number: i + 1, data: p}
	}
	return out
}

// StaticData is the static data to be authenticated of a card (Book 3, section
// 10.3): the signed records without their template, and the AIP, which the SDA tag
// list names. With xda it is the Issuer Certified Card Data: AIP and AID follow the
// records as data objects, and no PDOL, which a contact card here does not have.
func StaticData(s *Scheme, c Card) []byte {
	var out []byte
	for _, r := range signedRecords(s, c) {
		out = append(out, r.data...)
	}
	if s.Authenticates(XDA) {
		return object(object(out, 0x82, s.AIP()), 0x9F06, s.AID)
	}
	return append(out, s.AIP()...)
}

// Elements are the data groupings of a card by their name in firmware profiles,
// emv.0101 and so on, but for those that hold secrets. chip are the verification
// values of the track 2 equivalent data: the iCVV in CVV's place.
func Elements(s *Scheme, c Card, chip Verification, k Certificates) (map[string][]byte, error) {
	if err := c.check(s); err != nil {
		return nil, err
	}
	track2, err := track2Equivalent(s, c, chip)
	if err != nil {
		return nil, err
	}
	records := otherRecords(s, c, chip, track2)
	records = append(append(records, signedRecords(s, c)...), certificateRecords(s, k)...)
	out := map[string][]byte{}
	last := map[int]int{}
	for _, r := range records {
		b := tlv.Encode(0x70, r.data)
		if len(b) > maxRecord {
			return nil, fmt.Errorf("record %s of the payment application would have %d bytes, and a record has at most %d", r.dgi(), len(b), maxRecord)
		}
		out["emv."+r.dgi()] = b
		last[r.sfi] = max(last[r.sfi], r.number)
	}
	afl := []byte{1 << 3, 1, byte(last[1]), 0, 2 << 3, 1, byte(last[2]), 1, 3 << 3, 1, byte(last[3]), 0}
	if s.Contactless {
		last[1]++
	}
	out["emv.0062"] = fileCreation(last)
	out["emv.9102"] = tlv.Encode(0xA5, fciProprietary(s, nil))
	out["emv.9104"] = object(object(nil, 0x82, s.AIP()), 0x94, afl)
	out["emv.9010"] = []byte{byte(s.PIN.Tries), byte(s.PIN.Tries)}
	out["emv.3000"] = object(nil, 0x9F36, []byte{0, 0})
	out["emv.3001"] = cardData(s)
	entry := directoryEntry(s)
	out["pse.0101"] = tlv.Encode(0x70, entry)
	out["pse.9102"] = tlv.Encode(0xA5, object(object(nil, 0x88, []byte{1}), 0x5F2D, []byte(s.Language)))
	if s.Contactless {
		addContactless(out, s, track2, afl)
	}
	return out, nil
}

// ElementNames lists what Elements makes, sorted by nothing.
func ElementNames(s *Scheme) (names []string) {
	names = []string{"emv.0062", "emv.0101", "emv.0201", "emv.0202", "emv.0301", "emv.0302", "emv.9102", "emv.9104", "emv.9010", "emv.3000", "emv.3001", "pse.0101", "pse.9102"}
	n := 2
	if s.Authenticates(SDA) {
		n++
	}
	if s.Authenticates(DDA) {
		n += 2
	}
	if s.Authenticates(XDA) {
		n++
	}
	for i := 3; i <= n; i++ {
		names = append(names, fmt.Sprintf("emv.03%02X", i))
	}
	if s.Contactless {
		names = append(names, contactlessNames...)
	}
	return names
}

// SecretScalar is the vault's name of the private key of an elliptic curve.
const SecretScalar = "emv-d"

// RSASecrets are the vault's names of an RSA key's parts, in both of its forms.
func RSASecrets() []string {
	return []string{"emv-qinv", "emv-dq", "emv-dp", "emv-q", "emv-p", "emv-exponent", "emv-modulus"}
}

// SecretNames lists the secrets that a card of the scheme has, as the vault names
// them: those of an RSA key in its shorter form, by the Chinese remainder theorem,
// and of a key of an elliptic curve its one number.
func SecretNames(s *Scheme) []string {
	names := []string{"emv-keys", "emv-dn", "emv-pin-block"}
	if s.Authenticates(DDA) {
		names = append(names, RSASecrets()[:5]...)
	}
	if s.Authenticates(XDA) {
		names = append(names, SecretScalar)
	}
	return names
}

// fciProprietary is what SELECT answers of the application (Book 1, table 45).
// There is no log entry: the chip keeps no list of transactions.
func fciProprietary(s *Scheme, pdol []byte) []byte {
	b := object(nil, 0x50, []byte(s.Label))
	b = object(b, 0x87, []byte{byte(s.Priority)})
	if pdol != nil {
		b = object(b, 0x9F38, pdol)
	}
	return object(b, 0x5F2D, []byte(s.Language))
}

// directoryEntry is the application's in PSE and PPSE (Book 1, table 47).
func directoryEntry(s *Scheme) []byte {
	b := object(nil, 0x4F, s.AID)
	b = object(b, 0x50, []byte(s.Label))
	return tlv.Encode(0x61, object(b, 0x87, []byte{byte(s.Priority)}))
}

// cardData are the card's own copies of what it decides with: the action codes,
// its issuer application data to begin with (CCI and DKI, Book 3 C7.2), offline
// limits, and how it is authenticated to (C3: 80 ARPC method 1, 40 scripts in
// format 1).
func cardData(s *Scheme) []byte {
	b := object(nil, 0x9F0D, s.ActionCodes.Default)
	b = object(b, 0x9F0E, s.ActionCodes.Denial)
	b = object(b, 0x9F0F, s.ActionCodes.Online)
	b = object(b, 0x9F10, append(append([]byte{}, s.Cryptogram.CCI...), s.Cryptogram.DKI...))
	b = object(b, 0x9F14, []byte{s.Offline.Lower})
	b = object(b, 0x9F23, []byte{s.Offline.Upper})
	var control byte
	if s.Cryptogram.ARPC == 1 {
		control |= 0x80
	}
	if s.Cryptogram.Scripts == 1 {
		control |= 0x40
	}
	return object(b, 0xC3, []byte{control})
}

// fileCreation describes the files as control parameters (ISO/IEC 7816-4 table
// 12): linear with records of variable size, at most 254 bytes.
func fileCreation(last map[int]int) (out []byte) {
	for sfi := 1; sfi <= 30; sfi++ {
		if n := last[sfi]; n > 0 {
			fcp := object(nil, 0x82, []byte{0x04, 0x41, 0x00, maxRecord, byte(n)})
			out = object(out, 0x62, object(fcp, 0x88, []byte{byte(sfi << 3)}))
		}
	}
	return out
}

func cvmList(s *Scheme) []byte {
	out := unhex(fmt.Sprintf("%08X%08X", s.CVMList.X, s.CVMList.Y))
	for _, r := range s.CVMList.Rules {
		out = append(out, r...)
	}
	return out
}

// panBytes is a PAN as compressed numeric.
func panBytes(pan string) []byte {
	if len(pan)%2 == 1 {
		pan += "F"
	}
	return unhex(pan)
}

func bcd(n int) byte { return byte(n/10<<4 | n%10) }

// unhex decodes digits that this package has made or checked.
func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.ToLower(text))
	if err != nil {
		panic("payment: " + err.Error())
	}
	return b
}
