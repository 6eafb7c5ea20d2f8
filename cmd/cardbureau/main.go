// Command cardbureau issues and personalizes smart cards: it takes signed
// records in, writes and proves cards, accounts for blanks, and answers
// offices and banks. One file holds one subcommand; the work itself is done in
// the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	_ "time/tzdata" // the bank's time zone, also where the machine has none

	"github.com/alecthomas/kong"

	"cardbureau/personalization/vault"
)

// Exit status (see docs/operators.md).
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3 // some records were refused
	exitInDoubt = 4 // a card is in doubt or quarantined
)

// exitError carries an exit status that is not plain failure. An empty
// message prints nothing: the command has said it already.
type exitError struct {
	status  int
	message string
}

func (e *exitError) Error() string { return e.message }

// globals are the flags that every command has.
type globals struct {
	Data string `help:"Data folder of the bureau." short:"d" env:"CARDBUREAU_DATA" default:"." type:"path" placeholder:"DIR"`
	JSON bool   `help:"Print JSON: one object, or one a line." name:"json"`
}

type cli struct {
	globals

	Init    initCommand    `cmd:"" help:"Make a data folder: configuration, database, keys."`
	Issue   issueCommand   `cmd:"" help:"Take a file of signed records in and make their cards."`
	Serve   serveCommand   `cmd:"" help:"Answer the HTTP API."`
	Order   orderCommand   `cmd:"" help:"Orders that wait for people."`
	Lot     lotCommand     `cmd:"" help:"Release prepared orders to the line."`
	Reader  readerCommand  `cmd:"" help:"List and watch readers."`
	Card    cardCommand    `cmd:"" help:"Look at a card in a reader."`
	Profile profileCommand `cmd:"" help:"List, check and show firmware profiles."`
	HSM     hsmCommand     `cmd:"" name:"hsm" help:"Keys in the HSM."`
	Stock   stockCommand   `cmd:"" help:"Blanks: import, count, sheet, resolve."`
	Desk    deskCommand    `cmd:"" help:"Hand cards over: receive, activate, block, replace."`
	SIM     simCommand     `cmd:"" name:"sim" help:"SIMs: read, program, import keys, and what becomes of pairings."`
	Bank    bankCommand    `cmd:"" help:"Accounts, bindings, files: the bank's side."`
	Audit   auditCommand   `cmd:"" help:"Check the audit chain."`
	APIKey  apiKeyCommand  `cmd:"" name:"api-key" help:"Keys of the HTTP API."`
	Virtual virtualCommand `cmd:"" help:"Software cards and readers, for rehearsal and tests."`
	Demo    demoCommand    `cmd:"" help:"Issue 24 cards of invented people, on real parts."`
	Bench   benchCommand   `cmd:"" help:"Measure the line beside its floors."`
}

func main() {
	// Memory is cheap beside processor time: collect garbage less often, but
	// stay small on a machine that does much else.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(96 << 20)
	}
	os.Exit(run(os.Args[1:]))
}

// run is main with a result, for tests.
func run(args []string) int {
	if len(args) >= 2 && args[0] == "hsm" && args[1] == "agent" {
		return vault.Main(args[2:])
	}
	var c cli
	parser, err := kong.New(&c, kong.Name("cardbureau"),
		kong.Description("Issues and personalizes smart cards. Every command has --help with an example."),
		variables(), kong.Help(helpWithExample), kong.Exit(func(code int) { panic(exitNow(code)) }))
	if err != nil {
		fmt.Fprintln(os.Stderr, "cardbureau:", err)
		return exitFailed
	}
	return guarded(parser, args, &c)
}

// exitNow lets kong's own exits (--help) return through run.
type exitNow int

func guarded(parser *kong.Kong, args []string, c *cli) (status int) {
	defer func() {
		if v := recover(); v != nil {
			code, ok := v.(exitNow)
			if !ok {
				panic(v)
			}
			status = int(code)
		}
	}()
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "cardbureau: %v\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run(&c.globals)
	return report(ctx, err)
}

// report prints an error as one sentence and gives the exit status.
func report(ctx context.Context, err error) int {
	var ee *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ee):
		if ee.message != "" {
			fmt.Fprintln(os.Stderr, "cardbureau:", ee.message)
		}
		return ee.status
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "cardbureau: stopped")
		return exitFailed
	default:
		fmt.Fprintln(os.Stderr, "cardbureau:", err)
		return exitFailed
	}
}

// example is what --help prints below a command's flags.
type example interface{ Example() string }

func helpWithExample(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if sel := ctx.Selected(); sel != nil && sel.Target.CanAddr() {
		if e, ok := sel.Target.Addr().Interface().(example); ok {
			fmt.Fprintf(ctx.Stdout, "\nExample:\n  %s\n", e.Example())
		}
	}
	return nil
}

// demoFolder is the demo's data folder: one a user, short enough for sockets.
func demoFolder() string {
	name := "cardbureau-demo"
	if uid := os.Getuid(); uid != 0 {
		name += "-" + strconv.Itoa(uid)
	}
	return filepath.Join(os.TempDir(), name)
}

// variables are the defaults in help texts and flags that depend on the machine.
func variables() kong.Vars { return kong.Vars{"user": operator(), "demo": demoFolder()} }

// operator is who runs the program, for the audit.
func operator() string {
	for _, name := range []string{"CARDBUREAU_OPERATOR", "SUDO_USER", "USER", "LOGNAME"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return "operator"
}
