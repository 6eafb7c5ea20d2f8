package trace

import (
	"context"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// inside is what the holder of a secure channel has told of the commands in
// it, until they are sent and answered. It holds digests, never the bytes.
type inside struct {
	queue    []wrapped // told and not sent yet
	awaiting []opening // sent, and not opened yet
}

type wrapped struct {
	sum     string // of the protected command
	command Command
	rules   rules
}

type opening struct {
	of    int // number of the exchange
	rules rules
}

// maxInside bounds what is kept of commands that are never sent.
const maxInside = 4096

// sent finds what a protected command holds. Those told before it were not
// sent.
func (i *inside) sent(sum string) (wrapped, bool) {
	for at, w := range i.queue {
		if w.sum == sum {
			i.queue = i.queue[at+1:]
			return w, true
		}
	}
	return wrapped{}, false
}

func (i *inside) answered(n int, w wrapped) {
	if len(i.awaiting) < maxInside {
		i.awaiting = append(i.awaiting, opening{of: n, rules: w.rules})
	}
}

// Protected tells what is inside commands that are sent next: protected are
// the bytes that will be sent, plain the commands that they protect, one for
// each. The trace shows of plain what its allow-list has.
func (c *Card) Protected(protected [][]byte, plain []apdu.Command) {
	if len(protected) != len(plain) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range plain {
		if len(c.inside.queue) == maxInside {
			return
		}
		r := c.policy.inside(p)
		c.inside.queue = append(c.inside.queue, wrapped{sum: c.digest(protected[i]), command: c.describe(p, r), rules: r})
	}
}

// Opened tells what was inside answers to commands that Protected told of, in
// the order in which they were sent; it may be fewer.
func (c *Card) Opened(plain []apdu.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range plain {
		if len(c.inside.awaiting) == 0 {
			return
		}
		o := c.inside.awaiting[0]
		c.inside.awaiting = c.inside.awaiting[1:]
		c.trace.event(Event{Kind: Opened, Of: o.of, Answer: c.answer(r, o.rules)}, c.trace.o.Now())
	}
}

// Watch returns a channel that does what ch does and tells the trace what is
// inside: Protected and Opened by themselves. The card must get what it wraps.
func (c *Card) Watch(ch gp.Channel) gp.Channel { return &watched{Channel: ch, card: c} }

type watched struct {
	gp.Channel
	card *Card
}

func (w *watched) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	out, err := w.Channel.Wrap(ctx, commands)
	if err == nil {
		w.card.Protected(out, commands)
	}
	return out, err
}

func (w *watched) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	out, err := w.Channel.Unwrap(ctx, responses)
	w.card.Opened(out)
	return out, err
}
