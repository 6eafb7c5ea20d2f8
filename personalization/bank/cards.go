package bank

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"cardbureau/cardio/emv"
	"cardbureau/cardio/tlv"
	"cardbureau/personalization/binding"
	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Token is the bureau's pseudonym of a PAN, 16 bytes, as hexadecimal text.
func Token(b []byte) string { return hex.EncodeToString(b) }

// Query asks about a cryptogram. The card is named by its PAN, where a switch asks,
// or by the PAN's token.
type Query struct {
	PAN      payment.PAN
	Token    []byte
	Sequence byte
	ATC      uint16
	Data     []byte // what the cryptogram is over: values of CDOL1, AIP, ATC, issuer application data
	ARQC     []byte // 8 bytes
	// ICC is the card's data as BER-TLV objects (ISO 8583 element 55), in place of
	// ATC, Data and ARQC.
	ICC []byte
}

// ErrICC means that the card's data lacks an object, or has one of another length
// than the card's CDOL1 says.
var ErrICC = errors.New("the card's data lacks what its cryptogram is over")

// Objects takes a card's data apart. Nothing is there twice: two readers could take
// two values for the same. ErrICC.
func Objects(icc []byte) (map[tlv.Tag][]byte, error) {
	list, err := tlv.Parse(icc)
	if err != nil {
		return nil, ErrICC
	}
	have := map[tlv.Tag][]byte{}
	for _, o := range list {
		if _, twice := have[o.Tag]; twice {
			return nil, ErrICC
		}
		have[o.Tag] = o.Value
	}
	return have, nil
}

// read fills a query from the card's data.
func (q *Query) read(cdol1 []byte) error {
	have, err := Objects(q.ICC)
	if err != nil {
		return err
	}
	dol, err := emv.ParseDOL(cdol1)
	if err != nil {
		return err
	}
	var terminal []byte
	for _, e := range dol {
		v, ok := have[e.Tag]
		if !ok || len(v) != e.Length {
			return ErrICC
		}
		if e.Tag == emv.TagTVR {
			v = asSigned(v)
		}
		terminal = append(terminal, v...)
	}
	aip, atc, iad, cid := have[0x82], have[0x9F36], have[0x9F10], have[0x9F27]
	q.ARQC = have[0x9F26]
	if len(aip) != 2 || len(atc) != 2 || len(iad) == 0 || len(iad) > 32 || len(q.ARQC) != 8 || len(cid) > 0 && cid[0]&0xC0 != 0x80 {
		return ErrICC
	}
	q.ATC = binary.BigEndian.Uint16(atc)
	q.Data = Input(terminal, aip, q.ATC, iad)
	return nil
}

// asSigned are terminal verification results as they were when the card made its
// cryptogram. Where XDA was selected, a terminal sets two of the bits only after that
// and sends what it has then: the issuer takes them for 0 (EMV 4.4 Book 4, sections
// 6.3.2.2.2 and 6.3.2.2.4).
func asSigned(sent []byte) []byte {
	var tvr emv.TVR
	if len(sent) != len(tvr) {
		return sent
	}
	copy(tvr[:], sent)
	if tvr.Has(emv.XDASelected) {
		tvr.Clear(emv.XDAFailed)
		tvr.Clear(emv.ECCRecoveryFailed)
	}
	return tvr[:]
}

// Response codes (ISO 8583 field 39).
const (
	Approved     = "00"
	Declined     = "05"
	UnknownCard  = "14"
	ExpiredCard  = "54"
	Replayed     = "59" // suspected fraud
	NotActivated = "78" // blocked, first use
	Suspended    = "62"
	Revoked      = "43"
	BadMAC       = "82" // the cryptogram is wrong
)

// Verdict is the answer to a Query.
type Verdict struct {
	Valid bool   // the cryptogram is the card's, and was not used before
	Code  string // response code
	ATC   string // fresh, repeat, replay; empty for a wrong cryptogram
	Gap   int    // how far the transaction counter is above the highest one seen
	State string // of the card
	// IssuerData is what the card gets: ARPC ‖ CSU by method 2, ARPC ‖ response code by
	// method 1; nil for a wrong cryptogram.
	IssuerData []byte
}

// Rules of transaction counters.
const (
	window  = 32  // how many numbers below the highest may still come
	maxJump = 500 // a jump beyond it is declined
)

// Authorize checks a cryptogram and answers it: a right one of a card that is active
// is approved, and counts once. The money is the bank's business.
func (s *Service) Authorize(ctx context.Context, q Query) (Verdict, error) {
	card, err := s.find(ctx, &q)
	if errors.Is(err, store.ErrNotFound) {
		return Verdict{Code: UnknownCard}, nil
	}
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{State: card.State, Code: s.code(card)}
	scheme := s.Profiles.Payments[card.Scheme]
	if scheme == nil {
		return v, errors.New("the card's payment scheme is not known here any more")
	}
	if q.ICC != nil {
		if err := q.read(scheme.CDOL1); err != nil {
			return Verdict{}, err
		}
	}
	pan, err := s.Vault.Open(ctx, vault.DataKey{Epoch: card.Epoch, Wrapped: card.Wrapped}, image.PANAAD(card.PANID, card.PersonID), card.PANSealed)
	if err != nil {
		return v, err
	}
	defer clear(pan)
	csu := []byte{0, 0, 0, 0}
	if v.Code == Approved {
		csu[1] = 0x82 // approves, counters to zero
	}
	req := vault.ARQCRequest{
		PAN: string(pan), Sequence: q.Sequence, MasterKey: scheme.Cryptogram.MasterKey, Option: scheme.Cryptogram.Option,
		ATC: q.ATC, Data: q.Data, ARQC: q.ARQC, Method: scheme.Cryptogram.ARPC, CSU: csu, ARC: []byte(v.Code),
	}
	out, err := s.Vault.VerifyARQC(ctx, req)
	if err != nil {
		return v, err
	}
	if !out.OK {
		return Verdict{Code: BadMAC, State: card.State}, nil
	}
	verdict, gap, err := s.Store.RecordARQC(ctx, card.CardID, q.ATC, sha256.Sum256(append(bytes.Clone(q.Data), q.ARQC...)), window)
	if err != nil {
		return v, err
	}
	v = counted(v, verdict, gap)
	if !v.Valid {
		return v, nil
	}
	v.IssuerData = append(out.ARPC, csu...)
	if scheme.Cryptogram.ARPC == 1 {
		v.IssuerData = append(out.ARPC, v.Code...)
	}
	return v, nil
}

// counted is what a right cryptogram comes to by its transaction counter: one that was
// used is refused, and a jump ends what the card's state would have let through.
func counted(v Verdict, counter store.Verdict, gap int) Verdict {
	v.ATC, v.Gap = string(counter), gap
	switch {
	case counter == store.Replay:
		v.Code = Replayed
	case gap > maxJump && v.Code == Approved:
		v.Code = Declined
	default:
		v.Valid = true
	}
	return v
}

// find finds the card of a query, and fills its token.
func (s *Service) find(ctx context.Context, q *Query) (card store.BankCard, err error) {
	if q.PAN != "" {
		if q.Token, err = s.Vault.PANToken(ctx, string(q.PAN)); err != nil {
			return card, err
		}
	}
	return s.Store.CardByPANToken(ctx, q.Token, q.Sequence)
}

// code is what a card's state and expiry say.
func (s *Service) code(c store.BankCard) string {
	switch {
	case c.State == "made":
		return NotActivated
	case c.State == "suspended":
		return Suspended
	case c.State == "revoked":
		return Revoked
	case s.now().After(c.Expires.AddDate(0, 0, 1)):
		return ExpiredCard
	}
	return Approved
}

// Status is how a card stands.
type Status struct {
	State       string    `json:"state" enum:"made,active,suspended,revoked"`
	StatusIndex int64     `json:"statusIndex"`
	Last4       string    `json:"last4"`
	PAN         string    `json:"pan,omitempty" doc:"First six and last four digits, for keys with the scope bank:pan" example:"589210******1234"`
	Expires     string    `json:"expires" doc:"The card's own last day; residence validity is the rule's"`
	At          time.Time `json:"at"`
}

// Status tells how a card stands; store.ErrNotFound.
func (s *Service) Status(ctx context.Context, token []byte, sequence byte) (Status, error) {
	c, err := s.Store.CardByPANToken(ctx, token, sequence)
	return s.status(c), err
}

func (s *Service) status(c store.BankCard) Status {
	return Status{State: c.State, StatusIndex: c.StatusIndex, Last4: c.Last4, Expires: c.Expires.Format(time.DateOnly), At: s.now().UTC()}
}

// Masked is a card's PAN as who may see more of it sees it: the first six and the last
// four digits, and no other. It opens nothing: the first are the issuer's number.
func (s *Service) Masked(ctx context.Context, token []byte, sequence byte) (string, error) {
	c, err := s.Store.CardByPANToken(ctx, token, sequence)
	if err != nil {
		return "", err
	}
	scheme := s.Profiles.Payments[c.Scheme]
	if scheme == nil {
		return "", errors.New("the card's payment scheme is not known here any more")
	}
	return payment.Masked(scheme.BIN, c.Last4), nil
}

// Limits of the question whether PAN and IBAN belong together: by who asks, and by
// the card that is asked about.
const (
	matchesPerHour     = 3600
	matchesPerCardHour = 10
)

// Match says whether a PAN's token and an IBAN belong together, and nothing else: a
// card that is not there is a no. asker names who asks. *store.ErrQuota when it was
// asked too often.
func (s *Service) Match(ctx context.Context, asker string, token []byte, sequence byte, iban string) (bool, error) {
	for _, q := range []struct {
		name  string
		limit int
	}{{"match " + asker, matchesPerHour}, {"match " + Token(token), matchesPerCardHour}} {
		if err := s.Store.UseQuota(ctx, q.name, q.limit, time.Hour); err != nil {
			return false, err
		}
	}
	// The digest is made also where nothing can match, so that a no takes as long.
	ref, err := s.Vault.IBANRef(ctx, iban)
	if err != nil {
		return false, err
	}
	c, err := s.Store.CardByPANToken(ctx, token, sequence)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && bytes.Equal(ref, c.IBANRef), err
}

// Verified is the answer about a binding.
type Verified struct {
	Valid  bool    `json:"valid"`
	Reason string  `json:"reason,omitempty" doc:"Why it is not"`
	Status *Status `json:"status,omitempty" doc:"How its card stands"`
}

// VerifyBinding checks a binding, COSE or JWS, and tells how its card stands.
func (s *Service) VerifyBinding(ctx context.Context, cose []byte, jws string) (Verified, error) {
	var p *binding.Payload
	var err error
	if jws != "" {
		p, err = binding.VerifyJWS(jws, s.Bindings)
	} else {
		p, err = binding.VerifyCOSE(cose, s.Bindings)
	}
	if err != nil {
		return Verified{Reason: err.Error()}, nil
	}
	c, err := s.Store.CardByStatusIndex(ctx, p.StatusIndex)
	if errors.Is(err, store.ErrNotFound) {
		return Verified{Reason: "the bureau has issued no card of this binding"}, nil
	}
	if err != nil {
		return Verified{}, err
	}
	if !bytes.Equal(c.Token, p.PANToken) || int(c.Sequence) != p.Sequence {
		return Verified{Reason: "the binding is of another account than the card's"}, nil
	}
	status := s.status(c)
	return Verified{Valid: true, Status: &status}, nil
}

// Input is what a cryptogram of a CCD card is over.
func Input(cdol1, aip []byte, atc uint16, iad []byte) []byte {
	out := append(bytes.Clone(cdol1), aip...)
	return append(binary.BigEndian.AppendUint16(out, atc), iad...)
}
