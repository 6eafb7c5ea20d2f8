package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// waiting makes an order that waits for its account.
func (b *bench) waiting(n int) uuid.UUID {
	b.t.Helper()
	order := b.accept(b.request(n))
	p, err := b.OrderForPreparation(b.ctx, order)
	b.must(err)
	b.must(b.AwaitBank(b.ctx, order, p.Generation, "no-account", b.program))
	if b.state(order) != OrderAwaitingBank {
		b.t.Fatalf("the order is %s", b.state(order))
	}
	return order
}

func sealedAccount(reference string) SealedAccount {
	return SealedAccount{ID: NewID(), Source: "api", Reference: reference, Digest: digest("account", reference), IBANRef: digest("iban", reference), Sealed: []byte("sealed account")}
}

// number makes the PAN row of a running number.
func number(r Range) (PAN, error) {
	return PAN{ID: NewID(), Token: digest("pan", r.Used)[:16], Last4: fmt.Sprintf("%04d", r.Used), Sealed: []byte("sealed pan")}, nil
}

// bankImage prepares an order with its account.
func (b *bench) bankImage(order uuid.UUID, index int64) (Image, BankImage) {
	b.t.Helper()
	p, err := b.OrderForPreparation(b.ctx, order)
	b.must(err)
	n, err := b.NextPAN(b.ctx, order, "r", number)
	b.must(err)
	im := Image{ID: NewID(), Version: p.Version, CardNumber: cardNumber(), Profile: "id 1", Content: []byte("content"), Secrets: []byte("secrets")}
	bi := BankImage{
		Content: []byte("groupings"), Secrets: []byte("payment secrets"), PAN: n.ID, StatusIndex: index, Binding: []byte("binding"), Scheme: "sepah",
		Expires: time.Date(2031, 11, 30, 0, 0, 0, 0, time.UTC), Mailer: NewID(), MailerSealed: []byte("mailer"), Account: sealedAccount(""),
	}
	bi.Account.IBANRef = digest("iban", order)
	b.must(b.SaveBankImage(b.ctx, order, p.Generation, im, bi, b.program))
	return im, bi
}

func TestAssignments(t *testing.T) {
	b := newBench(t)
	order, other := b.waiting(1), b.waiting(2)
	list, err := b.AwaitingBank(b.ctx, uuid.Nil, 10)
	b.must(err)
	if len(list) != 2 || list[0].OrderID != order {
		t.Fatalf("waiting: %+v", list)
	}
	a := sealedAccount("A-1")
	for i, want := range []bool{false, true} {
		already, err := b.AssignAccount(b.ctx, order, a, b.ali)
		if err != nil || already != want {
			t.Fatalf("assignment %d: %v, %v", i, already, err)
		}
	}
	if b.state(order) != OrderAccepted {
		t.Errorf("the order is %s", b.state(order))
	}
	// The same reference for something else, and an order that does not wait.
	if _, err := b.AssignAccount(b.ctx, other, a, b.ali); !errors.Is(err, ErrAssignmentDiffers) {
		t.Errorf("another order: %v", err)
	}
	a.Digest = digest("another account")
	if _, err := b.AssignAccount(b.ctx, order, a, b.ali); !errors.Is(err, ErrAssignmentDiffers) {
		t.Errorf("another account: %v", err)
	}
	if _, err := b.AssignAccount(b.ctx, order, sealedAccount("A-2"), b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("a second account: %v", err)
	}
	if _, err := b.AssignAccount(b.ctx, NewID(), sealedAccount("A-3"), b.ali); !errors.Is(err, ErrNotFound) {
		t.Errorf("no order: %v", err)
	}
	b.balanced()
}

// TestPANs: of orders that ask at once each gets one number, without a gap, and none
// twice; an attempt that fails takes none.
func TestPANs(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 12}, b.ali))
	if err := b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921098", Length: 16, Size: 12}, b.ali); !errors.Is(err, ErrRangeExists) {
		t.Errorf("another range of the name: %v", err)
	}
	orders := make([]uuid.UUID, 16)
	for i := range orders {
		orders[i] = b.waiting(i)
	}
	failed := errors.New("the token is gone")
	var mu sync.Mutex
	var got []string
	exhausted := 0
	race(func(i int) {
		if _, err := b.NextPAN(b.ctx, orders[i], "r", func(Range) (PAN, error) { return PAN{}, failed }); !errors.Is(err, failed) && !errors.Is(err, ErrRangeExhausted) {
			t.Error(err)
		}
		p, err := b.NextPAN(b.ctx, orders[i], "r", number)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, ErrRangeExhausted):
			exhausted++
		case err != nil:
			t.Error(err)
		default:
			got = append(got, p.Last4)
		}
	})
	if len(got) != 12 || exhausted != 4 {
		t.Errorf("%d numbers were given, %d orders got none", len(got), exhausted)
	}
	slices.Sort(got)
	for i, g := range got {
		if g != fmt.Sprintf("%04d", i) {
			t.Fatalf("numbers: %v", got)
		}
	}
	ranges, err := b.Ranges(b.ctx)
	b.must(err)
	if len(ranges) != 1 || int(ranges[0].Used) != len(got) {
		t.Errorf("%d given, ranges %+v", len(got), ranges)
	}
	if _, err := b.NextPAN(b.ctx, orders[0], "none", number); !errors.Is(err, ErrNoRange) {
		t.Errorf("no range: %v", err)
	}
}

// TestGivenPANs: the bank's own number belongs to one person, whose next card has
// the next sequence number.
func TestGivenPANs(t *testing.T) {
	b := newBench(t)
	mine, other := b.waiting(1), b.waiting(2)
	given := func() PAN { return PAN{ID: NewID(), Token: digest("given")[:16], Last4: "0016", Sealed: []byte("s")} }
	for want := byte(1); want < 3; want++ {
		if p, err := b.GivenPAN(b.ctx, mine, given()); err != nil || p.Sequence != want {
			t.Fatalf("sequence number %d, want %d: %v", p.Sequence, want, err)
		}
		if want == 1 { // else the order has it already
			if _, err := b.tryRetire(mine); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := b.GivenPAN(b.ctx, other, given()); !errors.Is(err, ErrPANTaken) {
		t.Errorf("another person's: %v", err)
	}
}

// TestGivenPANsOfARange: a number that the bank has given as its own is passed over, and
// holds up nobody.
func TestGivenPANsOfARange(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 12}, b.ali))
	given, err := number(Range{Used: 0})
	b.must(err)
	_, err = b.GivenPAN(b.ctx, b.waiting(1), given)
	b.must(err)
	if p, err := b.NextPAN(b.ctx, b.waiting(2), "r", number); err != nil || p.Last4 != "0001" {
		t.Errorf("%s, %v", p.Last4, err)
	}
	if ranges, err := b.Ranges(b.ctx); err != nil || ranges[0].Used != 2 {
		t.Errorf("%+v, %v", ranges, err)
	}
}

// TestPANCancelled: a number whose row could not be made is given to the next order, and
// the range is not left locked.
func TestPANCancelled(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 10}, b.ali))
	order := b.waiting(1)
	for range 20 {
		ctx, cancel := context.WithCancel(b.ctx)
		_, err := b.NextPAN(ctx, order, "r", func(r Range) (PAN, error) {
			cancel()
			return number(r)
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled: %v", err)
		}
	}
	p, err := b.NextPAN(b.ctx, order, "r", number)
	b.must(err)
	if p.Last4 != "0000" {
		t.Errorf("the PAN ends in %s: a number is lost", p.Last4)
	}
	if _, err := b.NextPAN(b.ctx, order, "r", number); err == nil {
		t.Error("a second PAN of one order")
	}
	if p, err = b.NextPAN(b.ctx, b.waiting(2), "r", number); err != nil || p.Last4 != "0001" {
		t.Errorf("%s, %v", p.Last4, err)
	}
}

// tryRetire gives an order an account and takes it back, which retires its PAN.
func (b *bench) tryRetire(order uuid.UUID) (bool, error) {
	a := sealedAccount("retire " + order.String())
	if _, err := b.AssignAccount(b.ctx, order, a, b.ali); err != nil {
		return false, err
	}
	return b.WithdrawAccount(b.ctx, order, "", "closed", b.ali)
}

// TestWithdrawal: until a card is begun the bank may take an account back; the PAN is
// then never used again, and what was prepared is void.
func TestWithdrawal(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(3)
	order := b.waiting(1)
	_, err := b.AssignAccount(b.ctx, order, sealedAccount("A-1"), b.ali)
	b.must(err)
	im, _ := b.bankImage(order, 1)
	for i, want := range []bool{false, true} {
		if already, err := b.WithdrawAccount(b.ctx, uuid.Nil, "A-1", "closed", b.ali); err != nil || already != want {
			t.Fatalf("withdrawal %d: %v, %v", i, already, err)
		}
	}
	if b.state(order) != OrderAwaitingBank {
		t.Fatalf("the order is %s", b.state(order))
	}
	if _, err := b.PaymentPart(b.ctx, im.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the void image is still there: %v", err)
	}
	if _, err := b.AssignAccount(b.ctx, order, sealedAccount("A-1"), b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("a withdrawn account comes again: %v", err)
	}
	if _, err := b.WithdrawAccount(b.ctx, uuid.Nil, "A-9", "closed", b.ali); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such reference: %v", err)
	}
	// Another account, another number; a card is begun: too late.
	_, err = b.AssignAccount(b.ctx, order, sealedAccount("A-2"), b.ali)
	b.must(err)
	b.bankImage(order, 2)
	_, err = b.ReleaseLot(b.ctx, LotRequest{Name: "lot", Orders: []uuid.UUID{order}, Actor: b.ali})
	b.must(err)
	b.claim(b.station(), 0)
	if _, err := b.WithdrawAccount(b.ctx, order, "", "closed", b.ali); !errors.Is(err, ErrWrongState) {
		t.Errorf("a begun card: %v", err)
	}
	ranges, err := b.Ranges(b.ctx)
	b.must(err)
	if ranges[0].Used != 2 {
		t.Errorf("numbers used: %+v", ranges)
	}
	b.balanced()
}

// bankCard issues a card with an account.
func (b *bench) bankCard(st *Station, n int) (order uuid.UUID, im Image, bi BankImage) {
	b.t.Helper()
	order = b.waiting(n)
	_, err := b.AssignAccount(b.ctx, order, sealedAccount(fmt.Sprint("card ", n)), b.ali)
	b.must(err)
	im, bi = b.bankImage(order, int64(n))
	_, err = b.ReleaseLot(b.ctx, LotRequest{Name: fmt.Sprint("lot ", n), Orders: []uuid.UUID{order}, Actor: b.ali})
	b.must(err)
	c := b.claim(st, n)
	if _, err := b.PaymentPart(b.ctx, im.ID); err != nil {
		b.t.Fatal(err)
	}
	b.must(st.Finish(b.ctx, finish(c, OutcomeIssued)))
	return order, im, bi
}

// TestIssuedBankCards: what only the chip and the stripe need is gone with the issue;
// events are in order and without a gap; the transaction counter has its rules.
func TestIssuedBankCards(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(3)
	st := b.station()
	var cards []BankCard
	for n := range 3 {
		_, im, _ := b.bankCard(st, n)
		if part, err := b.PaymentPart(b.ctx, im.ID); err == nil || len(part.Secrets) > 0 {
			t.Errorf("tracks and keys of an issued card are still there: %v", err)
		}
		c, err := b.CardByStatusIndex(b.ctx, int64(n))
		b.must(err)
		again, err := b.CardByPANToken(b.ctx, c.Token, byte(c.Sequence))
		b.must(err)
		if again.CardID != c.CardID || c.State != "made" || string(c.Binding) != "binding" {
			t.Fatalf("card: %+v", c)
		}
		cards = append(cards, c)
		b.must(b.SetCardState(b.ctx, im.CardNumber, "made", "active", "", b.ali))
		if err := b.SetCardState(b.ctx, im.CardNumber, "made", "active", "", b.ali); !errors.Is(err, ErrWrongState) {
			t.Errorf("active twice: %v", err)
		}
	}
	events, err := b.Outbox(b.ctx, 0, 1000)
	b.must(err)
	var kinds []string
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
		kinds = append(kinds, e.Type)
	}
	if want := slices.Repeat([]string{"bound", "issued", "activated"}, 3); !slices.Equal(kinds, want) {
		t.Errorf("events: %v", kinds)
	}
	if rest, err := b.Outbox(b.ctx, 4, 2); err != nil || len(rest) != 2 || rest[0].Seq != 5 {
		t.Errorf("a page: %+v, %v", rest, err)
	}

	d := func(n int) [32]byte { return [32]byte(digest("arqc", n)) }
	for _, c := range []struct {
		atc  uint16
		data int
		want Verdict
	}{
		{2, 2, Fresh}, {2, 2, Repeat}, {2, 3, Replay}, {40, 40, Fresh}, {39, 39, Fresh}, {9, 9, Fresh}, {8, 8, Replay}, {2, 2, Replay}, {40, 40, Repeat}, {65535, 1, Fresh}, {41, 41, Replay},
	} {
		v, _, err := b.RecordARQC(b.ctx, cards[0].CardID, c.atc, d(c.data), 32)
		if err != nil || v != c.want {
			t.Errorf("ATC %d: %s, want %s (%v)", c.atc, v, c.want, err)
		}
	}
	// One question of many at once is the first.
	var fresh, replays int
	var mu sync.Mutex
	race(func(i int) {
		v, _, err := b.RecordARQC(b.ctx, cards[1].CardID, 7, d(i), 32)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			t.Error(err)
		case v == Fresh:
			fresh++
		case v == Replay:
			replays++
		}
	})
	if fresh != 1 || replays == 0 {
		t.Errorf("%d fresh, %d replays", fresh, replays)
	}
	b.balanced()
}

func TestPoolAndQuota(t *testing.T) {
	b := newBench(t)
	var keys []ICCKey
	for i := range 5 {
		keys = append(keys, ICCKey{ID: NewID(), Sealed: fmt.Append(nil, "key ", i)})
	}
	b.must(b.AddICCKeys(b.ctx, 1408, keys))
	var mu sync.Mutex
	taken := map[uuid.UUID]int{}
	race(func(int) {
		k, err := b.TakeICCKey(b.ctx, 1408)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			taken[k.ID]++
		} else if !errors.Is(err, ErrPoolEmpty) {
			t.Error(err)
		}
	})
	for {
		k, err := b.TakeICCKey(b.ctx, 1408)
		if err != nil {
			break
		}
		taken[k.ID]++
	}
	for id, n := range taken {
		if n != 1 {
			t.Errorf("key %s was given %d times", id, n)
		}
	}
	if len(taken) != 5 {
		t.Errorf("%d keys of 5 were given", len(taken))
	}
	for range 3 {
		b.must(b.UseQuota(b.ctx, "match x", 3, time.Hour))
	}
	var q *ErrQuota
	if err := b.UseQuota(b.ctx, "match x", 3, time.Hour); !errors.As(err, &q) || time.Until(q.Free) < 50*time.Minute {
		t.Errorf("one question too many: %v", err)
	}
	b.must(b.UseQuota(b.ctx, "match y", 3, time.Hour))
}
