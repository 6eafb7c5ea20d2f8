package profile

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/trace"
)

// watchedOpener has a trace told what is inside the channels of a run.
type watchedOpener struct {
	ChannelOpener
	card *trace.Card
}

func (o watchedOpener) Open(ctx context.Context, req OpenRequest) (Channel, []byte, error) {
	ch, authenticate, err := o.ChannelOpener.Open(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return watchedBench{ch, o.card.Watch(ch)}, authenticate, nil
}

type watchedBench struct {
	Channel
	seen gp.Channel
}

func (c watchedBench) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	return c.seen.Wrap(ctx, commands)
}

func (c watchedBench) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	return c.seen.Unwrap(ctx, responses)
}

// TestTraceOfARun: a whole personalization in a trace, with what is inside its
// channels, has no secret and no personal byte in it.
func TestTraceOfARun(t *testing.T) {
	b := newBench(t)
	var out bytes.Buffer
	card, err := trace.New(b.chip, b.chip.ATR(), &out, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.run.Card, b.run.Keys = card, watchedOpener{b.keys, card}
	if err := b.run.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := card.Err(); err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(out.String())
	private := map[string][]byte{"portrait": []byte("portrait"), "files": []byte("content of ")}
	for name, s := range secrets {
		private[name] = s
	}
	for _, version := range []byte{0x30, 0x31} {
		private["card key "+hex.EncodeToString([]byte{version})] = keyOf(version)
	}
	for name, s := range private {
		s = s[:min(len(s), 16)]
		if strings.Contains(text, hex.EncodeToString(s)) || strings.Contains(text, strings.ToLower(string(s))) {
			t.Errorf("the trace holds %s", name)
		}
	}
	inside := strings.Count(text, `"inside":{"header":"80e2`)
	opened := strings.Count(text, `"event":"opened"`)
	if inside < 50 || opened < inside {
		t.Errorf("%d STORE DATA and %d answers are seen inside the channels", inside, opened)
	}
}
