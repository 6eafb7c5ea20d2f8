package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/encoder"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/image"
	"cardbureau/personalization/line/rehearsal"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

type virtualCommand struct {
	Run      virtualRun      `cmd:"" help:"Run virtual readers with a rack of software cards, until Ctrl-C."`
	Blanks   virtualBlanks   `cmd:"" help:"Make software blanks and their delivery list."`
	Records  virtualRecords  `cmd:"" help:"Make records of invented people, signed by the test registry."`
	Insert   virtualInsert   `cmd:"" help:"Put a software card into a virtual reader: an issued one for any reader software, one in doubt for card resume."`
	Accounts virtualAccounts `cmd:"" help:"Print a test bank's message with accounts for the orders that wait."`
	Put      virtualPut      `cmd:"" help:"Put a software card or SIM into one of the virtual readers that run, or take it out."`
	SIMs     virtualSIMs     `cmd:"" name:"sims" help:"Make software SIMs of a simulated operator."`
	SIM      virtualSIM      `cmd:"" name:"sim" help:"Put the counter of a software SIM out of step with its operator's."`
	Operator virtualOperator `cmd:"" help:"Have a simulated operator refuse, forget or repeat itself, or sign a notice."`
	Pay      virtualPay      `cmd:"" help:"Run a purchase with a software card against the bureau's API."`
}

// errDevelopment refuses rehearsal in production.
func needDevelopment(c *bureau.Config) error {
	if c.Development() {
		return nil
	}
	return errors.New("software cards are for development: this data folder is for production")
}

func virtualFolder(dir string) string { return filepath.Join(dir, "virtual") }

type virtualRun struct {
	Readers int `help:"Number of readers, 1 to 16." default:"2"`
}

func (virtualRun) Example() string { return "cardbureau virtual run --readers 2 --data /tmp/rehearsal" }

func (c virtualRun) Run(ctx context.Context, g *globals) error {
	cfg, err := bureau.LoadConfig(g.Data)
	if err != nil {
		return err
	}
	if err := needDevelopment(cfg); err != nil {
		return err
	}
	return runRack(ctx, g.Data, c.Readers, nil, func(d *pcscd.Daemon, _ rack.Client) error {
		if g.JSON {
			return printJSON(map[string]any{"PCSCLITE_CSOCK_NAME": d.Socket(), "readers": d.Slots()})
		}
		fmt.Println("PCSCLITE_CSOCK_NAME:", d.Socket())
		for _, s := range d.Slots() {
			fmt.Println("reader:", s.Reader)
		}
		return nil
	})
}

// runRack runs a private pcscd and a rack until ctx ends; ready is called when
// both work, and leave, which may be nil, before they stop.
func runRack(user context.Context, dir string, readers int, leave func(context.Context, rack.Client), ready func(*pcscd.Daemon, rack.Client) error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(user))
	defer cancel()
	run := filepath.Join(dir, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		return err
	}
	d, err := pcscd.Start(ctx, pcscd.Options{Readers: readers, Dir: run})
	if err != nil {
		return err
	}
	defer d.Stop()
	// A socket's path is short: it lives beside the daemon's.
	control := filepath.Join(filepath.Dir(d.Socket()), "rack")
	// Beside every reader is an encoder, as a serial port, with a stripe a card.
	var slots []rack.Slot
	var ports []string
	for _, s := range d.Slots() {
		e := encoder.New(encoder.Dir(filepath.Join(virtualFolder(dir), "stripes")))
		port, err := e.Serve(ctx)
		if err != nil {
			return err
		}
		ports = append(ports, port)
		slots = append(slots, rack.Slot{Reader: s.Reader, Port: s.Port, Encoder: e})
	}
	// The rack answers once Ready has returned, and ready may ask it something.
	readied := make(chan error, 1)
	cfg := rack.Config{
		Dir: virtualFolder(dir), Slots: slots, ControlSocket: control, Factory: rehearsal.NewCard, Log: logger(),
		Ready: func() {
			go func() {
				err := d.Describe(control, ports...)
				if err == nil {
					err = ready(d, rack.Client{Socket: control})
				}
				if err != nil {
					cancel()
				}
				readied <- err
			}()
		},
	}
	go func() {
		select {
		case <-user.Done():
			if leave != nil {
				leave(ctx, rack.Client{Socket: control})
			}
			cancel()
		case <-d.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	err = rack.Run(ctx, cfg)
	select {
	case readyErr := <-readied:
		err = errors.Join(err, readyErr)
	default: // never became ready
	}
	return err
}

type virtualBlanks struct {
	N     int    `arg:"" help:"How many."`
	Batch uint16 `help:"Batch number of the delivery; 0 draws one."`
	Chip  string `help:"Chip profile of the blanks; that of the first product in the configuration when empty."`
}

func (virtualBlanks) Example() string { return "cardbureau virtual blanks 26 --data /tmp/rehearsal" }

func (c virtualBlanks) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoStore: true})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return err
	}
	if c.Batch == 0 {
		c.Batch = uint16(1 + rand.IntN(0xFFFE))
	}
	if c.Chip == "" {
		c.Chip = b.Profiles.Products[b.Config.Rules[0].Name].Chip
	}
	chip := b.Profiles.Chips[c.Chip]
	if chip == nil {
		return &exitError{exitUsage, fmt.Sprintf("no chip is named %q: see cardbureau profile list", c.Chip)}
	}
	list := filepath.Join(virtualFolder(b.Dir), fmt.Sprintf("delivery-%04X.csv", c.Batch))
	if err := os.MkdirAll(filepath.Dir(list), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(list, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("batch %04X was made before: %w", c.Batch, err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	_ = w.Write([]string{"serial", "chip", "batch"})
	for i := range c.N {
		blank, err := rehearsal.Blank(ctx, b.Vault, chip, c.Batch, uint32(i+1))
		if err != nil {
			return err
		}
		name, err := rack.NewBlank(virtualFolder(b.Dir), blank)
		blank.ZeroKeys()
		if err != nil {
			return err
		}
		_ = w.Write([]string{name, chip.Name, fmt.Sprintf("%04X", c.Batch)})
	}
	w.Flush()
	if err := errors.Join(w.Error(), f.Close()); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"blanks": c.N, "delivery": list})
	}
	fmt.Printf("%d software blanks; delivery list %s\n", c.N, list)
	return nil
}

type virtualRecords struct {
	N    int    `arg:"" help:"How many."`
	Seed uint64 `help:"Seed: the same gives the same people." default:"1"`
	From int    `help:"Leave out the first records." default:"0"`
	Bank string `help:"Which records bring a bank account: none, half (every second one) or all." enum:"none,half,all" default:"none"`
}

func (virtualRecords) Example() string {
	return "cardbureau virtual records 24 --data /tmp/rehearsal > records.jws"
}

func (c virtualRecords) Run(ctx context.Context, g *globals) error {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger(), NoStore: true})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return err
	}
	// The same seed on the same day gives the same records, so that a rehearsal
	// can be continued.
	issued := time.Now().UTC().Truncate(24 * time.Hour)
	o := sample.Options{N: c.From + c.N, Seed: c.Seed, Audience: b.Config.Audience, IssuedAt: issued}
	o.Bank = func(i int) bool { return c.Bank == "all" || c.Bank == "half" && i%2 == 0 }
	for i := c.From; i < o.N; i++ {
		payload, err := json.Marshal(sample.Make(o, i))
		if err != nil {
			return err
		}
		jws, err := b.Vault.SignTestRecord(ctx, payload)
		if err != nil {
			return err
		}
		if _, err := fmt.Println(jws); err != nil {
			return err
		}
	}
	return nil
}

type virtualInsert struct {
	Card string `arg:"" help:"Card number (as on the card), or the serial number of its chip."`
}

func (virtualInsert) Example() string {
	return "cardbureau virtual insert 4KD82MRXB --data /tmp/rehearsal"
}

func (c virtualInsert) Run(ctx context.Context, g *globals) error {
	im, serial, err := c.find(ctx, g)
	if err != nil {
		return err
	}
	// The card goes back to its bin, also one that a killed run left in the slot.
	takeOut := func(ctx context.Context, control rack.Client) {
		_, _ = control.Do(ctx, rack.Request{Op: "remove", Slot: 0})
	}
	put := func(control rack.Client, reader, socket string) error {
		takeOut(ctx, control)
		if _, err := control.Do(ctx, rack.Request{Op: "insert", Slot: 0, Card: serial}); err != nil {
			return err
		}
		if err := awaitCard(ctx, reader, socket); err != nil {
			return err
		}
		return showInserted(g, im, reader, socket)
	}
	// Readers that run for this folder already are used; else ours run.
	if r, err := pcscd.ReadReaders(filepath.Join(g.Data, "run")); err == nil && len(r.Readers) > 0 {
		control := rack.Client{Socket: r.Readers[0].Control}
		if _, err := control.Do(ctx, rack.Request{Op: "status"}); err == nil {
			if err := put(control, r.Readers[0].Name, r.Socket); err != nil {
				return err
			}
			<-ctx.Done()
			takeOut(context.WithoutCancel(ctx), control)
			return nil
		}
	}
	return runRack(ctx, g.Data, 1, takeOut, func(d *pcscd.Daemon, control rack.Client) error {
		return put(control, d.Slots()[0].Reader, d.Socket())
	})
}

// awaitCard waits until PC/SC has seen the card, so that software that is told
// of it finds it.
func awaitCard(ctx context.Context, reader, socket string) error {
	if err := pcsc.UseSocket(socket); err != nil {
		return err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return err
	}
	defer pc.Close()
	_, err = pc.WaitCard(ctx, reader)
	return err
}

// showInserted prints what reader software needs to find and open the card.
func showInserted(g *globals, im *image.Image, reader, socket string) error {
	if im == nil { // a card that is not issued has nothing to open it with yet
		if g.JSON {
			return printJSON(map[string]string{"reader": reader, "PCSCLITE_CSOCK_NAME": socket})
		}
		fmt.Printf("reader: %s\nPCSCLITE_CSOCK_NAME: %s\n", reader, socket)
		fmt.Fprintln(os.Stderr, "The card is in the reader. Ctrl-C takes it out.")
		return nil
	}
	if g.JSON {
		return printJSON(map[string]string{
			"reader": reader, "PCSCLITE_CSOCK_NAME": socket, "documentNumber": im.DocumentNumber,
			"birthDate": im.BirthDate, "expiry": im.ExpiryDate, "can": im.CAN,
		})
	}
	fmt.Printf("reader: %s\nPCSCLITE_CSOCK_NAME: %s\ndocument number: %s\nbirth date: %s\nexpiry: %s\nCAN: %s\n",
		reader, socket, im.DocumentNumber, im.BirthDate, im.ExpiryDate, im.CAN)
	fmt.Fprintln(os.Stderr, "The card is in the reader. Ctrl-C takes it out.")
	return nil
}

// find reads what opens the card: it is printed on a real one.
func (c virtualInsert) find(ctx context.Context, g *globals) (*image.Image, string, error) {
	b, err := bureau.Open(ctx, g.Data, bureau.Options{Log: logger()})
	if err != nil {
		return nil, "", err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return nil, "", err
	}
	actor, err := b.Actor(ctx, "operator", "rehearsal", "cli")
	if err != nil {
		return nil, "", err
	}
	card, err := b.Store.CardByNumber(ctx, c.Card, "rehearsal", actor)
	if err != nil {
		card, err = b.Store.CardBySerial(ctx, c.Card, "rehearsal", actor)
	}
	if err != nil {
		// A blank, or a card in doubt, goes by its chip's serial number.
		for _, bin := range rack.Bins {
			if names, lerr := rack.Cards(virtualFolder(b.Dir), bin); lerr == nil && slices.Contains(names, c.Card) {
				return nil, c.Card, nil
			}
		}
		if errors.Is(err, store.ErrNotFound) {
			err = explained{fmt.Sprintf("no issued card has the number, and no software card or SIM the name %q", c.Card), err}
		}
		return nil, "", err
	}
	im, err := image.Open(ctx, b.Vault, card.PersonID, vault.DataKey(card.Key), card.Image)
	return im, card.Serial, err
}
