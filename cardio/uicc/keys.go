package uicc

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// AlgorithmError says that a kind of SIM cannot be programmed for a subscription's
// algorithm. Nothing was written.
type AlgorithmError struct{ Kind, Algorithm string }

func (e *AlgorithmError) Error() string {
	return fmt.Sprintf("uicc: a SIM of kind %s cannot authenticate by %s, which its subscription is for: nothing was written", e.Kind, strings.ToUpper(e.Algorithm))
}

// TUAKParameters are what an operator chose of TUAK (TS 35.231 clause 5.1), lengths in
// bytes.
type TUAKParameters struct {
	MAC        int // 8, 16 or 32
	RES        int // 4, 8, 16 or 32
	Keys       int // CK and IK each: 16 or 32
	Iterations int // of the permutation, 1 to 255
}

// Bits of the first two bytes of EF.USIM_AUTH_KEY for TUAK.
const (
	tuakAlgorithm = 0x06
	tuakOPc       = 0x10
	tuakLongK     = 0x40
	tuakLongKeys  = 0x40 // of the second byte
)

// EncodeTUAK makes EF.USIM_AUTH_KEY of sysmocom's SJA5 for TUAK, 51 or 67 bytes: a byte
// that has the length of K, that TOPc follows, and the algorithm; a byte with the
// lengths of CK and IK (bit 7), of MAC (bits 4 to 6) and of RES (bits 1 to 3); the
// number of iterations; TOPc; K. It is the layout that osmocom's pySim writes. ErrValue
// for keys and parameters that TUAK has not.
func EncodeTUAK(k, topc Secret, p *TUAKParameters) ([]byte, error) {
	if p == nil || len(topc) != 32 || len(k) != 16 && len(k) != 32 || p.Iterations < 1 || p.Iterations > 255 || p.Keys != 16 && p.Keys != 32 {
		return nil, fmt.Errorf("%w: TUAK has K of 16 or 32 bytes, TOPc of 32, CK and IK of the same length and 1 to 255 iterations", ErrValue)
	}
	mac, res := slices.Index([]int{8, 16, 32}, p.MAC), slices.Index([]int{4, 8, 16, 32}, p.RES)
	if mac < 0 || res < 0 {
		return nil, fmt.Errorf("%w: TUAK has a MAC of 8, 16 or 32 bytes and RES of 4, 8, 16 or 32", ErrValue)
	}
	b := []byte{tuakOPc | tuakAlgorithm, byte(mac<<3 | res), byte(p.Iterations)}
	if len(k) == 32 {
		b[0] |= tuakLongK
	}
	if p.Keys == 32 {
		b[1] |= tuakLongKeys
	}
	return append(append(b, topc...), k...), nil
}

// Algorithm is Milenage or TUAK.
func (s *Subscription) Algorithm() string {
	if s.TUAK != nil {
		return TUAK
	}
	return Milenage
}

// has reports whether a file is written: it has no condition, or what that names is
// there.
func (s *Subscription) has(f SIMFile) bool {
	switch f.If {
	case "spn":
		return s.SPN != ""
	case "msisdn":
		return s.MSISDN != ""
	case "ota":
		return len(s.OTA[f.otaName()]) > 0
	case Milenage, TUAK:
		return s.Algorithm() == f.If
	}
	return true
}

// fits says, before anything is written, what a blank of a kind could not be given.
func (s *Subscription) fits(k *Kind) error {
	if !k.Has(s.Algorithm()) {
		return &AlgorithmError{k.Name, s.Algorithm()}
	}
	if len(s.OTA) > 0 {
		placed := 0
		for _, f := range k.Programming {
			if f.Value != "ota" {
				continue
			}
			if _, ok := s.OTA[f.otaName()]; ok {
				placed++
			}
		}
		if placed != len(s.OTA) {
			return fmt.Errorf("%w: the subscription has keys over the air for which kind %s has no place", ErrValue, k.Name)
		}
	}
	for _, f := range k.Programming {
		if f.Value != "ota" || !s.has(f) {
			continue
		}
		if _, err := f.otaKey(s.OTA[f.otaName()]); err != nil {
			return err
		}
	}
	return nil
}

// Keys over the air (EF.0348_KEY of sysmocom's cards, as osmocom's pySim reads it): a
// record is the security domain, the key set, a byte that has the length of checksums
// (bit 8), the algorithm (bit 7), the key's length in units of 8 bytes (bits 4 to 6)
// and what the key is for (bits 1 and 2), then the key. What follows is FF.
const (
	otaShortMAC = 0x80
	otaAES      = 0x40
	otaKinds    = 0x03
	otaEvery    = 0x03 // a key for every purpose
	otaHeader   = 3
)

var otaKeys = []string{"kic", "kid", "kik"} // in the order of their codes

func (f SIMFile) isKey() bool {
	return f.SecurityDomain != nil && *f.SecurityDomain >= 0 && *f.SecurityDomain <= 0xFF && f.KeySet >= 1 && f.KeySet <= 3 && slices.Contains(otaKeys, f.Key) &&
		(f.Algorithm == "" || f.Algorithm == "des" || f.Algorithm == "aes") && (f.MAC == 0 || f.MAC == 4 || f.MAC == 8) &&
		f.Offset == 0 && f.Prefix == "" && (f.If == "" || f.If == "ota")
}

// secret reports whether a card may keep the file from being read.
func (f SIMFile) secret() bool { return f.Value == "keys" || f.Value == TUAK || f.Value == "ota" }

// otaName is how a subscription names the key: KIC1.
func (f SIMFile) otaName() string { return fmt.Sprintf("%s%d", strings.ToUpper(f.Key), f.KeySet) }

// otaKey is a record without what follows the key.
func (f SIMFile) otaKey(key Secret) ([]byte, error) {
	aes := f.Algorithm == "aes"
	switch n := len(key); {
	case n == 0:
		return nil, fmt.Errorf("%w: the blank is to be given a key %s for messages over the air, and the subscription has none", ErrValue, f.otaName())
	case n != 16 && n != 24 && (n != 32 || !aes):
		return nil, fmt.Errorf("%w: key %s has %d bytes: for triple DES 16 or 24, for AES 16, 24 or 32", ErrValue, f.otaName(), n)
	}
	about := byte(len(key)/8<<3 | slices.Index(otaKeys, f.Key))
	if aes {
		about |= otaAES
	}
	if f.MAC == 4 {
		about |= otaShortMAC
	}
	return append([]byte{byte(*f.SecurityDomain), byte(f.KeySet), about}, key...), nil
}

// keyRecord is the record that has a key of the same domain, set and purpose, or else
// one whose key is for every purpose, or else the first free one. So a try that follows
// one that was cut off meets the same record.
func (c *Card) keyRecord(ctx context.Context, f SIMFile, file *FCP) (int, error) {
	if file.RecordLength <= otaHeader {
		return 0, fmt.Errorf("file %s: %w: keys over the air are records", f.Path, ErrMalformed)
	}
	want := []byte{byte(*f.SecurityDomain), byte(f.KeySet), byte(slices.Index(otaKeys, f.Key))}
	free, shared := 0, 0
	for n := 1; n <= file.Records; n++ {
		record, err := c.ReadRecord(ctx, f.Path, n)
		if err != nil {
			return 0, err
		}
		empty := len(bytes.Trim(record, "\xFF")) == 0
		set := len(record) > otaHeader && bytes.Equal(record[:2], want[:2])
		same := set && record[2]&otaKinds == want[2]
		every := set && record[2]&otaKinds == otaEvery
		clear(record)
		switch {
		case empty && free == 0:
			free = n
		case !empty && same:
			return n, nil
		case !empty && every && shared == 0:
			shared = n
		}
	}
	if shared > 0 {
		return shared, nil
	}
	if free == 0 {
		return 0, fmt.Errorf("file %s: %w: it has no record for key %s of security domain %02X, and none is free", f.Path, ErrValue, f.otaName(), *f.SecurityDomain)
	}
	return free, nil
}
