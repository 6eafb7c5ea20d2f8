package record

import (
	"errors"
	"unicode"
)

// MRZName is a name as the machine readable zone has it: components of A to Z,
// separated by one filler <, not yet truncated (ICAO 9303-3 section 4.6).
type MRZName struct {
	Primary   string // family name, or the only name of a person of one name
	Secondary string // given names; empty for a person of one name
}

// String is the name field without the fillers at its end: primary, two
// fillers, secondary; the primary alone where there is no secondary.
func (n MRZName) String() string {
	if n.Secondary == "" {
		return n.Primary
	}
	return n.Primary + "<<" + n.Secondary
}

// errNoName says that nothing of a name is left for the machine readable zone.
var errNoName = errors.New("record: the name holds no letter")

// errLatinLetter tells a fault of the Latin spelling from one of the local name.
type errLatinLetter struct{ error }

func (e errLatinLetter) Unwrap() error { return e.error }

// MRZName is the holder's name for the machine readable zone. The Latin spelling
// wins where it is given; a part that is empty is transliterated from Arabic
// script (see Transliterate). A person of one name has it as primary identifier
// and no secondary, in whichever part of the Latin spelling it stands.
//
// It fails with ErrLetter where a letter has no transliteration. A record that
// was verified never fails.
func (r *Record) MRZName() (MRZName, error) {
	local, latin := r.Person.Name.Local, r.Person.Name.Latin
	family, err := LatinMRZ(latin.Family)
	if err != nil {
		return MRZName{}, errLatinLetter{err}
	}
	given, err := LatinMRZ(latin.Given)
	if err != nil {
		return MRZName{}, errLatinLetter{err}
	}
	single := blank(local.Family)
	if family == "" && !single {
		if family, err = Transliterate(local.Family); err != nil {
			return MRZName{}, err
		}
	}
	if given == "" && (!single || family == "") {
		if given, err = Transliterate(local.Given); err != nil {
			return MRZName{}, err
		}
	}
	if family == "" {
		family, given = given, ""
	}
	if family == "" {
		return MRZName{}, errNoName
	}
	return MRZName{Primary: family, Secondary: given}, nil
}

// blank reports whether a name holds no letter at all: registries write a
// missing name as nothing, a space or a dash.
func blank(s string) bool {
	for _, r := range s {
		if unicode.IsLetter(r) && r != tatweel {
			return false
		}
	}
	return true
}

func refusalOfName(err error) *Refusal {
	var latin errLatinLetter
	switch {
	case errors.As(err, &latin):
		return refuse(NameLatin, "")
	case errors.Is(err, ErrLetter):
		return refuse(NameLetters, "")
	}
	return refuse(NameScript, "/person/name/local")
}

// checkNames checks that local texts are in Arabic script. Latin texts other
// than the name are not written to the machine readable zone.
func checkNames(p *Person) *Refusal {
	local := p.Name.Local
	if blank(local.Given) {
		return refuse(NameScript, "/person/name/local/given")
	}
	if foreign(local.Given) || foreign(local.Family) {
		return refuse(NameScript, "/person/name/local")
	}
	if p.FatherName != nil && foreign(p.FatherName.Local) {
		return refuse(NameScript, "/person/fatherName/local")
	}
	if p.BirthPlace != nil && foreign(p.BirthPlace.Local) {
		return refuse(NameScript, "/person/birthPlace/local")
	}
	return nil
}

// foreign reports whether a text holds a letter of another script than Arabic,
// or a control character.
func foreign(s string) bool {
	for _, r := range s {
		if unicode.Is(unicode.Cc, r) && !unicode.IsSpace(r) || unicode.IsLetter(r) && !unicode.Is(unicode.Arabic, r) && r != tatweel {
			return true
		}
	}
	return false
}
