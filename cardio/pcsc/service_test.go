package pcsc_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/pcscd/pcscdtest"
)

// other starts a daemon that may die, and has pcsc use it.
func other(t *testing.T) *pcscd.Daemon {
	t.Helper()
	d, err := pcscd.Start(t.Context(), pcscd.Options{Readers: 1, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	pcscdtest.Use(t, d.Socket())
	return d
}

func die(t *testing.T, d *pcscd.Daemon) {
	if err := syscall.Kill(d.PID(), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-d.Done()
}

// wantService: the service is down, and nobody says that a card was pulled out.
func wantService(t *testing.T, err error) {
	t.Helper()
	wantError(t, err, pcsc.ErrServiceDown)
	if errors.Is(err, pcsc.ErrRemoved) || errors.Is(err, pcsc.ErrNoCard) {
		t.Errorf("a dead service is taken for a removed card: %v", err)
	}
}

// TestServiceDies: a daemon that dies, between commands and during one, is told
// from a card that is pulled out; once one runs again, the same Context works.
func TestServiceDies(t *testing.T) {
	slot(t, 0)
	d := other(t)
	idle := open(t)
	if _, err := idle.Readers(); err != nil {
		t.Fatal(err)
	}
	_, conn := connected(t, d.Slots()[0], atrT1, echo)
	if _, err := conn.Transmit(deadline(t), []byte{0, 1, 0, 0}); err != nil {
		t.Fatal(err)
	}
	die(t, d)
	_, err := conn.Transmit(deadline(t), []byte{0, 2, 0, 0})
	wantService(t, err)
	wantService(t, conn.Reset(deadline(t), true))
	_, err = idle.Readers()
	wantService(t, err)
	_, err = idle.WaitCard(deadline(t), d.Slots()[0].Reader)
	wantService(t, err)
	_, err = pcsc.Open()
	wantService(t, err)

	// During a command.
	d = other(t)
	names, err := idle.Readers()
	if err != nil || len(names) == 0 {
		t.Fatalf("the service is back: %q, %v", names, err)
	}
	next := d
	_, conn = connected(t, d.Slots()[0], atrT1, func([]byte) []byte {
		die(t, next)
		return []byte{0x90, 0x00}
	})
	_, err = conn.Transmit(deadline(t), []byte{0, 3, 0, 0})
	wantService(t, err)
	wantError(t, err, apdu.ErrInDoubt)

	// While waiting for a card.
	d = other(t)
	waiting := make(chan error, 1)
	began := open(t)
	if _, err := began.Present(d.Slots()[0].Reader); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := began.WaitCard(context.Background(), d.Slots()[0].Reader)
		waiting <- err
	}()
	die(t, d)
	wantService(t, <-waiting)

	d = other(t)
	pcscdtest.Insert(t, d.Slots()[0], atrT1, echo)
	if _, err := idle.WaitCard(deadline(t), d.Slots()[0].Reader); err != nil {
		t.Fatal(err)
	}
	again, err := idle.Connect(deadline(t), d.Slots()[0].Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Transmit(deadline(t), []byte{0, 4, 0, 0}); err != nil {
		t.Error(err)
	}
	if err := again.Close(pcsc.Leave); err != nil {
		t.Error(err)
	}
}

// TestReadersOfTheDaemon: the virtual readers have no serial number, and are
// chosen by name and pattern.
func TestReadersOfTheDaemon(t *testing.T) {
	s := slot(t, 1)
	c := open(t)
	all, err := c.Readers()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Choose(deadline(t), all, []string{s.Reader})
	if err != nil || len(got) != 1 || got[0] != s.Reader {
		t.Errorf("%q, %v", got, err)
	}
	got, err = c.Choose(deadline(t), all, []string{"Virtual*"})
	if err != nil || len(got) != len(all) {
		t.Errorf("%q, %v", got, err)
	}
	var wrong *pcsc.ChoiceError
	if _, err := c.Choose(deadline(t), all, []string{"4711"}); !errors.As(err, &wrong) {
		t.Errorf("no reader has this serial number: %v", err)
	}
	if serial, err := c.Serial(deadline(t), s.Reader); err != nil || serial != "" {
		t.Errorf("serial number %q, %v", serial, err)
	}
}
