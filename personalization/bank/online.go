package bank

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/binding"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/vault"
)

// Question is a Query as a switch sends it: a compact JWE to the bureau's key for
// the bank, since it holds the PAN. It needs no signature: it changes nothing.
type Question struct {
	PAN      string `json:"pan"`
	Sequence int    `json:"panSequence"`
	ATC      int    `json:"atc"`
	Data     string `json:"data"` // hexadecimal
	ARQC     string `json:"arqc"` // hexadecimal
}

// OpenQuery deciphers a Question. ErrMessage.
func (s *Service) OpenQuery(ctx context.Context, compact string) (q Query, err error) {
	plain, err := s.Vault.OpenBankJWE(ctx, strings.TrimSpace(compact))
	if err != nil {
		if errors.Is(err, vault.ErrJWE) {
			return q, fmt.Errorf("%w: it is not encrypted to the bureau's key for the bank", ErrMessage)
		}
		return q, err
	}
	defer clear(plain)
	d := json.NewDecoder(strings.NewReader(string(plain)))
	d.DisallowUnknownFields()
	var in Question
	bad := fmt.Errorf("%w: it holds no question about a cryptogram", ErrMessage)
	if err := d.Decode(&in); err != nil {
		return q, bad
	}
	data, err1 := hex.DecodeString(in.Data)
	arqc, err2 := hex.DecodeString(in.ARQC)
	if err1 != nil || err2 != nil || len(arqc) != 8 || len(data) == 0 || len(data) > 512 || payment.CheckPAN(in.PAN, "") != nil ||
		in.ATC < 1 || in.ATC > 0xFFFF || in.Sequence < 1 || in.Sequence > 99 {
		return q, bad
	}
	return Query{PAN: payment.PAN(in.PAN), Sequence: byte(in.Sequence), ATC: uint16(in.ATC), Data: data, ARQC: arqc}, nil
}

// Waiting is an order that waits for its account.
type Waiting struct {
	OrderID  string    `json:"orderId" format:"uuid"`
	RecordID string    `json:"recordId" format:"uuid" doc:"The record, which the ministry has sent to the bank too"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty" doc:"account-missing; account-withdrawn; account-unfit or pan-taken: withdraw the account, and give another"`
}

// Awaiting lists orders that wait, after one. ErrMessage where that is none.
func (s *Service) Awaiting(ctx context.Context, after string, limit int) ([]Waiting, error) {
	from, err := parsed(after)
	if err != nil {
		return nil, ErrMessage
	}
	rows, err := s.Store.AwaitingBank(ctx, from, limit)
	out := make([]Waiting, len(rows))
	for i, r := range rows {
		out[i] = Waiting{r.OrderID.String(), r.RecordID.String(), r.Since.UTC(), r.Reason}
	}
	return out, err
}

// Bound is a card's binding in both forms.
type Bound struct {
	COSE string `json:"cose" doc:"base64url: the COSE_Sign1 that is on the card"`
	JWS  string `json:"jws" doc:"The same statement as a compact JWS"`
}

// Binding gives a card's binding; store.ErrNotFound.
func (s *Service) Binding(ctx context.Context, token []byte, sequence byte) (Bound, error) {
	c, err := s.Store.CardByPANToken(ctx, token, sequence)
	if err != nil {
		return Bound{}, err
	}
	p, err := binding.VerifyCOSE(c.Binding, s.Bindings)
	if err != nil {
		return Bound{}, err
	}
	out := Bound{COSE: base64.RawURLEncoding.EncodeToString(c.Binding)}
	out.JWS, err = binding.JWS(*p, vault.BindingKID, func(tbs []byte) ([]byte, error) { return s.Vault.SignBinding(ctx, tbs) })
	return out, err
}

// Event is what became of a card.
type Event struct {
	Seq         int64     `json:"seq" doc:"Without a gap, in the order in which things became true"`
	Type        string    `json:"type" enum:"bound,issued,activated,suspended,resumed,replaced,revoked,withdrawn,sim-swap-pending,sim-swap-ended"`
	Ref         uuid.UUID `json:"ref" format:"uuid" doc:"The card, or the account that was withdrawn"`
	PANToken    string    `json:"panToken,omitempty"`
	Sequence    int       `json:"panSequence,omitempty"`
	StatusIndex int64     `json:"statusIndex,omitempty"`
	At          time.Time `json:"at"`
}

// Events lists events after a number.
func (s *Service) Events(ctx context.Context, after int64, limit int) ([]Event, error) {
	rows, err := s.Store.Outbox(ctx, after, limit)
	out := make([]Event, len(rows))
	for i, r := range rows {
		out[i] = Event{Seq: r.Seq, Type: r.Type, Ref: r.Ref, PANToken: Token(r.PANToken), At: r.At.UTC()}
		if r.Sequence != nil {
			out[i].Sequence = int(*r.Sequence)
		}
		if r.StatusIndex != nil {
			out[i].StatusIndex = *r.StatusIndex
		}
	}
	return out, err
}
