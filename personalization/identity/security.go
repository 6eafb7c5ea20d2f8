package identity

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"cardbureau/cardio/tlv"
)

// What the chip says it can do (Doc 9303-11, 4.4, 6.2 and 9.2).
var (
	oidPACEGMAES128 = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 4, 2, 2} // id-PACE-ECDH-GM-AES-CBC-CMAC-128
	oidCAAES128     = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 3, 2, 2} // id-CA-ECDH-AES-CBC-CMAC-128
	oidPKECDH       = asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 1, 2}    // id-PK-ECDH
)

const (
	paceVersion   = 2
	paceP256      = 12 // standardized domain parameters: NIST P-256 (Doc 9303-11, table 6)
	caVersion     = 1
	chipPointSize = 65 // uncompressed point on P-256
)

func paceInfo() []byte {
	return sequence(oid(oidPACEGMAES128), number(paceVersion), number(paceP256))
}

// CardAccess builds EF.CardAccess: SecurityInfos with one PACEInfo, PACE with
// generic mapping on P-256 and AES-128 (Doc 9303-11, 9.2.11): 22 bytes, the
// same on every card.
func CardAccess() []byte { return set(paceInfo()) }

// DG14 builds EF.DG14 (Doc 9303-10, 4.7.14; Doc 9303-11, 9.2): the PACEInfo of
// EF.CardAccess again, now under the issuer's signature; ChipAuthenticationInfo
// (ECDH, AES-128); and the chip's public key, a point on P-256 in uncompressed
// form (04 ‖ X ‖ Y, 65 bytes), with explicit domain parameters. With no key it
// holds the PACEInfo alone, for a chip that proves itself otherwise.
func DG14(chipPublicKey []byte) ([]byte, error) {
	s := suites[0]
	if chipPublicKey == nil {
		return tlv.Encode(0x6E, set(paceInfo())), nil
	}
	if len(chipPublicKey) != chipPointSize {
		return nil, fmt.Errorf("%w: the chip's public key has %d bytes, not %d", ErrDataGroup, len(chipPublicKey), chipPointSize)
	}
	if _, err := ecdsa.ParseUncompressedPublicKey(s.curve, chipPublicKey); err != nil {
		return nil, fmt.Errorf("%w: the chip's public key is no point of P-256", ErrDataGroup)
	}
	return tlv.Encode(0x6E, setOf([][]byte{
		paceInfo(),
		sequence(oid(oidCAAES128), number(caVersion)),
		sequence(oid(oidPKECDH), s.pointInfo(chipPublicKey)),
	})), nil
}

// DG15 builds EF.DG15 (Doc 9303-10, 4.7.15): the public key of active
// authentication as SubjectPublicKeyInfo, DER. It takes RSA keys of 1,024 to
// 4,096 bits: on a curve DG14 would have to say the signature's algorithm too.
func DG15(publicKeyInfo []byte) ([]byte, error) {
	public, err := x509.ParsePKIXPublicKey(publicKeyInfo)
	if err != nil {
		return nil, fmt.Errorf("%w: the key of active authentication is no SubjectPublicKeyInfo", ErrDataGroup)
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 1024 || key.N.BitLen() > 4096 {
		return nil, fmt.Errorf("%w: the key of active authentication is no RSA key of 1,024 to 4,096 bits", ErrDataGroup)
	}
	return tlv.Encode(0x6F, publicKeyInfo), nil
}
