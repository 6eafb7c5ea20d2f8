// Command console draws docs/console.svg: it runs the demo on a terminal of
// its own (a pseudo terminal of 124 columns), and draws what stands on the
// screen, once in the middle of the run and once at its end. The text is the
// program's own, character by character.
//
//	go build -o bin/cardbureau ./cmd/cardbureau
//	go run ./scripts/console bin/cardbureau docs/console.svg
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	columns = 124
	rows    = 60
	records = 24
	middle  = "] 13/24 cards" // the moment of the first picture
	from    = "— The line"    // the row where pictures begin
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: console PROGRAM PICTURE.svg")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program, picture string) error {
	// The program prints paths: short ones that are the same everywhere.
	folder := filepath.Join(os.TempDir(), "cardbureau-console")
	if err := os.Mkdir(folder, 0o711); err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	copied := filepath.Join(folder, "cardbureau")
	if err := copyProgram(program, copied); err != nil {
		return err
	}
	host, guest, err := openTerminal()
	if err != nil {
		return err
	}
	defer host.Close()
	cmd := exec.CommandContext(ctx, copied, "demo", "--records", fmt.Sprint(records), "--dir", filepath.Join(folder, "demo"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = guest, guest, guest
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	guest.Close()
	if err != nil {
		return err
	}
	s := newScreen()
	var half []string
	s.redrawn = func() {
		if half == nil && s.shows(middle) {
			half = s.lines(from)
		}
	}
	buf := make([]byte, 4096)
	for err == nil { // EIO: the last process on the terminal has ended
		var n int
		n, err = host.Read(buf)
		s.write(buf[:n])
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the demo: %w\n%s", err, strings.Join(s.lines(""), "\n"))
	}
	if half == nil {
		return errors.New("the demo never showed " + middle)
	}
	return os.WriteFile(picture, []byte(draw(half, s.lines(from))), 0o644)
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// openTerminal makes a pseudo terminal (pts(4)).
func openTerminal() (host, guest *os.File, err error) {
	host, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(host.Fd()), unix.TIOCGPTN)
	if err == nil {
		var unlocked int32
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, host.Fd(), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlocked)))
		if errno != 0 {
			err = errno
		}
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(host.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		guest, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		host.Close()
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	return host, guest, nil
}
