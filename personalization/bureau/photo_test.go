package bureau_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
)

// TestBrokenPhotoIsNeverACard: a photo whose header and end are good and whose
// picture is not passes intake, which does not decode, and fails its order at
// preparation, with a reason, instead of being tried for ever.
func TestBrokenPhotoIsNeverACard(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	r := sample.Make(sample.Options{N: 1, Seed: 3, Audience: b.Config.Audience, IssuedAt: time.Now().Add(-time.Hour)}, 0)
	photo := r.Person.Photo.Data
	r.Person.Photo.Data = append(append([]byte{}, photo[:len(photo)/3]...), 0xFF, 0xD9)
	payload, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := b.Vault.SignTestRecord(ctx, payload)
	if err != nil {
		t.Fatal(err)
	}
	answers := takeIn(t, b, []byte(jws+"\n"))
	if !answers[0].OK() {
		t.Fatalf("%+v", answers[0])
	}
	jobs, err := b.StartPreparation(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Stop(context.WithoutCancel(ctx))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		o, err := b.Store.Order(ctx, uuid.MustParse(answers[0].OrderID))
		if err != nil {
			t.Fatal(err)
		}
		if o.State == store.OrderFailed && o.Reason == "photo-unreadable" {
			return
		}
		if o.State != store.OrderAccepted {
			t.Fatalf("the order is %s (%s)", o.State, o.Reason)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the order was never decided")
		}
	}
}
