package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"image/jpeg"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"cardbureau/personalization/identity"
	"cardbureau/personalization/image/jpegscan"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Preparer makes card images of orders. It is safe for concurrent use.
type Preparer struct {
	Store    *store.Store
	Vault    *vault.Client
	Verifier *record.Verifier
	Profiles *profile.Set
	State    string // issuing state, 3 letters
	// Issuer is the certificate of the bank's RSA key; IssuerName how bindings call
	// the bureau.
	Issuer     vault.IssuerInfo
	IssuerName string
	Actor      store.Actor
	Now        func() time.Time // nil: time.Now
}

// documentCode stands at the beginning of the MRZ; the document signer's
// certificate lists the same (ICAO 9303-12 section 7.1.1).
const documentCode = "IR"

// numberTries is how often another card number is drawn when one is taken.
const numberTries = 8

// Prepare makes and stores the image of one order. It may be run again: an
// order that moved on meanwhile is left alone. An error means that it should be
// tried again later; an order whose image can never be made is failed.
func (p *Preparer) Prepare(ctx context.Context, orderID uuid.UUID) error {
	prep, err := p.Store.OrderForPreparation(ctx, orderID)
	if errors.Is(err, store.ErrWrongState) || errors.Is(err, store.ErrNotFound) {
		return nil // done, or taken back
	}
	if err != nil {
		return err
	}
	key := vault.DataKey(prep.Key)
	signed, err := p.Vault.Open(ctx, key, intake.RecordAAD(prep.RecordRow, prep.PersonID), prep.Sealed)
	if err != nil {
		return fmt.Errorf("order %s: the sealed record: %w", orderID, err)
	}
	defer clear(signed)
	// Nothing is signed for a record that is not, at this moment, a verified one.
	v, err := p.Verifier.Recheck(signed, takenIn(prep.RecordRow))
	var refusal *record.Refusal
	if errors.As(err, &refusal) {
		return p.fail(ctx, prep, refusal.Code)
	}
	if err != nil {
		return err
	}
	if string(v.Digest[:]) != string(prep.Digest) {
		return p.fail(ctx, prep, "record-altered")
	}
	product := p.Profiles.Products[prep.Product]
	if product == nil {
		return p.fail(ctx, prep, record.NoProduct)
	}
	if err := decodable(&v.Record.Person.Photo); err != nil {
		return p.fail(ctx, prep, record.PhotoUnreadable)
	}
	for range numberTries {
		im, bank, err := p.build(ctx, prep, &v.Record, product)
		var waits errAwaitBank
		if errors.As(err, &waits) {
			return p.await(ctx, prep, waits)
		}
		if code := neverCode(err); code != "" {
			return p.fail(ctx, prep, code)
		}
		if err != nil {
			return fmt.Errorf("order %s: %w", orderID, err)
		}
		if bank != nil {
			err = p.Store.SaveBankImage(ctx, orderID, prep.Generation, im, *bank, p.Actor)
		} else {
			err = p.Store.SaveImage(ctx, orderID, prep.Generation, im, p.Actor)
		}
		switch {
		case errors.Is(err, store.ErrCardNumberTaken):
			continue
		case errors.Is(err, store.ErrStale), errors.Is(err, store.ErrWrongState):
			return nil // a newer image, or none any more
		}
		return err
	}
	return fmt.Errorf("order %s: %w", orderID, store.ErrCardNumberTaken)
}

// await leaves an order to the bank.
func (p *Preparer) await(ctx context.Context, prep store.Preparation, reason errAwaitBank) error {
	err := p.Store.AwaitBank(ctx, prep.OrderID, prep.Generation, string(reason), p.Actor)
	if errors.Is(err, store.ErrStale) {
		return nil
	}
	return err
}

// neverCode is the code of an error that no later try can mend, "" for others:
// the record cannot stand in a card's files.
func neverCode(err error) string {
	for _, e := range []error{identity.ErrMRZ, identity.ErrDataGroup, identity.ErrImage, identity.ErrServices} {
		if errors.Is(err, e) {
			return "record-unfit"
		}
	}
	return ""
}

// decodable reads a JPEG to its last line: intake has looked at its header only,
// and a picture that no reader can show must not go on a card. One of the common
// kind is read without making its pixels, at an eighth of the cost; the decoder
// decides on all others. There is no decoder here for JPEG 2000, of which intake
// has checked the boxes.
func decodable(photo *record.Photo) error {
	if photo.MediaType != "image/jpeg" || jpegscan.Complete(photo.Data) {
		return nil
	}
	_, err := jpeg.Decode(bytes.NewReader(photo.Data))
	return err
}

// takenIn is when a record was taken in, which its row's identifier tells
// (RFC 9562, version 7).
func takenIn(row uuid.UUID) time.Time { return time.Unix(row.Time().UnixTime()).UTC() }

func (p *Preparer) fail(ctx context.Context, prep store.Preparation, reason string) error {
	return p.Store.FailPreparation(ctx, prep.OrderID, prep.Generation, reason, p.Actor)
}

// build draws what is random, has made what is secret, and assembles the files.
// The bank's part is nil where the product has none.
func (p *Preparer) build(ctx context.Context, prep store.Preparation, r *record.Record, product *profile.Product) (im store.Image, bank *store.BankImage, err error) {
	now := time.Now()
	if p.Now != nil {
		now = p.Now()
	}
	number, err := identity.DocumentNumber(rand.Reader)
	if err != nil {
		return store.Image{}, nil, err
	}
	can, err := identity.CAN(rand.Reader)
	if err != nil {
		return store.Image{}, nil, err
	}
	name, err := r.MRZName()
	if err != nil {
		return store.Image{}, nil, err
	}
	mrz := identity.MRZ{
		DocumentCode: documentCode, State: p.State, DocumentNumber: number,
		BirthDate: r.Person.BirthDate.String(), Sex: r.Person.Sex,
		ExpiryDate:  ExpiryDate(now, product.Validity.LifetimeYears).Format(time.DateOnly),
		Nationality: r.Person.Nationality, Primary: name.Primary, Secondary: name.Secondary,
	}
	var seals sealing
	defer seals.zero()
	c := content{DocumentNumber: number, CAN: can}
	if c.MRZ, err = identity.TD1(mrz); err != nil {
		return store.Image{}, nil, err
	}
	if c.BirthDate, err = identity.MRZDate(mrz.BirthDate); err != nil {
		return store.Image{}, nil, err
	}
	if c.ExpiryDate, err = identity.MRZDate(mrz.ExpiryDate); err != nil {
		return store.Image{}, nil, err
	}
	information, err := mrz.Information()
	if err != nil {
		return store.Image{}, nil, err
	}
	key := vault.DataKey(prep.Key)
	im = store.Image{ID: store.NewID(), Version: prep.Version, CardNumber: number, Profile: product.Name}
	request := vault.CardSecretsRequest{
		DataKey: key, AAD: aad("secrets", im.ID, prep.PersonID, im.Version), MRZInformation: information, CAN: can,
	}
	request.Plain = len(p.Profiles.Plaintext(product)) > 0
	if product.Has(15) {
		request.ActiveAuthentication = activeKeyBits
	}
	request.HolderKeys = p.Profiles.Writes(product, "secret.pairing-key") && p.Profiles.Writes(product, "secret.receipt-key")
	secrets, err := p.Vault.NewCardSecrets(ctx, request)
	if err != nil {
		return store.Image{}, nil, fmt.Errorf("card secrets: %w", err)
	}
	im.Secrets, c.ActiveKey = secrets.Sealed, secrets.ActivePublicKey
	if request.HolderKeys {
		c.HolderKeys = []identity.HolderKey{
			{Reference: identity.PairingKeyReference, Point: secrets.PairingPublicKey},
			{Reference: identity.ReceiptKeyReference, Point: secrets.ReceiptPublicKey},
		}
	}
	if p.Profiles.ProvenBy(product, "chip-authentication") {
		c.ChipKey = secrets.ChipPublicKey
	}
	if product.Payment != "" {
		bank, err = p.bankPart(ctx, prep, r, p.Profiles.Payment(product), im, secrets.ChipPublicKey, ExpiryDate(now, product.Validity.LifetimeYears), now, &seals)
		if err != nil {
			return store.Image{}, nil, err
		}
	}
	if c.Files, err = p.files(ctx, r, product, c, bank); err != nil {
		return store.Image{}, nil, err
	}
	plain, err := cbor.Marshal(c)
	if err != nil {
		return store.Image{}, nil, err
	}
	seals.add(key, aad("content", im.ID, prep.PersonID, im.Version), plain, &im.Content)
	return im, bank, seals.do(ctx, p.Vault)
}

// files builds every elementary file of the identity application.
func (p *Preparer) files(ctx context.Context, r *record.Record, product *profile.Product, c content, bank *store.BankImage) (map[string][]byte, error) {
	files := map[string][]byte{}
	if bank != nil {
		files["binding"] = bank.Binding
	}
	if p.Profiles.Writes(product, "file.services") {
		services, err := servicesFile(r)
		if err != nil {
			return nil, err
		}
		files["services"] = services
	}
	if p.Profiles.Writes(product, "file.card-access") {
		files["card-access"] = identity.CardAccess()
	}
	groups := map[int][]byte{}
	for _, n := range product.DataGroups {
		b, err := dataGroup(n, r, c, hidden(files))
		if err != nil {
			return nil, fmt.Errorf("product %s, data group %d: %w", product.Name, n, err)
		}
		groups[n] = b
		files[fmt.Sprintf("dg%d", n)] = b
	}
	var err error
	if files["com"], err = identity.COM(product.DataGroups...); err != nil {
		return nil, err
	}
	if files["sod"], err = p.Vault.SignSOD(ctx, vault.SODRequest{Hashes: identity.Hashes(groups)}); err != nil {
		return nil, fmt.Errorf("document security object: %w", err)
	}
	return files, nil
}

// hidden lists the files behind the holder's PIN.
func hidden(files map[string][]byte) (out []identity.HiddenFile) {
	for _, f := range []struct {
		name string
		fid  uint16
	}{{"services", identity.ServicesFID}, {"binding", identity.BindingFID}} {
		if b := files[f.name]; b != nil {
			out = append(out, identity.HiddenFile{FID: f.fid, Content: b})
		}
	}
	return out
}

// Hidden lists the image's files behind the holder's PIN.
func (im *Image) Hidden() []identity.HiddenFile { return hidden(im.Files) }

// dataGroup makes one data group.
func dataGroup(n int, r *record.Record, c content, behind []identity.HiddenFile) ([]byte, error) {
	switch n {
	case 1:
		return identity.DG1(c.MRZ)
	case 2:
		return identity.DG2(r.Person.Photo.Data)
	case 11:
		return identity.DG11(details(r))
	case 13:
		return identity.DG13(c.HolderKeys, behind...)
	case 14:
		return identity.DG14(c.ChipKey)
	case 15:
		return identity.DG15(c.ActiveKey)
	}
	return nil, errors.New("this version does not make it")
}

// activeKeyBits is the size of active authentication keys, which applets that
// have nothing better take.
const activeKeyBits = 1024

func servicesFile(r *record.Record) ([]byte, error) {
	salt := make([]byte, identity.SaltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	entitlements := make([]identity.Entitlement, len(r.Services))
	for i, s := range r.Services {
		entitlements[i] = identity.Entitlement{Code: s.Code, ValidFrom: s.ValidFrom.String(), ValidUntil: s.ValidUntil.String()}
	}
	return identity.ServicesFile(salt, entitlements)
}

// details is what DG11 says in the holder's own script. The names are
// normalized, so that readers can compare them.
func details(r *record.Record) identity.Details {
	local := r.Person.Name.Local
	primary, secondary := record.Normalize(local.Family), record.Normalize(local.Given)
	if primary == "" {
		primary, secondary = secondary, ""
	}
	d := identity.Details{Primary: primary, Secondary: secondary, BirthDate: r.Person.BirthDate.String()}
	if p := r.Person.BirthPlace; p != nil && p.Local != "" {
		d.BirthPlace = []string{record.Normalize(p.Local)}
	}
	return d
}
