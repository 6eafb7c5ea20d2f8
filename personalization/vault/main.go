package vault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cardbureau/hsm"
	"cardbureau/hsm/agent"
	"cardbureau/hsm/softhsm"
)

// agentOptions are the agent's arguments.
type agentOptions struct {
	socket   string
	softhsm  string
	module   string
	label    string
	pinFile  string
	pinEnv   string
	lock     string
	reserved string
	without  string
	sessions int
	hang     time.Duration
}

func parseAgentOptions(args []string, output io.Writer) (agentOptions, error) {
	var o agentOptions
	f := flag.NewFlagSet("hsm agent", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&o.socket, "socket", "", "unix `path` to listen on, in a folder of mode 700")
	f.StringVar(&o.softhsm, "softhsm", "", "`folder` of a private SoftHSM token, made when it is missing")
	f.StringVar(&o.module, "module", "", "`path` of the PKCS#11 module (SoftHSM: the installed one)")
	f.StringVar(&o.label, "token-label", "", "`label` of the token; empty: the only one")
	f.StringVar(&o.pinFile, "pin-file", "", "`file` with the PIN, mode 600")
	f.StringVar(&o.pinEnv, "pin-env", "", "environment `variable` with the PIN")
	f.StringVar(&o.lock, "lock", "", "`file` that agents of one token lock while they make keys")
	f.StringVar(&o.reserved, "reserved", "", "`parameters` for C_Initialize (NSS)")
	f.StringVar(&o.without, "without", "", "`capabilities` not to use even where the self-test finds them, separated by commas")
	f.IntVar(&o.sessions, "sessions", 2, "sessions that work at a time")
	f.DurationVar(&o.hang, "hang-after", 30*time.Second, "time after which a call into the module counts as hung")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.socket == "":
		return o, errors.New("--socket is missing: this command is started by the others, not by hand")
	case o.softhsm == "" && o.module == "":
		return o, errors.New("--softhsm or --module is missing")
	case o.softhsm == "" && o.pinFile == "" && o.pinEnv == "":
		return o, errors.New("--pin-file or --pin-env is missing")
	}
	return o, nil
}

// Main is the agent: what "cardbureau hsm agent" runs. It opens the token,
// serves the process that started it and ends with it. It returns the exit
// status: 0 done, 1 failed, 2 wrong usage. What it writes on standard output
// is for its parent; nothing secret goes anywhere.
func Main(args []string) int {
	o, err := parseAgentOptions(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		agent.Fail("request", fmt.Errorf("hsm agent: %w", err))
		fmt.Fprintln(os.Stderr, "hsm agent:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := runAgent(ctx, o); err != nil {
		agent.Fail(codeOf(err), err)
		return 1
	}
	return 0
}

func runAgent(ctx context.Context, o agentOptions) error {
	// Calls into the module run on threads of their own; what is left takes
	// little time, and handing it between processors costs more than it wins.
	// The heap is small: collecting it less often costs a few mebibytes.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	if err := harden(); err != nil {
		return err
	}
	token, err := openToken(ctx, &o)
	if err != nil {
		return err
	}
	defer token.Close()
	srv := NewService(token, o.lock).Server()
	srv.Allow = agent.ParentOnly(os.Getppid())
	srv.Log = func(line string) { fmt.Fprintln(os.Stderr, "hsm agent:", line) }
	return agent.Run(ctx, srv, o.socket)
}

// harden keeps the process's memory to itself: no core dump, no debugger of
// the same user.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("switch debugging off: %w", err)
	}
	return nil
}

func openToken(ctx context.Context, o *agentOptions) (*hsm.Token, error) {
	var exclusive func() (func(), error)
	if o.softhsm != "" {
		soft, err := softhsm.Ensure(ctx, o.softhsm, o.module, o.label)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", hsm.ErrModule, err)
		}
		o.module, o.label, exclusive = soft.Module, soft.Label, soft.Lock
		if o.pinFile == "" && o.pinEnv == "" {
			o.pinFile = soft.PINPath()
		}
		if o.lock == "" {
			o.lock = filepath.Join(soft.Dir, "keys.lock")
		}
	}
	pin, err := readPIN(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hsm.ErrPIN, err)
	}
	defer pin.Zero()
	var without []hsm.Capability
	for _, w := range strings.Split(o.without, ",") {
		if w = strings.TrimSpace(w); w != "" {
			without = append(without, hsm.Capability(w))
		}
	}
	return hsm.Open(ctx, hsm.Config{
		Module: o.module, Label: o.label, PIN: pin, Sessions: o.sessions, Reserved: o.reserved, Without: without, HangAfter: o.hang, Exclusive: exclusive,
		OnHang: func(what string) {
			// Neither the call nor the module can be stopped: the process must
			// end, and its parent starts another.
			fmt.Fprintf(os.Stderr, "hsm agent: the PKCS#11 module did not return from %q within %s\n", what, o.hang)
			os.Exit(1)
		},
	})
}

func readPIN(o *agentOptions) (hsm.PIN, error) {
	if o.pinFile != "" {
		return hsm.ReadPIN(o.pinFile)
	}
	return hsm.PINFromEnvironment(o.pinEnv)
}
