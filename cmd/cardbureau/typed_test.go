package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal: what people hold, and what the program reads.
func terminal(t *testing.T) (people, program *os.File) {
	t.Helper()
	people, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { people.Close() })
	n, err := unix.IoctlGetInt(int(people.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(people.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return people, program
}

// shows reports whether a terminal shows what is typed.
func shows(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// TestHidden: a PIN is not shown, and who gives up waiting for one leaves the terminal as
// it was, with no half PIN in it for whatever reads next.
func TestHidden(t *testing.T) {
	people, program := terminal(t)
	// ask asks, and calls then once the terminal shows nothing.
	ask := func(then func(cancel func())) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for shows(t, program) && ctx.Err() == nil {
				<-tick.C
			}
			then(cancel)
		}()
		text, err := hidden(ctx, program, "")
		return string(text), err
	}
	text, err := ask(func(func()) { fmt.Fprintln(people, "753190") })
	if err != nil || text != "753190" || !shows(t, program) {
		t.Fatalf("%q, %v", text, err)
	}
	if _, err = ask(func(cancel func()) { fmt.Fprint(people, "7531"); cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if !shows(t, program) {
		t.Error("the terminal shows nothing any more")
	}
	fmt.Fprintln(people, "ls") // the next line, and the reader that was left behind takes it
	if seen, err := io.ReadAll(io.LimitReader(people, int64(len("\r\nls")))); err != nil || strings.Contains(string(seen), "7531") {
		t.Errorf("on the screen: %q, %v", seen, err)
	}
}

// TestHiddenTooLate: who has given up before anything was asked, as between two prompts,
// finds the terminal as it was, also once a reader that was left behind comes to run.
func TestHiddenTooLate(t *testing.T) {
	people, program := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if text, err := hidden(ctx, program, ""); !errors.Is(err, context.Canceled) || text != nil {
			t.Fatalf("%q, %v", text, err)
		}
	}
	fmt.Fprintln(people, "ls")
	if text, err := typedLine(program); string(text) != "ls" || err != nil { // nobody else waits for it
		t.Errorf("%q, %v", text, err)
	}
	if !shows(t, program) {
		t.Error("the terminal shows nothing any more")
	}
}

// TestLines: where standard input ends, it says what was waited for; and it is waited for
// no longer than there is time.
func TestLines(t *testing.T) {
	in := &asked{bufio.NewReader(strings.NewReader("a\r\n"))}
	if b, err := in.line(t.Context(), "IMSI: "); string(b) != "a" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := in.line(t.Context(), "IMSI: "); err == nil || !strings.Contains(err.Error(), "ended before IMSI") {
		t.Error(err)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&linePINs{in: bufio.NewReader(r)}).Current(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
