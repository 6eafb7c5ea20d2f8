// Package rehearsal gives a line readers without hardware or daemon: software
// cards in this process, each in a reader that feeds itself. Benchmarks, crash
// tests and dry runs use it; pcscd and the rack stay out of the way. The cards
// are the same strict ones as on a virtual reader.
package rehearsal

import (
	"context"
	"io"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/feeder"
	"cardbureau/cardio/stripe"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/encoder"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/personalization/line"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/stock"
	"cardbureau/personalization/vault"
)

// Card is a software card outside or inside a reader.
type Card struct {
	Serial string
	Chip   *virtual.Chip
	Memory *nvm.Memory // what the chip keeps, for tests that compare cards
}

// Tray is a stack of blanks that several readers draw from, and the bins they
// fill. It is safe for concurrent use.
type Tray struct {
	mu     sync.Mutex
	blanks []*Card
	bins   map[feeder.Bin][]*Card
	// Stripes are the magnetic stripes of all cards, by serial number.
	Stripes encoder.Memory
}

// NewTray makes n blanks of a chip profile, with the transport keys that the
// vault derives for each. It needs development keys.
func NewTray(ctx context.Context, v *vault.Client, chip *profile.Chip, batch uint16, n int) (*Tray, error) {
	t := &Tray{bins: map[feeder.Bin][]*Card{}}
	for i := range n {
		blank, err := Blank(ctx, v, chip, batch, uint32(i+1))
		if err != nil {
			return nil, err
		}
		mem := nvm.InMemory()
		err = virtual.Manufacture(mem, blank)
		blank.ZeroKeys()
		if err != nil {
			return nil, err
		}
		c, err := NewChip(mem)
		if err != nil {
			return nil, err
		}
		t.blanks = append(t.blanks, &Card{Serial: blank.Serial.String(), Chip: c, Memory: mem})
	}
	return t, nil
}

// List is the tray's delivery list.
func (t *Tray) List(chip, batch string) []stock.Blank {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]stock.Blank, len(t.blanks))
	for i, c := range t.blanks {
		out[i] = stock.Blank{Serial: c.Serial, Chip: chip, Batch: batch}
	}
	return out
}

// Bin lists the cards that went into a bin.
func (t *Tray) Bin(b feeder.Bin) []*Card {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b == feeder.Unused {
		return append([]*Card(nil), t.blanks...)
	}
	return append([]*Card(nil), t.bins[b]...)
}

func (t *Tray) take() *Card {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.blanks) == 0 {
		return nil
	}
	c := t.blanks[0]
	t.blanks = t.blanks[1:]
	return c
}

func (t *Tray) put(b feeder.Bin, c *Card) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b == feeder.Unused {
		t.blanks = append([]*Card{c}, t.blanks...)
		return
	}
	t.bins[b] = append(t.bins[b], c)
}

// Reader is one reader with its feeder.
type Reader struct {
	name string
	tray *Tray
	card *Card
	// Encoder is beside the reader: tests make it fail.
	Encoder *encoder.Encoder
	// ContactsOnly: it is no dual interface reader.
	ContactsOnly bool
	// Wrap puts something between line and chip, such as a fault or a counter;
	// nil: nothing.
	Wrap func(*virtual.Chip) apdu.Card
}

// NewReader makes a reader that draws from the tray; nil: it never has a card.
func NewReader(name string, t *Tray) *Reader {
	r := &Reader{name: name, tray: t}
	if t != nil {
		r.Encoder = encoder.New(&t.Stripes)
	}
	return r
}

// Slot is the reader as a line takes it.
func (r *Reader) Slot() line.Slot { return line.Slot{Reader: r, Feeder: r} }

// Name is the reader's name.
func (r *Reader) Name() string { return r.name }

// Insert puts a card into the reader, which Next then leaves there.
func (r *Reader) Insert(c *Card) { r.card = c }

// Next takes the tray's next blank, unless a card is in the reader.
func (r *Reader) Next(context.Context) error {
	if r.card == nil {
		r.card = r.tray.take()
	}
	if r.card == nil {
		return io.EOF
	}
	return nil
}

// Out puts the card into a bin of the tray.
func (r *Reader) Out(_ context.Context, b feeder.Bin) error {
	if r.card != nil {
		r.tray.put(b, r.card)
		r.card = nil
	}
	return nil
}

// Present powers the card.
func (r *Reader) Present(ctx context.Context) (line.Session, error) {
	if r.card == nil {
		return nil, io.EOF
	}
	s := &session{chip: r.card.Chip, card: r.card.Chip}
	if r.Wrap != nil {
		s.card = r.Wrap(r.card.Chip)
	}
	r.card.Chip.Reset()
	r.Encoder.Insert(r.card.Serial)
	device, err := stripe.New(ctx, r.Encoder)
	if err != nil {
		return nil, err
	}
	device.Swipe = 300 * time.Millisecond // a card that lies there answers at once
	s.encoder = device
	if !r.ContactsOnly {
		return &dual{s}, nil
	}
	return s, nil
}

// session is a powered card.
type session struct {
	chip    *virtual.Chip
	card    apdu.Card
	encoder *stripe.Encoder
}

// Stripe is the encoder beside the reader.
func (s *session) Stripe() line.Stripe { return s.encoder }

// Transmit does for a chip that speaks T=0 what a reader does (ISO/IEC 7816-3
// clause 12.2).
func (s *session) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if s.chip.T0() {
		var err error
		if command, err = apdu.ForT0(command); err != nil {
			return nil, err
		}
	}
	return s.card.Transmit(ctx, command)
}

func (s *session) ATR() []byte { return s.chip.ATR() }

func (s *session) Reset(context.Context) error {
	s.chip.Reset()
	return nil
}

// dual is a session of a reader that has an antenna too.
type dual struct{ *session }

// ResetContactless brings the card into the reader's field.
func (s *dual) ResetContactless(context.Context) error {
	s.chip.ResetContactless()
	return nil
}

func (s *session) Close() error {
	s.chip.PowerOff()
	return nil
}

// Card is the card in the reader, nil when it is empty.
func (r *Reader) Card() *Card { return r.card }
