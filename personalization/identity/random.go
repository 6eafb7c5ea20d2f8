package identity

import (
	"fmt"
	"io"
)

// documentAlphabet holds the characters of document numbers: digits without 0
// and 1, consonants (no vowel, no Y: a number spells no word; no O, no I: none
// is misread). 28 characters: nine of them are 43 bits.
const documentAlphabet = "23456789BCDFGHJKLMNPQRSTVWXZ"

// Lengths of the random numbers of a card, in characters.
const (
	DocumentNumberLength = 9
	CANLength            = 6
	PINLength            = 6 // transport PIN
	PUKLength            = 8 // unblocking key
)

// DocumentNumber draws a document number of nine characters. It says nothing
// of its holder and follows from no other number; that it is unique is for the
// database to ensure.
func DocumentNumber(rand io.Reader) (string, error) {
	return draw(rand, documentAlphabet, DocumentNumberLength)
}

// CAN draws a card access number of six digits (Doc 9303-11, 4.4.4.2).
func CAN(rand io.Reader) (string, error) { return draw(rand, "0123456789", CANLength) }

// TransportPIN draws the six digits that a card travels with: the holder
// changes them before the first use.
func TransportPIN(rand io.Reader) (string, error) { return draw(rand, "0123456789", PINLength) }

// PUK draws an unblocking key of eight digits.
func PUK(rand io.Reader) (string, error) { return draw(rand, "0123456789", PUKLength) }

// draw picks n characters, each equally likely: bytes beyond the greatest
// multiple of the alphabet's size are thrown away.
func draw(rand io.Reader, alphabet string, n int) (string, error) {
	limit := 256 - 256%len(alphabet)
	out := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(out) < n {
		if _, err := io.ReadFull(rand, buf); err != nil {
			return "", fmt.Errorf("identity: no randomness: %w", err)
		}
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	clear(buf)
	return string(out), nil
}
