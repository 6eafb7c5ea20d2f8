// Package image makes and keeps the card image: every byte that a product puts
// on a card, drawn and computed once. An image is sealed for its person, stored
// with its order, versioned, and never silently remade: another one is a new
// version that voids the old.
//
// It joins the record (what is known of the person), identity (how the files
// are built) and the vault (what is secret or signed). It touches no card.
package image

import (
	"context"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"cardbureau/personalization/identity"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Image is an opened card image. It is personal data: it is never logged, and
// it prints as its card number.
type Image struct {
	content

	// Secrets are the card's secrets, which only the vault can open, with what
	// they are bound to.
	Secrets    []byte
	SecretsAAD []byte
	Key        vault.DataKey
	// Bank is the bank's part; nil: the product has none, or the card is issued.
	Bank *Bank
}

// content is what the image column holds, sealed.
type content struct {
	DocumentNumber string            `cbor:"1,keyasint"`
	BirthDate      string            `cbor:"2,keyasint"` // YYMMDD as in the MRZ
	ExpiryDate     string            `cbor:"3,keyasint"` // YYMMDD
	CAN            string            `cbor:"4,keyasint"`
	MRZ            string            `cbor:"5,keyasint"` // 90 characters
	Files          map[string][]byte `cbor:"6,keyasint"` // "dg1", "com", …: whole elementary files
	ChipKey        []byte            `cbor:"7,keyasint"` // chip authentication public key, 65 bytes; nil: none
	ActiveKey      []byte            `cbor:"8,keyasint"` // active authentication public key, SubjectPublicKeyInfo in DER; nil: none
	// HolderKeys are the keys with which the chip signs for its holder.
	HolderKeys []identity.HolderKey `cbor:"9,keyasint,omitempty"`
}

// String names the card and shows nothing of the person.
func (im *Image) String() string { return "card image " + im.DocumentNumber }

// GoString is String.
func (im *Image) GoString() string { return im.String() }

// Element returns a file of the image by its name in firmware profiles, without
// the prefix "file.", or a data grouping by its whole name. profile.ErrNoElement says
// that the product has none.
func (im *Image) Element(name string) ([]byte, error) {
	if b, ok := im.Files[name]; ok {
		return b, nil
	}
	if im.Bank != nil {
		if b, ok := im.Bank.Elements[name]; ok {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", profile.ErrNoElement, name)
}

// aad is what a column of an image row is bound to.
func aad(column string, row, person uuid.UUID, version int) []byte {
	return vault.AAD("image", column, row, person, version)
}

// Open opens a stored image.
func Open(ctx context.Context, v *vault.Client, person uuid.UUID, key vault.DataKey, stored store.Image) (*Image, error) {
	plain, err := v.Open(ctx, key, aad("content", stored.ID, person, stored.Version), stored.Content)
	if err != nil {
		return nil, fmt.Errorf("card image %s: %w", stored.CardNumber, err)
	}
	defer clear(plain)
	return decoded(plain, person, key, stored)
}

// decoded reads an image's content.
func decoded(plain []byte, person uuid.UUID, key vault.DataKey, stored store.Image) (*Image, error) {
	im := &Image{Secrets: stored.Secrets, SecretsAAD: aad("secrets", stored.ID, person, stored.Version), Key: key}
	if err := cbor.Unmarshal(plain, &im.content); err != nil {
		return nil, fmt.Errorf("card image %s cannot be decoded: %w", stored.CardNumber, err)
	}
	if im.DocumentNumber != stored.CardNumber {
		return nil, fmt.Errorf("card image %s holds another card's content", stored.CardNumber)
	}
	return im, nil
}

// ExpiryDate is the last day of a card's life: the day before the anniversary
// of its making, years later.
func ExpiryDate(made time.Time, years int) time.Time {
	return made.UTC().AddDate(years, 0, -1)
}
