package virtual

import (
	"errors"
	"fmt"
)

// KeyType is what the keys of a set are for.
type KeyType byte

// Key types.
const (
	AES       KeyType = iota // SCP03; 16, 24 or 32 bytes
	TripleDES                // SCP02; two-key 3DES, 16 bytes
)

// Keys is a key set of a security domain: three keys of one type and
// the same length.
type Keys struct {
	Type          KeyType
	Version       byte // 01 … 7F; FF with QuirkFactoryVersion
	ENC, MAC, DEK []byte
}

// String names the version, never the keys.
func (k Keys) String() string { return fmt.Sprintf("key set %02X", k.Version) }

// GoString is String.
func (k Keys) GoString() string { return k.String() }

// Zero overwrites the keys.
func (k Keys) Zero() {
	clear(k.ENC)
	clear(k.MAC)
	clear(k.DEK)
}

func (k Keys) check() error {
	if (k.Version < 0x01 || k.Version > 0x7F) && k.Version != factoryVersion {
		return fmt.Errorf("virtual: key version %02X is outside 01…7F", k.Version)
	}
	n := len(k.ENC)
	same := len(k.MAC) == n && len(k.DEK) == n
	switch {
	case k.Type == AES && same && (n == 16 || n == 24 || n == 32):
	case k.Type == AES:
		return errors.New("virtual: a key set has three AES keys of the same length, 16, 24 or 32 bytes")
	case k.Type == TripleDES && same && n == 16:
	case k.Type == TripleDES:
		return errors.New("virtual: a key set of SCP02 has three 3DES keys of 16 bytes")
	default:
		return fmt.Errorf("virtual: there is no key type %d", k.Type)
	}
	return nil
}
