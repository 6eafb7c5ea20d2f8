package store

import (
	"context"
	"testing"
	"time"
)

// BenchmarkAccept takes records of 20 KiB in, fifty at a time.
func BenchmarkAccept(b *testing.B) {
	x := newBench(b)
	sealed := make([]byte, 20<<10)
	n := 0
	for b.Loop() {
		var rs []AcceptRequest
		for range 50 {
			r := x.request(n)
			r.Sealed = sealed
			rs = append(rs, r)
			n++
		}
		if _, err := x.AcceptRecords(x.ctx, rs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkCard is what the database has to do for a card on one reader:
// claim, a journal of ten steps, outcome.
func BenchmarkCard(b *testing.B) {
	x := newBench(b)
	const stock = 4000
	x.blanks(stock)
	x.released(1, stock)
	id, err := x.Actor(x.ctx, "station", "line")
	if err != nil {
		b.Fatal(err)
	}
	st, err := x.OpenStation(x.ctx, "line", Actor{ID: id, Through: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close(context.Background())
	n := 0
	b.ResetTimer()
	for range b.N {
		if n == stock {
			break
		}
		c, err := st.Claim(x.ctx, ClaimRequest{Serial: serial(n), Reader: "reader", Products: []string{"id"}})
		if err != nil {
			b.Fatal(err)
		}
		n++
		f := finish(c, OutcomeIssued)
		for i := range 10 {
			f.Steps = append(f.Steps, Step{i, "step", StepDone, 0x9000, time.Now()})
		}
		if err := st.Finish(x.ctx, f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "cards/s")
}
