package lds

import (
	"encoding/asn1"
	"fmt"

	"cardbureau/cardio/lds/ec"
)

// SecurityInfos are what EF.CardAccess and DG14 say about the chip's
// protocols (9303-11 section 9.2). Objects that this package does not know
// are kept in Other.
type SecurityInfos struct {
	PACE       []PACEInfo
	ChipAuth   []ChipAuthenticationInfo
	PublicKeys []ChipAuthenticationPublicKeyInfo
	ActiveAuth []ActiveAuthenticationInfo
	Other      []asn1.ObjectIdentifier
}

// Mapping is how PACE maps the nonce to a generator.
type Mapping byte

// The mappings of 9303-11 section 4.4.3.
const (
	GenericMapping            Mapping = 'G'
	IntegratedMapping         Mapping = 'I'
	ChipAuthenticationMapping Mapping = 'C'
)

// PACEInfo is one way to do PACE that the chip offers.
type PACEInfo struct {
	OID     asn1.ObjectIdentifier
	Version int // 2
	// Parameter is the standardized domain parameter; −1 when the object
	// names none, or when the parameters are the document's own.
	Parameter int
	EC        bool
	Mapping   Mapping
	Cipher    Cipher
}

// ChipAuthenticationInfo is one way to do chip authentication.
type ChipAuthenticationInfo struct {
	OID     asn1.ObjectIdentifier
	Version int // 1; 2 is a protocol of its own
	KeyID   int // −1 when absent
	EC      bool
	Cipher  Cipher
}

// ChipAuthenticationPublicKeyInfo is a key that the chip holds.
type ChipAuthenticationPublicKeyInfo struct {
	KeyID int // −1 when absent
	// Curve and Point are the key; Curve is nil where the key is not on a
	// standardized curve, and Problem says why.
	Curve   *ec.Curve
	Point   []byte
	Problem error
}

var (
	oidPACE     = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 4}
	oidChipAuth = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 3}
	oidPK       = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 1}
	oidECKey    = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
)

// ParseSecurityInfos takes the DER of a SET OF SecurityInfo apart: the
// content of EF.CardAccess, or what DG14 holds in tag 6E. Trailing bytes are
// an error.
func ParseSecurityInfos(der []byte) (*SecurityInfos, error) {
	var set asn1.RawValue
	rest, err := asn1.Unmarshal(der, &set)
	if err != nil || len(rest) != 0 || set.Tag != asn1.TagSet || set.Class != asn1.ClassUniversal || !set.IsCompound {
		return nil, fmt.Errorf("%w: SecurityInfos are no single SET", ErrMalformed)
	}
	infos := &SecurityInfos{}
	for b := set.Bytes; len(b) > 0; {
		var info struct {
			Protocol asn1.ObjectIdentifier
			Required asn1.RawValue
			Optional asn1.RawValue `asn1:"optional"`
		}
		if b, err = asn1.Unmarshal(b, &info); err != nil {
			return nil, fmt.Errorf("%w: a SecurityInfo: %v", ErrMalformed, err)
		}
		if err := infos.add(info.Protocol, info.Required, info.Optional); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

func (s *SecurityInfos) add(oid asn1.ObjectIdentifier, required, optional asn1.RawValue) error {
	switch {
	case under(oid, oidPACE) && len(oid) == len(oidPACE)+2:
		info := PACEInfo{OID: oid, Parameter: -1}
		if err := integers(required, optional, &info.Version, &info.Parameter); err != nil {
			return fmt.Errorf("%w: PACEInfo: %w", ErrMalformed, err)
		}
		mapping := oid[len(oidPACE)]
		info.EC = mapping%2 == 0
		info.Mapping = map[int]Mapping{1: GenericMapping, 2: GenericMapping, 3: IntegratedMapping,
			4: IntegratedMapping, 6: ChipAuthenticationMapping}[mapping]
		info.Cipher = cipherOf(oid[len(oid)-1])
		s.PACE = append(s.PACE, info)
	case under(oid, oidChipAuth) && len(oid) == len(oidChipAuth)+2:
		info := ChipAuthenticationInfo{OID: oid, KeyID: -1, EC: oid[len(oidChipAuth)] == 2, Cipher: cipherOf(oid[len(oid)-1])}
		if err := integers(required, optional, &info.Version, &info.KeyID); err != nil {
			return fmt.Errorf("%w: ChipAuthenticationInfo: %w", ErrMalformed, err)
		}
		s.ChipAuth = append(s.ChipAuth, info)
	case under(oid, oidPK) && len(oid) == len(oidPK)+1:
		info := ChipAuthenticationPublicKeyInfo{KeyID: -1}
		if err := integer(optional, &info.KeyID); err != nil {
			return fmt.Errorf("%w: ChipAuthenticationPublicKeyInfo: %w", ErrMalformed, err)
		}
		if oid[len(oid)-1] != 2 {
			info.Problem = fmt.Errorf("%w: chip authentication with modular Diffie-Hellman", ErrNotSupported)
		} else {
			info.Curve, info.Point, info.Problem = publicKey(required)
		}
		s.PublicKeys = append(s.PublicKeys, info)
	case oid.Equal(oidActiveAuth):
		info := ActiveAuthenticationInfo{}
		if err := integer(required, &info.Version); err != nil || len(required.FullBytes) == 0 {
			return fmt.Errorf("%w: ActiveAuthenticationInfo has no version", ErrMalformed)
		}
		if rest, err := asn1.Unmarshal(optional.FullBytes, &info.Algorithm); err != nil || len(rest) != 0 {
			return fmt.Errorf("%w: ActiveAuthenticationInfo names no algorithm", ErrMalformed)
		}
		s.ActiveAuth = append(s.ActiveAuth, info)
	default:
		s.Other = append(s.Other, oid)
	}
	return nil
}

// cipherOf maps the last arc of PACE's and chip authentication's object
// identifiers; 0 is none known.
func cipherOf(arc int) Cipher {
	if arc < 1 || arc > 4 {
		return 0
	}
	return Cipher(arc)
}

func publicKey(raw asn1.RawValue) (*ec.Curve, []byte, error) {
	var key struct {
		Algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if rest, err := asn1.Unmarshal(raw.FullBytes, &key); err != nil || len(rest) != 0 {
		return nil, nil, fmt.Errorf("%w: the chip's public key", ErrMalformed)
	}
	var curve *ec.Curve
	var err error
	switch {
	case key.Algorithm.OID.Equal(oidECKey):
		curve, err = ec.FromParameters(key.Algorithm.Parameters.FullBytes)
	case key.Algorithm.OID.Equal(asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 1, 2}): // standardizedDomainParameters, BSI TR-03110-3 A.2.1.1
		var id int
		if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &id); err != nil {
			return nil, nil, fmt.Errorf("%w: the chip's domain parameter", ErrMalformed)
		}
		curve, err = ec.ByID(id)
	default:
		err = fmt.Errorf("%w: a key of algorithm %v", ErrNotSupported, key.Algorithm.OID)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := curve.Check(key.Key.Bytes); err != nil {
		return nil, nil, err
	}
	return curve, key.Key.Bytes, nil
}

func under(oid, root asn1.ObjectIdentifier) bool {
	return len(oid) >= len(root) && oid[:len(root)].Equal(root)
}

func integers(required, optional asn1.RawValue, a, b *int) error {
	if len(required.FullBytes) == 0 {
		return fmt.Errorf("no version")
	}
	if err := integer(required, a); err != nil {
		return err
	}
	return integer(optional, b)
}

// integer reads an INTEGER; an absent one leaves the value as it is.
func integer(raw asn1.RawValue, v *int) error {
	if len(raw.FullBytes) == 0 {
		return nil
	}
	rest, err := asn1.Unmarshal(raw.FullBytes, v)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("trailing bytes")
	}
	return err
}

// usablePACE picks the strongest PACEInfo that this package speaks: the
// longest key, then the first. Without one, the error says what the chip
// offers instead.
func (s *SecurityInfos) usablePACE() (info PACEInfo, curve *ec.Curve, ambiguous bool, err error) {
	err = fmt.Errorf("%w: the chip offers no PACE", ErrNotSupported)
	found := false
	for _, p := range s.PACE {
		c, problem := p.curve()
		if problem != nil {
			if !found {
				err = problem
			}
			continue
		}
		if !found || p.Cipher > info.Cipher {
			info, curve, found = p, c, true
		}
	}
	if !found {
		return PACEInfo{}, nil, false, err
	}
	same := 0
	for _, p := range s.PACE {
		if p.OID.Equal(info.OID) {
			same++
		}
	}
	return info, curve, same > 1, nil
}

func (p PACEInfo) curve() (*ec.Curve, error) {
	switch {
	case !p.EC:
		return nil, fmt.Errorf("%w: PACE over modular Diffie-Hellman (%v)", ErrNotSupported, p.OID)
	case p.Mapping == IntegratedMapping:
		return nil, fmt.Errorf("%w: PACE with integrated mapping (%v)", ErrNotSupported, p.OID)
	case p.Mapping == ChipAuthenticationMapping:
		return nil, fmt.Errorf("%w: PACE with chip authentication mapping (%v)", ErrNotSupported, p.OID)
	case p.Mapping != GenericMapping || p.Cipher == 0:
		return nil, fmt.Errorf("%w: PACE of kind %v", ErrNotSupported, p.OID)
	case p.Version != 2:
		return nil, fmt.Errorf("%w: PACE version %d", ErrNotSupported, p.Version)
	case p.Parameter < 0:
		return nil, fmt.Errorf("%w: PACE with domain parameters of the document's own", ErrNotSupported)
	}
	c, err := ec.ByID(p.Parameter)
	if err != nil {
		return nil, fmt.Errorf("%w: PACE: %w", ErrNotSupported, err)
	}
	return c, nil
}
