package encoder

import (
	"context"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Serve puts the device behind a pseudo terminal until ctx ends, and returns the
// path that a host opens as its serial port.
func (e *Encoder) Serve(ctx context.Context) (path string, err error) {
	master, slave, err := pty.Open()
	if err != nil {
		return "", fmt.Errorf("encoder: a pseudo terminal: %w", err)
	}
	// The line carries bytes, not lines: without echo, and open while no host is.
	if err := raw(slave); err != nil {
		_ = master.Close()
		_ = slave.Close()
		return "", err
	}
	go func() {
		<-ctx.Done()
		_ = e.Close()
		_ = master.Close()
		_ = slave.Close()
	}()
	go func() {
		buf := make([]byte, 512)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			_, _ = e.Write(buf[:n])
		}
	}()
	go func() {
		buf := make([]byte, 512)
		for {
			n, err := e.Read(buf)
			if err != nil {
				return
			}
			if n > 0 {
				if _, err := master.Write(buf[:n]); err != nil {
					return
				}
			}
		}
	}()
	return slave.Name(), nil
}

func raw(f *os.File) error {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("encoder: the pseudo terminal: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL
	return unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}
