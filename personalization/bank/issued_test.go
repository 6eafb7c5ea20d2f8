package bank

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cardbureau/personalization/payment/bankfile"
	"cardbureau/personalization/store"
)

// result writes an issuing result of a day, and reads it.
func (c *counter) result(day time.Time, format bankfile.Format) (*bankfile.Issuing, bankfile.Info, []byte) {
	c.t.Helper()
	var buf bytes.Buffer
	_, err := c.IssuingResult(c.ctx, &buf, day, format, c.ali)
	c.must(err)
	f, info, err := bankfile.As[*bankfile.Issuing](bytes.NewReader(buf.Bytes()))
	c.must(err)
	return f, info, buf.Bytes()
}

// TestOutcomesAreToldOnce: what became of each account and PAN is in one issuing result
// and no other, in order, also where the card was spoiled or the order ended; and a file
// can be made again as it was.
func TestOutcomesAreToldOnce(t *testing.T) {
	c := ownCounter(t)
	today := c.Today()
	var before *bankfile.Info
	written := map[uint64][]byte{}
	check := func(number uint64, format bankfile.Format, want ...bankfile.Issue) {
		t.Helper()
		f, info, b := c.result(today, format)
		if err := info.Follows(before); err != nil || f.DayNumber != number {
			t.Errorf("file %d of the day has the number %d: %v", number, f.DayNumber, err)
		}
		before, written[info.Sequence] = &info, b
		for i, w := range want {
			if i >= len(f.Rows) || !bytes.Equal(f.Rows[i].Token, w.Token) || f.Rows[i].IBAN != w.IBAN || f.Rows[i].Status != w.Status {
				t.Fatalf("file %d: %v, want %v", number, f.Rows, want)
			}
		}
		if len(f.Rows) != len(want) {
			t.Errorf("file %d: %v, want %v", number, f.Rows, want)
		}
	}
	row := func(m made, s bankfile.Status) bankfile.Issue {
		return bankfile.Issue{Token: m.token, IBAN: m.iban, Status: s}
	}
	first := c.issue(1)
	check(1, bankfile.CSV, row(first, bankfile.Issued))
	check(2, bankfile.Fixed) // nothing since

	spoiled, torn := c.prepared(2)
	c.finish(spoiled, store.OutcomeSpoiled)
	ended, void := c.prepared(3)
	c.must(c.Store.Withdraw(c.ctx, ended, "death", c.ali))
	early, _ := c.waiting() // an account, and no PAN yet
	number := c.account(4)
	c.one(c.Assign(c.ctx, []Assignment{{Reference: "early", OrderID: early.String(), Account: number}}, "api", c.ali))
	c.must(c.Store.Withdraw(c.ctx, early, "death", c.ali))
	taken, back := c.prepared(5)
	if got := c.one(c.Withdraw(c.ctx, []Withdrawal{{"card " + taken.String(), "closed"}}, c.ali)); got.Status != Done {
		t.Fatalf("%+v", got)
	}
	clean, again := c.prepared(6)
	c.finish(clean, store.OutcomeClean) // the blank went back: nothing has become of it
	check(3, bankfile.CSV, row(torn, bankfile.Spoiled), row(void, bankfile.Voided), bankfile.Issue{IBAN: number.IBAN, Status: bankfile.Voided}, row(back, bankfile.Withdrawn))

	anew := c.prepare(spoiled, c.account(2))
	if bytes.Equal(anew.token, torn.token) || anew.pan == torn.pan {
		t.Error("the card after a spoiled one has its PAN")
	}
	c.finish(spoiled, store.OutcomeIssued)
	c.finish(clean, store.OutcomeIssued)
	second := c.issue(1)
	check(4, bankfile.Fixed, row(anew, bankfile.Issued), row(again, bankfile.Issued), row(second, bankfile.Replaced))

	for sequence, want := range written {
		var buf bytes.Buffer
		if _, err := c.IssuingAgain(c.ctx, &buf, sequence, c.ali); err != nil || !bytes.Equal(buf.Bytes(), want) {
			t.Errorf("file %d again: %v, the same %t", sequence, err, bytes.Equal(buf.Bytes(), want))
		}
	}
	if _, err := c.IssuingAgain(c.ctx, &bytes.Buffer{}, 99, c.ali); err == nil || !strings.Contains(err.Error(), "no issuing result 99") {
		t.Errorf("a file that was not written: %v", err)
	}
	changed := *c.Service
	changed.Zone = time.FixedZone("other", 14*3600)
	if _, err := changed.IssuingAgain(c.ctx, &bytes.Buffer{}, 1, c.ali); changed.Today() != today && err == nil {
		t.Error("another file was made in the place of one that was written")
	}
	events, err := c.Store.Outbox(c.ctx, 0, 1000)
	c.must(err)
	for _, m := range []struct {
		made
		kind string
	}{{torn, "spoiled"}, {void, "voided"}, {back, "withdrawn"}} {
		if !slices.ContainsFunc(events, func(e store.BankEvent) bool { return e.Type == m.kind && bytes.Equal(e.PANToken, m.token) }) {
			t.Errorf("no event says %s", m.kind)
		}
	}
}

// TestReconciliationsOfDays: made late it says how things stood at the day's end, made
// twice the second has what changed since, and no issuing result is left out.
func TestReconciliationsOfDays(t *testing.T) {
	c := ownCounter(t)
	at := time.Now()
	c.Now = func() time.Time { return at }
	c.Zone = time.FixedZone("here", 3*3600+1800)
	today := c.Today()
	count := func(day time.Time, want ...uint64) *bankfile.Reconciliation {
		t.Helper()
		var buf, again bytes.Buffer
		f, info, err := c.Reconcile(c.ctx, &buf, day, bankfile.CSV, c.ali)
		c.must(err)
		if _, _, err := c.ReconcileAgain(c.ctx, &again, info.Sequence, c.ali); err != nil || !bytes.Equal(again.Bytes(), buf.Bytes()) {
			t.Errorf("reconciliation %d again: %v", info.Sequence, err)
		}
		var got []uint64
		for _, b := range f.Balances {
			got = append(got, b.Closing)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v of %v", day.Format(time.DateOnly), got, want, bankfile.Classes)
		}
		return f
	}
	c.issue(1)
	ended, _ := c.prepared(2)
	c.must(c.Store.Withdraw(c.ctx, ended, "death", c.ali))
	c.withdrawn(3)
	doubt, _ := c.prepared(4)
	c.finish(doubt, store.OutcomeInDoubt)
	c.prepared(5)
	count(today.AddDate(0, 0, -1), 0, 0, 0, 0, 0, 0, 0) // late, over a day on which nothing was
	_, one, _ := c.result(today, bankfile.CSV)
	f := count(today, 5, 1, 0, 1, 1, 1, 1)
	if len(f.Files) != 1 || f.Files[0].By != [5]uint64{1, 0, 0, 1, 1} || f.Ranges[0].Taken != 4 {
		t.Errorf("files %+v, ranges %+v", f.Files, f.Ranges)
	}
	c.issue(6)
	f = count(today, 6, 1, 0, 1, 2, 1, 1)
	if f.Balances[4].Opening != 1 || f.Balances[4].In != 1 {
		t.Errorf("a second one of the day: %+v", f.Balances)
	}

	at = at.AddDate(0, 0, 3)
	c.Zone = time.UTC // what was written keeps its day
	later := c.Today()
	_, two, _ := c.result(later.AddDate(0, 0, -1), bankfile.CSV) // over a day without cards, with what was left
	if two.Records != 1 || two.Follows(&one) != nil {
		t.Errorf("what was left: %+v", two)
	}
	f = count(later, 6, 1, 0, 1, 2, 1, 1)
	if len(f.Files) != 1 || f.Files[0].Sequence != two.Sequence {
		t.Errorf("files of days without a reconciliation: %+v", f.Files)
	}
	for name, day := range map[string]time.Time{"before the last": later.AddDate(0, 0, -2), "not begun": later.AddDate(0, 0, 1)} {
		_, err := c.IssuingResult(c.ctx, &bytes.Buffer{}, day, bankfile.CSV, c.ali)
		_, _, err2 := c.Reconcile(c.ctx, &bytes.Buffer{}, day, bankfile.CSV, c.ali)
		if !errors.Is(err, ErrDay) || !errors.Is(err2, ErrDay) {
			t.Errorf("a day %s: %v, %v", name, err, err2)
		}
	}
}

// TestDays: a business day is the bank's, and not UTC's.
func TestDays(t *testing.T) {
	tehran, err := time.LoadLocation("Asia/Tehran")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		zone *time.Location
		at   string
		day  string
	}{
		{tehran, "2026-11-25T20:29:59Z", "2026-11-25"}, {tehran, "2026-11-25T20:30:00Z", "2026-11-26"},
		{nil, "2026-11-25T23:59:59Z", "2026-11-25"}, {tehran, "2022-03-21T20:29:59Z", "2022-03-21"}, // the day that summer time, which Iran had then, cut short
	} {
		t.Run(fmt.Sprint(x.zone, " ", x.at), func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, x.at)
			if err != nil {
				t.Fatal(err)
			}
			s := &Service{Zone: x.zone, Now: func() time.Time { return at }}
			day := s.Today()
			from, to := s.bounds(day)
			if day.Format(time.DateOnly) != x.day || at.Before(from) || !at.Before(to) || !s.dayOf(to).After(day) || s.dayOf(from) != day {
				t.Errorf("%s, from %s to %s", day, from, to)
			}
		})
	}
}
