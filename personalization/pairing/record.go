package pairing

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/statement"
)

// Errors of records, besides those of package statement.
var (
	ErrMalformed = statement.ErrMalformed
	ErrOtherCard = errors.New("the pairing record is of another card")
	ErrEvidence  = errors.New("the evidence is not that of the pairing record")
)

// ContentType is the content type of a pairing record.
const ContentType = "application/vnd.cardbureau.pairing+cbor"

// MaxRecord is the largest record in bytes: what a place of the card's file 0203 takes
// beside its header.
const MaxRecord = lds.MaxRecord

// recordVersion is the one that this package writes.
const recordVersion = 1

// Record is what the issuer signs: this card and this SIM were in one holder's
// hands. It names no one: no name, number, ICCID or IMSI stands in it. Its CBOR keys
// are the integers.
type Record struct {
	Version     int      `cbor:"1,keyasint"` // 1
	Issuer      string   `cbor:"2,keyasint"` // the bureau
	IssuedAt    int64    `cbor:"3,keyasint"` // seconds since 1970
	ID          []byte   `cbor:"4,keyasint"` // of the pairing, 16 bytes
	Card        []byte   `cbor:"5,keyasint"` // statement.Thumbprint of the chip authentication key
	ICCID       []byte   `cbor:"6,keyasint"` // keyed digest, 32 bytes; the key is in the token
	Number      []byte   `cbor:"7,keyasint"` // Commitment, 32 bytes; the holder has the salt
	Operator    string   `cbor:"8,keyasint"` // MCC and MNC
	Evidence    Evidence `cbor:"9,keyasint"`
	Until       string   `cbor:"10,keyasint"`           // YYYY-MM-DD, last day
	StatusIndex int64    `cbor:"11,keyasint"`           // of the pairing, at the bureau
	Status      string   `cbor:"12,keyasint,omitempty"` // where that is asked
}

// Evidence is digests of what was seen, SHA-256, 32 bytes each.
type Evidence struct {
	Signature  []byte `cbor:"1,keyasint"` // of the identity card's signature
	Challenge  []byte `cbor:"2,keyasint"` // of RAND ‖ AUTN
	Transcript []byte `cbor:"3,keyasint"` // of the encoded Transcript
}

func (r *Record) check() error {
	_, err := time.Parse(time.DateOnly, r.Until)
	for _, digest := range [][]byte{r.Card, r.ICCID, r.Number, r.Evidence.Signature, r.Evidence.Challenge, r.Evidence.Transcript} {
		if len(digest) != sha256.Size {
			return fmt.Errorf("%w: a digest has the wrong length", ErrMalformed)
		}
	}
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("%w: version %d is not known", ErrMalformed, r.Version)
	case len(r.ID) != 16 || !IsOperator(r.Operator):
		return fmt.Errorf("%w: pairing and operator are missing", ErrMalformed)
	case err != nil || r.StatusIndex < 0 || r.Issuer == "" || r.IssuedAt <= 0:
		return fmt.Errorf("%w: issuer, last day and status index are missing", ErrMalformed)
	}
	return nil
}

// SignRecord makes the COSE_Sign1 of a record, at most MaxRecord bytes.
func SignRecord(r Record, kid string, sign statement.Sign) ([]byte, error) {
	r.Version = recordVersion
	if err := r.check(); err != nil {
		return nil, err
	}
	raw, err := statement.COSE(r, ContentType, kid, sign)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("a pairing record of %d bytes does not fit the card's %d: shorten the issuer's name or the status address", len(raw), MaxRecord)
	}
	return raw, nil
}

// VerifyRecord checks a record with the bureau's public keys.
func VerifyRecord(raw []byte, keys jose.JSONWebKeySet) (*Record, error) {
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, MaxRecord)
	}
	var r Record
	if err := statement.Verify(raw, ContentType, keys, &r); err != nil {
		return nil, err
	}
	return &r, r.check()
}

// Of checks that a verified record is of the card with this thumbprint; ErrOtherCard.
func (r *Record) Of(thumbprint []byte) error {
	if !bytes.Equal(r.Card, thumbprint) {
		return ErrOtherCard
	}
	return nil
}

// Salt is what opens the commitment to a number. It belongs to the holder, who has
// it on the receipt, and is not kept. It prints as [redacted].
type Salt [32]byte

// String hides the salt.
func (Salt) String() string { return redacted }

// Format hides the salt from every verb of package fmt.
func (Salt) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the salt from log/slog.
func (Salt) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the salt from text encodings, JSON among them.
func (Salt) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// newSalt draws a salt.
func newSalt() (s Salt, err error) {
	_, err = rand.Read(s[:])
	return s, err
}

// Commitment is SHA-256 over the ASCII bytes pair-msisdn-v1, the salt and the number
// as +989….
func Commitment(s Salt, n MSISDN) []byte {
	b := append([]byte("pair-msisdn-v1"), s[:]...)
	sum := sha256.Sum256(append(b, n.Digits()...))
	return sum[:]
}

// HasNumber reports whether the record is of a number, by the salt on the holder's
// receipt.
func (r *Record) HasNumber(s Salt, n MSISDN) bool {
	return subtle.ConstantTimeCompare(r.Number, Commitment(s, n)) == 1
}

// Transcript is the session as its record's evidence. It is kept sealed under the
// person's data key: with it a record can be shown to rest on a signature and a
// challenge of one session. It holds no secret and no terminal.
type Transcript struct {
	Session   []byte `cbor:"1,keyasint"` // 16 bytes
	Nonce     []byte `cbor:"2,keyasint"` // 32 bytes
	Digest    []byte `cbor:"3,keyasint"` // Session.Digest, which the identity card signed
	Started   int64  `cbor:"4,keyasint"` // seconds since 1970
	Signature []byte `cbor:"5,keyasint"` // r ‖ s, 64 bytes
	Key       []byte `cbor:"6,keyasint"` // the pairing key, uncompressed point, 65 bytes
	Card      []byte `cbor:"7,keyasint"` // as in the record
	ICCID     []byte `cbor:"8,keyasint"` // as in the record
	Seed      []byte `cbor:"9,keyasint"` // the centre's, 16 bytes
	RAND      []byte `cbor:"10,keyasint"`
	AUTN      []byte `cbor:"11,keyasint"`
	Resynced  bool   `cbor:"12,keyasint"` // the SIM asked for another sequence number once
}

// evidence is what a record says of a transcript.
func (t *Transcript) evidence() (e Evidence, encoded []byte, err error) {
	if encoded, err = statement.Encode(t); err != nil {
		return e, nil, err
	}
	signature, challenge, whole := sha256.Sum256(t.Signature), sha256.Sum256(append(bytes.Clone(t.RAND), t.AUTN...)), sha256.Sum256(encoded)
	return Evidence{signature[:], challenge[:], whole[:]}, encoded, nil
}

// Verify checks that encoded is the transcript that a verified record rests on: its
// digests are the record's, the card's signature is right, and the challenge is of
// the session. ErrEvidence.
func (r *Record) Verify(encoded []byte) (*Transcript, error) {
	var t Transcript
	if err := statement.Decode(encoded, &t); err != nil {
		return nil, err
	}
	e, again, err := t.evidence()
	if err != nil {
		return nil, err
	}
	session, err := uuid.FromBytes(t.Session)
	switch {
	case err != nil || len(t.Nonce) != 32 || len(t.Digest) != 32 || len(t.Seed) != 16 || len(t.RAND) != 16 || len(t.AUTN) != 16:
		return nil, fmt.Errorf("%w: a field has the wrong length", ErrEvidence)
	case !bytes.Equal(again, encoded) || !bytes.Equal(e.Signature, r.Evidence.Signature) || !bytes.Equal(e.Challenge, r.Evidence.Challenge) ||
		!bytes.Equal(e.Transcript, r.Evidence.Transcript) || !bytes.Equal(t.Card, r.Card) || !bytes.Equal(t.ICCID, r.ICCID):
		return nil, ErrEvidence
	case [16]byte(t.RAND) != Rand(session, [32]byte(t.Nonce), [16]byte(t.Seed)):
		return nil, fmt.Errorf("%w: the challenge is not of the session", ErrEvidence)
	}
	key, err := pointKey(t.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if err := VerifyHolder(key, [32]byte(t.Digest), t.Signature); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return &t, nil
}
