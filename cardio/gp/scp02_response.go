package gp

import (
	"context"
	"crypto/subtle"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Unwrap checks and removes the R-MAC of each response, as the level says
// (GPC_SPE_034 E.4.5). The responses belong, in order, to the oldest wrapped
// commands that have none yet.
//
// A status word other than 9000, 62xx and 63xx is an error status: the card
// may then answer without an R-MAC and without data, and such a response is
// returned as it is. It proves nothing about who sent it, and the next R-MAC
// chains from the one before it. Data with an error status must end with a right
// R-MAC.
//
// ErrResponseMAC ends the session; it comes in an *apdu.ExchangeError that
// says which response it was, with the good responses before it.
func (s *SCP02) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	if s.err != nil {
		return nil, s.err
	}
	if len(responses) > len(s.expected) {
		return nil, fmt.Errorf("gp: %d responses for %d commands", len(responses), len(s.expected))
	}
	out := make([]apdu.Response, 0, len(responses))
	for i, raw := range responses {
		r, err := apdu.ParseResponse(raw)
		if err == nil && s.level.RMAC() {
			err = s.verify(ctx, s.expected[i], &r)
		}
		if err != nil {
			s.err = &apdu.ExchangeError{Index: i, Err: err}
			return out, s.err
		}
		out = append(out, r)
	}
	s.expected = s.expected[len(responses):]
	return out, nil
}

// verify checks and removes one R-MAC: over the command, the length of the
// data (one byte), the data and the status word, chained from the R-MAC
// before.
func (s *SCP02) verify(ctx context.Context, command []byte, r *apdu.Response) error {
	n := len(r.Data) - desBlock
	if n < 0 {
		if !protectedStatus(r.SW) && len(r.Data) == 0 {
			return nil
		}
		return ErrResponseMAC
	}
	input := make([]byte, 0, len(command)+n+3)
	input = append(append(input, command...), byte(n))
	input = append(input, r.Data[:n]...)
	mac, err := retailMAC(ctx, s.srmac, s.ricv, false, append(input, byte(r.SW>>8), byte(r.SW)))
	if err != nil {
		return fmt.Errorf("R-MAC: %w", err)
	}
	if subtle.ConstantTimeCompare(mac[:], r.Data[n:]) != 1 {
		return ErrResponseMAC
	}
	s.ricv = mac
	r.Data = r.Data[:n:n]
	return nil
}
