package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"cardbureau/cardio/pcsc"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/line"
	"cardbureau/personalization/profile"
)

type readerCommand struct {
	List  readerList  `cmd:"" help:"List the readers and what is in them."`
	Watch readerWatch `cmd:"" help:"Print a line for each reader and card that comes or goes, until Ctrl-C."`
}

// readers opens PC/SC: the virtual readers that run for the data folder, or
// the machine's. Close what it returns.
func openReaders(g *globals) (*pcsc.Context, error) {
	if _, _, err := bureau.UseReaders(g.Data); err != nil {
		return nil, err
	}
	pc, err := pcsc.Open()
	return pc, noService(err)
}

// noService says what to do when there is no PC/SC service.
func noService(err error) error {
	if errors.Is(err, pcsc.ErrServiceDown) {
		return fmt.Errorf("no readers: start pcscd, or software readers with cardbureau virtual run (%w)", err)
	}
	return err
}

// answerPatience is how long a card may take to be asked who it is.
const answerPatience = 10 * time.Second

type readerList struct {
	Identify bool `help:"Ask each reader for its serial number and each card what chip it is, which takes them for a moment: not while a line works on these readers."`
}

func (readerList) Example() string { return "cardbureau reader list --identify --data /srv/bureau" }

// readerRow is a reader as list and watch show it.
type readerRow struct {
	Reader string `json:"reader"`
	Serial string `json:"serial,omitempty"` // the reader's own
	Card   bool   `json:"card"`
	ATR    string `json:"atr,omitempty"`
	// Chip is the profile that the card fits: by its answer to reset alone, or
	// with Blank, its serial number, by what it says of itself.
	Chip    string `json:"chip,omitempty"`
	Blank   string `json:"blank,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func (r readerRow) String() string {
	s := r.Reader
	if r.Serial != "" {
		s += ", serial number " + r.Serial
	}
	switch {
	case !r.Card:
		s += ": empty"
	case r.ATR == "":
		s += ": a card"
	default:
		s += ": a card, ATR " + r.ATR
	}
	switch {
	case r.Blank != "":
		s += fmt.Sprintf(", chip %s, serial number %s", r.Chip, r.Blank)
	case r.Chip != "":
		s += ", perhaps " + r.Chip
	}
	if r.Problem != "" {
		s += "; " + r.Problem
	}
	return s
}

func (c readerList) Run(ctx context.Context, g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	pc, err := openReaders(g)
	if err != nil {
		return err
	}
	defer pc.Close()
	names, err := pc.Readers()
	if err != nil {
		return err
	}
	if len(names) == 0 && !g.JSON {
		fmt.Println("No reader is there: plug one in, or run cardbureau virtual run")
	}
	for _, name := range names {
		row := look(ctx, pc, set, name, c.Identify)
		if g.JSON {
			if err := printJSON(row); err != nil {
				return err
			}
			continue
		}
		fmt.Println(row)
	}
	return nil
}

// look says what is in a reader.
func look(ctx context.Context, pc *pcsc.Context, set *profile.Set, reader string, identify bool) readerRow {
	row := readerRow{Reader: reader, Serial: pcsc.SerialInName(reader)}
	if identify && row.Serial == "" {
		row.Serial, _ = pc.Serial(ctx, reader) // a reader in use does not say
	}
	present, err := pc.Present(reader)
	if err != nil || !present {
		if err != nil {
			row.Problem = err.Error()
		}
		return row
	}
	row.Card = true
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	atr, err := pc.WaitCard(ctx, reader)
	if err != nil {
		row.Problem = "the card does not answer"
		return row
	}
	row.ATR = fmt.Sprintf("%X", atr)
	row.Chip = chipsByATR(set, atr)
	if identify {
		row.identify(ctx, pc, set)
	}
	return row
}

// identify asks the card.
func (r *readerRow) identify(ctx context.Context, pc *pcsc.Context, set *profile.Set) {
	conn, err := pc.Connect(ctx, r.Reader)
	if err != nil {
		r.Problem = err.Error()
		return
	}
	defer conn.Close(pcsc.Reset)
	chip, serial, err := line.Identify(ctx, conn, conn.ATR(), set)
	if err != nil {
		r.Chip, r.Problem = "", err.Error()
		return
	}
	r.Chip, r.Blank = chip.Name, serial
}

// chipsByATR names the chip profiles that an answer to reset fits. Several
// chips may have the same one: only the card's CPLC tells them apart.
func chipsByATR(set *profile.Set, atr []byte) string {
	var names []string
	for name, c := range set.Chips {
		if c.ATR.Match(atr) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, " or ")
}

type readerWatch struct{}

func (readerWatch) Example() string { return "cardbureau reader watch --data /srv/bureau" }

// change is a line of reader watch.
type change struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"` // reader-added, reader-removed, card-in, card-out, card-mute
	Reader string    `json:"reader"`
	ATR    string    `json:"atr,omitempty"`
	Chip   string    `json:"chip,omitempty"` // profiles that the ATR fits
}

var changeText = map[string]string{
	"reader-added": "reader is there", "reader-removed": "reader is gone",
	"card-in": "card in", "card-out": "empty", "card-mute": "a card that does not answer",
}

func (c change) String() string {
	s := fmt.Sprintf("%s  %s: %s", c.At.Local().Format(time.TimeOnly), c.Reader, changeText[c.Event])
	if c.ATR != "" {
		s += ", ATR " + c.ATR
	}
	if c.Chip != "" {
		s += ", perhaps " + c.Chip
	}
	return s
}

// watcher prints changes from several readers.
type watcher struct {
	set *profile.Set
	mu  sync.Mutex
	put func(change)
}

func (w *watcher) tell(event, reader string, atr []byte) {
	c := change{At: time.Now().UTC(), Event: event, Reader: reader}
	if atr != nil {
		c.ATR, c.Chip = fmt.Sprintf("%X", atr), chipsByATR(w.set, atr)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(c)
}

func (readerWatch) Run(ctx context.Context, g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	pc, err := openReaders(g)
	if err != nil {
		return err
	}
	defer pc.Close()
	w := &watcher{set: set, put: func(c change) {
		if g.JSON {
			_ = printJSON(c)
			return
		}
		fmt.Println(c)
	}}
	if err := w.readers(ctx, pc); ctx.Err() == nil {
		return err
	}
	return nil // Ctrl-C is how it ends
}

// readers watches the list of readers, and each reader beside it.
func (w *watcher) readers(ctx context.Context, pc *pcsc.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stops := map[string]context.CancelFunc{}
	var known []string
	for {
		now, err := pc.WaitForChange(ctx, known)
		if err != nil {
			return err
		}
		for _, name := range known {
			if !slices.Contains(now, name) {
				stops[name]()
				delete(stops, name)
				w.tell("reader-removed", name, nil)
			}
		}
		for _, name := range now {
			if slices.Contains(known, name) {
				continue
			}
			w.tell("reader-added", name, nil)
			one, stop := context.WithCancel(ctx)
			stops[name] = stop
			wg.Go(func() {
				if err := w.reader(one, name); err != nil && one.Err() == nil && !errors.Is(err, pcsc.ErrNoReader) {
					fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
				}
			})
		}
		known = now
	}
}

// reader tells of the cards in one reader. It never connects to them, so that
// a line may work beside it.
func (w *watcher) reader(ctx context.Context, name string) error {
	pc, err := pcsc.Open()
	if err != nil {
		return err
	}
	defer pc.Close()
	present, err := pc.Present(name)
	if err != nil {
		return err
	}
	if !present {
		w.tell("card-out", name, nil)
	}
	for {
		atr, err := pc.WaitCard(ctx, name)
		switch {
		case err == nil:
			w.tell("card-in", name, atr)
		case errors.Is(err, pcsc.ErrUnresponsive):
			w.tell("card-mute", name, nil)
		default:
			return err
		}
		if err := pc.WaitRemoved(ctx, name); err != nil {
			return err
		}
		w.tell("card-out", name, nil)
	}
}
