package bureau_test

import (
	"context"
	"testing"

	"cardbureau/personalization/line"
	"cardbureau/personalization/line/rehearsal"
)

// TestLineWaitsForPreparation: a line that starts with the lot finds its order
// whenever its image becomes ready, however the two meet.
func TestLineWaitsForPreparation(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	actor, err := b.Actor(ctx, "operator", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	const n = 12
	chip := b.Profiles.Chips["virtual-gp"]
	tray, err := rehearsal.NewTray(ctx, b.Vault, chip, 1, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store.ImportBlanks(ctx, tray.List(chip.Name, "0001"), actor); err != nil {
		t.Fatal(err)
	}
	jobs, err := b.StartPreparation(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Stop(context.WithoutCancel(ctx))
	l, closeLine, err := b.Line(ctx, actor, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLine()
	reader := rehearsal.NewReader("A", tray)
	in := records(t, b, n)
	for i := range n {
		var one []byte
		one, in = cutLine(in)
		takeIn(t, b, one)
		sum, err := l.Run(ctx, []line.Slot{reader.Slot()})
		if err != nil || sum.Issued != 1 {
			t.Fatalf("record %d: %+v, %v", i+1, sum, err)
		}
	}
}

func cutLine(b []byte) (line, rest []byte) {
	for i, c := range b {
		if c == '\n' {
			return b[:i+1], b[i+1:]
		}
	}
	return b, nil
}
