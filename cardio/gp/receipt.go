package gp

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"cardbureau/cardio/tlv"
)

// ErrReceipt marks a receipt that the card's key did not make over what was
// asked of the card.
var ErrReceipt = errors.New("the receipt is not one of this key over this operation")

// Receipt is a card's confirmation of an INSTALL, LOAD or DELETE
// (GPC_SPE_034 11.1.6). Verify says whether it is the card's.
type Receipt struct {
	Receipt []byte // the MAC or signature over the confirmation data and what was done
	Counter uint16 // confirmation counter
	Domain  []byte // unique data of the security domain that made it
	// More is what follows: the token's identifier and digest, with their
	// lengths, where the card gives them.
	More []byte
}

// ParseReceipt reads the response data of the last LOAD, of INSTALL or of
// DELETE. nil where the card gives none, an empty answer or the single byte
// 00. ErrMalformed for anything else that is no confirmation.
func ParseReceipt(b []byte) (*Receipt, error) {
	if len(b) == 0 || bytes.Equal(b, []byte{0}) {
		return nil, nil
	}
	fail := func(what string) (*Receipt, error) {
		return nil, fmt.Errorf("%w: receipt: %s", ErrMalformed, what)
	}
	c, rest, ok := lengthValue(b)
	if !ok || len(rest) != 0 {
		return fail("its length is not that of the answer")
	}
	var r Receipt
	if r.Receipt, c, ok = lengthValue(c); !ok || len(r.Receipt) == 0 {
		return fail("none in it")
	}
	counter, c, ok := lengthValue(c)
	if !ok || len(counter) != 2 {
		return fail("no confirmation counter of 2 bytes")
	}
	r.Counter = uint16(counter[0])<<8 | uint16(counter[1])
	if r.Domain, c, ok = lengthValue(c); !ok {
		return fail("the security domain's data is cut off")
	}
	for r.More = c; len(c) > 0; {
		if _, c, ok = lengthValue(c); !ok {
			return fail("the end is cut off")
		}
	}
	return &r, nil
}

// Confirmed is what a receipt confirms, as the receipt's MAC covers it
// (GPC_SPE_034 C.5).
type Confirmed []byte

// What each operation's receipt confirms. AIDs have 5 to 16 bytes.
func ConfirmedLoad(loadFile, domain []byte) Confirmed { return lengthValues(loadFile, domain) }

// ConfirmedInstall is for INSTALL [for install] and [for make selectable].
func ConfirmedInstall(loadFile, application []byte) Confirmed {
	return lengthValues(loadFile, application)
}

// ConfirmedExtradition is for INSTALL [for extradition] of an application or
// load file from one security domain to another.
func ConfirmedExtradition(from, object, to []byte) Confirmed { return lengthValues(from, object, to) }

// ConfirmedRegistryUpdate is for INSTALL [for registry update]: the fields of
// that command, after the security domain that the application was with.
func ConfirmedRegistryUpdate(from []byte, u InstallForRegistryUpdate) Confirmed {
	var privileges []byte
	if u.Privileges != nil {
		privileges = u.Privileges.Bytes()
	}
	return lengthValues(from, u.Application, u.Domain, privileges, u.Parameters)
}

// ConfirmedDelete is for DELETE of an application or load file.
func ConfirmedDelete(aid []byte) Confirmed { return lengthValues(aid) }

// Verify checks the receipt: key's MAC over confirmation counter, the security
// domain's unique data, what More holds, and what was confirmed (GPC_SPE_034
// C.5). key is a MAC with the domain's receipt key: MACWith for AES,
// TripleDESMACWith or RetailMACWith for DES. ErrReceipt where it does not hold.
// A receipt that was seen before holds, too: the caller compares Counter.
func (r *Receipt) Verify(ctx context.Context, key Authority, what Confirmed) error {
	data := lengthValues([]byte{byte(r.Counter >> 8), byte(r.Counter)}, r.Domain)
	data = append(append(data, r.More...), what...)
	mac, err := key.Sign(ctx, data)
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if subtle.ConstantTimeCompare(mac, r.Receipt) != 1 {
		return ErrReceipt
	}
	return nil
}

func lengthValues(fields ...[]byte) (out []byte) {
	for _, f := range fields {
		out = append(tlv.AppendLength(out, len(f)), f...)
	}
	return out
}

// lengthValue reads a length of one byte, or of two beginning with 81, and as
// many bytes.
func lengthValue(b []byte) (v, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n, b := int(b[0]), b[1:]
	if n == 0x81 && len(b) > 0 {
		n, b = int(b[0]), b[1:]
	} else if n >= 0x80 {
		return nil, nil, false
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
