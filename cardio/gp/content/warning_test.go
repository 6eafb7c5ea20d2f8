package content_test

import (
	"context"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp/content"
)

type plainChannel struct{}

func (plainChannel) Wrap(_ context.Context, cs []apdu.Command) (out [][]byte, err error) {
	for _, c := range cs {
		b, _ := c.Bytes()
		out = append(out, b)
	}
	return out, nil
}
func (plainChannel) Unwrap(_ context.Context, rs [][]byte) (out []apdu.Response, err error) {
	for _, r := range rs {
		p, _ := apdu.ParseResponse(r)
		out = append(out, p)
	}
	return out, nil
}
func (plainChannel) Close() {}

type answering []byte

func (a answering) Transmit(context.Context, []byte) ([]byte, error) { return a, nil }

// TestWarningIsNotUnchanged: DELETE may answer 6200, "application has been logically deleted"; INSTALL,
// SET STATUS and DELETE may fail in the middle with 6581.
func TestWarningIsNotUnchanged(t *testing.T) {
	p, err := inventory().PlanDelete(appletAID, false, nil, 239)
	if err != nil {
		t.Fatal(err)
	}
	for _, sw := range []answering{{0x62, 0x00}, {0x65, 0x81}} {
		_, err = p.Do(t.Context(), plainChannel{}, sw)
		var f *content.Failure
		if !errors.As(err, &f) || !f.Doubt {
			t.Errorf("%X: %v", []byte(sw), err)
		}
	}
}
