package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cardbureau/personalization/bank"
	"cardbureau/personalization/image"
	"cardbureau/personalization/payment/bankfile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

type bankFiles struct {
	Issue       bankIssue       `cmd:"" help:"Write what became of cards and accounts up to a day's end and is in no file yet."`
	PANs        bankPANs        `cmd:"" name:"pans" help:"Write the PANs that were put on cards on a day, enciphered to the bank's key."`
	Acknowledge bankAcknowledge `cmd:"" help:"Take the bank's answer to an issuing result in."`
}

// fileOptions are those of files that are written.
type fileOptions struct {
	Day      string `help:"The bank's business day, YYYY-MM-DD; empty: today." placeholder:"DAY"`
	Format   string `help:"csv, or fixed: lines of fixed length." enum:"csv,fixed" default:"csv"`
	Out      string `help:"The file; it must not be there yet." required:"" type:"path"`
	Encrypt  bool   `help:"Encipher it to the bank's key (use enc in bank-keys.json): a compact JWE."`
	Operator string `help:"Who writes it, for the audit." default:"${user}"`
}

// finish enciphers a file that was written, where that was asked for.
func (o fileOptions) finish(s *bank.Service, w *bytes.Buffer, err error) error {
	if err != nil || !o.Encrypt {
		return err
	}
	sealed, err := s.Encrypt(w.Bytes())
	if err != nil {
		return err
	}
	w.Reset()
	w.Write(sealed)
	return nil
}

// recipient makes sure that there is a key to encipher to before a file gets its number.
func (o fileOptions) recipient(s *bank.Service) error {
	if !o.Encrypt {
		return nil
	}
	_, err := s.Recipient()
	return err
}

// day is the zero time where none was named.
func (o fileOptions) day() (time.Time, error) {
	if o.Day == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, o.Day)
	if err != nil {
		return t, &exitError{exitUsage, fmt.Sprintf("%q is no day: write YYYY-MM-DD", o.Day)}
	}
	return t, nil
}

func (o fileOptions) format() bankfile.Format {
	if o.Format == "fixed" {
		return bankfile.Fixed
	}
	return bankfile.CSV
}

// create writes a file that is not there yet, whole or not at all. It is made
// before its entry in the chain, so that a full disk breaks no chain.
func create(name string, write func(*bytes.Buffer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err = write(&buf); err == nil {
		_, err = f.Write(buf.Bytes())
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil && buf.Len() == 0 {
		_ = os.Remove(name)
	}
	return err
}

func printInfo(g *globals, name string, i bankfile.Info) error {
	if g.JSON {
		return printJSON(map[string]any{"file": name, "kind": i.Kind, "sequence": i.Sequence, "records": i.Records, "digest": fmt.Sprintf("%x", i.Digest[:])})
	}
	fmt.Printf("%s: %s number %d, %d records, SHA-256 %x\n", filepath.Base(name), i.Kind, i.Sequence, i.Records, i.Digest[:])
	return nil
}

// dayOr is the day that was named, or today.
func dayOr(day time.Time, s *bank.Service) time.Time {
	if day.IsZero() {
		return s.Today()
	}
	return day
}

type bankIssue struct {
	fileOptions
	Again uint64 `help:"Write this issuing result again, byte for byte, in place of a new one." placeholder:"NUMBER"`
}

func (bankIssue) Example() string {
	return "cardbureau bank files issue --day 2026-11-25 --out issued.csv --data /srv/bureau"
}

func (c bankIssue) Run(ctx context.Context, g *globals) error {
	day, err := c.day()
	if err != nil {
		return err
	}
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	var info bankfile.Info
	err = create(c.Out, func(w *bytes.Buffer) error {
		if err := c.recipient(s); err != nil {
			return err
		}
		if c.Again > 0 {
			info, err = s.IssuingAgain(ctx, w, c.Again, actor)
		} else {
			info, err = s.IssuingResult(ctx, w, dayOr(day, s), c.format(), actor)
		}
		return c.finish(s, w, err)
	})
	if err != nil {
		return err
	}
	return printInfo(g, c.Out, info)
}

type bankReconcile struct {
	fileOptions
	Again uint64 `help:"Write this reconciliation again, byte for byte, in place of a new one." placeholder:"NUMBER"`
}

func (bankReconcile) Example() string {
	return "cardbureau bank reconcile --day 2026-11-25 --out reconciliation.csv --data /srv/bureau"
}

func (c bankReconcile) Run(ctx context.Context, g *globals) error {
	day, err := c.day()
	if err != nil {
		return err
	}
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	var info bankfile.Info
	var f *bankfile.Reconciliation
	err = create(c.Out, func(w *bytes.Buffer) error {
		if err := c.recipient(s); err != nil {
			return err
		}
		if c.Again > 0 {
			f, info, err = s.ReconcileAgain(ctx, w, c.Again, actor)
		} else {
			f, info, err = s.Reconcile(ctx, w, dayOr(day, s), c.format(), actor)
		}
		return c.finish(s, w, err)
	})
	if err != nil {
		return err
	}
	if err := printInfo(g, c.Out, info); err != nil || g.JSON {
		return err
	}
	for _, x := range f.Balances {
		fmt.Printf("  %-12s opening %6d  in %6d  out %6d  closing %6d\n", x.Class, x.Opening, x.In, x.Out, x.Closing)
	}
	for _, x := range f.Files {
		fmt.Printf("  issuing result %d: %d records, %d accepted, %d rejected, %d not answered\n", x.Sequence, x.Records, x.Accepted, x.Rejected, x.Open)
	}
	for _, x := range f.Ranges {
		fmt.Printf("  range %s: %d taken, %d of %d used\n", x.Name, x.Taken, x.Closing, x.Size)
	}
	return nil
}

type bankAcknowledge struct {
	File     string `arg:"" help:"The bank's acknowledgement." type:"existingfile"`
	Operator string `help:"Who takes it in, for the audit." default:"${user}"`
}

func (bankAcknowledge) Example() string {
	return "cardbureau bank files acknowledge ack.csv --data /srv/bureau"
}

func (c bankAcknowledge) Run(ctx context.Context, g *globals) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	b, s, actor, err := openBank(ctx, g, c.Operator)
	if err != nil {
		return err
	}
	defer b.Close()
	fresh, rejected, err := s.Acknowledge(ctx, f, actor)
	if errors.Is(err, bank.ErrFileRefused) {
		return &exitError{exitRefused, err.Error() + ": mend what it says, and write the file again (--again)"}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if g.JSON {
		if err := printJSON(map[string]any{"new": fresh, "rejected": rejected}); err != nil {
			return err
		}
	} else {
		fmt.Printf("%d new answers\n", fresh)
		for _, r := range rejected {
			fmt.Printf("record %d: %s %s\n", r.Of, r.Code, r.Code.Text())
		}
	}
	if len(rejected) > 0 {
		return &exitError{exitRefused, fmt.Sprintf("the bank has not accepted %d records", len(rejected))}
	}
	return nil
}

type bankMailers struct {
	Open    mailersOpen    `cmd:"" help:"Gather the PINs of cards that are issued into a batch."`
	Release mailersRelease `cmd:"" help:"Let a batch be printed: another person than who opened it or released the cards."`
	Export  mailersExport  `cmd:"" help:"Write a released batch, enciphered to the printer's key."`
	Printed mailersPrinted `cmd:"" help:"Delete a batch's PINs: they are printed."`
}

type mailersOpen struct {
	Delay    time.Duration `help:"How long ago the cards must have been issued." default:"24h"`
	Limit    int           `help:"Most PINs of a batch." default:"500"`
	Operator string        `help:"Who opens it, for the audit." default:"${user}"`
}

func (mailersOpen) Example() string { return "cardbureau bank mailers open --data /srv/bureau" }

func (c mailersOpen) Run(ctx context.Context, g *globals) error {
	b, actor, err := openAs(ctx, g, c.Operator, "cli")
	if err != nil {
		return err
	}
	defer b.Close()
	batch := store.NewID()
	n, err := b.Store.OpenMailerBatch(ctx, batch, time.Now().Add(-c.Delay), c.Limit, actor)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"batch": batch.String(), "pins": n})
	}
	if n == 0 {
		fmt.Println("No PIN waits that long.")
		return nil
	}
	fmt.Printf("Batch %s: %d PINs\n", batch, n)
	return nil
}

type mailersRelease struct {
	Batch    string `arg:"" help:"The batch."`
	Operator string `help:"Who releases, for the audit." default:"${user}"`
}

func (mailersRelease) Example() string {
	return "cardbureau bank mailers release 0198c0de-7a11-7000-8000-000000000001 --operator zahra --data /srv/bureau"
}

func (c mailersRelease) Run(ctx context.Context, g *globals) error {
	id, err := batchID(c.Batch)
	if err != nil {
		return err
	}
	b, actor, err := openAs(ctx, g, c.Operator, "cli")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Store.ReleaseMailerBatch(ctx, id, actor); err != nil {
		return fmt.Errorf("batch %s: %w", id, err)
	}
	fmt.Printf("Batch %s may be printed\n", id)
	return nil
}

type mailersExport struct {
	Batch string `arg:"" help:"The batch."`
	To    string `help:"File with the printer's public key (JWK, P-256)." required:"" type:"existingfile"`
	Out   string `help:"The file; it must not be there yet." required:"" type:"path"`
}

func (mailersExport) Example() string {
	return "cardbureau bank mailers export 0198c0de-7a11-7000-8000-000000000001 --to printer.jwk --out batch.jwe --data /srv/bureau"
}

func (c mailersExport) Run(ctx context.Context, g *globals) error {
	id, err := batchID(c.Batch)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.To)
	if err != nil {
		return err
	}
	b, _, _, err := openBank(ctx, g, "bank")
	if err != nil {
		return err
	}
	defer b.Close()
	rows, err := b.Store.MailerBatch(ctx, id)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("batch %s is not released, or is printed already", id)
	}
	pins := make([]vault.MailerPIN, len(rows))
	for i, r := range rows {
		pins[i] = vault.MailerPIN{AAD: image.MailerAAD(r.ID), Sealed: r.Sealed, Label: r.Label}
	}
	text, err := b.Vault.RevealMailers(ctx, pins, key)
	if err != nil {
		return err
	}
	if err := create(c.Out, func(w *bytes.Buffer) error { w.WriteString(text); return nil }); err != nil {
		return err
	}
	fmt.Printf("%s: %d PINs, enciphered to the printer\n", c.Out, len(rows))
	return nil
}

type mailersPrinted struct {
	Batch    string `arg:"" help:"The batch."`
	Operator string `help:"Who has printed it, for the audit." default:"${user}"`
}

func (mailersPrinted) Example() string {
	return "cardbureau bank mailers printed 0198c0de-7a11-7000-8000-000000000001 --data /srv/bureau"
}

func (c mailersPrinted) Run(ctx context.Context, g *globals) error {
	id, err := batchID(c.Batch)
	if err != nil {
		return err
	}
	b, actor, err := openAs(ctx, g, c.Operator, "cli")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Store.MailersPrinted(ctx, id, actor); err != nil {
		return fmt.Errorf("batch %s: %w", id, err)
	}
	fmt.Printf("The PINs of batch %s are deleted\n", id)
	return nil
}
