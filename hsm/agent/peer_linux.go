package agent

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Credentials are those of the process at the other end of a unix socket when
// it connected, or when it began to listen (SO_PEERCRED, unix(7)).
type Credentials struct {
	PID int
	UID int
}

// PeerCredentials asks the kernel who is at the other end.
func PeerCredentials(c *net.UnixConn) (Credentials, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Credentials{}, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Credentials{}, err
	}
	if inner != nil {
		return Credentials{}, fmt.Errorf("ask for the peer's credentials: %w", inner)
	}
	return Credentials{PID: int(cred.Pid), UID: int(cred.Uid)}, nil
}
