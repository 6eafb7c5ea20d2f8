package vault

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/hsm/agent"
	"cardbureau/hsm/aka"
	"cardbureau/personalization/record"
)

// Errors of this package; errors.Is tells them apart on both sides of the
// agent's socket. Those of cardio/gp that a channel returns
// (gp.ErrCardCryptogram and the others) cross as themselves.
var (
	// ErrAgentGone: the agent ended during the call, which may or may not have
	// been executed. A fresh agent is started; channels are gone with the old.
	ErrAgentGone = agent.ErrGone
	// ErrAgentUnavailable: the agent does not start and is not tried again,
	// because that could do harm (a wrong PIN).
	ErrAgentUnavailable = agent.ErrUnavailable
	// ErrChannelGone: the channel was closed, idle for too long, or held by an
	// agent or a token session that is no more. The card's state is read first.
	ErrChannelGone = errors.New("the secure channel is gone")
	// ErrNoKey: the token has no key of that role and version.
	ErrNoKey = hsm.ErrNoKey
	// ErrModule: the PKCS#11 module cannot be loaded or lacks what is needed.
	ErrModule = hsm.ErrModule
	// ErrToken: the token is missing or failing at the moment.
	ErrToken = hsm.ErrToken
	// ErrPIN: the token refuses the PIN. It is never tried again.
	ErrPIN = hsm.ErrPIN
	// ErrDevelopment: the intent exists for development keys only.
	ErrDevelopment = errors.New("this is possible with development keys only")
	// ErrSealed: sealed data that was altered, or that belongs elsewhere.
	ErrSealed = errors.New("the sealed data does not open: it was altered or belongs to another row or person")
	// ErrJWE: an encrypted record that cannot be opened; the input is at fault.
	ErrJWE = record.ErrJWE
	// ErrAUTS: a resynchronization token that the SIM's key did not make for this
	// challenge.
	ErrAUTS = aka.ErrAUTS
	// ErrRequest: arguments that make no sense; the caller is at fault.
	ErrRequest = errors.New("request to the HSM agent makes no sense")
)

// codes name on the wire the errors that a caller tells apart.
var codes = []struct {
	code string
	err  error
}{
	{"channel-gone", ErrChannelGone},
	{"no-key", ErrNoKey},
	{"pin", ErrPIN},
	{"module", ErrModule},
	{"token", ErrToken},
	{"development", ErrDevelopment},
	{"sealed", ErrSealed},
	{"jwe", ErrJWE},
	{"kcv", ErrKCV},
	{"weak-key", ErrWeakKey},
	{"components", ErrComponents},
	{"key-block", ErrKeyBlock},
	{"key-usage", ErrKeyUsage},
	{"key-present", ErrKeyPresent},
	{"auts", ErrAUTS},
	{"request", ErrRequest},
	{"card-cryptogram", gp.ErrCardCryptogram},
	{"card-challenge", gp.ErrCardChallenge},
	{"response-mac", gp.ErrResponseMAC},
	{"response-data", gp.ErrResponseData},
	{"unsupported", gp.ErrUnsupported},
	{"malformed", gp.ErrMalformed},
	{"gp-closed", gp.ErrClosed},
}

func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return agent.CodeInternal
}

// Error is an error that came from the agent: a sentence, and under it the
// error of this list that it stands for.
type Error struct {
	text  string
	cause error
}

func (e *Error) Error() string { return e.text }

// Unwrap gives the error that errors.Is compares.
func (e *Error) Unwrap() error { return e.cause }

// localError turns what the agent package returns into this package's errors.
func localError(ctx context.Context, err error) error {
	var remote *agent.RemoteError
	if !errors.As(err, &remote) {
		return err
	}
	if remote.Code == agent.CodeCancelled {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("the HSM agent: %w", context.Canceled)
	}
	e := errorOf(remote.Code, remote.Text)
	if errors.Is(err, ErrAgentUnavailable) {
		return fmt.Errorf("%w: %w", ErrAgentUnavailable, e)
	}
	return e
}

// errorOf makes an error of what came over the wire.
func errorOf(code, text string) error {
	for _, c := range codes {
		if c.code == code {
			return &Error{text: text, cause: c.err}
		}
	}
	return &Error{text: text, cause: &agent.RemoteError{Code: code, Text: text}}
}
