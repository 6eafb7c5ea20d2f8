package gp

import (
	"cardbureau/cardio/apdu"
)

// A token is an authority's signature or MAC over a command that it allows a
// security domain with delegated management to send (GPC_SPE_034 9.1.3, C.4).
// TokenData of each command says over what, an Authority makes it, and the
// command's Token carries it.

// tokenData takes an INSTALL without a token: its last byte is the length of
// the token that is not there.
func tokenData(c apdu.Command, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return appendTokenData(c, c.Data[:len(c.Data)-1]), nil
}

// appendTokenData lays out P1, P2, the length of what follows and the fields
// themselves. The length takes one byte up to 255, else three, as Lc does.
func appendTokenData(c apdu.Command, fields []byte) []byte {
	out := []byte{c.P1, c.P2}
	if n := len(fields); n <= apdu.MaxShortData {
		out = append(out, byte(n))
	} else {
		out = append(out, 0, byte(n>>8), byte(n))
	}
	return append(out, fields...)
}
