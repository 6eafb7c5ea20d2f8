package hsm

import (
	"context"
	"os"
	"testing"

	"cardbureau/hsm/softhsm"
)

// shared is the token of the whole test process: a process can open a module
// only once at a time.
var shared *Token

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cb-hsm-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	tok, err := softhsm.Ensure(context.Background(), dir, "", "")
	if err != nil {
		panic(err)
	}
	if shared, err = openSoft(tok); err != nil {
		panic(err)
	}
	defer shared.Close()
	return m.Run()
}

func openSoft(tok softhsm.Token, change ...func(*Config)) (*Token, error) {
	pin, err := ReadPIN(tok.PINPath())
	if err != nil {
		return nil, err
	}
	defer pin.Zero()
	cfg := Config{Module: tok.Module, Label: tok.Label, PIN: pin}
	for _, c := range change {
		c(&cfg)
	}
	return Open(context.Background(), cfg)
}

func TestCapabilitiesOfSoftHSM(t *testing.T) {
	caps := shared.Capabilities()
	for what, why := range caps.Missing {
		if what != CanWrapDES3 { // which its lists claim
			t.Errorf("%s: %s", what, why)
		}
	}
	if !caps.DeriveInToken || !caps.WrapCBC || !caps.DeriveDES3InToken || caps.WrapDES3 {
		t.Errorf("SoftHSM derives inside and wraps with CBC, but not under triple DES: %+v", caps)
	}
}
