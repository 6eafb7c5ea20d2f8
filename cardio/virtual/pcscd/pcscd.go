// Package pcscd runs a PC/SC daemon of one's own, with virtual readers, for
// rehearsal and tests. It leaves the machine's daemon, its readers and its
// ports alone: the daemon gets a mount namespace in which a private folder
// lies over /run/pcscd, virtual readers from copies of the vpcd driver
// (vsmartcard) on free ports, and no USB drivers.
//
// It is not for production: vpcd listens on all interfaces and believes
// whoever connects. What plays the cards is the rack's business
// (cardio/virtual/rack); what speaks to the readers is cardio/pcsc.
package pcscd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// MaxReaders is how many readers pcsc-lite before 2.5 holds on one machine.
const MaxReaders = 16

// Options say what to start.
type Options struct {
	// Readers is the number of virtual readers, 1 to MaxReaders.
	Readers int
	// Dir keeps the lease, by which leftovers of a killed program are found,
	// and readers.json. One daemon runs for a Dir at a time.
	Dir string
}

// Slot is a virtual reader: its name in PC/SC, and the TCP port on this
// machine at which its driver waits for a card.
type Slot struct {
	Reader string
	Port   int
}

// What a start can fail of, besides what the system says.
var (
	// ErrNotInstalled: pcscd or the vpcd driver is missing.
	ErrNotInstalled = errors.New("pcscd and the vpcd driver are needed (Debian: apt install pcscd vsmartcard-vpcd)")
	// ErrRunning: another live program runs a daemon for this Dir.
	ErrRunning = errors.New("another program runs virtual readers in this folder")
	// ErrNamespace: the system allows no mount namespace, and the place where
	// pcscd would listen without one is taken or not ours.
	ErrNamespace = errors.New("no private pcscd: this system allows no mount namespace (in a container: add CAP_SYS_ADMIN)")
)

// Daemon is a running pcscd.
type Daemon struct {
	dir    string
	folder string // private, removed at the end
	socket string
	slots  []Slot
	lease  *lease
	child  *child
	once   sync.Once
}

// startAttempts covers ports that someone else took between choosing and
// listening.
const startAttempts = 3

// Start cleans up what an earlier program left in o.Dir, starts the daemon and
// returns when it answers and its readers wait for cards. The daemon ends
// with Stop, with ctx, and with this process, however that dies.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	if o.Readers < 1 || o.Readers > MaxReaders {
		return nil, fmt.Errorf("%d virtual readers: 1 to %d can be had", o.Readers, MaxReaders)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tools, err := findTools()
	if err != nil {
		return nil, err
	}
	l, err := takeLease(o.Dir)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		d, err := start(ctx, o, tools, l)
		if err == nil {
			context.AfterFunc(ctx, d.Stop)
			return d, nil
		}
		if attempt == startAttempts || !errors.Is(err, errNotReady) || ctx.Err() != nil {
			l.release()
			return nil, err
		}
	}
}

// start makes one attempt and leaves nothing behind when it fails.
func start(ctx context.Context, o Options, t tools, l *lease) (*Daemon, error) {
	folder, err := makeFolder()
	if err != nil {
		return nil, err
	}
	d := &Daemon{dir: o.Dir, folder: folder, lease: l}
	if err := d.bringUp(ctx, o, t); err != nil {
		d.end()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) bringUp(ctx context.Context, o Options, t tools) (err error) {
	if err := d.lease.record(d.folder, 0); err != nil {
		return err
	}
	if d.slots, err = layOut(d.folder, t, o.Readers); err != nil {
		return err
	}
	if d.child, d.socket, err = spawn(d.folder, t); err != nil {
		return err
	}
	if err := d.lease.record(d.folder, d.child.pid); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	return d.Describe("")
}

// Socket is the value of PCSCLITE_CSOCK_NAME for programs that are to use
// these readers.
func (d *Daemon) Socket() string { return d.socket }

// Slots are the readers that were asked for.
func (d *Daemon) Slots() []Slot { return append([]Slot(nil), d.slots...) }

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.child.pid }

// Done is closed when the daemon has ended, by Stop or by itself.
func (d *Daemon) Done() <-chan struct{} { return d.child.done }

// Describe writes readers.json into Dir: the daemon's socket and its readers,
// with the control socket of the rack that plays the cards (empty where there
// is none yet).
func (d *Daemon) Describe(control string, encoders ...string) error {
	r := Readers{Socket: d.socket}
	for i, s := range d.slots {
		one := Reader{Name: s.Reader, Port: s.Port, Control: control}
		if i < len(encoders) {
			one.Encoder = encoders[i]
		}
		r.Readers = append(r.Readers, one)
	}
	return WriteReaders(d.dir, r)
}

// Stop ends the daemon and removes what it had. It may be called more than
// once.
func (d *Daemon) Stop() {
	d.once.Do(func() {
		d.end()
		_ = os.Remove(filepath.Join(d.dir, readersFile))
		d.lease.release()
	})
}

// end stops the process and removes the private folder.
func (d *Daemon) end() {
	if d.child != nil {
		d.child.stop()
	}
	_ = os.RemoveAll(d.folder)
}

// How long the daemon may take to come up, and to go before it is killed.
const (
	readyTimeout = 15 * time.Second
	stopTimeout  = 3 * time.Second
	pollInterval = 5 * time.Millisecond
)

var errNotReady = errors.New("pcscd did not come up")

// waitReady waits until the daemon accepts clients and every reader listens.
// It must not connect to a reader's port: that would be a card.
func (d *Daemon) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ctx.Err() == nil && answers(d.socket) && d.listening() {
			return nil
		}
		select {
		case <-d.child.done:
			return fmt.Errorf("%w: it ended: %s", errNotReady, d.child.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %s", errNotReady, ctx.Err(), d.child.lastWords())
		case <-tick.C:
		}
	}
}

func (d *Daemon) listening() bool {
	ports, err := listeningPorts()
	if err != nil {
		return false
	}
	for _, s := range d.slots {
		if !ports[s.Port] {
			return false
		}
	}
	return true
}

// stop asks the process to end and kills it when it does not.
func (c *child) stop() {
	_ = syscall.Kill(c.pid, syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(c.pid, syscall.SIGKILL)
		<-c.done
	}
}
