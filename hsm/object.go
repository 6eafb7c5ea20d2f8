package hsm

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

// developmentID starts CKA_ID of keys that are for development only; the rest
// of CKA_ID is the label, so that certificate, public and private key of one
// name share it.
const developmentID = "development:"

func objectID(label string, development bool) []byte {
	if development {
		return []byte(developmentID + label)
	}
	return []byte(label)
}

// objectKey names an object in the cache.
type objectKey struct {
	class uint
	label string
}

// object is a token object that was found.
type object struct {
	handle      pkcs11.ObjectHandle
	epoch       uint64
	keyType     uint
	bytes       int // length of a secret key
	development bool
}

// objectCache remembers where objects are, because a search costs more than
// most operations.
type objectCache struct {
	mu sync.Mutex
	m  map[objectKey]object
	// seen holds what was found since the module was initialized.
	seen map[objectKey]bool
}

func (c *objectCache) get(k objectKey) (object, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.m[k]
	return o, ok
}

func (c *objectCache) put(k objectKey, o object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[objectKey]object)
		c.seen = make(map[objectKey]bool)
	}
	c.m[k] = o
	c.seen[k] = true
}

// drop makes the next use look an object up again.
func (c *objectCache) drop(k objectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}

// forget is drop for what was destroyed.
func (c *objectCache) forget(k objectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
	delete(c.seen, k)
}

func (c *objectCache) wasSeen(k objectKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[k]
}

func (c *objectCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
	clear(c.seen)
}

// search returns the handles of all objects that fit a template. Without a
// login a token shows no private objects and calls that success, so nothing
// found is believed only while the login stands.
func (s *session) search(template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	found, err := s.find(template)
	if err == nil && len(found) == 0 && !s.loggedIn() {
		return nil, pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
	}
	return found, err
}

func (s *session) find(template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	s.token.counts.add(fnFindObjects)
	if err := s.mod.FindObjectsInit(s.h, template); err != nil {
		return nil, err
	}
	var out []pkcs11.ObjectHandle
	for {
		part, _, err := s.mod.FindObjects(s.h, 64)
		if err != nil {
			_ = s.mod.FindObjectsFinal(s.h)
			return nil, err
		}
		if len(part) == 0 {
			return out, s.mod.FindObjectsFinal(s.h)
		}
		out = append(out, part...)
	}
}

// attributes reads attributes, in order.
func (s *session) attributes(h pkcs11.ObjectHandle, types ...uint) ([][]byte, error) {
	s.token.counts.add(fnGetAttributeValue)
	template := make([]*pkcs11.Attribute, len(types))
	for i, typ := range types {
		template[i] = attr(typ, nil)
	}
	got, err := s.mod.GetAttributeValue(s.h, h, template)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(types))
	for i := range got {
		out[i] = got[i].Value
	}
	return out, nil
}

func (s *session) uintAttribute(h pkcs11.ObjectHandle, typ uint) (uint, error) {
	v, err := s.attributes(h, typ)
	if err != nil {
		return 0, err
	}
	return word64(v[0]), nil
}

// word64 reads a CK_ULONG, which is as long as the machine's words are.
func word64(b []byte) uint {
	switch len(b) {
	case 8:
		return uint(binary.NativeEndian.Uint64(b))
	case 4:
		return uint(binary.NativeEndian.Uint32(b))
	}
	return 0
}

func truth(b []byte) bool { return len(b) == 1 && b[0] != 0 }

// lookup finds the object of a class and label, in the cache first. With
// several of one label it takes the one with the lowest handle, always.
func (s *session) lookup(class uint, label string) (object, error) {
	k := objectKey{class, label}
	if o, ok := s.token.objects.get(k); ok && o.epoch == s.epoch {
		return o, nil
	}
	all, err := s.lookupAll(class, label)
	if err != nil {
		return object{}, err
	}
	if len(all) == 0 {
		if s.token.objects.wasSeen(k) {
			return object{}, fmt.Errorf("%w: %s", errVanished, label)
		}
		return object{}, fmt.Errorf("%w: %s", ErrNoKey, label)
	}
	s.token.objects.put(k, all[0])
	return all[0], nil
}

func (s *session) lookupAll(class uint, label string) ([]object, error) {
	handles, err := s.search(attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_LABEL, label), attr(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return nil, err
	}
	slices.Sort(handles)
	out := make([]object, 0, len(handles))
	for _, h := range handles {
		o := object{handle: h, epoch: s.epoch}
		id, err := s.attributes(h, pkcs11.CKA_ID)
		if err != nil {
			return nil, err
		}
		o.development = strings.HasPrefix(string(id[0]), developmentID)
		if class == pkcs11.CKO_SECRET_KEY || class == pkcs11.CKO_PRIVATE_KEY {
			if o.keyType, err = s.uintAttribute(h, pkcs11.CKA_KEY_TYPE); err != nil {
				return nil, err
			}
		}
		switch {
		case class != pkcs11.CKO_SECRET_KEY:
		case o.keyType == pkcs11.CKK_DES2:
			o.bytes = 16
		case o.keyType == pkcs11.CKK_DES3:
			o.bytes = 24
		default:
			n, err := s.uintAttribute(h, pkcs11.CKA_VALUE_LEN)
			if err != nil {
				return nil, err
			}
			o.bytes = int(n)
		}
		out = append(out, o)
	}
	return out, nil
}

// using runs fn with a token object; a handle that the module no longer knows
// is looked up again by do.
func (s *session) using(class uint, label string, fn func(object) error) error {
	o, err := s.lookup(class, label)
	if err != nil {
		return err
	}
	err = fn(o)
	if remedyFor(err) == remedyObject {
		s.token.objects.drop(objectKey{class, label})
	}
	return err
}

// Exists reports whether a secret or private key has that label, and whether
// it is for development only.
func (t *Token) Exists(ctx context.Context, label string) (exists, development bool, err error) {
	err = t.do(ctx, "find "+label, func(s *session) error {
		exists, development = false, false
		for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
			all, err := s.lookupAll(class, label)
			if err != nil {
				return err
			}
			for _, o := range all {
				exists, development = true, o.development
			}
		}
		return nil
	})
	return exists, development, err
}

// Destroy destroys everything of that label in the token: keys and
// certificates. ErrNoKey when there is nothing.
func (t *Token) Destroy(ctx context.Context, label string) error {
	return t.do(ctx, "destroy "+label, func(s *session) error {
		handles, err := s.search(attr(pkcs11.CKA_LABEL, label), attr(pkcs11.CKA_TOKEN, true))
		if err != nil {
			return err
		}
		if len(handles) == 0 {
			return fmt.Errorf("%w: %s", ErrNoKey, label)
		}
		for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE} {
			s.token.objects.forget(objectKey{class, label})
		}
		s.token.subkeys.Delete(label)
		for _, h := range handles {
			if err := s.destroy(h); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) destroy(h pkcs11.ObjectHandle) error {
	s.token.counts.add(fnDestroyObject)
	return s.mod.DestroyObject(s.h, h)
}
