package desk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/identity"
)

// Statement is what a receipt says. It names no person and no place.
type Statement struct {
	Version int       `json:"v"`    // 1
	Kind    string    `json:"kind"` // of the visit
	Visit   uuid.UUID `json:"visit"`
	Card    string    `json:"card"` // number
	Bureau  string    `json:"bureau"`
	At      time.Time `json:"at"`
}

// Receipt is a statement that the holder's chip has signed, with the receipt key that
// the signed DG13 names.
type Receipt struct {
	Content   []byte // the statement, JSON
	Signature []byte // r ‖ s
	Key       identity.HolderKey
}

// receiptDomain comes before what is signed, with a zero byte.
const receiptDomain = "receipt-v1\x00"

// receiptHash is what the chip signs: SHA-256 of "receipt-v1", a zero byte, and the
// statement as it stands.
func receiptHash(content []byte) []byte {
	sum := sha256.Sum256(append([]byte(receiptDomain), content...))
	return sum[:]
}

// ErrReceipt marks a receipt that does not hold.
var ErrReceipt = errors.New("the receipt does not hold")

// Verify checks the chip's signature and reads the statement. That Key is a card's,
// its DG13 says.
func (r *Receipt) Verify() (*Statement, error) {
	if err := r.Key.Verify(receiptHash(r.Content), r.Signature); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	var s Statement
	if err := json.Unmarshal(r.Content, &s); err != nil || s.Version != 1 {
		return nil, fmt.Errorf("%w: the statement cannot be read", ErrReceipt)
	}
	return &s, nil
}

// Sign has the holder's chip sign what was done. Without a receipt key (an applet that
// cannot sign) there is no receipt: nil. The PIN must just have been set or verified.
func (v *Visit) Sign(ctx context.Context) (*Receipt, error) {
	if v.keys == nil {
		return nil, nil
	}
	key, ok := v.keys.Key(identity.ReceiptKeyReference)
	if !ok {
		return nil, nil
	}
	content, err := json.Marshal(Statement{
		Version: 1, Kind: string(v.row.Kind), Visit: v.row.ID, Card: v.Number, Bureau: v.desk.Bureau, At: v.desk.now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return nil, err
	}
	signature, err := lds.Sign(ctx, v.session, identity.ReceiptKeyReference, receiptHash(content))
	if err != nil {
		return nil, fmt.Errorf("card %s did not sign the receipt: %w", v.Number, err)
	}
	r := &Receipt{Content: content, Signature: signature, Key: key}
	if _, err := r.Verify(); err != nil {
		return nil, v.refuse(ctx, refused(CodeSignature, err))
	}
	return r, nil
}
