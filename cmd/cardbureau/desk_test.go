package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/identity"
	"cardbureau/personalization/store"
)

// handOver is the life of the card in the reader at a desk.
func (d *house) handOver(number string) {
	d.Helper()
	expect := func(status int, stdin, says string, args ...string) string {
		d.Helper()
		out := d.want(status, stdin, append([]string{"desk"}, args...)...)
		if !strings.Contains(out, says) {
			d.Errorf("desk %v: %q is not in\n%s", args, says, out)
		}
		for _, pin := range []string{"753190", "864201", "975312"} {
			if strings.Contains(out, pin) {
				d.Errorf("desk %v prints a PIN", args)
			}
		}
		return out
	}
	activate := []string{"activate", number, "--photo", "--pin", "-"}
	shown := append(activate, "--document", "passport")
	expect(exitFailed, "", "desk receive first", shown...)
	expect(exitRefused, "", "another office", "receive", number, "--office", "elsewhere")
	expect(0, "", "received", "receive", "--office", "elsewhere", "--moved") // the one in the reader
	expect(0, "", "already received", "receive", number, "--office", "elsewhere")
	expect(0, "", number, "stock", "--office", "elsewhere")
	expect(exitRefused, "", "no issued card", "receive", "AAAAAAAAA", "--office", "elsewhere")

	expect(exitUsage, "", "--photo", "activate", number, "--pin", "-")
	expect(exitFailed, "753190\n", "(document)", activate...)
	expect(exitFailed, "753190\n", "second person", append(activate, "--override", "lost-papers")...)
	d.cutOff(number)
	paper := filepath.Join(d.dir, "receipt.pdf")
	expect(exitFailed, "123456\n", "not counting up", append(shown, "--receipt", paper)...)
	if _, err := os.Stat(paper); err == nil {
		d.Error("there is a receipt of a visit that was refused")
	}
	var a deskAnswer
	d.parse(d.want(0, "753190\n", append([]string{"desk"}, append(shown, "--json", "--receipt", paper)...)...), &a)
	d.drawn(paper, number)
	expect(exitUsage, "", "there already", append(shown, "--receipt", paper)...)
	if a.Result != "active" || a.Receipt == nil {
		d.Fatalf("activated: %+v", a)
	}
	d.holds(a)
	expect(exitFailed, "753190\n", "its state", shown...)
	record := append([]string{"pair-record"}, shown[1:]...)
	expect(exitUsage, "", "is no pairing", append(record, "first")...)
	expect(exitFailed, "753190\n", "pairing 0198c0de", append(record, "0198c0de-7a11-7000-8000-000000000001")...)

	expect(0, "", "blocked", "block", number, "--reason", "lost")
	expect(0, "", "already blocked", "block", number, "--reason", "lost")
	for range 2 {
		expect(exitFailed, "000001\n", "(pin)", append([]string{"unblock"}, shown[1:]...)...)
	}
	expect(exitFailed, "753190\n", "too many", append([]string{"unblock"}, shown[1:]...)...)
	expect(0, "753190\n", "has a new PIN", append([]string{"unblock-pin"}, shown[1:]...)...)
	expect(0, "753190\n", "active again", append([]string{"unblock"}, shown[1:]...)...)
	expect(0, "864201\n", "has a new PIN", append([]string{"unblock-pin"}, shown[1:]...)...)
	expect(0, "", "to be replaced", "replace", number, "--reason", "damaged")
	// Who blocked a card may have forgotten its PIN as well.
	expect(0, "975312\n", "has a new PIN", append([]string{"unblock-pin"}, shown[1:]...)...)
	expect(0, "975312\n", "active again", append([]string{"unblock"}, shown[1:]...)...)
}

// cutOff begins two visits that end once the holder has set a PIN: the one after them
// takes another PIN, and no try of the holder is spent. A process uses one PC/SC
// service, so this is a program of its own.
func (d *house) cutOff(number string) {
	d.Helper()
	self, err := exec.LookPath(cutOffProgram)
	if err != nil {
		d.Fatal(err)
	}
	if out, err := exec.Command(self, d.self, d.dir, number).CombinedOutput(); err != nil {
		d.Fatalf("the visits that are cut off: %v\n%s", err, out)
	}
}

const cutOffProgram = "cut-off-visits"

// cutOffVisits is the program: arguments are cardbureau, the data folder, the card.
func cutOffVisits() {
	if err := cutOff(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cutOff(ctx context.Context, self, dir, number string) error {
	b, err := bureau.Open(ctx, dir, bureau.Options{Agent: []string{self, "hsm", "agent"}})
	if err != nil {
		return err
	}
	defer b.Close()
	actor, err := b.Actor(ctx, "operator", "karimi", "test")
	if err != nil {
		return err
	}
	at, err := b.Desk()
	if err != nil {
		return err
	}
	visit := func(pin string) error {
		conn, done, err := readerFlag{}.connect(ctx, &globals{Data: dir})
		if err != nil {
			return err
		}
		defer done()
		v, err := at.Open(ctx, number, store.VisitActivate, actor)
		if err != nil {
			return err
		}
		defer v.Close(ctx)
		if err := v.Prove(ctx, conn); err != nil {
			return err
		}
		if err := v.Check(ctx, desk.HolderCheck{Photo: true, Document: "passport"}); err != nil {
			return err
		}
		return v.SetPIN(ctx, &linePINs{in: bufio.NewReader(strings.NewReader(pin + "\n"))})
	}
	if err := visit("864201"); err != nil {
		return err
	}
	return visit("975312")
}

// drawn has poppler read a receipt.
func (d *house) drawn(name, number string) {
	d.Helper()
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		d.Fatalf("receipt: %v, %v", info, err)
	}
	text, err := exec.Command("pdftotext", name, "-").Output()
	if err != nil || !strings.Contains(string(text), number) || !strings.Contains(string(text), `"kind":"activate"`) {
		d.Errorf("receipt: %v\n%s", err, text)
	}
}

// holds checks a receipt with nothing but the signed DG13.
func (d *house) holds(a deskAnswer) {
	d.Helper()
	dg13, err := identity.ParseDG13(d.printed(a.Card).Files["dg13"])
	if err != nil {
		d.Fatal(err)
	}
	key, ok := dg13.Key(identity.ReceiptKeyReference)
	if !ok || string(key.Point) != string(a.Receipt.Key) {
		d.Error("DG13 does not name the receipt's key")
	}
	r := desk.Receipt{Content: []byte(a.Receipt.Statement), Signature: a.Receipt.Signature, Key: key}
	s, err := r.Verify()
	if err != nil || s.Card != a.Card || s.Kind != "activate" || s.Visit.String() != a.Visit {
		d.Errorf("receipt: %+v, %v", s, err)
	}
	r.Content[10] ^= 1
	if _, err := r.Verify(); err == nil {
		d.Error("an altered receipt holds")
	}
}
