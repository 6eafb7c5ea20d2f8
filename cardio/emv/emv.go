// Package emv is the terminal's side of EMV contact cards: selection of an
// application, and a strict kernel that runs a transaction with it (EMV 4.3, Books
// 1, 3 and 4; of EMV 4.4, XDA). The kernel serves to prove a card that was just made and to try
// software chips; nobody is charged with it.
//
// A transaction can be run as a whole (Terminal.Run), which reports every check by
// name, or in parts (Application), as the proof of a card does it: select, get
// processing options, read all records, authenticate, read counters, one
// GENERATE AC.
//
// It holds no symmetric keys: what an issuer answers comes from a hook. Public key
// certificates are those of packages oda (RSA) and xda (elliptic curves); commands of issuer scripts are package script's.
// It has no scheme's own rules and no contactless kernel: of contactless cards it
// reads the directory (PPSE).
//
// Data objects of cards are personal: Data, PINBlock and what holds them print
// redacted, and no error has a value in it.
package emv

import (
	"errors"
	"fmt"
)

// Errors that stand for what a terminal tells apart. They come wrapped in a
// sentence.
var (
	ErrCardBlocked    = errors.New("the card is blocked")
	ErrBlocked        = errors.New("the application is blocked")
	ErrNotFound       = errors.New("the card has no such application")
	ErrNoApplication  = errors.New("card and terminal have no application in common")
	ErrFormat         = errors.New("the card's data is not in the format of the standard")
	ErrMissing        = errors.New("the card lacks data that the standard demands")
	ErrTwice          = errors.New("the card has a data object twice")
	ErrConditions     = errors.New("the card's conditions for the application are not met")
	ErrAuthentication = errors.New("offline data authentication failed")
	ErrAuthority      = errors.New("nobody knows the certification authority's key")
	ErrPIN            = errors.New("the PIN is wrong")
	ErrPINBlocked     = errors.New("the PIN is blocked")
	ErrCryptogram     = errors.New("the card answered GENERATE AC with a cryptogram that was not asked for")
	ErrOffline        = errors.New("the issuer cannot be reached")
)

func format(what string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(what, args...))
}
