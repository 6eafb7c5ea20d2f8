package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/lds/datagroup"
	"cardbureau/personalization/record"
)

// HolderCheck is what the clerk confirms of who is at the desk.
type HolderCheck struct {
	Photo    bool   // the chip's photo shows them
	Document string // kind of the document that was shown: passport, amayesh, …
	Guardian string // of a minor: kind of the guardian's document
	Decision string // of an unaccompanied minor: code of the decision

	// Override is a code of why the card is handed over although something did not
	// hold (an injured finger, a lost document); Second answers for it, and for the
	// decision about an unaccompanied minor. A photo that does not fit cannot be
	// overridden.
	Override string
	Second   uuid.UUID
}

// outcomes of single checks, as they are kept.
const (
	heldUp     = "confirmed"
	overridden = "overridden"
	notAsked   = "not-asked"
)

// Check decides about the holder and notes what was checked. A refusal ends the
// visit and counts.
func (v *Visit) Check(ctx context.Context, h HolderCheck) error {
	if v.doc == nil {
		return errors.New("desk: the card is proven before its holder is checked")
	}
	checks := map[string]string{"card": heldUp}
	override := false
	// soft notes a check that a second person may answer for.
	soft := func(code string, holds bool, cause error) error {
		switch {
		case holds:
			checks[code] = heldUp
			return nil
		case h.Override == "":
			return refused(code, cause)
		}
		checks[code], checks["override"], override = overridden, h.Override, true
		return nil
	}
	err := func() error {
		if !h.Photo {
			return refused(CodePhoto, nil)
		}
		checks[CodePhoto] = heldUp
		if err := soft(CodeDocument, h.Document != "", nil); err != nil {
			return err
		}
		if h.Document != "" {
			checks["document-kind"] = h.Document
		}
		if v.minor() {
			if err := v.checkMinor(h, checks, &override); err != nil {
				return err
			}
		}
		checks[CodeFingerprint] = notAsked
		if v.desk.Matcher != nil {
			fits, err := v.desk.Matcher.Match(ctx, v.Number)
			if err := soft(CodeFingerprint, err == nil && fits, err); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		return v.refuse(ctx, err)
	}
	return v.desk.Store.CheckVisit(ctx, v.row.ID, checks, override, h.Second, v.actor)
}

// checkMinor asks for a guardian, or for the decision about a minor without one.
func (v *Visit) checkMinor(h HolderCheck, checks map[string]string, override *bool) error {
	checks["minor"] = "yes"
	if v.record != nil && v.record.Person.Guardian != nil && v.record.Person.Guardian.Kind == "none" || h.Decision != "" {
		if h.Decision == "" || h.Second == uuid.Nil {
			return refused(CodeDecision, nil)
		}
		checks[CodeDecision], checks["override"], *override = h.Decision, h.Decision, true
		return nil
	}
	if h.Guardian == "" {
		return refused(CodeGuardian, nil)
	}
	checks[CodeGuardian] = h.Guardian
	return nil
}

// minor reports whether the holder is, or may be, under 18 today: by the signed
// record while it is there, by the chip's personal details otherwise.
func (v *Visit) minor() bool {
	now := v.desk.now()
	if v.record != nil {
		return v.record.Minor(now)
	}
	birth, err := v.birth()
	if err != nil {
		return true // unknown: protection comes first
	}
	return birth.ProtectionAge(record.DateOf(now)) < record.AdultAge
}

func (v *Visit) birth() (record.BirthDate, error) {
	d, err := datagroup.ParseDG11(v.doc.Groups[11])
	if err != nil || len(d.Birth) != 8 {
		return record.BirthDate{}, fmt.Errorf("the card does not tell the whole date of birth: %w", err)
	}
	return record.ParseBirthDate(d.Birth[:4] + "-" + d.Birth[4:6] + "-" + d.Birth[6:])
}

// Holder is what the clerk compares with who is at the desk. It is personal data.
type Holder struct {
	Name       string // in the holder's own script
	Latin      string
	BirthDate  string // YYYY-MM-DD
	Photo      []byte // JPEG or JPEG 2000
	Minor      bool
	Guardian   string // kind of the guardian that the record names, while it is there
	CardExpiry time.Time
}

// String shows nothing of a person.
func (Holder) String() string { return "[redacted holder]" }

// GoString is String.
func (h Holder) GoString() string { return h.String() }

// Holder reads off the proven chip whom the clerk should have before them.
func (v *Visit) Holder() (Holder, error) {
	if v.doc == nil {
		return Holder{}, errors.New("desk: the card is proven before its holder is shown")
	}
	mrz, err := datagroup.ParseDG1(v.doc.Groups[1])
	if err != nil {
		return Holder{}, err
	}
	h := Holder{Latin: mrz.Primary + " " + mrz.Secondary, Minor: v.minor()}
	if d, err := datagroup.ParseDG11(v.doc.Groups[11]); err == nil {
		h.Name = d.Secondary + " " + d.Primary
	}
	if b, err := v.birth(); err == nil {
		h.BirthDate = b.String()
	}
	if faces, err := datagroup.ParseDG2(v.doc.Groups[2]); err == nil && len(faces) > 0 {
		h.Photo = faces[0].Image
	}
	if v.record != nil && v.record.Person.Guardian != nil {
		h.Guardian = v.record.Person.Guardian.Kind
	}
	h.CardExpiry, _ = time.Parse("060102", mrz.Expiry)
	return h, nil
}
