// Package line is readers at work: one goroutine a reader takes a blank,
// claims an order for it, runs the firmware profile's steps, proves the card,
// and accounts for it. It decides what a failure means and never tries a card
// again by itself: what may be in doubt is left for people and for Resume.
//
// It speaks to chips through profile and lds, to keys through the vault and to
// the database through the store. How a card comes into a reader is a
// Feeder's business.
package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/lds/sod"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// Session is a card in a reader, connected exclusively.
type Session interface {
	apdu.Card
	// ATR is the answer to the last reset.
	ATR() []byte
	// Reset powers the card off and on: security states and selections are gone.
	Reset(ctx context.Context) error
	// Close ends the connection and powers the card off.
	Close() error
}

// Antenna is a session whose reader reaches the card over the contactless interface
// too, as a dual interface reader does.
type Antenna interface {
	// ResetContactless takes the card's contacts away and brings it into the field.
	// Commands go there until the next Reset, which goes to the contacts.
	ResetContactless(ctx context.Context) error
}

// Reader is where cards appear.
type Reader interface {
	Name() string
	// Present waits for a card and connects to it.
	Present(ctx context.Context) (Session, error)
}

// Slot is a reader with what feeds it.
type Slot struct {
	Reader Reader
	Feeder feeder.Feeder
}

// Line makes cards of released orders. Its fields are set before Run.
type Line struct {
	Store    *store.Store
	Station  *store.Station
	Vault    *vault.Client
	Profiles *profile.Set
	// Trust holds the CSCA certificates that a card's security object must lead
	// to.
	Trust *sod.Trust
	// Issuer is the certificate of the bank's RSA key and the authority above it, to
	// which a payment application must lead.
	Issuer vault.IssuerInfo
	// Development allows software cards.
	Development bool
	// Events is told what happens, from several goroutines. It may be nil.
	Events func(Event)
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	queue queue
}

// queue is what readers know of the released orders.
type queue struct {
	mu sync.Mutex
	// known are orders that the last count found and no reader has been promised
	// since: no need to count again before each card.
	known int
	// promised are orders that readers fetch blanks for and have not claimed yet;
	// a count still finds them.
	promised int
	// ended counts the promises that have ended. A count of the orders that was
	// under way while one did may or may not have found its order.
	ended int
}

// take promises one of the known orders to a reader.
func (q *queue) take() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeLocked()
}

func (q *queue) takeLocked() bool {
	if q.known <= 0 {
		return false
	}
	q.known--
	q.promised++
	return true
}

// counting begins a count of the orders. What it returns goes to counted.
func (q *queue) counting() (since int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

// counted takes over a count that began with counting and promises one of its
// orders, if any is free. Promises that ended meanwhile are taken for orders
// that the count found: if none is free then, again says to count once more.
func (q *queue) counted(since, released int) (promised, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known = released - q.promised - (q.ended - since)
	return q.takeLocked(), q.ended != since
}

// kept ends a promise: the order is claimed, or was not there.
func (q *queue) kept() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.promised--
	q.ended++
}

// forget has the next reader count again.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known = 0
}

// EventKind says what happened.
type EventKind string

// What can happen on a reader.
const (
	Waiting  EventKind = "waiting" // for a card
	Present  EventKind = "present" // a card is there
	Claimed  EventKind = "claimed" // it gets an order; the attempt is committed
	Working  EventKind = "working" // on a step
	Finished EventKind = "finished"
	Stopped  EventKind = "stopped"  // the reader has nothing more to do
	Joined   EventKind = "joined"   // the reader came while the line worked
	Left     EventKind = "left"     // the reader is gone; it may come back
	Deserted EventKind = "deserted" // no reader is left, orders are: the line waits for a reader
)

// Event is one thing that happened. It names cards, never persons.
type Event struct {
	At      time.Time     `json:"at"`
	Reader  string        `json:"reader,omitempty"` // none where Deserted
	Kind    EventKind     `json:"kind"`
	Serial  string        `json:"blank,omitempty"`
	Order   string        `json:"order,omitempty"`
	Card    string        `json:"card,omitempty"` // card number
	Step    string        `json:"step,omitempty"`
	Outcome store.Outcome `json:"outcome,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Detail  string        `json:"detail,omitempty"` // one sentence
	Took    time.Duration `json:"took,omitempty"`
}

// Summary is what a run made of its cards.
type Summary struct {
	Issued      int           `json:"issued"`
	Banked      int           `json:"banked,omitempty"`  // of the issued, with a payment application
	Striped     int           `json:"striped,omitempty"` // of the issued, with a magnetic stripe
	Clean       int           `json:"clean"`             // gone back untouched
	Quarantined int           `json:"quarantined"`
	InDoubt     int           `json:"inDoubt"`
	Refused     int           `json:"refused"` // cards that are no blanks of this stock
	Elapsed     time.Duration `json:"elapsed"`
}

func (s *Summary) count(r result) {
	switch r.outcome {
	case store.OutcomeIssued:
		s.Issued++
		if r.banked {
			s.Banked++
		}
		if r.striped {
			s.Striped++
		}
	case store.OutcomeClean:
		s.Clean++
	case store.OutcomeQuarantined, store.OutcomeSpoiled:
		s.Quarantined++
	case store.OutcomeInDoubt:
		s.InDoubt++
	}
}

// ErrReaderGivesUp: one card after another went wrong, so something other than
// the cards is wrong, and every further blank would be lost to it.
var ErrReaderGivesUp = errors.New("several cards in a row were not made")

// ErrNoOrderFits: orders are released, and none can be made on the blanks that
// the reader is fed.
var ErrNoOrderFits = errors.New("the released orders want another chip than the blanks have")

// maxFailed is how many cards in a row a reader may not make before it gives up.
const maxFailed = 3

// work is one reader's loop.
func (l *Line) work(ctx context.Context, s Slot, note func(result)) error {
	failed, unwanted := 0, 0
	for ctx.Err() == nil {
		left, err := l.ordersLeft(ctx)
		if err != nil || !left {
			return ignoreStop(ctx, err)
		}
		kept := sync.OnceFunc(l.queue.kept)
		l.event(Event{Reader: s.Reader.Name(), Kind: Waiting})
		if err := s.Feeder.Next(ctx); err != nil {
			kept()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return ignoreStop(ctx, err)
		}
		session, err := s.Reader.Present(ctx)
		if err != nil {
			kept()
			return ignoreStop(ctx, err)
		}
		// From here on the card in hand is finished, whatever ctx says.
		hand := context.WithoutCancel(ctx)
		r := l.card(hand, s.Reader.Name(), session, kept)
		kept()
		err = session.Close()
		note(r)
		if ferr := s.Feeder.Out(hand, r.bin()); ferr != nil {
			return fmt.Errorf("the card could not be taken out: %w", ferr)
		}
		switch {
		case r.fatal != nil:
			return r.fatal
		case r.noOrder:
			l.queue.forget() // withdrawn meanwhile: count before the next
			if unwanted++; unwanted == maxFailed {
				return ErrNoOrderFits
			}
		case err != nil && r.outcome != store.OutcomeIssued:
			return err
		case r.outcome == store.OutcomeIssued:
			failed, unwanted = 0, 0
		case r.outcome != "":
			unwanted = 0
			if failed++; failed == maxFailed {
				return fmt.Errorf("%w: %s", ErrReaderGivesUp, r.detail)
			}
		}
	}
	return nil
}

func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// preparationPatience is how long a reader waits while orders of released
// lots still have no image and none is made.
const preparationPatience = time.Minute

// ordersLeft reports whether an order is released, waiting for those whose
// image is still being made. Those in progress on other readers are those
// readers' business.
func (l *Line) ordersLeft(ctx context.Context) (bool, error) {
	if l.queue.take() {
		return true, nil
	}
	coming, since := -1, l.now()
	for {
		promised, accepted, err := l.count(ctx)
		if err != nil || promised {
			return promised, err
		}
		if accepted == 0 {
			return false, nil
		}
		n, err := l.preparing(ctx)
		if err != nil {
			return false, err
		}
		if n == 0 {
			// The last one may have become ready between the two questions.
			promised, _, err := l.count(ctx)
			return promised, err
		}
		if n != coming {
			coming, since = n, l.now()
		} else if l.now().Sub(since) > preparationPatience {
			return false, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// count asks for the orders and promises a released one, if any is free.
// accepted is how many have no image yet.
func (l *Line) count(ctx context.Context) (promised bool, accepted int, err error) {
	for again := true; again && !promised; {
		since := l.queue.counting()
		counts, err := l.Store.OrderCounts(ctx, uuid.Nil)
		if err != nil {
			return false, 0, err
		}
		accepted = counts[store.OrderAccepted]
		promised, again = l.queue.counted(since, counts[store.OrderReleased])
	}
	return promised, accepted, nil
}

// preparing counts orders of released lots that have no image yet.
func (l *Line) preparing(ctx context.Context) (n int, err error) {
	orders, err := l.Store.OrdersIn(ctx, store.OrderAccepted, 1000)
	for _, o := range orders {
		if o.Lot != uuid.Nil {
			n++
		}
	}
	return n, err
}

func (l *Line) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

func (l *Line) event(e Event) {
	if l.Events == nil {
		return
	}
	e.At = l.now()
	l.Events(e)
}
