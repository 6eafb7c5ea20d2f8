package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SocketArgument is the flag that [Start] appends to the child's arguments,
// followed by the path of the socket to listen on.
const SocketArgument = "--socket"

// announcement is the one line that a child writes on standard output.
type announcement struct {
	Ready bool   `json:"ready,omitempty"`
	Code  string `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

// Run is the child's side of [Start]: it listens on the socket at path, says on
// standard output that it is ready, and serves until ctx is done or standard
// input ends, which it does when the parent closes it or dies.
func Run(ctx context.Context, s *Server, path string) error {
	l, err := Listen(path)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent writes nothing: the end of the stream is the message.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := announce(announcement{Ready: true}); err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Fail is the child's other answer: it tells the parent why there will be no
// service. code is the error's class, see [Coder].
func Fail(code string, err error) {
	// The parent may be gone already: there is no one else to tell.
	_ = announce(announcement{Code: code, Error: err.Error()})
}

func announce(a announcement) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell the parent process: %w", err)
	}
	return nil
}

// Listen makes a unix socket that only the own user can open. Its folder must
// exist; anything else at path is an error.
func Listen(path string) (*net.UnixListener, error) {
	// The kernel takes 107 bytes and a zero (unix(7)).
	if len(path) > 107 {
		return nil, fmt.Errorf("the socket's path has %d bytes, at most 107 are possible", len(path))
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("the socket's folder: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the socket's folder %s is open to other users (mode %o, 700 is needed)", filepath.Dir(path), info.Mode().Perm())
	}
	old := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on the agent's socket: %w", err)
	}
	return l, nil
}

func parseAnnouncement(line []byte) (announcement, error) {
	var a announcement
	if err := json.Unmarshal(line, &a); err != nil {
		return a, errors.New("the HSM agent answered something that is not its protocol")
	}
	return a, nil
}
