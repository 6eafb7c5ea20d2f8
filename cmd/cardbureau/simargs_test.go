package main

import (
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestNothingSecretIsAnArgument: whoever lists processes reads arguments, so that
// administrative keys, subscribers' identities, numbers and PINs come by standard input.
func TestNothingSecretIsAnArgument(t *testing.T) {
	for _, line := range []string{
		"program 8998350000000000045 --kind sysmocom-sja2 --adm 88888888", "program 8998350000000000045 --kind sysmocom-sja2 --imsi 432350000000004",
		"pair 7KXW2M4BC --network 43211 --msisdn +989100000004", "pair 7KXW2M4BC --network 43211 --pin 753190",
	} {
		var commands struct {
			Program simProgram `cmd:""`
			Pair    deskPair   `cmd:""`
		}
		p, err := kong.New(&commands, kong.Vars{"user": "x"}, kong.Writers(io.Discard, io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(line)
		if _, err := p.Parse(words); err == nil {
			t.Errorf("%s is taken", line)
		} else if !strings.Contains(err.Error(), "unknown flag") && !strings.Contains(err.Error(), "must be one of") {
			t.Errorf("%s: %v", line, err)
		}
		if _, err := p.Parse(words[:len(words)-2]); err != nil {
			t.Errorf("%s, without the last: %v", line, err)
		}
	}
}
