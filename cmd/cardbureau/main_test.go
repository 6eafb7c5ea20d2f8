package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary the program: under the name cardbureau it is
// on the path of scripts, and starts its own HSM agent as the real one does.
func TestMain(m *testing.M) {
	// A program under the race detector sleeps a second before it exits, and
	// these tests run hundreds.
	os.Setenv("GORACE", race)
	testscript.Main(m, map[string]func(){
		"cardbureau":  func() { os.Exit(run(os.Args[1:])) },
		cutOffProgram: cutOffVisits,
	})
}

const race = "atexit_sleep_ms=5"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TMPDIR", os.TempDir()) // sockets have short paths
			e.Setenv("GORACE", race)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits STATUS COMMAND ARG… runs a command that must end with an exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// commands are the leaves of the command line that people see.
func commands(t *testing.T) (*kong.Kong, []*kong.Node) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("cardbureau"), variables())
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(true)
	if len(leaves) < 20 {
		t.Fatalf("only %d commands", len(leaves))
	}
	return parser, leaves
}

// commandPath is a command's words, without its arguments.
func commandPath(n *kong.Node) string {
	var words []string
	for _, w := range strings.Fields(n.Path()) {
		if !strings.ContainsAny(w, "<[") {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// TestExamples holds every command to an example of itself that parses.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"csca.pem", "delivery.csv", "passport.cap", "records.jws", "accounts.jwe", "printer.jwk", "ack.csv", "bank-jwks.json", "binding.cose", "pairing-jwks.json", "ef0203.bin", "certificate.json", "00042.out", "operators.json"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("my-profiles", 0o700); err != nil {
		t.Fatal(err)
	}
	_, leaves := commands(t)
	for _, leaf := range leaves {
		path := commandPath(leaf)
		e, ok := leaf.Target.Addr().Interface().(example)
		if !ok {
			t.Errorf("%s has no example", path)
			continue
		}
		if leaf.Help == "" {
			t.Errorf("%s has no help", path)
		}
		args := words(e.Example())
		if !strings.HasPrefix(strings.Join(args, " ")+" ", path+" ") {
			t.Errorf("the example of %s is one of something else: %s", path, e.Example())
			continue
		}
		parser, _ := commands(t)
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("the example of %s: %s: %v", path, e.Example(), err)
		}
	}
}

// words splits an example as a shell does and returns cardbureau's arguments.
func words(line string) (args []string) {
	_, line, _ = strings.Cut(line, "cardbureau ")
	line, _, _ = strings.Cut(line, " >")
	line, _, _ = strings.Cut(line, " |")
	var word strings.Builder
	quoted, any := rune(0), false
	end := func() {
		if any {
			args = append(args, word.String())
		}
		word.Reset()
		any = false
	}
	for _, r := range line {
		switch {
		case r == quoted:
			quoted = 0
		case quoted == 0 && (r == '"' || r == '\''):
			quoted, any = r, true
		case quoted == 0 && r == ' ':
			end()
		default:
			word.WriteRune(r)
			any = true
		}
	}
	end()
	return args
}

// TestHelp asks every command for help.
func TestHelp(t *testing.T) {
	self, err := exec.LookPath("cardbureau")
	if err != nil {
		t.Fatal(err)
	}
	_, leaves := commands(t)
	for _, leaf := range leaves {
		args := append(strings.Fields(commandPath(leaf)), "--help")
		out, err := exec.Command(self, args...).Output()
		if err != nil {
			t.Errorf("%s: %v", strings.Join(args, " "), err)
			continue
		}
		for _, want := range []string{"Usage: cardbureau", "--json", "--data", "Example:\n  "} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s does not say %q:\n%s", strings.Join(args, " "), want, out)
			}
		}
	}
}
