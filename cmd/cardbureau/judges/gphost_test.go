package judges

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/mrtd"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/vpcd"
)

// testKey is the key that hosts from outside try on a blank.
var testKey, _ = hex.DecodeString("404142434445464748494A4B4C4D4E4F")

var keycard struct {
	once sync.Once
	path string
	err  error
}

// keycardHost builds the host in testdata/keycardhost, whose GlobalPlatform is
// Status' keycard-go. It is a module of its own, so that the program's modules
// stay without it.
func keycardHost(t testing.TB) string {
	t.Helper()
	keycard.once.Do(func() {
		dir, err := os.MkdirTemp("", "cb-keycard-")
		if err != nil {
			keycard.err = err
			return
		}
		atEnd = append(atEnd, func() { os.RemoveAll(dir) })
		keycard.path = filepath.Join(dir, "keycardhost")
		cmd := exec.Command("go", "build", "-o", keycard.path, ".")
		cmd.Dir = filepath.Join("testdata", "keycardhost")
		if out, err := cmd.CombinedOutput(); err != nil {
			keycard.err = fmt.Errorf("build the host: %w\n%s", err, out)
		}
	})
	if keycard.err != nil {
		t.Fatal(keycard.err)
	}
	return keycard.path
}

// inReader puts a blank into a virtual reader of a PC/SC daemon of its own, for
// as long as the test runs, and returns the reader's name and the environment
// that a judge finds it with.
func inReader(t testing.TB, b virtual.Blank, modules map[string]func() virtual.Applet) (reader string, env []string) {
	t.Helper()
	put := func(cards string) (rack.Request, error) {
		_, err := rack.NewBlank(cards, b)
		return rack.Request{Op: "next"}, err
	}
	return cardInReader(t, put, func(mem *nvm.Memory) (vpcd.Card, error) {
		return virtual.New(virtual.Config{Memory: mem, Applets: modules})
	})
}

// cardInReader is inReader of any software card: put makes it in a rack's folder
// and says what puts it into the reader.
func cardInReader(t testing.TB, put func(cards string) (rack.Request, error), factory func(*nvm.Memory) (vpcd.Card, error)) (reader string, env []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-host-") // short: a socket's path is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	d, err := pcscd.Start(ctx, pcscd.Options{Readers: 1, Dir: dir})
	if errors.Is(err, pcscd.ErrNamespace) || errors.Is(err, pcscd.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	cards := filepath.Join(dir, "cards")
	request, err := put(cards)
	if err != nil {
		t.Fatal(err)
	}
	slot := d.Slots()[0]
	control := filepath.Join(dir, "rack")
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- rack.Run(ctx, rack.Config{
			Dir: cards, ControlSocket: control, Slots: []rack.Slot{{Reader: slot.Reader, Port: slot.Port}},
			Factory: factory,
			Log:     slog.New(slog.NewTextHandler(io.Discard, nil)), Ready: func() { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-ended })
	if a, err := (rack.Client{Socket: control}).Do(ctx, request); err != nil || !a.OK {
		t.Fatalf("%+v %v", a, err)
	}
	return slot.Reader, []string{"PCSCLITE_CSOCK_NAME=" + d.Socket()}
}

// keycard-go knows no SCP03: it takes the answer to SELECT, reads the answer to
// INITIALIZE UPDATE, which SCP03 makes four bytes longer, and goes no further.
func TestKeycardHostTellsSCP03(t *testing.T) {
	host := keycardHost(t)
	b := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: testKey, MAC: testKey, DEK: testKey})
	reader, env := inReader(t, b, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return mrtd.New() }})
	_, said, status := ask(t, "", env, host, reader, "card")
	if status != 1 || !strings.Contains(said, "expected 28, got 32") {
		t.Errorf("exit status %d: %s", status, said)
	}
}

// TestKeycardHostManagesAnSCP02Card: a host that no one here wrote opens SCP02
// over PC/SC, lists, loads, installs, locks and deletes. It does not know 6Cxx, so
// that a card with T=0 is beyond it.
func TestKeycardHostManagesAnSCP02Card(t *testing.T) {
	host, file := keycardHost(t), smallestCAP(t)
	for name, blank := range map[string]func(*virtual.Blank){
		"i=15": func(b *virtual.Blank) { b.SCP = 0x15 },
		"i=55": func(b *virtual.Blank) { b.SCP = 0x55 },
	} {
		t.Run(name, func(t *testing.T) {
			b := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Type: virtual.TripleDES, Version: 0x20, ENC: testKey, MAC: testKey, DEK: testKey})
			blank(&b)
			reader, env := inReader(t, b, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return mrtd.New() }})
			said := accepts(t, "", env, host, reader, "card", "list",
				"load:"+file+":"+smallPackage, "install:"+smallPackage+":"+smallModule+":"+smallInstance, "list",
				"lock:"+smallInstance, "list", "unlock:"+smallInstance, "delete:"+smallPackage, "list")
			for _, want := range []string{"card OP_READY", "40 " + smallInstance + " 07", "40 " + smallInstance + " 87", smallPackage} {
				if !strings.Contains(said, want) {
					t.Errorf("the host does not tell %q:\n%s", want, said)
				}
			}
			end := said[strings.LastIndex(said, "80 "):]
			if strings.Contains(end, smallPackage) {
				t.Errorf("after DELETE the host still lists the package:\n%s", end)
			}
		})
	}
}
