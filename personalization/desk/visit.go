package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/image"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Visit is one holder at the desk with one card. Its steps are Prove, Check, then
// SetPIN or UnblockPIN or VerifyPIN, and Finish. Close it in any case.
type Visit struct {
	Number string // of the card

	desk   *Desk
	row    store.Visit
	cardID uuid.UUID
	image  *image.Image
	record *record.Record // nil once the card was activated
	actor  store.Actor
	applet *profile.Applet

	card    Card
	doc     *lds.Document
	session *lds.SecureMessaging
	keys    *identity.DG13Content // nil: the card has no DG13
	ended   bool
}

// Open begins a visit for a card. Errors of the store say why there can be none now.
func (d *Desk) Open(ctx context.Context, number string, kind store.VisitKind, a store.Actor) (*Visit, error) {
	tries := d.Tries
	if tries == 0 {
		tries = usualTries
	}
	row, err := d.Store.OpenVisit(ctx, store.NewID(), number, kind, tries, a)
	if err != nil {
		return nil, err
	}
	v := &Visit{Number: number, desk: d, row: row, actor: a}
	if err := v.load(ctx); err != nil {
		v.Close(ctx)
		return nil, err
	}
	return v, nil
}

// load opens what is known of the card, and the signed record while it is there.
func (v *Visit) load(ctx context.Context) error {
	c, err := v.desk.Store.CardByNumber(ctx, v.Number, string(v.row.Kind), v.actor)
	if err != nil {
		return err
	}
	v.cardID = c.ID
	if v.image, err = image.Open(ctx, v.desk.Vault, c.PersonID, vault.DataKey(c.Key), c.Image); err != nil {
		return err
	}
	product := v.desk.Profiles.Products[v.row.Product]
	if product == nil {
		return fmt.Errorf("card %s is of product %s, which is not among the profiles", v.Number, v.row.Product)
	}
	if v.applet = v.desk.Profiles.Identity(product); v.applet == nil {
		return fmt.Errorf("product %s has no identity application", v.row.Product)
	}
	if v.row.Sealed == nil {
		return nil
	}
	signed, err := v.desk.Vault.Open(ctx, v.image.Key, intake.RecordAAD(v.row.RecordRow, c.PersonID), v.row.Sealed)
	if err != nil {
		return fmt.Errorf("card %s: the sealed record: %w", v.Number, err)
	}
	defer clear(signed)
	verified, err := v.desk.Verifier.Recheck(signed, time.Unix(v.row.RecordRow.Time().UnixTime()).UTC())
	if err != nil {
		return fmt.Errorf("card %s: its record: %w", v.Number, err)
	}
	if !bytes.Equal(verified.Digest[:], v.row.Digest) {
		return fmt.Errorf("card %s: its record was altered in the database", v.Number)
	}
	v.record = &verified.Record
	return nil
}

// ID is the visit's identifier.
func (v *Visit) ID() uuid.UUID { return v.row.ID }

// HasPIN reports whether the card has a PIN of its holder.
func (v *Visit) HasPIN() bool { return v.applet.Reading.PIN }

// Session is the card behind secure messaging, once it was proven.
func (v *Visit) Session() apdu.Card { return v.session }

// Keys are the holder's keys that the signed DG13 names; nil where the card has none.
func (v *Visit) Keys() *identity.DG13Content { return v.keys }

// ChipKey is the chip authentication key of the card, an uncompressed point on P-256.
func (v *Visit) ChipKey() []byte { return v.image.ChipKey }

// Prove has the card prove that it is genuine and the one that was named: access
// control, chip authentication, passive authentication, and every file the one that
// was written. A card that does not ends the visit.
func (v *Visit) Prove(ctx context.Context, card Card) error {
	if err := card.Reset(ctx, true); err != nil {
		return err
	}
	password, err := v.password(false)
	if err != nil {
		return err
	}
	defer password.Zero()
	expected := v.files()
	doc, report := lds.Inspect(ctx, card, lds.Options{
		Password: password, BAC: !v.applet.Opens("pace"), Trust: v.desk.Trust, At: v.desk.now(), Expected: expected,
		AvoidLe00: v.applet.Has(profile.QuirkLeZero),
	})
	v.card, v.session = card, doc.Session
	if err := report.Err(); err != nil {
		switch {
		case errors.Is(err, apdu.ErrInDoubt), ctx.Err() != nil:
			return fmt.Errorf("card %s could not be read: %w", v.Number, err)
		case errors.Is(err, lds.ErrAccessDenied):
			return v.refuse(ctx, refused(CodeOtherCard, err))
		}
		return v.refuse(ctx, refused(CodeNotGenuine, err))
	}
	for id := range expected {
		if n := int(id) - 0x0100; n >= 1 && n <= 16 && !bytes.Equal(doc.Groups[n], expected[id]) {
			return v.refuse(ctx, refused(CodeNotGenuine, fmt.Errorf("DG%d is not what was written", n)))
		}
	}
	v.doc = doc
	if dg13 := doc.Groups[13]; dg13 != nil {
		if v.keys, err = identity.ParseDG13(dg13); err != nil {
			return v.refuse(ctx, refused(CodeNotGenuine, err))
		}
	}
	return nil
}

// password is what opens the card: the CAN, or the MRZ where the card has no PACE or
// bac asks for it.
func (v *Visit) password(bac bool) (lds.Password, error) {
	if bac || !v.applet.Opens("pace") {
		return lds.MRZ(v.image.DocumentNumber, v.image.BirthDate, v.image.ExpiryDate)
	}
	return lds.CAN(v.image.CAN)
}

// files are those that anyone who opened the card may read, by identifier.
func (v *Visit) files() map[uint16][]byte {
	out := map[uint16][]byte{}
	for name, b := range v.image.Files {
		switch n, err := strconv.Atoi(strings.TrimPrefix(name, "dg")); {
		case name == "card-access":
			out[0x011C] = b
		case name == "com":
			out[lds.FileCOM] = b
		case name == "sod":
			out[lds.FileSOD] = b
		case err == nil && strings.HasPrefix(name, "dg"):
			out[lds.FileDG(n)] = b
		}
	}
	return out
}

// refuse ends the visit if err is a refusal, and returns err.
func (v *Visit) refuse(ctx context.Context, err error) error {
	var r *RefusedError
	if !errors.As(err, &r) || v.ended {
		return err
	}
	v.ended = true
	return errors.Join(err, v.desk.Store.RefuseVisit(ctx, v.row.ID, r.Code, v.actor))
}

// Finish ends the visit with the receipt that the holder's chip has signed: the card
// is active, or unblocked, from then on.
func (v *Visit) Finish(ctx context.Context, r *Receipt) error {
	var kept store.HolderReceipt
	if r != nil {
		kept = store.HolderReceipt{Content: r.Content, Signature: r.Signature, Key: r.Key.Point}
	}
	if err := v.desk.Store.FinishVisit(ctx, v.row.ID, kept, v.actor); err != nil {
		return err
	}
	v.ended = true
	return nil
}

// Close ends secure messaging, and abandons a visit that did not come to an end.
func (v *Visit) Close(ctx context.Context) {
	if v.session != nil {
		v.session.Close()
		v.session = nil
	}
	if !v.ended {
		v.ended = true
		_ = v.desk.Store.AbandonVisit(context.WithoutCancel(ctx), v.row.ID, "not-finished", v.actor)
	}
}
