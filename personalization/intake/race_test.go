package intake_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

// TestTwoIntakesRace: two processes (each with connections and an agent of its
// own) get the same new people at once. Each person gets one order, and its
// record opens under the one key that the person has.
func TestTwoIntakesRace(t *testing.T) {
	houses := []*house{open(t), another(t)}
	const n = 10
	people := houses[0].people(20, n)
	same := houses[0].people(21, n)
	// Under different recordIds, and in opposite order.
	files := make([][]string, 2)
	for i := range n {
		for k := range files {
			j := i
			if k == 1 {
				j = n - 1 - i
			}
			r := people[j]
			if k == 1 {
				r.RecordID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(r.RecordID)).String()
			}
			files[k] = append(files[k], sign(t, registry, r), sign(t, registry, same[j]))
		}
	}
	answers := make([][]intake.Answer, 2)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for k, h := range houses {
		wg.Go(func() {
			<-start
			err := h.service.AcceptAll(t.Context(), file(files[k]...), 0, h.actor, func(a intake.Answer) error {
				answers[k] = append(answers[k], a)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() || len(answers[0]) != 2*n || len(answers[1]) != 2*n {
		t.Fatalf("%d and %d answers", len(answers[0]), len(answers[1]))
	}
	h := houses[0]
	for i := range n {
		one, other := answers[0][2*i], answers[1][2*(n-1-i)]
		if !one.OK() {
			one, other = other, one
		}
		order := h.want(one, intake.Accepted)
		h.want(other, record.PersonHasOrder)
		h.prepare(order)
		if s := h.state(order); s != "prepared" {
			t.Errorf("person %d: order is %s", i, s)
		}

		one, other = answers[0][2*i+1], answers[1][2*(n-1-i)+1]
		if one.Status == intake.AlreadyKnown {
			one, other = other, one
		}
		order = h.want(one, intake.Accepted)
		if h.want(other, intake.AlreadyKnown) != order {
			t.Errorf("record %d has two orders", i)
		}
		h.prepare(order)
		if s := h.state(order); s != "prepared" {
			t.Errorf("record %d: order is %s", i, s)
		}
	}
}
