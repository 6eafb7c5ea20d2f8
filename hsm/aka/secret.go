package aka

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is key material or an authentication result: K, OP, OPc, TOP, TOPc,
// XRES, CK, IK, AK, Kc, SRES. However it is printed it reads [redacted].
type Secret []byte

// String hides the value.
func (Secret) String() string { return redacted }

// Format hides the value from every verb of package fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the value from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value from encoders of text and JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Zero overwrites the value.
func (s Secret) Zero() { clear(s) }
