package bureau

import (
	"context"

	"cardbureau/personalization/line"
)

// NewReaders chooses from a list that a test makes up.
func NewReaders(ctx context.Context, list ReaderList, selectors []string, open func(string) (line.Slot, func(), error)) (*Readers, error) {
	r := &Readers{list: list, closeList: func() {}, selectors: selectors, open: open}
	return r, r.begin(ctx)
}
