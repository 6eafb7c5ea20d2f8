// Package binding is the signed statement that ties one card to one account: what
// a bank, or anybody with the bureau's public keys, can check without asking
// anyone. It is a COSE_Sign1 (RFC 9052) in a file of the card behind the holder's
// PIN, and a JWS (RFC 7515) for online use, both with ES256.
//
// It names no one: no name, document number, PAN or IBAN stands in it. The card is
// its chip authentication key's thumbprint, the account a PAN token, four digits and
// a keyed digest. How long it is valid is a rule that is asked online by a status
// index, with the card's own last day beside it.
//
// Signing takes a function, since the key is in the token. Verifying takes public
// keys alone.
package binding

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/statement"
)

// Errors of Verify. A binding is good only without any.
var (
	ErrMalformed  = statement.ErrMalformed
	ErrUnknownKey = statement.ErrUnknownKey
	ErrSignature  = statement.ErrSignature
	ErrOtherCard  = errors.New("the binding is of another card")
)

// Payload is what is signed. In CBOR its keys are the integers, in JSON the names.
type Payload struct {
	Version     int    `cbor:"1,keyasint" json:"v"`   // 1
	Issuer      string `cbor:"2,keyasint" json:"iss"` // the bureau
	IssuedAt    int64  `cbor:"3,keyasint" json:"iat"` // seconds since 1970
	Card        []byte `cbor:"4,keyasint" json:"card"`
	PANToken    []byte `cbor:"5,keyasint" json:"panToken"`
	Last4       string `cbor:"6,keyasint" json:"last4"`
	Sequence    int    `cbor:"7,keyasint" json:"panSequence"`
	IBAN        []byte `cbor:"8,keyasint" json:"iban"`
	Rule        string `cbor:"9,keyasint" json:"rule"`              // residence: the permit's validity, asked online
	Until       string `cbor:"10,keyasint" json:"until"`            // YYYY-MM-DD, the card's own last day
	StatusIndex int64  `cbor:"11,keyasint" json:"statusIndex"`      // of the card, at the bureau
	Status      string `cbor:"12,keyasint" json:"status,omitempty"` // where that is asked
}

// RuleResidence is the rule of cards whose account is good while the holder's
// permit is.
const RuleResidence = "residence"

// Version is the one that this package writes.
const Version = 1

// Thumbprint is what a payload calls a card, see statement.Thumbprint.
func Thumbprint(point []byte) ([]byte, error) { return statement.Thumbprint(point) }

// check says what a payload lacks.
func (p *Payload) check() error {
	_, err := time.Parse(time.DateOnly, p.Until)
	switch {
	case p.Version != Version:
		return fmt.Errorf("%w: version %d is not known", ErrMalformed, p.Version)
	case len(p.Card) != sha256.Size || len(p.IBAN) != sha256.Size || len(p.PANToken) < 16 || len(p.PANToken) > 32:
		return fmt.Errorf("%w: a digest has the wrong length", ErrMalformed)
	case len(p.Last4) != 4 || strings.Trim(p.Last4, "0123456789") != "" || p.Sequence < 1 || p.Sequence > 99:
		return fmt.Errorf("%w: last four digits and sequence number are missing", ErrMalformed)
	case err != nil || p.Rule == "" || p.StatusIndex < 0 || p.Issuer == "":
		return fmt.Errorf("%w: issuer, rule, last day and status index are missing", ErrMalformed)
	}
	return nil
}

// Sign signs to-be-signed bytes with ES256: r ‖ s, 64 bytes.
type Sign = statement.Sign

const contentType = "application/vnd.cardbureau.binding+cbor"

// COSE makes the COSE_Sign1 of a payload, tagged.
func COSE(p Payload, kid string, sign Sign) ([]byte, error) {
	p.Version = Version
	if err := p.check(); err != nil {
		return nil, err
	}
	return statement.COSE(p, contentType, kid, sign)
}

// Type is the typ header of a binding that is a JWS.
const Type = "cardbureau-binding+jwt"

var b64 = base64.RawURLEncoding.Strict()

// JWS makes the compact JWS of a payload.
func JWS(p Payload, kid string, sign Sign) (string, error) {
	p.Version = Version
	if err := p.check(); err != nil {
		return "", err
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid, "typ": Type})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	tbs := b64.EncodeToString(header) + "." + b64.EncodeToString(body)
	signature, err := sign([]byte(tbs))
	if err != nil {
		return "", fmt.Errorf("sign a binding: %w", err)
	}
	return tbs + "." + b64.EncodeToString(signature), nil
}

// VerifyCOSE checks a COSE_Sign1 with the bureau's public keys.
func VerifyCOSE(raw []byte, keys jose.JSONWebKeySet) (*Payload, error) {
	var p Payload
	if err := statement.Verify(raw, contentType, keys, &p); err != nil {
		return nil, err
	}
	return &p, p.check()
}

// VerifyJWS checks a compact JWS with the bureau's public keys.
func VerifyJWS(text string, keys jose.JSONWebKeySet) (*Payload, error) {
	object, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(object.Signatures) != 1 {
		return nil, fmt.Errorf("%w: it is no JWS with ES256", ErrMalformed)
	}
	header := object.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != Type {
		return nil, fmt.Errorf("%w: its type is not %s", ErrMalformed, Type)
	}
	key, err := statement.Key(keys, header.KeyID)
	if err != nil {
		return nil, err
	}
	body, err := object.Verify(key)
	if err != nil {
		return nil, ErrSignature
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	var p Payload
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%w: its payload", ErrMalformed)
	}
	return &p, p.check()
}

// Of checks that a verified binding is of the card with this chip authentication
// key: ErrOtherCard.
func (p *Payload) Of(point []byte) error {
	t, err := Thumbprint(point)
	if err != nil {
		return err
	}
	if string(t) != string(p.Card) {
		return ErrOtherCard
	}
	return nil
}
