package record

import (
	"net/http"
	"strings"
)

// Refusal says why one record was refused. It is an error of the input, never
// of the bureau: any other error from this package means that the answer is not
// known and the record may be sent again unchanged.
type Refusal struct {
	// Code is one of the stable codes of Codes.
	Code string
	// RecordID is the record's UUID in lower case, empty where it could not be
	// read. Before the signature is verified it is a claim, good for pointing
	// at a line and for nothing else.
	RecordID string
	// Detail names the place or the rule, never a value of the record. May be
	// empty.
	Detail string

	// incomplete: the input ends before it is complete, so that on a last line
	// without line feed the better word is line-cut-off.
	incomplete bool
}

// Refuse makes a refusal with one of the codes of Codes.
func Refuse(code, recordID, detail string) *Refusal {
	return &Refusal{Code: code, RecordID: recordID, Detail: detail}
}

func refuse(code, detail string) *Refusal { return &Refusal{Code: code, Detail: detail} }

// Error is the code, the code's sentence and the detail.
func (r *Refusal) Error() string { return r.Code + ": " + r.Sentence() }

// Sentence is what a person reads: the code's sentence, with the detail in
// parentheses.
func (r *Refusal) Sentence() string {
	s := Describe(r.Code).Sentence
	if r.Detail != "" {
		s = strings.TrimSuffix(s, ".") + " (" + r.Detail + ")."
	}
	return s
}

// Status is the HTTP status that goes with the code.
func (r *Refusal) Status() int { return Describe(r.Code).Status }

// CodeInfo documents one code of refusal.
type CodeInfo struct {
	Code     string // stable: once published it keeps its meaning
	Status   int    // HTTP status of the problem (RFC 9457)
	Sentence string // what is wrong and what to do, in one or two short sentences
}

// The codes that this package raises, and those that callers raise for what only
// the database, the configuration or the counter of the day can tell.
const (
	NotJWS          = "not-jws"
	JWSHeader       = "jws-header"
	UnknownKey      = "unknown-key"
	KeyExpired      = "key-expired"
	KeyNotYetValid  = "key-not-yet-valid"
	TrustExpired    = "trust-expired"
	AlgMismatch     = "algorithm-mismatch"
	BadSignature    = "signature-invalid"
	NotJSON         = "payload-not-json"
	BadSchema       = "schema"
	WrongAudience   = "wrong-audience"
	Expired         = "record-expired"
	NotYetValid     = "record-not-yet-valid"
	LineTooLong     = "line-too-long"
	LineCutOff      = "line-cut-off"
	JWENotAccepted  = "jwe-not-accepted"
	JWEHeader       = "jwe-header"
	JWEUnreadable   = "jwe-unreadable"
	JWERequired     = "jwe-required"
	DateImpossible  = "date-impossible"
	DateOrder       = "date-order"
	NoGuardian      = "guardian-missing"
	PhotoUnreadable = "photo-unreadable"
	PhotoSize       = "photo-size"
	PhotoTooLarge   = "photo-too-large"
	NameScript      = "name-script"
	NameLatin       = "name-latin"
	NameLetters     = "name-not-transliterable"
	NationalityISO  = "nationality-iso"
	NoNationality   = "nationality-unknown"
	UniqueIDCheck   = "unique-id-check"
	PermitNotGiven  = "permit-not-allowed"
	PANInClear      = "pan-not-encrypted"
	PANLuhn         = "pan-luhn"
	PANPrefix       = "pan-prefix"
	IBANCheck       = "iban-check"
	IBANBank        = "iban-bank"
	SIMOperator     = "sim-operator"
	MSISDNPrefix    = "msisdn-prefix"
	ICCIDLuhn       = "iccid-luhn"

	ContentDiffers  = "record-content-differs"
	PersonHasOrder  = "person-has-open-order"
	RevisionTooLate = "revision-too-late"
	RevisionOld     = "revision-superseded"
	NoProduct       = "no-product"
	DailyCap        = "daily-cap"
)

// Codes is every code of refusal in the order of the checks. Documentation is
// generated from it.
var Codes = []CodeInfo{
	{LineTooLong, http.StatusRequestEntityTooLarge, "The line is longer than a record can be. Send one compact JWS or JWE a line."},
	{LineCutOff, http.StatusBadRequest, "The last line ends before the record is complete. Send the file again."},
	{NotJWS, http.StatusBadRequest, "This is neither a compact JWS nor a compact JWE."},
	{JWENotAccepted, http.StatusBadRequest, "This bureau has no intake key, so it takes no encrypted records."},
	{JWEHeader, http.StatusBadRequest, "The JWE's header must say ECDH-ES+A256KW or RSA-OAEP-256, A256GCM, and cty verified-record+jws."},
	{JWEUnreadable, http.StatusBadRequest, "The record cannot be decrypted with the bureau's intake key. Encrypt it to the key that the bureau publishes now."},
	{JWERequired, http.StatusForbidden, "This bureau takes encrypted records only. Wrap the JWS in a JWE to its intake key."},
	{JWSHeader, http.StatusBadRequest, "The JWS's header must say ES256, PS256 or EdDSA, a kid, and typ verified-record+jws."},
	{UnknownKey, http.StatusForbidden, "The record is signed with a key that the trust file does not name."},
	{AlgMismatch, http.StatusForbidden, "The record is signed with another algorithm than the trust file gives for this key."},
	{TrustExpired, http.StatusForbidden, "The bureau's trust file is no longer valid. The bureau must load a new one."},
	{KeyNotYetValid, http.StatusForbidden, "The signing key is not valid yet by the trust file."},
	{KeyExpired, http.StatusForbidden, "The signing key is no longer valid by the trust file. Sign with a current key."},
	{BadSignature, http.StatusForbidden, "The signature does not fit the record: it was altered or signed with another key."},
	{NotJSON, http.StatusBadRequest, "The signed payload is not one JSON object in UTF-8 without repeated names."},
	{BadSchema, http.StatusUnprocessableEntity, "The record does not follow the schema verified-record/1."},
	{WrongAudience, http.StatusForbidden, "The record is meant for another bureau."},
	{NotYetValid, http.StatusUnprocessableEntity, "The record was issued in the future. Check the registry's clock."},
	{Expired, http.StatusUnprocessableEntity, "The record is past its expiry. Ask the registry for a fresh one."},
	{PermitNotGiven, http.StatusForbidden, "The trust file does not allow this key to sign records for this kind of permit."},
	{DateImpossible, http.StatusUnprocessableEntity, "A date does not exist or cannot be."},
	{DateOrder, http.StatusUnprocessableEntity, "Two dates are in the wrong order."},
	{UniqueIDCheck, http.StatusUnprocessableEntity, "The unique id's check digit is wrong."},
	{NameScript, http.StatusUnprocessableEntity, "A local name must be written in Arabic script and hold at least one letter."},
	{NameLatin, http.StatusUnprocessableEntity, "A Latin name holds letters that the machine readable zone has no rule for."},
	{NameLetters, http.StatusUnprocessableEntity, "The local name holds a letter that ICAO 9303-3 has no transliteration for. Give the Latin spelling."},
	{NationalityISO, http.StatusUnprocessableEntity, "The nationality must be the code of ICAO 9303-3 section 5, which is not the ISO code here."},
	{NoNationality, http.StatusUnprocessableEntity, "The nationality is not a code of ICAO 9303-3 section 5."},
	{NoGuardian, http.StatusUnprocessableEntity, "The person is under 18, or may be, and the record names no guardian. Give one, or kind none for an unaccompanied minor."},
	{PhotoTooLarge, http.StatusUnprocessableEntity, "The photo has more bytes than the chip takes. It is never recompressed: send a smaller one."},
	{PhotoUnreadable, http.StatusUnprocessableEntity, "The photo is not a complete picture of the kind that it says it is."},
	{PhotoSize, http.StatusUnprocessableEntity, "The photo's width or height is outside what a portrait must have."},
	{PANInClear, http.StatusForbidden, "A record with a card number must come encrypted (JWE)."},
	{PANLuhn, http.StatusUnprocessableEntity, "The card number's check digit is wrong."},
	{PANPrefix, http.StatusUnprocessableEntity, "The card number is not of a range of the issuing bank."},
	{IBANCheck, http.StatusUnprocessableEntity, "The IBAN's check digits are wrong."},
	{IBANBank, http.StatusUnprocessableEntity, "The IBAN is not of the issuing bank."},
	{SIMOperator, http.StatusUnprocessableEntity, "The SIM's operator is not one that this bureau pairs."},
	{MSISDNPrefix, http.StatusUnprocessableEntity, "The telephone number is not of a range of this operator."},
	{ICCIDLuhn, http.StatusUnprocessableEntity, "The SIM's serial number (ICCID) has a wrong check digit."},
	{DailyCap, http.StatusTooManyRequests, "The signing key has used up its records of the day. Send the record again tomorrow."},
	{NoProduct, http.StatusUnprocessableEntity, "No product of this bureau fits the record's permit, age, bank and SIM parts."},
	{ContentDiffers, http.StatusConflict, "This recordId and revision came before with other content. Changes need a higher revision."},
	{RevisionOld, http.StatusConflict, "A higher revision of this record was accepted already."},
	{RevisionTooLate, http.StatusConflict, "The card of this record is already being made or issued, so the record can no longer be replaced."},
	{PersonHasOrder, http.StatusConflict, "This person has an open order. It must end before another begins."},
}

var codeIndex = func() map[string]CodeInfo {
	m := make(map[string]CodeInfo, len(Codes))
	for _, c := range Codes {
		m[c.Code] = c
	}
	return m
}()

// Describe returns the table's entry for code. A code that is not in the table
// comes back as it is with status 422 and no more than its name as sentence.
func Describe(code string) CodeInfo {
	if c, ok := codeIndex[code]; ok {
		return c
	}
	return CodeInfo{Code: code, Status: http.StatusUnprocessableEntity, Sentence: "The record was refused: " + code + "."}
}
