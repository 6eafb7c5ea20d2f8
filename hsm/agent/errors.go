package agent

import "errors"

// ErrGone says that the agent process ended while a call was under way, or
// could not be started: whether the call was executed is not known.
var ErrGone = errors.New("the HSM agent is gone")

// ErrClosed says that the process was closed by its owner.
var ErrClosed = errors.New("the HSM agent was closed")

// ErrPeer says that the process at the other end of a socket is not the one
// that may be there.
var ErrPeer = errors.New("the process at the other end of the socket is not the expected one")

// ErrUnavailable says that the agent process cannot be used and will not be
// started again by itself, because its last words named a cause that a restart
// cannot mend (a wrong PIN, say: trying again could lock the token).
var ErrUnavailable = errors.New("the HSM agent does not start")

// CodeInternal is the class of an error that names no other.
const CodeInternal = "internal"

// CodeCancelled is the class of a call that ended because its caller went
// away or its time was up.
const CodeCancelled = "cancelled"

// codeMethod answers a method that the agent does not know.
const codeMethod = "unknown-method"

// RemoteError is an error that a handler returned in the agent process.
type RemoteError struct {
	Code string // the class, as the handler's [Coder] named it
	Text string // one sentence; holds no secret
}

func (e *RemoteError) Error() string { return e.Text }

// Coder names the class of an error for the wire. It is asked for every error
// that a handler returns.
type Coder func(error) string
