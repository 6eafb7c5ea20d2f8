package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// house is a bureau on which commands are run as processes.
type house struct {
	*testing.T
	dir  string
	self string
	rack rack.Client
}

// newHouse makes a bureau with three blanks and one virtual reader.
func newHouse(t *testing.T) *house {
	self, err := exec.LookPath("cardbureau")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cb-desk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &house{T: t, dir: dir, self: self}
	d.want(0, "", "init")
	var delivery struct{ Delivery string }
	d.parse(d.want(0, "", "virtual", "blanks", "3", "--json"), &delivery)
	d.want(0, "", "stock", "import", delivery.Delivery)
	d.background("virtual", "run", "--readers", "1", "--json")
	r, err := pcscd.ReadReaders(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	d.rack = rack.Client{Socket: r.Readers[0].Control}
	return d
}

func (d *house) command(args ...string) *exec.Cmd {
	cmd := exec.Command(d.self, append(args, "--data", d.dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// want runs a command that must end with a status and returns what it printed.
func (d *house) want(status int, stdin string, args ...string) string {
	d.Helper()
	cmd := d.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		d.Fatalf("%v: exit status %d, want %d\n%s%s", args, got, status, &out, &errs)
	}
	return out.String() + errs.String()
}

// background starts a command that goes on and returns its output after its
// first line; it is stopped at the end.
func (d *house) background(args ...string) (cmd *exec.Cmd, lines *bufio.Scanner) {
	d.Helper()
	cmd = d.command(args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	lines = bufio.NewScanner(out)
	if !lines.Scan() {
		_ = cmd.Wait()
		for _, missing := range []error{pcscd.ErrNotInstalled, pcscd.ErrNamespace} {
			if strings.Contains(errs.String(), missing.Error()) {
				d.Skip(missing)
			}
		}
		d.Fatalf("%v printed nothing: %s", args, &errs)
	}
	return cmd, lines
}

func (d *house) parse(text string, v any) {
	d.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		d.Fatalf("%v: %s", err, text)
	}
}

func (d *house) order(q rack.Request) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), time.Minute)
	defer cancel()
	if _, err := d.rack.Do(ctx, q); err != nil {
		d.Fatalf("%s: %v", q.Op, err)
	}
}

// torn begins a card and kills the line at a command of it.
func (d *house) torn(records string, at int) {
	d.Helper()
	d.order(rack.Request{Op: "hold", At: at})
	issue := d.command("issue", records)
	var said bytes.Buffer
	issue.Stdout, issue.Stderr = &said, &said
	if err := issue.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if d.Failed() {
			d.Logf("issue said:\n%s", &said)
		}
	})
	d.order(rack.Request{Op: "wait-held"})
	_ = issue.Process.Kill()
	_ = issue.Wait()
	d.order(rack.Request{Op: "release"})
}

// printed is what stands on an issued card.
func (d *house) printed(number string) *image.Image {
	d.Helper()
	ctx := d.Context()
	b, err := bureau.Open(ctx, d.dir, bureau.Options{Agent: []string{d.self, "hsm", "agent"}})
	if err != nil {
		d.Fatal(err)
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", "test", "test")
	if err != nil {
		d.Fatal(err)
	}
	card, err := b.Store.CardByNumber(ctx, number, "test", actor)
	if err != nil {
		d.Fatal(err)
	}
	im, err := image.Open(ctx, b.Vault, card.PersonID, vault.DataKey(card.Key), card.Image)
	if err != nil {
		d.Fatal(err)
	}
	return im
}

// TestCardsAtHand follows a card that was torn in the middle: it is seen to be
// in doubt, finished, counted, and verified by whoever holds it.
func TestCardsAtHand(t *testing.T) {
	d := newHouse(t)
	records := filepath.Join(d.dir, "records.jws")
	if err := os.WriteFile(records, []byte(d.want(0, "", "virtual", "records", "1")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.torn(records, 40)

	var report cardReport
	d.parse(d.want(0, "", "card", "inspect", "--json"), &report)
	if report.Stock == nil || report.Stock.State != "in-use" && report.Stock.State != "in-doubt" || report.Chip != "virtual-gp" ||
		len(report.Keys) != 3 || report.Recognition == nil || len(report.CPLC) != len(cplcOrder) {
		t.Errorf("a torn card says %+v", report)
	}
	if out := d.want(exitInDoubt, "", "stock", "count"); !strings.Contains(out, "In doubt: blank "+report.Serial) {
		t.Errorf("the count says %s", out)
	}

	var e line.Event
	d.parse(d.want(0, "", "card", "resume", "--json"), &e)
	if e.Outcome != store.OutcomeIssued || e.Serial != report.Serial || e.Card == "" {
		t.Fatalf("resumed: %+v", e)
	}
	if out := d.want(exitFailed, "", "card", "resume"); !strings.Contains(out, "no card is in") {
		t.Errorf("an empty reader: %s", out)
	}
	d.want(0, "", "stock", "count")
	d.order(rack.Request{Op: "insert", Card: e.Serial})
	if out := d.want(exitFailed, "", "card", "resume"); !strings.Contains(out, "only a blank in doubt is resumed") {
		t.Errorf("an issued card: %s", out)
	}

	d.verify(e.Card)
	d.sheet()
	d.watch(e.Serial)
	d.handOver(e.Card)
}

// verify checks the card in the reader in every way.
func (d *house) verify(number string) {
	im := d.printed(number)
	out := d.want(0, im.CAN+"\n", "card", "verify", "--can", "-")
	for _, name := range []string{"access.pace", "sod.chain", "sod.revocation", "hash.dg2", "chip-authentication", "dg1.date-of-expiry"} {
		if !strings.Contains(out, "ok   "+name+": ") {
			d.Errorf("%s did not hold:\n%s", name, out)
		}
	}
	person := show(documentOf(im))
	secrets := []string{im.CAN, im.DocumentNumber, im.BirthDate, person.Primary, person.LocalPrimary}
	all := im.CAN + "\n" + strings.ToLower(im.DocumentNumber) + "\n" + im.BirthDate + "\n" + im.ExpiryDate + "\n"
	flags := []string{"card", "verify", "--can", "-", "--document-number", "-", "--birth", "-", "--expiry", "-"}
	out += d.want(0, all, flags...)
	for _, name := range []string{"access.bac", "access.bac.files", "dg1.printed"} {
		if !strings.Contains(out, "ok   "+name+": ") {
			d.Errorf("%s did not hold:\n%s", name, out)
		}
	}
	// By the MRZ alone, with the CSCA from a file.
	csca := filepath.Join(d.dir, "certificates", "csca.pem")
	mrz := []string{"card", "verify", "--document-number", im.DocumentNumber, "--birth", im.BirthDate, "--expiry", im.ExpiryDate, "--csca", csca, "--json"}
	var v verified
	text := d.want(0, "", mrz...)
	d.parse(text, &v)
	if !v.OK || len(v.Checks) < 20 || v.Document != nil {
		d.Errorf("got %s", text)
	}
	out += text
	out += d.want(exitFailed, "000000\n", "card", "verify", "--can", "-")
	out += d.want(exitFailed, im.CAN+"\n", "card", "verify", "--can", "-", "--at", "2060-01-01")
	if !strings.Contains(out, "FAIL dg1.date-of-expiry: ") || !strings.Contains(out, "FAIL sod.validity: ") {
		d.Errorf("an old card was taken:\n%s", out)
	}
	for _, s := range secrets {
		if len(s) < 2 {
			d.Errorf("the card image lacks something: %d bytes", len(s))
		} else if strings.Contains(out, s) {
			d.Error("personal data was printed without --show")
		}
	}
	out = d.want(0, im.CAN+"\n", "card", "verify", "--can", "-", "--show")
	for _, s := range secrets[1:] {
		if !strings.Contains(out, s) {
			d.Error("--show does not show everything")
		}
	}

	// Another issuer's CSCA: everything holds but the chain.
	other := filepath.Join(d.TempDir(), "other")
	cmd := exec.Command(d.self, "init", "--data", other)
	if msg, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("%v: %s", err, msg)
	}
	out = d.want(exitFailed, im.CAN+"\n", "card", "verify", "--can", "-", "--csca", filepath.Join(other, "certificates", "csca.der"))
	if !strings.Contains(out, "FAIL sod.chain: ") || !strings.Contains(out, "ok   sod.signature: ") || !strings.Contains(out, "skip sod.revocation: ") {
		d.Errorf("a card of another issuer:\n%s", out)
	}
}

// sheet prints the shift, closes it, and prints it again.
func (d *house) sheet() {
	var told struct {
		Shift    int64
		Closed   bool
		Balanced bool
	}
	name := filepath.Join(d.dir, "shift.pdf")
	d.parse(d.want(0, "", "stock", "sheet", "--out", name, "--json"), &told)
	if told.Shift != 1 || told.Closed || !told.Balanced {
		d.Errorf("open shift: %+v", told)
	}
	d.parse(d.want(0, "", "stock", "sheet", "--close", "--out", name, "--json"), &told)
	if !told.Closed {
		d.Errorf("closed shift: %+v", told)
	}
	pdf, err := os.ReadFile(name)
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF")) {
		d.Errorf("the sheet is no PDF: %v", err)
	}
	if out := d.want(0, "", "stock", "sheet", "--shift", "1", "--out", "-"); !strings.HasPrefix(out, "%PDF") {
		d.Error("the sheet on standard output is no PDF")
	}
	if out := d.want(exitFailed, "", "stock", "sheet", "--close"); !strings.Contains(out, "no shift is open") {
		d.Errorf("closed twice: %s", out)
	}
}

// watch sees the card go and come back.
func (d *house) watch(serial string) {
	var row readerRow
	first, _, _ := strings.Cut(d.want(0, "", "reader", "list", "--identify", "--json"), "\n")
	d.parse(first, &row)
	if !row.Card || row.Chip != "virtual-gp" || row.Blank != serial || row.ATR == "" {
		d.Errorf("the list says %s", first)
	}
	watch, lines := d.background("reader", "watch", "--json")
	next := func(event string) {
		d.Helper()
		for {
			var c change
			d.parse(lines.Text(), &c)
			if c.Reader == row.Reader && c.Event == event {
				return
			}
			if !lines.Scan() {
				d.Fatalf("no %s was seen", event)
			}
		}
	}
	next("card-in")
	d.order(rack.Request{Op: "remove"})
	next("card-out")
	d.order(rack.Request{Op: "insert", Card: serial})
	next("card-in")
	_ = watch.Process.Signal(os.Interrupt)
	for lines.Scan() {
	}
	if err := watch.Wait(); err != nil {
		d.Errorf("after Ctrl-C: %v", err)
	}
}

// documentOf is a card image as a reader would find it.
func documentOf(im *image.Image) *lds.Document {
	return &lds.Document{Groups: map[int][]byte{1: im.Files["dg1"], 2: im.Files["dg2"], 11: im.Files["dg11"]}}
}
