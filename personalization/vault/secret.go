package vault

import (
	"fmt"
	"log/slog"
)

// Secret holds a PIN or a key. However it is printed, logged or encoded as
// text it reads [redacted]; its bytes are reached by conversion only.
type Secret []byte

const redacted = "[redacted]"

// Zero overwrites the secret.
func (s Secret) Zero() { clear(s) }

// String hides the secret.
func (s Secret) String() string { return redacted }

// Format hides the secret from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from text encodings, JSON among them.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
