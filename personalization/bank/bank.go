// Package bank is what a bank asks of the bureau: it takes accounts and takes them
// back, verifies bindings and cryptograms, answers whether a PAN and an IBAN belong
// together, and writes the files that go to the bank. It joins the keys, the
// database and the payment data; it knows no office and no name.
//
// Nothing that it returns is a PAN, a track, a verification value, a PIN or a key.
package bank

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Service answers the bank. Its fields are set once; it is then safe for
// concurrent use.
type Service struct {
	Store    *store.Store
	Vault    *vault.Client
	Profiles *profile.Set
	// BankKeys are the public keys that the bank signs its messages with, Bindings
	// those that bindings are verified with.
	BankKeys, Bindings jose.JSONWebKeySet
	Name               string           // of the bureau, in files
	Now                func() time.Time // nil: time.Now
	Zone               *time.Location   // in which a business day begins and ends; nil: UTC
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Errors of messages. Their sentences repeat nothing of a message.
var (
	ErrMessage   = errors.New("the message cannot be read")
	ErrSignature = errors.New("the message is not signed with a key of the bank")
	ErrAge       = errors.New("the message is too old, or from the future")
)

// maxAge is how old a message may be, and skew how far ahead its clock.
const (
	maxAge = 24 * time.Hour
	skew   = 5 * time.Minute
)

// MessageType is the typ header of the bank's signed messages.
const MessageType = "bank-message+jws"

// Message is what the bank signs, and then enciphers to the bureau's key.
type Message struct {
	IssuedAt    time.Time    `json:"issuedAt"`
	Assignments []Assignment `json:"assignments,omitempty"`
	Withdrawals []Withdrawal `json:"withdrawals,omitempty"`
}

// Assignment gives an order its account. The order is named by itself or by its
// record.
type Assignment struct {
	Reference string `json:"reference"` // the bank's own, unique, at most 64 characters
	OrderID   string `json:"orderId,omitempty"`
	RecordID  string `json:"recordId,omitempty"`
	payment.Account
}

// Withdrawal takes an account back.
type Withdrawal struct {
	Reference string `json:"reference"`
	Reason    string `json:"reason"` // a stable code of the bank's, at most 32 characters
}

// Answer is what became of one assignment or withdrawal.
type Answer struct {
	Reference string `json:"reference"`
	Status    string `json:"status" enum:"done,already,refused"`
	Code      string `json:"code,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// Answers to items.
const (
	Done    = "done"
	Already = "already"
	Refused = "refused"
)

// Codes of refusals.
const (
	CodeOrder     = "order-unknown"
	CodeState     = "order-state"
	CodeAccount   = "account-invalid"
	CodeDiffers   = "reference-differs"
	CodeReference = "reference-unknown"
	CodeFormat    = "format"
	CodePANTaken  = "pan-taken"
	CodePANRange  = "pan-in-range"
	CodeHas       = "account-there"
)

// sentences say in one sentence what a code means.
var sentences = map[string]string{
	CodeOrder:     "The bureau has no such order with a bank account.",
	CodeState:     "The order does not wait for an account, or its card is begun already.",
	CodeAccount:   "IBAN, account number, PAN or name is not valid for the payment scheme.", // the answer says which
	CodeDiffers:   "Another account was sent under this reference before.",
	CodeReference: "The bureau has no account of this reference.",
	CodeFormat:    "The item lacks a reference, an order or a reason.",
	CodePANTaken:  "The PAN is another person's.",
	CodePANRange:  "The PAN is of a range that the bank has delegated: the bureau takes those in order. Send the account without a PAN.",
	CodeHas:       "The order has an account that could not be used: withdraw that one first.",
}

func refused(reference, code string) Answer {
	return Answer{Reference: reference, Status: Refused, Code: code, Detail: sentences[code]}
}

// Open deciphers and verifies a message: a compact JWE to the bureau's key around a
// compact JWS with ES256 of a key of the bank. ErrMessage, ErrSignature, ErrAge.
func (s *Service) Open(ctx context.Context, compact string) (*Message, error) {
	signed, err := s.Vault.OpenBankJWE(ctx, strings.TrimSpace(compact))
	if errors.Is(err, vault.ErrJWE) {
		return nil, fmt.Errorf("%w: it is not encrypted to the bureau's key for the bank", ErrMessage)
	}
	if err != nil {
		return nil, err
	}
	defer clear(signed)
	object, err := jose.ParseSignedCompact(string(signed), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(object.Signatures) != 1 || object.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != MessageType {
		return nil, fmt.Errorf("%w: what it holds is no JWS with ES256 and the type %s", ErrMessage, MessageType)
	}
	var body []byte
	err = ErrSignature
	for _, k := range s.BankKeys.Key(object.Signatures[0].Protected.KeyID) {
		if body, err = object.Verify(k); err == nil {
			break
		}
	}
	if err != nil {
		return nil, ErrSignature
	}
	defer clear(body)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	var m Message
	if err := d.Decode(&m); err != nil || len(m.Assignments)+len(m.Withdrawals) > 1000 {
		return nil, fmt.Errorf("%w: its JSON is not that of a message of at most 1000 items", ErrMessage)
	}
	if age := s.now().Sub(m.IssuedAt); age > maxAge || age < -skew {
		return nil, ErrAge
	}
	return &m, nil
}

// Assign carries assignments out, one answer each. An error is the bureau's own
// fault: what was not answered may be sent again.
func (s *Service) Assign(ctx context.Context, list []Assignment, source string, by store.Actor) ([]Answer, error) {
	out := make([]Answer, 0, len(list))
	for _, a := range list {
		one, err := s.assign(ctx, a, source, by)
		if err != nil {
			return out, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (s *Service) assign(ctx context.Context, a Assignment, source string, by store.Actor) (Answer, error) {
	order, orderErr := parsed(a.OrderID)
	record, recordErr := parsed(a.RecordID)
	if a.Reference == "" || len(a.Reference) > 64 || orderErr != nil || recordErr != nil || (order == uuid.Nil) == (record == uuid.Nil) {
		return refused(a.Reference, CodeFormat), nil
	}
	o, err := s.Store.OrderForBank(ctx, order, record)
	if errors.Is(err, store.ErrNotFound) {
		return refused(a.Reference, CodeOrder), nil
	}
	if err != nil {
		return Answer{}, err
	}
	scheme := s.schemeOf(o.Product)
	if scheme == nil {
		return refused(a.Reference, CodeOrder), nil
	}
	if err := a.Check(scheme); err != nil {
		// The errors of accounts are sentences without a digit of them.
		text := err.Error()
		return Answer{Reference: a.Reference, Status: Refused, Code: CodeAccount, Detail: strings.ToUpper(text[:1]) + text[1:] + "."}, nil
	}
	if code, err := s.givenPAN(ctx, o.OrderID, a.PAN); err != nil || code != "" {
		return refused(a.Reference, code), err
	}
	plain, err := cbor.Marshal(a.Account)
	if err != nil {
		return Answer{}, err
	}
	defer clear(plain)
	sum := sha256.Sum256(append([]byte(o.OrderID.String()), plain...))
	sealed := store.SealedAccount{ID: store.NewID(), Source: source, Reference: a.Reference, Digest: sum[:]}
	if sealed.IBANRef, err = s.Vault.IBANRef(ctx, a.IBAN); err != nil {
		return Answer{}, err
	}
	if sealed.Sealed, err = s.Vault.Seal(ctx, vault.DataKey(o.Key), image.AccountAAD(sealed.ID, o.PersonID), plain); err != nil {
		return Answer{}, err
	}
	already, err := s.Store.AssignAccount(ctx, o.OrderID, sealed, by)
	return settled(a.Reference, already, err)
}

// givenPAN is what is wrong with a PAN that the bank gives itself; empty: nothing.
func (s *Service) givenPAN(ctx context.Context, order uuid.UUID, pan string) (code string, err error) {
	if pan == "" {
		return "", nil
	}
	ranges, err := s.Store.Ranges(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range ranges {
		if len(pan) == r.Length && strings.HasPrefix(pan, r.Prefix) {
			return CodePANRange, nil
		}
	}
	token, err := s.Vault.PANToken(ctx, pan)
	if err != nil {
		return "", err
	}
	taken, err := s.Store.PANTaken(ctx, order, token)
	if taken {
		code = CodePANTaken
	}
	return code, err
}

func settled(reference string, already bool, err error) (Answer, error) {
	switch {
	case errors.Is(err, store.ErrAssignmentDiffers):
		return refused(reference, CodeDiffers), nil
	case errors.Is(err, store.ErrHasAccount):
		return refused(reference, CodeHas), nil
	case errors.Is(err, store.ErrWrongState):
		return refused(reference, CodeState), nil
	case errors.Is(err, store.ErrNotFound):
		return refused(reference, CodeReference), nil
	case err != nil:
		return Answer{}, err
	case already:
		return Answer{Reference: reference, Status: Already}, nil
	}
	return Answer{Reference: reference, Status: Done}, nil
}

// Withdraw takes accounts back, one answer each.
func (s *Service) Withdraw(ctx context.Context, list []Withdrawal, by store.Actor) ([]Answer, error) {
	out := make([]Answer, 0, len(list))
	for _, w := range list {
		if w.Reference == "" || w.Reason == "" || len(w.Reason) > 32 {
			out = append(out, refused(w.Reference, CodeFormat))
			continue
		}
		already, err := s.Store.WithdrawAccount(ctx, uuid.Nil, w.Reference, w.Reason, by)
		one, err := settled(w.Reference, already, err)
		if err != nil {
			return out, err
		}
		out = append(out, one)
	}
	return out, nil
}

func parsed(text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	return uuid.Parse(text)
}

// schemeOf is the payment scheme of a product; nil: it has none.
func (s *Service) schemeOf(product string) *payment.Scheme {
	p := s.Profiles.Products[product]
	if p == nil || p.Payment == "" {
		return nil
	}
	return s.Profiles.Payments[p.Payment]
}
