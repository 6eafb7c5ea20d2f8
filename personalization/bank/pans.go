package bank

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/image"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// KindPANs is the kind of lists of PANs among the files to the bank: numbered and
// chained as they are, and enciphered.
const KindPANs = "PANS"

// ErrNoBankKey says that there is no key of the bank's to encipher to.
var ErrNoBankKey = errors.New("bank-keys.json has no public key with use enc: ask the bank for one on P-256")

// Recipient is the bank's key that files are enciphered to.
func (s *Service) Recipient() (*jose.JSONWebKey, error) {
	for _, k := range s.BankKeys.Keys {
		if k.Use == "enc" && k.Valid() && k.IsPublic() {
			return &k, nil
		}
	}
	return nil, ErrNoBankKey
}

// Encrypt enciphers a file to the bank.
func (s *Service) Encrypt(file []byte) ([]byte, error) {
	to, err := s.Recipient()
	if err != nil {
		return nil, err
	}
	text, err := vault.EncryptTo(to, "bank-file", file)
	return append([]byte(text), '\n'), err
}

// listed is what the database keeps of a list: which cards are in it, and to whom.
type listed struct {
	Cards string `json:"cards"`
}

// cardsOf is a digest of the cards of a list and of the key that it is enciphered to.
func cardsOf(recipient []byte, rows []store.BankPAN) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s", len(recipient), recipient)
	for _, r := range rows {
		fmt.Fprintf(h, "%x %d\n", r.Token, r.Sequence)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// PANs makes the list of the PANs that were put on cards on a business day: a compact JWE
// to the bank's key, made where the keys are. It returns the list's number. As long as
// the day has no further card and the bank no other key, it is the same list again.
func (s *Service) PANs(ctx context.Context, day time.Time, by store.Actor) (jwe string, sequence, cards int, err error) {
	from, end := s.bounds(day)
	day = s.dayOf(from)
	to, err := s.Recipient()
	if err != nil {
		return "", 0, 0, err
	}
	recipient, err := json.Marshal(to)
	if err != nil {
		return "", 0, 0, err
	}
	rows, err := s.Store.BankPANs(ctx, from, end)
	if err != nil {
		return "", 0, 0, err
	}
	of := listed{cardsOf(recipient, rows)}
	switch last, err := s.Store.BankListOf(ctx, KindPANs, day); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return "", 0, 0, err
	default:
		var was listed
		if err := json.Unmarshal(last.Totals, &was); err != nil {
			return "", 0, 0, err
		}
		if was == of {
			err := s.Store.Audit(ctx, by, "bank-file.again", fmt.Sprintf("%s %d", KindPANs, last.Seq), "")
			return string(last.Content), int(last.Seq), last.Records, err
		}
	}
	files, err := s.Store.BankFiles(ctx, KindPANs)
	if err != nil {
		return "", 0, 0, err
	}
	previous := make([]byte, sha256.Size)
	if n := len(files); n > 0 {
		previous = files[n-1].Digest
	}
	sequence = len(files) + 1
	items := make([]vault.SealedPAN, len(rows))
	for i, r := range rows {
		line := map[string]any{"panToken": Token(r.Token), "panSequence": r.Sequence, "expires": r.Expires.Format(time.DateOnly)}
		if scheme := s.Profiles.Payments[r.Scheme]; scheme != nil {
			line["serviceCode"] = scheme.ServiceCode
		}
		items[i] = vault.SealedPAN{Line: line, Item: vault.SealItem{
			DataKey: vault.DataKey{Epoch: r.Epoch, Wrapped: r.Wrapped}, AAD: image.PANAAD(r.PANID, r.PersonID), Data: r.Sealed,
		}}
	}
	header := map[string]any{
		"kind": KindPANs, "sender": s.Name, "receiver": receiver, "sequence": sequence, "day": day.Format(time.DateOnly), "previous": hex.EncodeToString(previous),
	}
	if jwe, err = s.Vault.RevealPANs(ctx, header, items, recipient); err != nil {
		return "", 0, 0, err
	}
	jwe += "\n"
	totals, err := json.Marshal(of)
	if err != nil {
		return "", 0, 0, err
	}
	digest := sha256.Sum256([]byte(jwe))
	err = s.Store.AppendBankList(ctx, KindPANs, store.BankFile{
		Seq: int64(sequence), Day: day, Digest: digest[:], Previous: previous, Records: len(rows), Totals: totals,
	}, []byte(jwe), by)
	if errors.Is(err, store.ErrStale) {
		err = errors.New("another list was written meanwhile: write this one again")
	}
	if err != nil {
		return "", 0, 0, fmt.Errorf("the list of PANs: %w", err)
	}
	return jwe, sequence, len(rows), nil
}
