package virtual

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/virtual/nvm"
)

// CardState is the card life cycle state (GPC_SPE_034 v2.3.1 section 5.1.1,
// table 11-6).
type CardState byte

// Card life cycle states.
const (
	OpReady     CardState = 0x01
	Initialized CardState = 0x07
	Secured     CardState = 0x0F
	CardLocked  CardState = 0x7F
	Terminated  CardState = 0xFF
)

// Application life cycle states (GPC_SPE_034 v2.3.1 table 11-4). States of
// the application's own are xxxxx111 up to 7F.
const (
	AppInstalled  byte = 0x03
	AppSelectable byte = 0x07
	appLockedBit  byte = 0x80
)

// chipSpace is where the chip's own data lives in the memory; an applet's is
// appSpace and its AID.
const (
	chipSpace = "chip"
	appSpace  = "app:"
)

// application is one entry of the GlobalPlatform registry.
type application struct {
	aid, module, loadFile []byte
	privileges            uint32
	state                 byte   // the lock bit included
	order                 uint16 // position in the registry
	extra                 extra
	ring                  *keyring // of a supplementary security domain: its own keys
	code                  Applet   // RAM: the instance since power-up
}

func (a *application) locked() bool     { return a.state&appLockedBit != 0 }
func (a *application) selectable() bool { return !a.locked() && a.state&0x07 == 0x07 }

// keySet is one key version of a security domain.
type keySet struct {
	typ           KeyType
	version       byte
	enc, mac, dek []byte
	order         uint16
	failures      byte   // failed authentications in a row
	sequence      uint32 // SCP03: the last counter used, 3 bytes; SCP02: the next one, 2 bytes

	encKey, macKey, dekKey *aesKey // of a set of AES keys
	des                    struct{ enc, mac, dek *desKey }
}

// public is the set as a blank has it.
func (k *keySet) public() Keys {
	return Keys{Type: k.typ, Version: k.version, ENC: k.enc, MAC: k.mac, DEK: k.dek}
}

func (k *keySet) prepare() {
	if k.typ == TripleDES {
		k.des.enc, k.des.mac, k.des.dek = mustDESKey(k.enc), mustDESKey(k.mac), mustDESKey(k.dek)
		return
	}
	k.encKey, k.macKey, k.dekKey = mustAESKey(k.enc), mustAESKey(k.mac), mustAESKey(k.dek)
}

// registry is the chip's own persistent data and its picture in RAM.
type registry struct {
	keyring // of the issuer security domain
	options
	mem *nvm.Memory

	atr, isd, kdd, cplc []byte
	scp                 byte // the parameter i
	limit               byte
	state               CardState
	memory              uint32 // bytes for load files and reservations
	confirmations       uint16 // receipts given
	extraPrivileges     uint32 // of the issuer security domain
	packages            []Package
	loadFiles           []LoadFile
	apps                []*application
}

// ErrNoCard means that the memory holds no card, or a damaged one.
var ErrNoCard = errors.New("virtual: the memory holds no card")

func loadRegistry(mem *nvm.Memory) (r registry, err error) {
	s := mem.Space(chipSpace)
	r = registry{keyring: keyring{space: s}, mem: mem, atr: s.Get("atr"), isd: s.Get("isd"), kdd: s.Get("kdd"), cplc: s.Get("cplc")}
	i, limit, state := s.Get("i"), s.Get("limit"), s.Get("state")
	if len(r.atr) == 0 || len(r.isd) == 0 || len(r.kdd) != 10 || len(r.cplc) != 42 ||
		len(i) != 1 || len(limit) != 1 || len(state) != 1 {
		return r, ErrNoCard
	}
	r.scp, r.limit, r.state = i[0], limit[0], CardState(state[0])
	if r.options, err = loadOptions(s); err != nil {
		return r, err
	}
	if err := r.loadKeys(); err != nil {
		return r, err
	}
	if err := r.loadContentFacts(); err != nil {
		return r, err
	}
	for _, k := range s.Keys("elf/") {
		f, err := decodeLoadFile(s.Get(k))
		if err != nil {
			return r, err
		}
		if err := f.decodeExtra(s.Get("elfx/" + aidKey(f.AID))); err != nil {
			return r, err
		}
		r.loadFiles = append(r.loadFiles, f)
	}
	r.loadFiles = append(r.loadFiles, domainLoadFile())
	for _, k := range s.Keys("app/") {
		a, err := decodeApplication(s.Get(k))
		if err != nil {
			return r, err
		}
		if err := a.decodeExtra(s.Get("appx/" + aidKey(a.aid))); err != nil {
			return r, err
		}
		if a.isDomain() {
			a.ring = &keyring{space: r.domainSpace(a)}
			if err := a.ring.loadKeys(); err != nil {
				return r, err
			}
		}
		r.apps = append(r.apps, a)
	}
	slices.SortFunc(r.apps, func(a, b *application) int { return int(a.order) - int(b.order) })
	if len(r.keys) == 0 {
		return r, ErrNoCard
	}
	return r, nil
}

func aidKey(aid []byte) string { return strings.ToUpper(hex.EncodeToString(aid)) }

// fields reads length-prefixed fields.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) next() []byte {
	if len(f.b) == 0 || len(f.b) < 1+int(f.b[0]) {
		f.bad = true
		return nil
	}
	v := f.b[1 : 1+int(f.b[0])]
	f.b = f.b[1+len(v):]
	return v
}

func (f *fields) end() bool { return !f.bad && len(f.b) == 0 }

func field(dst, v []byte) []byte { return append(append(dst, byte(len(v))), v...) }

func (r *registry) putState(s CardState) {
	r.state = s
	r.space.Set("state", []byte{byte(s)})
}

// putKeySet stores a key set at a position of the order in which the card
// looks for its default keys.
func (r *keyring) putKeySet(k *keySet, order uint16) {
	k.order = order
	v := []byte{byte(order >> 8), byte(order)}
	for _, key := range [][]byte{k.enc, k.mac, k.dek} {
		v = field(v, key)
	}
	if k.typ != AES {
		v = field(v, []byte{byte(k.typ)})
	}
	r.space.Set(fmt.Sprintf("key/%02X", k.version), v)
	r.putCounters(k)
}

// putCounters stores what changes with every session.
func (r *keyring) putCounters(k *keySet) {
	n := k.sequence
	r.space.Set(fmt.Sprintf("count/%02X", k.version), []byte{k.failures, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (r *keyring) deleteKeySet(k *keySet) {
	r.space.Delete(fmt.Sprintf("key/%02X", k.version))
	r.space.Delete(fmt.Sprintf("count/%02X", k.version))
	r.keys = slices.DeleteFunc(r.keys, func(o *keySet) bool { return o == k })
}

func decodeKeySet(name string, v []byte) (*keySet, error) {
	version, err := hex.DecodeString(strings.TrimPrefix(name, "key/"))
	if err != nil || len(version) != 1 || len(v) < 2 {
		return nil, ErrNoCard
	}
	f := fields{b: v[2:]}
	k := &keySet{version: version[0], order: uint16(v[0])<<8 | uint16(v[1]), enc: f.next(), mac: f.next(), dek: f.next()}
	if !f.end() {
		typ := f.next()
		if len(typ) != 1 {
			return nil, ErrNoCard
		}
		k.typ = KeyType(typ[0])
	}
	if !f.end() || k.public().check() != nil {
		return nil, ErrNoCard
	}
	k.prepare()
	return k, nil
}

// keySet finds a version; 00 is the default, the first in order
// (GPC_SPE_014 section 7.1.1.2).
func (r *keyring) keySet(version byte) *keySet {
	for _, k := range r.keys {
		if version == 0 || k.version == version {
			return k
		}
	}
	return nil
}

func (r *registry) putLoadFile(f LoadFile) {
	v := field(nil, f.AID)
	v = append(v, f.Version[:]...)
	for _, m := range f.Modules {
		v = field(v, m)
	}
	r.space.Set("elf/"+aidKey(f.AID), v)
	setOrDelete(r.space, "elfx/"+aidKey(f.AID), f.encodeExtra())
}

func decodeLoadFile(v []byte) (LoadFile, error) {
	f := fields{b: v}
	out := LoadFile{AID: f.next()}
	if f.bad || len(f.b) < 2 {
		return out, ErrNoCard
	}
	copy(out.Version[:], f.b)
	f.b = f.b[2:]
	for len(f.b) > 0 && !f.bad {
		out.Modules = append(out.Modules, f.next())
	}
	if f.bad {
		return out, ErrNoCard
	}
	return out, nil
}

// putApplication stores an entry; a new one goes to the end of the order.
func (r *registry) putApplication(a *application) {
	if !slices.Contains(r.apps, a) {
		for _, o := range r.apps {
			a.order = max(a.order, o.order+1)
		}
		r.apps = append(r.apps, a)
	}
	p := a.privileges
	v := []byte{byte(a.order >> 8), byte(a.order), a.state, byte(p >> 16), byte(p >> 8), byte(p)}
	for _, f := range [][]byte{a.aid, a.module, a.loadFile} {
		v = field(v, f)
	}
	r.space.Set("app/"+aidKey(a.aid), v)
	setOrDelete(r.space, "appx/"+aidKey(a.aid), a.extra.encode())
}

func (r *registry) deleteApplication(a *application) {
	r.space.Delete("app/" + aidKey(a.aid))
	r.space.Delete("appx/" + aidKey(a.aid))
	r.apps = slices.DeleteFunc(r.apps, func(o *application) bool { return o == a })
}

func decodeApplication(v []byte) (*application, error) {
	if len(v) < 6 {
		return nil, ErrNoCard
	}
	a := &application{
		order: uint16(v[0])<<8 | uint16(v[1]), state: v[2],
		privileges: uint32(v[3])<<16 | uint32(v[4])<<8 | uint32(v[5]),
	}
	f := fields{b: v[6:]}
	a.aid, a.module, a.loadFile = f.next(), f.next(), f.next()
	if !f.end() {
		return nil, ErrNoCard
	}
	return a, nil
}

// application finds an entry by its whole AID.
func (r *registry) application(aid []byte) *application {
	for _, a := range r.apps {
		if bytes.Equal(a.aid, aid) {
			return a
		}
	}
	return nil
}

// cardReset is the application that is selected after a reset; nil is the
// issuer security domain.
func (r *registry) cardReset() *application {
	for _, a := range r.apps {
		if a.isDefault() && a.selectable() {
			return a
		}
	}
	return nil
}
