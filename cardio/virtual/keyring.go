package virtual

import (
	"fmt"
	"slices"

	"cardbureau/cardio/virtual/nvm"
)

// keyring is the keys of one security domain: key sets for its secure
// channels, and single keys for tokens, receipts and load files.
type keyring struct {
	space   nvm.Space
	keys    []*keySet // in the order they were put
	singles []singleKey
	own     *link // of channels with these keys, where it is not the card's
}

// Key versions of the single keys (GPC_SPE_034 v2.3.1 section 11.8.2 leaves
// them to the card; these are those of the GlobalPlatform UICC Configuration,
// GPC_GUI_010, which other cards took over).
const (
	firstSingleVersion byte = 0x70
	tokenKeyVersion    byte = 0x70
	receiptKeyVersion  byte = 0x71
	dapKeyVersion      byte = 0x73
)

// Key types of single keys, beside those of key sets (GPC_SPE_034 v2.3.1 table
// 11-16).
const (
	keyTypeRSAExponent byte = 0xA0
	keyTypeRSAModulus  byte = 0xA1
	keyTypeECPublic    byte = 0xB0
	keyTypeECReference byte = 0xF0
)

// singleKey is one key that is no part of a set. kind is the type of its first
// component: DES and AES keys are value alone; an RSA key has its modulus in
// value and its exponent in second; an EC key is an uncompressed point of
// P-256.
type singleKey struct {
	version, id, kind byte
	value, second     []byte
}

func (k singleKey) name() string { return fmt.Sprintf("single/%02X%02X", k.version, k.id) }

// String names the key, never its value.
func (k singleKey) String() string { return fmt.Sprintf("key %02X/%02X", k.version, k.id) }

// GoString is String.
func (k singleKey) GoString() string { return k.String() }

// information are type and length of each component, as key information data
// gives them.
func (k singleKey) information() []byte {
	b := []byte{k.id, k.version, k.kind, byte(len(k.value))}
	switch k.kind {
	case keyTypeRSAModulus:
		b = append(b, keyTypeRSAExponent, byte(len(k.second)))
	case keyTypeECPublic:
		b = append(b, keyTypeECReference, 1)
	}
	return b
}

// loadKeys reads what the space of the ring holds.
func (r *keyring) loadKeys() error {
	if err := r.loadLink(); err != nil {
		return err
	}
	for _, k := range r.space.Keys("key/") {
		set, err := decodeKeySet(k, r.space.Get(k))
		if err != nil {
			return err
		}
		c := r.space.Get(fmt.Sprintf("count/%02X", set.version))
		if len(c) != 4 {
			return ErrNoCard
		}
		set.failures, set.sequence = c[0], uint32(c[1])<<16|uint32(c[2])<<8|uint32(c[3])
		r.keys = append(r.keys, set)
	}
	slices.SortFunc(r.keys, func(a, b *keySet) int { return int(a.order) - int(b.order) })
	for _, k := range r.space.Keys("single/") {
		f := fields{b: r.space.Get(k)}
		head, value, second := f.next(), f.next(), f.next()
		if !f.end() || len(head) != 3 {
			return ErrNoCard
		}
		r.singles = append(r.singles, singleKey{version: head[0], id: head[1], kind: head[2], value: value, second: second})
	}
	return nil
}

// single finds a key of a version; id 00 is the first of it.
func (r *keyring) single(version, id byte) (singleKey, bool) {
	for _, k := range r.singles {
		if k.version == version && (id == 0 || k.id == id) {
			return k, true
		}
	}
	return singleKey{}, false
}

func (r *keyring) putSingle(k singleKey) {
	r.deleteSingle(k)
	r.space.Set(k.name(), field(field(field(nil, []byte{k.version, k.id, k.kind}), k.value), k.second))
	at, _ := slices.BinarySearchFunc(r.singles, k, func(a, b singleKey) int {
		return (int(a.version)<<8 | int(a.id)) - (int(b.version)<<8 | int(b.id))
	})
	r.singles = slices.Insert(r.singles, at, k)
}

func (r *keyring) deleteSingle(k singleKey) {
	r.space.Delete(k.name())
	r.singles = slices.DeleteFunc(r.singles, func(o singleKey) bool { return o.version == k.version && o.id == k.id })
}

// setOrDelete stores a value, or nothing where it is nil.
func setOrDelete(s nvm.Space, key string, value []byte) {
	switch {
	case value != nil:
		s.Set(key, value)
	case s.Get(key) != nil:
		s.Delete(key)
	}
}
