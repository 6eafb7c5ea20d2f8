package gp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Types of the components of public keys (GPC_SPE_034 table 11-16).
const (
	KeyTypeRSAExponent  byte = 0xA0
	KeyTypeRSAModulus   byte = 0xA1
	KeyTypeECPublic     byte = 0xB0
	KeyTypeECParameters byte = 0xF0 // key parameter reference: which curve
)

// PublicKeyField is the key data field of a public key for PUT KEY, in the
// basic format (GPC_SPE_034 table 11-68): RSA as modulus and exponent, EC as
// the uncompressed point and the key parameter reference of its curve, and no
// key check value. It is an error for other keys and curves.
func PublicKeyField(public crypto.PublicKey) ([]byte, error) {
	component := func(dst []byte, kind byte, v []byte) []byte {
		return append(tlv.AppendLength(append(dst, kind), len(v)), v...)
	}
	var out []byte
	switch k := public.(type) {
	case *rsa.PublicKey:
		out = component(out, KeyTypeRSAModulus, k.N.Bytes())
		out = component(out, KeyTypeRSAExponent, big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		reference, _, err := curveOf(k)
		if err != nil {
			return nil, err
		}
		point, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("gp: %w", err)
		}
		out = component(component(out, KeyTypeECPublic, point), KeyTypeECParameters, []byte{reference})
	default:
		return nil, fmt.Errorf("gp: PUT KEY knows no public key of type %T", public)
	}
	return append(out, 0), nil
}

// PutPublicKeys puts public keys, numbered from firstID, in one PUT KEY: those
// by which a security domain verifies tokens (version 70) or DAP blocks
// (version 73) (GPC_SPE_034 11.8 and 11.1.9). replaced is the version that they
// replace, 0 to add them. RSA keys of 2,048 bits and more do not fit into one
// short command: see MoreCommands. CheckPutKeyResponse without components
// checks the answer, which has no check values.
func PutPublicKeys(replaced, version, firstID byte, keys ...crypto.PublicKey) (apdu.Command, error) {
	if len(keys) == 0 {
		return apdu.Command{}, errors.New("gp: PUT KEY of no key")
	}
	data := []byte{version}
	for _, k := range keys {
		field, err := PublicKeyField(k)
		if err != nil {
			return apdu.Command{}, err
		}
		data = append(data, field...)
	}
	p2 := firstID
	if len(keys) > 1 {
		p2 |= 0x80
	}
	return apdu.Command{CLA: 0x80, INS: 0xD8, P1: replaced, P2: p2, Data: data, Ne: apdu.MaxShortNe}, nil
}
