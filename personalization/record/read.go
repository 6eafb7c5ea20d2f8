package record

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// reader takes a record out of a tree that follows the schema. Reading from the
// very tree that was validated leaves no room for a second parser to see
// another record in the same bytes. The first fault stays in err.
type reader struct{ err *Refusal }

type object map[string]any

func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// sub returns the member object, nil where it is absent.
func (o object) sub(name string) object {
	m, _ := o[name].(map[string]any)
	return m
}

func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

func (r *reader) fail(code, detail string) {
	if r.err == nil {
		r.err = refuse(code, detail)
	}
}

func (r *reader) record(t object) Record {
	rec := Record{
		Schema:    t.text("schema"),
		RecordID:  strings.ToLower(t.text("recordId")),
		Audience:  t.text("audience"),
		IssuedAt:  r.time(t, "issuedAt"),
		ExpiresAt: r.time(t, "expiresAt"),
		Reason:    t.text("reason"),
		Replaces:  t.text("replaces"),
		Person:    r.person(t.sub("person")),
		Residence: r.residence(t.sub("residence")),
	}
	if n := r.integer(t, "revision", "/revision"); n != nil {
		rec.Revision = *n
	}
	for _, v := range t.list("services") {
		s, _ := v.(map[string]any)
		rec.Services = append(rec.Services, Service{
			Code:       object(s).text("code"),
			ValidFrom:  r.date(s, "validFrom", "/services/validFrom"),
			ValidUntil: r.date(s, "validUntil", "/services/validUntil"),
		})
	}
	if b := t.sub("bank"); b != nil {
		rec.Bank = &Bank{IBAN: b.text("iban"), Account: b.text("account"), PAN: b.text("pan"), CardholderName: b.text("cardholderName")}
	}
	if s := t.sub("sim"); s != nil {
		rec.SIM = &SIM{Operator: s.text("operator"), MSISDN: s.text("msisdn"), ICCID: s.text("iccid")}
	}
	return rec
}

func (r *reader) person(t object) Person {
	p := Person{
		UniqueID:    t.text("uniqueId"),
		Name:        Names{Local: name(t.sub("name").sub("local")), Latin: name(t.sub("name").sub("latin"))},
		FatherName:  bilingual(t.sub("fatherName")),
		Sex:         t.text("sex"),
		BirthPlace:  bilingual(t.sub("birthPlace")),
		Nationality: t.text("nationality"),
		Photo:       r.photo(t.sub("photo")),
	}
	birth, err := ParseBirthDate(t.text("birthDate"))
	if err != nil {
		r.fail(DateImpossible, "/person/birthDate")
	}
	p.BirthDate = birth
	for _, v := range t.list("legacyDocuments") {
		d, _ := v.(map[string]any)
		p.LegacyDocuments = append(p.LegacyDocuments, LegacyDocument{
			Kind:       object(d).text("kind"),
			Series:     r.integer(d, "series", "/person/legacyDocuments/series"),
			Number:     object(d).text("number"),
			ValidUntil: r.date(d, "validUntil", "/person/legacyDocuments/validUntil"),
		})
	}
	if h := t.sub("household"); h != nil {
		head, _ := h["head"].(bool)
		p.Household = &Household{ID: h.text("id"), Head: head}
	}
	if g := t.sub("guardian"); g != nil {
		p.Guardian = &Guardian{Kind: g.text("kind"), ID: g.text("id")}
	}
	return p
}

func (r *reader) residence(t object) Residence {
	return Residence{
		Permit:     t.text("permit"),
		Series:     r.integer(t, "series", "/residence/series"),
		ValidFrom:  r.date(t, "validFrom", "/residence/validFrom"),
		ValidUntil: r.date(t, "validUntil", "/residence/validUntil"),
		Office:     t.text("office"),
	}
}

func (r *reader) photo(t object) Photo {
	// Strict: the bits after the last byte must be zero, so that one photo has
	// one text.
	data, err := base64.StdEncoding.Strict().DecodeString(t.text("data"))
	if err != nil {
		r.fail(BadSchema, "/person/photo/data: must be base64")
	}
	return Photo{MediaType: t.text("mediaType"), Data: data}
}

func (r *reader) time(t object, member string) time.Time {
	at, err := time.Parse(time.RFC3339, strings.ToUpper(t.text(member)))
	if err != nil { // leap seconds, which RFC 3339 knows and Go does not
		r.fail(DateImpossible, "/"+member)
	}
	return at.UTC()
}

func (r *reader) date(t object, member, place string) Date {
	s, given := t[member].(string)
	if !given {
		return Date{}
	}
	d, err := ParseDate(s)
	if err != nil {
		r.fail(DateImpossible, place)
	}
	return d
}

// integer returns nil where the member is absent.
func (r *reader) integer(t object, member, place string) *int {
	n, given := t[member].(json.Number)
	if !given {
		return nil
	}
	v, err := n.Int64()
	if err != nil || v > 1<<31-1 || v < -1<<31 {
		r.fail(BadSchema, place+": must be an integer of 32 bits")
		return nil
	}
	i := int(v)
	return &i
}

func name(t object) Name { return Name{Family: t.text("family"), Given: t.text("given")} }

func bilingual(t object) *Bilingual {
	if t == nil {
		return nil
	}
	return &Bilingual{Local: t.text("local"), Latin: t.text("latin")}
}

// claimedID returns the record's id out of a payload that nothing vouches for:
// empty unless it is a UUID.
func claimedID(tree map[string]any) string {
	s := strings.ToLower(object(tree).text("recordId"))
	if len(s) != 36 {
		return ""
	}
	for i := range len(s) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		hex := s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		if hyphen != (s[i] == '-') || !hyphen && !hex {
			return ""
		}
	}
	return s
}
