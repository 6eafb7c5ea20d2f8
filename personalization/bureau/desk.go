package bureau

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"cardbureau/personalization/desk"
)

// Desk is the service that hands cards over.
func (b *Bureau) Desk() (*desk.Desk, error) {
	trust, err := b.Trusted()
	if err != nil {
		return nil, err
	}
	d := &desk.Desk{
		Store: b.Store, Vault: b.Vault, Profiles: b.Profiles, Verifier: b.Verifier(), Trust: trust,
		Tries: b.Config.Desk.Tries, Bureau: b.Config.Audience,
	}
	if command := b.Config.Desk.Fingerprint; len(command) > 0 {
		d.Matcher = fingerprintProgram(command)
	}
	return d, nil
}

// fingerprintProgram is a program that compares a finger with what the registry has.
// It gets the card's number on its standard input and nothing else.
type fingerprintProgram []string

// Match runs the program: exit status 0 fits, 1 does not, anything else says that
// nothing was compared.
func (f fingerprintProgram) Match(ctx context.Context, cardNumber string) (bool, error) {
	cmd := exec.CommandContext(ctx, f[0], f[1:]...)
	cmd.Stdin = strings.NewReader(cardNumber + "\n")
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the program that compares fingers, %s: %w", f[0], err)
	}
	return true, nil
}
