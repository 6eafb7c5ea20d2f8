package gp

import (
	"context"
	"fmt"

	"cardbureau/cardio/tlv"
)

// TagExtendedCardResources is the tag of the extended card resources
// information (ETSI TS 102 226 8.2.1.7.2), which GET DATA reads.
const TagExtendedCardResources uint16 = 0xFF21

// CardResources are what a card has left. -1 where it does not say.
type CardResources struct {
	Applications int // installed
	NonVolatile  int // free bytes of non-volatile memory
	Volatile     int // free bytes of volatile memory
}

// ParseCardResources reads the answer to GET DATA FF21, the object or its
// value alone.
func ParseCardResources(b []byte) (CardResources, error) {
	out := CardResources{Applications: -1, NonVolatile: -1, Volatile: -1}
	if v, ok := tlv.Find(b, tlv.Tag(TagExtendedCardResources)); ok {
		b = v
	}
	objects, err := tlv.Parse(b)
	if err != nil {
		return out, fmt.Errorf("%w: extended card resources: %w", ErrMalformed, err)
	}
	said := false
	for _, o := range objects {
		field := map[tlv.Tag]*int{0x81: &out.Applications, 0x82: &out.NonVolatile, 0x83: &out.Volatile}[o.Tag]
		if field == nil {
			continue
		}
		if len(o.Value) == 0 || len(o.Value) > 4 {
			return out, fmt.Errorf("%w: extended card resources: a number of %d bytes", ErrMalformed, len(o.Value))
		}
		*field, said = 0, true
		for _, c := range o.Value {
			*field = *field<<8 | int(c)
		}
	}
	if !said {
		return out, fmt.Errorf("%w: no extended card resources information", ErrMalformed)
	}
	return out, nil
}

// ReadCardResources reads how much memory a card has left. Many cards do not
// say.
func ReadCardResources(ctx context.Context, send Sender) (CardResources, error) {
	data, err := must(ctx, send, GetDataCommand(TagExtendedCardResources))
	if err != nil {
		return CardResources{}, fmt.Errorf("read extended card resources: %w", err)
	}
	return ParseCardResources(data)
}
