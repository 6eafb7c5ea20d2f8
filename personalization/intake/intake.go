// Package intake takes signed records in: it has each one verified, picks its
// product, seals it for its person and opens an order. It answers per record,
// never loses one, and is idempotent. It reads no card and prepares no image.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Service takes records in. Its fields are set once; it is then safe for
// concurrent use.
type Service struct {
	Verifier *record.Verifier
	Rules    []ProductRule
	Store    *store.Store
	Vault    *vault.Client
	Now      func() time.Time // nil: time.Now
}

// Status of an answer.
const (
	Refused      = "refused"
	Failed       = "failed" // the bureau's fault: send the record again
	Accepted     = string(store.Accepted)
	AlreadyKnown = string(store.AlreadyKnown)
	Replaced     = string(store.Replaced)
	Conflict     = string(store.Conflict)
)

// Answer is what the sender of a record gets back. It names the record and
// nothing of the person.
type Answer struct {
	Line     int    `json:"line,omitempty"`
	RecordID string `json:"recordId,omitempty"`
	Status   string `json:"status"`
	Code     string `json:"code,omitempty"`   // of a refusal
	Detail   string `json:"detail,omitempty"` // one sentence
	OrderID  string `json:"orderId,omitempty"`
	State    string `json:"state,omitempty"` // of the order

	// HTTPStatus is the status that a single record's answer travels with.
	HTTPStatus int `json:"-"`
}

// OK reports that the record is in, now or since before.
func (a Answer) OK() bool { return a.Status != Refused && a.Status != Failed }

// AcceptOne takes one record in.
func (s *Service) AcceptOne(ctx context.Context, signed []byte, by store.Actor) (Answer, error) {
	answers, err := s.accept(ctx, []record.Line{{Bytes: signed}}, by)
	if err != nil {
		return Answer{}, err
	}
	return answers[0], nil
}

// chunk is how many records travel together: enough to share round trips, few
// enough to keep memory small (each may be half a megabyte).
const chunk = 16

// AcceptAll takes a file or stream of records in, one a line of at most
// maxLine bytes, and emits one answer a line, in order. Memory stays bounded by
// a few dozen records. It returns the first error that is not a record's own;
// lines answered before it are in.
func (s *Service) AcceptAll(ctx context.Context, in io.Reader, maxLine int, by store.Actor, emit func(Answer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan record.Line, chunk)
	go func() {
		defer close(lines)
		for l := range record.Lines(in, maxLine) {
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		batch, more := gather(ctx, lines)
		if len(batch) > 0 {
			answers, err := s.accept(ctx, batch, by)
			if err != nil {
				return err
			}
			for _, a := range answers {
				if err := emit(a); err != nil {
					return err
				}
			}
		}
		if !more {
			return ctx.Err()
		}
	}
}

// gather waits for one line and takes what else is there already.
func gather(ctx context.Context, lines <-chan record.Line) (batch []record.Line, more bool) {
	select {
	case l, ok := <-lines:
		if !ok {
			return nil, false
		}
		batch = append(batch, l)
	case <-ctx.Done():
		return nil, false
	}
	for len(batch) < chunk {
		select {
		case l, ok := <-lines:
			if !ok {
				return batch, false
			}
			batch = append(batch, l)
		default:
			return batch, true
		}
	}
	return batch, true
}

// item is one record on its way through a chunk.
type item struct {
	answer   *Answer
	verified *record.Verified
	req      store.AcceptRequest
	tries    int
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Service) accept(ctx context.Context, lines []record.Line, by store.Actor) ([]Answer, error) {
	answers := make([]Answer, len(lines))
	items := make([]*item, len(lines))
	errs := make([]error, len(lines))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range lines {
		answers[i].Line = lines[i].Number
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			items[i], errs[i] = s.verify(ctx, lines[i], &answers[i], by)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var good []*item
	for _, it := range items {
		if it != nil {
			good = append(good, it)
		}
	}
	return answers, s.store(ctx, good)
}

// verify checks one line and prepares its request; a nil item means that the
// answer is complete (refused).
func (s *Service) verify(ctx context.Context, l record.Line, a *Answer, by store.Actor) (*item, error) {
	v, err := s.Verifier.VerifyLine(ctx, l)
	if err != nil {
		return nil, refuseOr(err, a)
	}
	a.RecordID = v.Record.RecordID
	now := s.now()
	product, ok := Product(s.Rules, &v.Record, now)
	if !ok {
		return nil, refuseOr(record.Refuse(record.NoProduct, v.Record.RecordID, ""), a)
	}
	canonical, err := v.Record.IdentityCanonical()
	if err != nil {
		return nil, refuseOr(err, a)
	}
	ref, err := s.Vault.PersonRef(ctx, v.Record.Person.UniqueID)
	if err != nil {
		return nil, fmt.Errorf("person reference: %w", err)
	}
	digest, err := s.Vault.IdentityDigest(ctx, canonical)
	if err != nil {
		return nil, fmt.Errorf("identity digest: %w", err)
	}
	r := &v.Record
	state := store.OrderAccepted
	if r.NeedsDecision(now) {
		state = store.OrderAwaitingDecision
	}
	return &item{answer: a, verified: v, req: store.AcceptRequest{
		PersonRef: ref, IdentityDigest: digest,
		RecordRow: store.NewID(), RecordID: r.RecordID, Revision: r.Revision, Digest: v.Digest[:], KeyID: v.KeyID,
		ExpiresAt: r.ExpiresAt, Product: product, Office: r.Residence.Office,
		Phase: r.Residence.Permit, Reason: r.Reason, State: state, DailyCap: v.DailyCap, Actor: by,
	}}, nil
}

// refuseOr turns a refusal into an answer and passes any other error on.
func refuseOr(err error, a *Answer) error {
	var ref *record.Refusal
	if !errors.As(err, &ref) {
		return err
	}
	a.Status, a.Code, a.Detail, a.HTTPStatus = Refused, ref.Code, ref.Sentence(), ref.Status()
	if ref.RecordID != "" {
		a.RecordID = ref.RecordID
	}
	return nil
}

// attempts is how often a record is sealed anew when another process stored
// its person first.
const attempts = 4

// store takes the records of a chunk in. Of several records of one person, or
// with one recordId, the first line comes first: the others wait a round.
func (s *Service) store(ctx context.Context, items []*item) error {
	for len(items) > 0 {
		now, later := first(items)
		if err := s.seal(ctx, now); err != nil {
			return err
		}
		reqs := make([]store.AcceptRequest, len(now))
		for i, it := range now {
			reqs[i] = it.req
		}
		results, err := s.Store.AcceptRecords(ctx, reqs)
		if err != nil {
			return fmt.Errorf("intake: %w", err)
		}
		var again []*item
		for i, it := range now {
			if !errors.Is(results[i].Err, store.ErrPersonKeyDiffers) {
				if err := it.settle(results[i]); err != nil {
					return err
				}
				continue
			}
			if it.tries++; it.tries == attempts {
				return errors.New("intake: a person's data key keeps changing")
			}
			again = append(again, it)
		}
		items = append(again, later...)
	}
	return nil
}

// first splits off what must wait for an earlier record of the same person or
// recordId.
func first(items []*item) (now, later []*item) {
	seen := map[string]bool{}
	for _, it := range items {
		person, id := "p"+string(it.req.PersonRef), "r"+it.req.RecordID
		if seen[person] || seen[id] {
			later = append(later, it)
		} else {
			now = append(now, it)
		}
		seen[person], seen[id] = true, true
	}
	return now, later
}

// seal looks the persons up and seals each record under its person's key.
func (s *Service) seal(ctx context.Context, items []*item) error {
	refs := make([][]byte, len(items))
	for i, it := range items {
		refs[i] = it.req.PersonRef
	}
	persons, err := s.Store.PersonKeys(ctx, refs)
	if err != nil {
		return fmt.Errorf("intake: %w", err)
	}
	pieces := make([]vault.SealItem, len(items))
	for i, it := range items {
		p := persons[i]
		if !p.Found {
			key, err := s.Vault.NewDataKey(ctx)
			if err != nil {
				return fmt.Errorf("data key: %w", err)
			}
			p.ID, p.Key = store.NewID(), store.DataKey(key)
		}
		it.req.PersonID, it.req.Key = p.ID, p.Key
		pieces[i] = vault.SealItem{
			DataKey: vault.DataKey(p.Key), Data: it.verified.Signed,
			AAD: RecordAAD(it.req.RecordRow, p.ID),
		}
	}
	sealed, err := s.Vault.SealAll(ctx, pieces)
	if err != nil {
		return fmt.Errorf("seal records: %w", err)
	}
	for i, it := range items {
		it.req.Sealed = sealed[i]
	}
	return nil
}

// RecordAAD is what a sealed record is bound to.
func RecordAAD(row, person uuid.UUID) []byte { return vault.AAD("record", "sealed", row, person, 1) }

// refusals maps what only the database knows to codes.
var refusals = []struct {
	err  error
	code string
}{
	{store.ErrRecordContentDiffers, record.ContentDiffers},
	{store.ErrPersonHasOpenOrder, record.PersonHasOrder},
	{store.ErrRevisionOld, record.RevisionOld},
	{store.ErrRevisionTooLate, record.RevisionTooLate},
	{store.ErrDailyCap, record.DailyCap},
}

// settle writes the database's answer into the record's.
func (it *item) settle(res store.AcceptResult) error {
	for _, m := range refusals {
		if errors.Is(res.Err, m.err) {
			return refuseOr(record.Refuse(m.code, it.req.RecordID, ""), it.answer)
		}
	}
	if res.Err != nil {
		return fmt.Errorf("intake: %w", res.Err)
	}
	a := it.answer
	a.Status, a.State = string(res.Outcome), string(res.State)
	if res.OrderID != uuid.Nil {
		a.OrderID = res.OrderID.String()
	}
	a.HTTPStatus = 201
	if res.Outcome == store.AlreadyKnown {
		a.HTTPStatus = 200
	}
	return nil
}
