// Package agent runs a PKCS#11 module's owner as a process of its own and
// speaks with it over a unix socket.
//
// A call into a vendor's module that hangs cannot be cancelled, and one that
// crashes takes its process along. So the module lives in a child process: the
// parent holds a [Process], which starts the child, waits until it is ready,
// carries calls to it, starts a fresh one when it dies, and ends it together
// with the parent. The child holds a [Server] with handlers.
//
// The package knows nothing of keys or cards: what may be asked is decided by
// the handlers. Both ends check the other's credentials (SO_PEERCRED, see
// socket(7) and unix(7)): the server serves its own user and, unless told
// otherwise, its parent process alone; the client speaks only to the child
// that it started.
//
// On the wire a message is a length and two CBOR items (RFC 8949), at most
// [MaxMessage] bytes. Buffers that held a message are zeroed after use,
// because a message may carry a secret.
package agent
