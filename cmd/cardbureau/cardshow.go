package main

import (
	"fmt"
	"io"
	"strings"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
)

// shownData is personal data that card verify prints when it is told to.
type shownData struct {
	DocumentCode   string   `json:"documentCode,omitempty"`
	Issuer         string   `json:"issuer,omitempty"`
	DocumentNumber string   `json:"documentNumber,omitempty"`
	Nationality    string   `json:"nationality,omitempty"`
	Birth          string   `json:"birth,omitempty"`  // as the MRZ has it
	Expiry         string   `json:"expiry,omitempty"` // as the MRZ has it
	Sex            string   `json:"sex,omitempty"`
	Primary        string   `json:"primaryIdentifier,omitempty"`
	Secondary      string   `json:"secondaryIdentifier,omitempty"`
	Optional       string   `json:"optionalData,omitempty"`
	LocalPrimary   string   `json:"localPrimary,omitempty"` // DG11, national characters
	LocalSecondary string   `json:"localSecondary,omitempty"`
	OtherNames     []string `json:"otherNames,omitempty"`
	FullBirth      string   `json:"fullBirth,omitempty"`
	BirthPlace     []string `json:"birthPlace,omitempty"`
	Portrait       string   `json:"portrait,omitempty"` // its kind and size
}

// show takes out of a document what people read. What is malformed is left
// out: the report says so.
func show(doc *lds.Document) *shownData {
	s := &shownData{}
	if m, err := datagroup.ParseDG1(doc.Groups[1]); err == nil {
		s.DocumentCode, s.Issuer, s.DocumentNumber, s.Nationality = m.DocumentCode, m.Issuer, m.DocumentNumber, m.Nationality
		s.Birth, s.Expiry, s.Sex, s.Primary, s.Secondary, s.Optional = m.Birth, m.Expiry, m.Sex, m.Primary, m.Secondary, m.Optional
	}
	if d, err := datagroup.ParseDG11(doc.Groups[11]); err == nil {
		s.LocalPrimary, s.LocalSecondary, s.OtherNames, s.FullBirth, s.BirthPlace = d.Primary, d.Secondary, d.OtherNames, d.Birth, d.BirthPlace
	}
	if p, err := datagroup.ParseDG2(doc.Groups[2]); err == nil && len(p) > 0 {
		kind := "JPEG"
		if p[0].JPEG2000 {
			kind = "JPEG 2000"
		}
		s.Portrait = fmt.Sprintf("%s, %d × %d, %d bytes", kind, p[0].Width, p[0].Height, len(p[0].Image))
	}
	return s
}

func (s *shownData) print(w io.Writer) {
	for _, f := range []struct{ name, value string }{
		{"Document", strings.TrimSpace(s.DocumentCode + " " + s.DocumentNumber)},
		{"Issuing State", s.Issuer},
		{"Nationality", s.Nationality},
		{"Primary identifier", s.Primary},
		{"Secondary identifier", s.Secondary},
		{"Name, local", strings.TrimSpace(s.LocalPrimary + " " + s.LocalSecondary)},
		{"Other names", strings.Join(s.OtherNames, ", ")},
		{"Sex", s.Sex},
		{"Birth (MRZ)", s.Birth},
		{"Birth (DG11)", s.FullBirth},
		{"Place of birth", strings.Join(s.BirthPlace, ", ")},
		{"Expiry (MRZ)", s.Expiry},
		{"Optional data", s.Optional},
		{"Portrait", s.Portrait},
	} {
		if f.value != "" {
			fmt.Fprintf(w, "%-22s %s\n", f.name, f.value)
		}
	}
}
