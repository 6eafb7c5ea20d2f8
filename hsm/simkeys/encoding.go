package simkeys

import (
	"fmt"

	"cardbureau/hsm/aka"
)

// What is wrapped: a byte of version, one of flags; where the flag TUAK is set, MAC,
// RES, CK and IK in bytes and the iterations, a byte each; then K, OPc, and the keys of
// OTANames, each behind its length in a byte. Version 1 ended after K and OPc, 16 bytes
// each without lengths.
const (
	formatFirst   = 1
	formatVersion = 2

	flagBureau    = 0x01
	flagDelegated = 0x02
	flagTUAK      = 0x04
)

func (s Subscriber) encode() []byte {
	out := make([]byte, 2, 512)
	out[0] = formatVersion
	if s.Bureau {
		out[1] |= flagBureau
	}
	if s.Delegated {
		out[1] |= flagDelegated
	}
	if p := s.TUAK; p != nil {
		out[1] |= flagTUAK
		out = append(out, byte(p.MAC), byte(p.RES), byte(p.CK), byte(p.IK), byte(p.Iterations))
	}
	add := func(k aka.Secret) { out = append(append(out, byte(len(k))), k...) }
	add(s.K)
	add(s.OPc)
	for _, name := range OTANames {
		add(s.OTA[name])
	}
	return out
}

// decode reads what encode wrote. The keys are parts of b.
func decode(b []byte) (s Subscriber, err error) {
	bad := fmt.Errorf("%w: the wrapped keys are of another version", ErrInput)
	if len(b) == 2+2*keySize && b[0] == formatFirst && b[1]&^flagBureau == 0 {
		return Subscriber{K: b[2 : 2+keySize : 2+keySize], OPc: b[2+keySize:], Bureau: b[1] == flagBureau}, nil
	}
	if len(b) < 2 || b[0] != formatVersion || b[1]&^(flagBureau|flagDelegated|flagTUAK) != 0 {
		return s, bad
	}
	flags, rest := b[1], b[2:]
	s.Bureau, s.Delegated = flags&flagBureau != 0, flags&flagDelegated != 0
	if flags&flagTUAK != 0 {
		if len(rest) < 5 {
			return Subscriber{}, bad
		}
		s.TUAK = &aka.TUAKParameters{MAC: int(rest[0]), RES: int(rest[1]), CK: int(rest[2]), IK: int(rest[3]), Iterations: int(rest[4])}
		rest = rest[5:]
	}
	next := func() (k aka.Secret) {
		if len(rest) == 0 || int(rest[0]) > len(rest)-1 {
			rest = nil
			return nil
		}
		n := 1 + int(rest[0])
		k, rest = aka.Secret(rest[1:n:n]), rest[n:]
		return k
	}
	s.K, s.OPc = next(), next()
	for _, name := range OTANames {
		if k := next(); len(k) > 0 {
			if s.OTA == nil {
				s.OTA = map[string]aka.Secret{}
			}
			s.OTA[name] = k
		}
	}
	if rest == nil || len(rest) != 0 || s.check() != nil {
		return Subscriber{}, bad
	}
	return s, nil
}
