package image

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"cardbureau/cardio/tlv"
	"cardbureau/personalization/binding"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Bank is the bank's part of a card image. It holds PAN and tracks: it is gone when
// the card is issued, and it prints as its masked PAN.
type Bank struct {
	bankContent

	Secrets    []byte
	SecretsAAD []byte
	Key        vault.DataKey
}

// bankContent is what the payment_image column holds, sealed.
type bankContent struct {
	Elements map[string][]byte `cbor:"1,keyasint"` // data groupings by their name in firmware profiles
	Tracks   payment.Tracks    `cbor:"2,keyasint"`
	PAN      string            `cbor:"3,keyasint"`
	Sequence byte              `cbor:"4,keyasint"`
	Name     string            `cbor:"5,keyasint"`
	Scheme   string            `cbor:"6,keyasint"`
	CVV2     string            `cbor:"7,keyasint"` // for who prints the card; gone with its image when it is issued
}

// String shows the masked PAN.
func (b *Bank) String() string { return "payment application of " + payment.Mask(b.PAN) }

// GoString is String.
func (b *Bank) GoString() string { return b.String() }

// Equivalent is the chip's track 2 equivalent data, tag 57.
func (b *Bank) Equivalent() []byte {
	v, _ := tlv.Path(b.Elements["emv.0101"], 0x70, 0x57)
	return v
}

// Zero forgets the tracks.
func (b *Bank) Zero() { b.Tracks.Zero() }

// Tables that sealed data of the bank is bound to.
const (
	tablePayment    = "payment_image"
	tablePAN        = "pan"
	tableAssignment = "account_assignment"
	tableMailer     = "pin_mailer"
)

// PANAAD is what a sealed PAN is bound to.
func PANAAD(row, person uuid.UUID) []byte { return vault.AAD(tablePAN, "sealed", row, person, 1) }

// AccountAAD is what a sealed account is bound to.
func AccountAAD(row, person uuid.UUID) []byte {
	return vault.AAD(tableAssignment, "sealed", row, person, 1)
}

// MailerAAD is what a sealed PIN is bound to: to no person, so that who prints PINs
// learns of none.
func MailerAAD(row uuid.UUID) []byte { return vault.AAD(tableMailer, "sealed", row, uuid.Nil, 1) }

func paymentAAD(column string, image, person uuid.UUID, version int) []byte {
	return vault.AAD(tablePayment, column, image, person, version)
}

// OpenWithBank opens a stored image with its bank's part.
func OpenWithBank(ctx context.Context, v *vault.Client, person uuid.UUID, key vault.DataKey, stored store.Image, part store.PaymentPart) (*Image, error) {
	plain, err := v.OpenAll(ctx, []vault.SealItem{
		{DataKey: key, AAD: aad("content", stored.ID, person, stored.Version), Data: stored.Content},
		{DataKey: key, AAD: paymentAAD("content", stored.ID, person, stored.Version), Data: part.Content},
	})
	if err != nil {
		return nil, fmt.Errorf("card image %s: %w", stored.CardNumber, err)
	}
	defer func() { clear(plain[0]); clear(plain[1]) }()
	im, err := decoded(plain[0], person, key, stored)
	if err != nil {
		return nil, err
	}
	im.Bank = &Bank{Secrets: part.Secrets, SecretsAAD: paymentAAD("secrets", stored.ID, person, stored.Version), Key: key}
	if err := cbor.Unmarshal(plain[1], &im.Bank.bankContent); err != nil {
		return nil, fmt.Errorf("the bank's part of card image %s cannot be decoded", stored.CardNumber)
	}
	return im, nil
}

// errAwaitBank says that an order waits for the bank; its text is the reason code.
type errAwaitBank string

func (e errAwaitBank) Error() string { return string(e) }

// Reasons for which an order waits for the bank.
const (
	accountMissing errAwaitBank = "account-missing"
	accountUnfit   errAwaitBank = "account-unfit"
	panTaken       errAwaitBank = "pan-taken"
)

// account finds the account of an order: what the bank has assigned, or what the
// record brought, unless the bank has taken one back.
func (p *Preparer) account(ctx context.Context, prep store.Preparation, r *record.Record, s *payment.Scheme) (payment.Account, store.BankPart, error) {
	var a payment.Account
	part := prep.Bank
	switch {
	case part.Assignment != uuid.Nil:
		plain, err := p.Vault.Open(ctx, vault.DataKey(prep.Key), AccountAAD(part.Assignment, prep.PersonID), part.Sealed)
		if err != nil {
			return a, part, fmt.Errorf("the sealed account: %w", err)
		}
		defer clear(plain)
		if err := cbor.Unmarshal(plain, &a); err != nil {
			return a, part, errors.New("the sealed account cannot be decoded")
		}
	case r.Bank != nil && !part.Withdrawn:
		a = payment.Account{IBAN: r.Bank.IBAN, Account: r.Bank.Account, PAN: r.Bank.PAN, Name: r.Bank.CardholderName}
	default:
		return a, part, accountMissing
	}
	if a.Check(s) != nil {
		return a, part, accountUnfit
	}
	return a, part, nil
}

// pan gives the order its PAN: the one that it has, the bank's, or the range's next.
func (p *Preparer) pan(ctx context.Context, prep store.Preparation, a payment.Account, had store.PAN, s *payment.Scheme) (payment.PAN, store.PAN, error) {
	key := vault.DataKey(prep.Key)
	if had.ID != uuid.Nil {
		plain, err := p.Vault.Open(ctx, key, PANAAD(had.ID, prep.PersonID), had.Sealed)
		if err != nil {
			return "", had, fmt.Errorf("the sealed PAN: %w", err)
		}
		defer clear(plain)
		return payment.PAN(plain), had, nil
	}
	row := func(pan payment.PAN) (out store.PAN, err error) {
		out = store.PAN{ID: store.NewID(), Last4: pan.Last4()}
		if out.Token, err = p.Vault.PANToken(ctx, string(pan)); err != nil {
			return out, err
		}
		out.Sealed, err = p.Vault.Seal(ctx, key, PANAAD(out.ID, prep.PersonID), []byte(pan))
		return out, err
	}
	if a.PAN != "" {
		r, err := row(payment.PAN(a.PAN))
		if err != nil {
			return "", r, err
		}
		r, err = p.Store.GivenPAN(ctx, prep.OrderID, r)
		if errors.Is(err, store.ErrPANTaken) {
			err = panTaken
		}
		return payment.PAN(a.PAN), r, err
	}
	var pan payment.PAN
	r, err := p.Store.NextPAN(ctx, prep.OrderID, s.Range, func(r store.Range) (store.PAN, error) {
		var err error
		if pan, err = (payment.Range{Prefix: r.Prefix, Length: r.Length}).PAN(r.Used); err != nil {
			return store.PAN{}, err
		}
		return row(pan)
	})
	return pan, r, err
}

// lastOfMonth is the day until which a card is good whose expiry shows a month.
func lastOfMonth(day time.Time) time.Time {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC)
}

// bankPart makes the bank's part of an image, and the binding that goes into the
// identity application. What is to be sealed waits in seals.
func (p *Preparer) bankPart(ctx context.Context, prep store.Preparation, r *record.Record, s *payment.Scheme, im store.Image, chipKey []byte, expiry, now time.Time, seals *sealing) (*store.BankImage, error) {
	account, part, err := p.account(ctx, prep, r, s)
	if err != nil {
		return nil, err
	}
	pan, row, err := p.pan(ctx, prep, account, part.PAN, s)
	if err != nil {
		return nil, err
	}
	if s.Expiry == "residence" {
		if until, err := time.Parse(time.DateOnly, r.Residence.ValidUntil.String()); err == nil && until.Before(expiry) {
			expiry = until
		}
	}
	name := account.Name
	if name == "" {
		mrz, err := r.MRZName()
		if err != nil {
			return nil, err
		}
		name = payment.CardholderName(mrz.Primary, mrz.Secondary)
	}
	card := payment.Card{PAN: pan, Sequence: row.Sequence, Name: name, Effective: now.UTC().Truncate(24 * time.Hour), Expiry: lastOfMonth(expiry)}
	out := &store.BankImage{PAN: row.ID, Scheme: s.Name, Expires: card.Expiry, Mailer: store.NewID()}
	secrets, err := p.paymentSecrets(ctx, prep, s, card, im, out.Mailer)
	if err != nil {
		return nil, err
	}
	out.Secrets, out.MailerSealed = secrets.Sealed, secrets.Mailer
	if err := p.bindTo(ctx, prep, account, row, card, chipKey, out, now, seals); err != nil {
		return nil, err
	}
	c := bankContent{PAN: string(pan), Sequence: row.Sequence, Name: name, Scheme: s.Name, CVV2: secrets.Values.CVV2}
	values := payment.Verification{CVV: secrets.Values.ICVV, PVV: secrets.Values.PVV}
	if s.PIN.PVKI > 0 {
		values.PVKI = fmt.Sprint(s.PIN.PVKI)
	}
	if s.PIN.Offset {
		values.Offset = secrets.Values.Offset
	}
	c.Elements, err = payment.Elements(s, card, values, p.certificates(s, secrets))
	if err != nil {
		return nil, err
	}
	values.CVV = secrets.Values.CVV
	if c.Tracks, err = payment.MakeTracks(s, card, values); err != nil {
		return nil, err
	}
	defer c.Tracks.Zero()
	plain, err := cbor.Marshal(c)
	if err != nil {
		return nil, err
	}
	seals.add(vault.DataKey(prep.Key), paymentAAD("content", im.ID, prep.PersonID, im.Version), plain, &out.Content)
	return out, nil
}

// certificates are the issuer's, of RSA or of an elliptic curve, and the card's.
func (p *Preparer) certificates(s *payment.Scheme, secrets vault.PaymentSecrets) payment.Certificates {
	if s.Authenticates(payment.XDA) {
		e := p.eccIssuer(s) // there is one: the secrets were made under it
		return payment.Certificates{CAIndex: e.CAIndex, Issuer: e.Certificate, ICC: secrets.ICC}
	}
	return payment.Certificates{
		CAIndex: p.Issuer.CAIndex, Issuer: p.Issuer.Certificate, IssuerRemainder: p.Issuer.Remainder, IssuerExponent: p.Issuer.Exponent,
		Static: secrets.Static, ICC: secrets.ICC, ICCRemainder: secrets.ICCRemainder, ICCExponent: secrets.ICCExponent,
	}
}

// eccIssuer is the certificate of the issuer's key under the scheme's authority.
func (p *Preparer) eccIssuer(s *payment.Scheme) *vault.ECCIssuer {
	return p.Issuer.ECC.For(s.RID(), s.CA.Index)
}

// errNoECC: bureau.Bureau checks before that there is what its products need.
var errNoECC = errors.New("the issuer has no certificate of an elliptic curve key")

func (p *Preparer) paymentSecrets(ctx context.Context, prep store.Preparation, s *payment.Scheme, card payment.Card, im store.Image, mailer uuid.UUID) (vault.PaymentSecrets, error) {
	req := vault.PaymentSecretsRequest{
		DataKey: vault.DataKey(prep.Key), AAD: paymentAAD("secrets", im.ID, prep.PersonID, im.Version),
		PAN: string(card.PAN), Sequence: card.Sequence, Expiry: card.YYMM(), ServiceCode: s.ServiceCode, StaticData: payment.StaticData(s, card),
		MasterKey: s.Cryptogram.MasterKey, Option: s.Cryptogram.Option, CVK: s.Keys.CVK, PVK: s.Keys.PVK,
		PINLength: s.PIN.Length, PINMethod: s.PIN.Method, PVKI: s.PIN.PVKI, MailerAAD: MailerAAD(mailer),
		SDA: s.Authenticates(payment.SDA), DDA: s.Authenticates(payment.DDA), Bits: s.ICCKey.Bits, Exponent: s.ICCKey.Exponent,
	}
	if s.Authenticates(payment.XDA) {
		e := p.eccIssuer(s)
		if e == nil {
			return vault.PaymentSecrets{}, errNoECC
		}
		req.XDA, req.ICCSuite, req.IssuerSuite = true, s.ICCSuite(), e.Suite
	}
	if req.DDA {
		switch key, err := p.Store.TakeICCKey(ctx, s.ICCKey.Bits); {
		case err == nil:
			req.Key = vault.ICCKey{ID: key.ID[:], Bits: s.ICCKey.Bits, Sealed: key.Sealed}
		case !errors.Is(err, store.ErrPoolEmpty): // an empty pool costs time, not cards
			return vault.PaymentSecrets{}, err
		}
	}
	out, err := p.Vault.NewPaymentSecrets(ctx, req)
	if err != nil {
		return out, fmt.Errorf("payment secrets: %w", err)
	}
	return out, nil
}

// bindTo makes the binding and the account's row. What is to be sealed of both waits
// in seals.
func (p *Preparer) bindTo(ctx context.Context, prep store.Preparation, a payment.Account, row store.PAN, card payment.Card, chipKey []byte, out *store.BankImage, now time.Time, seals *sealing) error {
	ref, err := p.Vault.IBANRef(ctx, a.IBAN)
	if err != nil {
		return err
	}
	var index [4]byte
	if _, err := rand.Read(index[:]); err != nil {
		return err
	}
	out.StatusIndex = int64(binary.BigEndian.Uint32(index[:]) >> 1)
	thumbprint, err := binding.Thumbprint(chipKey)
	if err != nil {
		return err
	}
	out.Binding, err = binding.COSE(binding.Payload{
		Issuer: p.IssuerName, IssuedAt: now.Unix(), Card: thumbprint, PANToken: row.Token, Last4: row.Last4, Sequence: int(row.Sequence), IBAN: ref,
		Rule: binding.RuleResidence, Until: card.Expiry.Format(time.DateOnly), StatusIndex: out.StatusIndex,
	}, vault.BindingKID, func(tbs []byte) ([]byte, error) { return p.Vault.SignBinding(ctx, tbs) })
	if err != nil {
		return err
	}
	plain, err := cbor.Marshal(a)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(plain)
	out.Account = store.SealedAccount{ID: store.NewID(), Digest: sum[:], IBANRef: ref}
	seals.add(vault.DataKey(prep.Key), AccountAAD(out.Account.ID, prep.PersonID), plain, &out.Account.Sealed)
	return nil
}
