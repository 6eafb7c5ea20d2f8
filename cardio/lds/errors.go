package lds

import (
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

var (
	// ErrAccessDenied says that the chip refused the password: BAC or PACE
	// ended with the chip's refusal or a wrong token.
	ErrAccessDenied = errors.New("the chip refused access: the password does not fit this document")
	// ErrNoCardAccess says that the chip has no EF.CardAccess, hence no PACE.
	ErrNoCardAccess = errors.New("the chip has no EF.CardAccess, so it does not offer PACE")
	// ErrNotSupported marks a protocol, mapping, cipher or domain parameter
	// that the chip offers and this package does not speak.
	ErrNotSupported = errors.New("not supported")
	// ErrSecureMessaging marks an answer under secure messaging that is not
	// protected, not complete or does not verify. The session is over.
	ErrSecureMessaging = errors.New("secure messaging failed")
	// ErrSessionOver is the answer of a session that ended before.
	ErrSessionOver = errors.New("the secure messaging session is over")
	// ErrMalformed marks data from the chip that does not follow 9303.
	ErrMalformed = errors.New("malformed data from the chip")
	// ErrChipAuthentication says that the chip did not prove possession of
	// the key in its DG14.
	ErrChipAuthentication = errors.New("the chip did not prove that it holds its authentication key")
	// ErrActiveAuthentication says that the chip's signature does not verify
	// by the key in its DG15.
	ErrActiveAuthentication = errors.New("the chip did not sign with the key in its DG15")
)

// FileError says which file could not be read. It unwraps to the cause.
type FileError struct {
	File uint16
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("file %04X: %v", e.File, e.Err) }

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// statusError makes a status word other than 9000 an error that names the
// command.
func statusError(c apdu.Command, sw apdu.StatusWord) error {
	return &apdu.StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: sw}
}
