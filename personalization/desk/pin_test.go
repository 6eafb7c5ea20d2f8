package desk

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/lds"
	"cardbureau/personalization/store"
)

// TestBlockedPIN: whoever meets a blocked PIN is told what helps, and only where it
// does.
func TestBlockedPIN(t *testing.T) {
	blocked := fmt.Errorf("%w: 63C0", lds.ErrPINBlocked)
	for _, c := range []struct {
		kind  store.VisitKind
		cause error
		helps bool
	}{
		{store.VisitPair, blocked, true},
		{store.VisitUnblock, blocked, true},
		{store.VisitUnblockPIN, blocked, false},
		{store.VisitActivate, blocked, false},
		{store.VisitPair, &lds.PINError{Tries: 2}, false},
	} {
		r := refusedPIN(c.kind, c.cause)
		if r.Code != CodePIN || !errors.Is(r, c.cause) || strings.Contains(r.Error(), "unblock-pin") != c.helps {
			t.Errorf("%s: %v", c.kind, r)
		}
	}
}
