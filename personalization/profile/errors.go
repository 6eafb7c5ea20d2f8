package profile

import (
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
)

// ErrUnusable: a step of the profile cannot be made into commands with this card
// image. Nothing of its batch was sent.
var ErrUnusable = errors.New("the profile cannot be carried out")

// unusable marks a mistake in what a step comes to, as opposed to keys or a card
// that could not be reached.
func unusable(err error) error {
	var mistake *planError
	if errors.As(err, &mistake) {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return err
}

// planError is a mistake that only shows with a card image.
type planError struct{ error }

func (e *planError) Unwrap() error { return e.error }

func planMistake(format string, args ...any) error {
	return &planError{fmt.Errorf(format, args...)}
}

// ErrAuthenticationRefused: the card refused EXTERNAL AUTHENTICATE. It has
// counted a failure, and the key version must not be tried on it again.
var ErrAuthenticationRefused = errors.New("the card refused the host's authentication")

// authenticationError marks a status word in answer to EXTERNAL AUTHENTICATE.
func authenticationError(err error) error {
	var sw apdu.StatusWord
	if errors.As(err, &sw) {
		return fmt.Errorf("%w: %w", ErrAuthenticationRefused, err)
	}
	return err
}
