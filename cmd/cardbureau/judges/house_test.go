package judges

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/vault"
)

// issued is a card that the program made of a signed record, in a virtual
// reader where "cardbureau virtual insert" put it.
type issued struct {
	Reader         string `json:"reader"`
	Socket         string `json:"PCSCLITE_CSOCK_NAME"`
	DocumentNumber string `json:"documentNumber"`
	BirthDate      string `json:"birthDate"`
	Expiry         string `json:"expiry"`
	CAN            string `json:"can"`

	files  map[string][]byte // what was to be on the card, by file identifier
	mrz    string            // 90 characters
	serial string            // of the chip
	csca   []byte            // DER
	crl    []byte
	signer []byte
}

// env points a judge at the reader's PC/SC daemon.
func (c *issued) env() []string { return []string{"PCSCLITE_CSOCK_NAME=" + c.Socket} }

// mrzInformation is document number, birth date and expiry with their check
// digits, as the MRZ has them.
func (c *issued) mrzInformation() string { return c.mrz[5:15] + c.mrz[30:37] + c.mrz[38:45] }

// fileNames are the elements of a card image that are files of ICAO 9303, by
// identifier.
var fileNames = map[string]string{
	"011E": "com", "011D": "sod", "0101": "dg1", "0102": "dg2", "010B": "dg11", "010D": "dg13", "010E": "dg14",
}

// order is the order in which judges read.
var order = []string{"011E", "011D", "0101", "0102", "010B", "010D", "010E"}

var house struct {
	once sync.Once
	card *issued
	err  error
	skip error
}

// card makes a card the first time, and returns it. It skips where the system
// allows no PC/SC daemon of our own.
func card(t testing.TB) *issued {
	t.Helper()
	house.once.Do(func() { house.card, house.skip, house.err = makeCard() })
	if house.skip != nil {
		t.Skip(house.skip)
	}
	if house.err != nil {
		t.Fatal(house.err)
	}
	return house.card
}

func makeCard() (c *issued, skip, err error) {
	dir, err := os.MkdirTemp("", "cb-judged-")
	if err != nil {
		return nil, nil, err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	// PostgreSQL, which may run as another user, walks through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, nil, err
	}
	if skip := probe(filepath.Join(dir, "probe")); skip != nil {
		return nil, skip, nil
	}
	p := program{path: filepath.Join(dir, "cardbureau"), data: filepath.Join(dir, "data")}
	if out, err := exec.Command("go", "build", "-o", p.path, "cardbureau/cmd/cardbureau").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	c, err = p.issue()
	return c, nil, err
}

// probe tells whether a daemon of our own can run.
func probe(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, err := pcscd.Start(context.Background(), pcscd.Options{Readers: 1, Dir: dir})
	if err == nil {
		d.Stop()
	}
	if errors.Is(err, pcscd.ErrNamespace) || errors.Is(err, pcscd.ErrNotInstalled) {
		return err
	}
	return nil
}

// program is the built program on a data folder.
type program struct{ path, data string }

func (p program) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.path, append(args, "--data", p.data)...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs a command to its end.
func (p program) run(args ...string) ([]byte, error) {
	out, err := p.command(args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("cardbureau %s: %w\n%s%s", strings.Join(args, " "), err, out, exit.Stderr)
	}
	return out, err
}

// start starts a command that goes on, waits for its first line, and ends it
// when stop is called.
func (p program) start(args ...string) (first []byte, stop func(), err error) {
	cmd := p.command(args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	started, ended := make(chan error), make(chan struct{})
	lines := make(chan []byte, 1)
	go func() {
		// The kernel ties the child to this thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		r := bufio.NewReader(stdout)
		line, _ := r.ReadBytes('\n')
		lines <- line
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	select {
	case first = <-lines:
	case <-time.After(patience):
	}
	if len(first) == 0 {
		stop()
		return nil, nil, fmt.Errorf("cardbureau %s did not become ready", strings.Join(args, " "))
	}
	return first, stop, nil
}

// issue goes the way of docs/verification.md: a bureau, blanks, records, the
// line, an issued card in a reader.
func (p program) issue() (*issued, error) {
	if _, err := p.run("init", "--product", "identity-bank"); err != nil {
		return nil, err
	}
	records, err := p.run("virtual", "records", "2", "--bank", "all")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.data, "records.jws")
	if err := os.WriteFile(file, records, 0o600); err != nil {
		return nil, err
	}
	out, err := p.run("virtual", "blanks", "3", "--json")
	if err != nil {
		return nil, err
	}
	var delivery struct{ Delivery string }
	if err := json.Unmarshal(out, &delivery); err != nil {
		return nil, err
	}
	if _, err := p.run("stock", "import", delivery.Delivery); err != nil {
		return nil, err
	}
	if _, err := p.run("bank", "ranges", "add", "sepah", "58921099"); err != nil {
		return nil, err
	}
	_, stop, err := p.start("virtual", "run", "--readers", "1", "--json")
	if err != nil {
		return nil, err
	}
	out, err = p.run("issue", file, "--json")
	stop()
	if err != nil {
		return nil, err
	}
	var summary struct {
		Issued int
		Cards  []string
	}
	if err := json.Unmarshal(out, &summary); err != nil {
		return nil, err
	}
	if summary.Issued != 2 || len(summary.Cards) != 2 {
		return nil, fmt.Errorf("two cards were to be issued: %s", out)
	}
	c := &issued{}
	if err := p.expected(c, summary.Cards[0]); err != nil {
		return nil, err
	}
	for what, der := range map[string]*[]byte{"csca": &c.csca, "csca-crl": &c.crl, "document-signer": &c.signer} {
		if *der, err = p.run("hsm", "export", what, "--der"); err != nil {
			return nil, err
		}
	}
	first, stop, err := p.start("virtual", "insert", summary.Cards[0], "--json")
	if err != nil {
		return nil, err
	}
	atEnd = append(atEnd, stop)
	return c, json.Unmarshal(first, c)
}

// expected opens the card's image: what was to be written.
func (p program) expected(c *issued, number string) error {
	ctx := context.Background()
	b, err := bureau.Open(ctx, p.data, bureau.Options{Agent: []string{p.path, "hsm", "agent"}})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", "judges", "test")
	if err != nil {
		return err
	}
	card, err := b.Store.CardByNumber(ctx, number, "judges", actor)
	if err != nil {
		return err
	}
	im, err := image.Open(ctx, b.Vault, card.PersonID, vault.DataKey(card.Key), card.Image)
	if err != nil {
		return err
	}
	c.files, c.mrz, c.serial = map[string][]byte{}, im.MRZ, card.Serial
	for id, name := range fileNames {
		if c.files[id], err = im.Element(name); err != nil {
			return err
		}
	}
	return nil
}
