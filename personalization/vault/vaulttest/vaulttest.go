// Package vaulttest gives tests a real vault: a SoftHSM token in a folder of
// the test's own and an agent in a process of its own, which is the test
// binary run once more.
//
// A package that uses it hands its TestMain over:
//
//	func TestMain(m *testing.M) { vaulttest.Main(m) }
package vaulttest

import (
	"context"
	"os"
	"testing"
	"time"

	"cardbureau/personalization/vault"
)

// variable makes a test binary an agent.
const variable = "CARDBUREAU_TEST_HSM_AGENT"

// Main runs the tests, or the agent where the process was started to be one.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main that returns the exit status, for a TestMain that cleans up
// after itself. Call it before anything else is started.
func Run(m *testing.M) int {
	if IsAgent() {
		return vault.Main(os.Args[1:])
	}
	return m.Run()
}

// IsAgent reports whether this process was started to be an agent.
func IsAgent() bool { return os.Getenv(variable) != "" }

// Options start an agent whose SoftHSM token is in dir, which is made when it
// is missing. Further arguments of the agent may follow.
func Options(tb testing.TB, dir string, args ...string) vault.Options {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return vault.Options{
		Command: append([]string{exe, "--softhsm", dir}, args...),
		Env:     []string{variable + "=1"},
	}
}

// Start starts an agent with a fresh token, which is not provisioned yet. It
// ends with the test.
func Start(tb testing.TB) *vault.Client {
	tb.Helper()
	return StartIn(tb, tb.TempDir())
}

// StartIn starts an agent whose token is in dir.
func StartIn(tb testing.TB, dir string) *vault.Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := vault.Start(ctx, Options(tb, dir))
	if err != nil {
		tb.Fatalf("start the HSM agent: %v", err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// Development is the request for development keys of the state UTO.
var Development = vault.ProvisionRequest{Development: true, State: "UTO"}

// Provisioned starts an agent with a fresh token that holds development keys.
func Provisioned(tb testing.TB) (*vault.Client, vault.Provisioned) {
	tb.Helper()
	c := Start(tb)
	p, err := c.Provision(context.Background(), Development)
	if err != nil {
		tb.Fatalf("provision the token: %v", err)
	}
	return c, p
}
