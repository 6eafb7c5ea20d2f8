package record

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"
)

// Schema is the value of a record's schema member.
const Schema = "verified-record/1"

// AdultAge is the age in years from which no guardian is needed.
const AdultAge = 18

// Record is the payload of a verified record, version 1. Times are UTC. Its
// JSON form (encoding/json) follows the schema.
type Record struct {
	Schema    string    `json:"schema"`
	RecordID  string    `json:"recordId"` // UUID, lower case
	Revision  int       `json:"revision"` // 1…65535
	Audience  string    `json:"audience"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Reason    string    `json:"reason"`             // first, renewal, replacement, correction
	Replaces  string    `json:"replaces,omitempty"` // card number
	Person    Person    `json:"person"`
	Residence Residence `json:"residence"`
	Services  []Service `json:"services,omitempty"`
	Bank      *Bank     `json:"bank,omitempty"`
	SIM       *SIM      `json:"sim,omitempty"`
}

// Person is the holder.
type Person struct {
	UniqueID        string           `json:"uniqueId"` // 8…12 digits
	Name            Names            `json:"name"`
	FatherName      *Bilingual       `json:"fatherName,omitempty"`
	Sex             string           `json:"sex"` // M, F, X
	BirthDate       BirthDate        `json:"birthDate"`
	BirthPlace      *Bilingual       `json:"birthPlace,omitempty"`
	Nationality     string           `json:"nationality"` // ICAO 9303-3 section 5
	Photo           Photo            `json:"photo"`
	LegacyDocuments []LegacyDocument `json:"legacyDocuments,omitempty"`
	Household       *Household       `json:"household,omitempty"`
	Guardian        *Guardian        `json:"guardian,omitempty"`
}

// Names is a person's name in both scripts, as the registry wrote it.
type Names struct {
	Local Name `json:"local"` // Arabic script; family empty for a person of one name
	Latin Name `json:"latin"` // as in the travel document; empty parts are transliterated
}

// Name is one name in one script.
type Name struct {
	Family string `json:"family"`
	Given  string `json:"given"`
}

// Bilingual is a text in both scripts, either of which may be empty.
type Bilingual struct {
	Local string `json:"local,omitempty"`
	Latin string `json:"latin,omitempty"`
}

// Photo is a portrait. Data goes to the chip byte for byte.
type Photo struct {
	MediaType string `json:"mediaType"` // image/jpeg, image/jp2
	Data      []byte `json:"data"`      // at most MaxPhoto bytes
}

// LegacyDocument is an older paper of the person.
type LegacyDocument struct {
	Kind       string `json:"kind"`
	Series     *int   `json:"series,omitempty"`
	Number     string `json:"number"`
	ValidUntil Date   `json:"validUntil,omitzero"`
}

// Household is the family that the person belongs to.
type Household struct {
	ID   string `json:"id"`
	Head bool   `json:"head"`
}

// Guardian is who answers for a minor.
type Guardian struct {
	Kind string `json:"kind"` // person, institution, none
	ID   string `json:"id,omitempty"`
}

// Residence is the permit that the card rests on.
type Residence struct {
	Permit     string `json:"permit"`
	Series     *int   `json:"series,omitempty"`
	ValidFrom  Date   `json:"validFrom"`
	ValidUntil Date   `json:"validUntil"`
	Office     string `json:"office"` // kept until activation only
}

// Service is one entitlement of the services register.
type Service struct {
	Code       string `json:"code"`
	ValidFrom  Date   `json:"validFrom,omitzero"`
	ValidUntil Date   `json:"validUntil,omitzero"`
}

// Bank is the account that the card pays from.
type Bank struct {
	IBAN           string `json:"iban"`
	Account        string `json:"account"`
	PAN            string `json:"pan,omitempty"`
	CardholderName string `json:"cardholderName,omitempty"`
}

// SIM is the telephone subscription that comes with the card.
type SIM struct {
	Operator string `json:"operator"` // MCC and MNC
	MSISDN   string `json:"msisdn"`
	ICCID    string `json:"iccid,omitempty"`
}

// Minor reports whether the person is, or may be, under 18 on the day of at.
func (r *Record) Minor(at time.Time) bool {
	return r.Person.BirthDate.ProtectionAge(DateOf(at)) < AdultAge
}

// NeedsDecision reports whether the record belongs into the queue for a
// decision: an unaccompanied minor (guardian of kind none).
func (r *Record) NeedsDecision(at time.Time) bool {
	return r.Minor(at) && r.Person.Guardian != nil && r.Person.Guardian.Kind == "none"
}

// IdentityCanonical is what makes the person on the card: name, birth date and
// photo, in one unambiguous byte string (each part preceded by its length in
// four bytes). A keyed digest of it shows whether a later record under the same
// unique id changes any of them. Spelling that Normalize and the machine
// readable zone do not distinguish does not count as a change. It fails as
// MRZName does.
func (r *Record) IdentityCanonical() ([]byte, error) {
	mrz, err := r.MRZName()
	if err != nil {
		return nil, err
	}
	photo := sha256.Sum256(r.Person.Photo.Data)
	parts := []string{
		"cardbureau identity 1",
		Normalize(r.Person.Name.Local.Family), Normalize(r.Person.Name.Local.Given),
		mrz.Primary, mrz.Secondary,
		r.Person.BirthDate.String(),
		r.Person.Photo.MediaType, string(photo[:]),
	}
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out, nil
}

// String shows recordId and revision, nothing of the person.
func (r Record) String() string { return fmt.Sprintf("record %s revision %d", r.RecordID, r.Revision) }

// GoString is String, so that no verb of fmt shows the person.
func (r Record) GoString() string { return r.String() }

// LogValue is String for log/slog.
func (r Record) LogValue() slog.Value { return slog.StringValue(r.String()) }

const redacted = "[redacted]"

// String shows nothing of the person.
func (Person) String() string { return redacted }

// GoString shows nothing of the person.
func (Person) GoString() string { return redacted }

// LogValue shows nothing of the person.
func (Person) LogValue() slog.Value { return slog.StringValue(redacted) }

// String shows nothing of the name.
func (Names) String() string { return redacted }

// GoString shows nothing of the name.
func (Names) GoString() string { return redacted }

// LogValue shows nothing of the name.
func (Names) LogValue() slog.Value { return slog.StringValue(redacted) }

// String shows nothing of the name.
func (Name) String() string { return redacted }

// GoString shows nothing of the name.
func (Name) GoString() string { return redacted }

// LogValue shows nothing of the name.
func (Name) LogValue() slog.Value { return slog.StringValue(redacted) }

// String shows nothing of the photo.
func (Photo) String() string { return redacted }

// GoString shows nothing of the photo.
func (Photo) GoString() string { return redacted }

// LogValue shows nothing of the photo.
func (Photo) LogValue() slog.Value { return slog.StringValue(redacted) }

// String shows nothing of the account.
func (Bank) String() string { return redacted }

// GoString shows nothing of the account.
func (Bank) GoString() string { return redacted }

// LogValue shows nothing of the account.
func (Bank) LogValue() slog.Value { return slog.StringValue(redacted) }
