package virtual

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"
	"slices"

	"cardbureau/cardio/apdu"
)

// isSingle says whether PUT KEY carries one key that is no part of a set: P2
// without b8, and a version from 70 on.
func isSingle(cmd apdu.Command) bool {
	return cmd.P2&0x80 == 0 && cmd.P2 != 0 && len(cmd.Data) > 0 && cmd.Data[0] >= firstSingleVersion
}

// putSingleKey is PUT KEY (GPC_SPE_034 v2.3.1 section 11.8, tables 11-67 to
// 11-69) of a key for tokens (version 70), receipts (71, secret) or load files
// (73). Data: version, then one of
//
//	88 or 80, length, [key length with 88,] key under the DEK, 03, check value
//	A1, length, modulus of 128 bytes, A0, length, exponent, 00
//	B0, 41, point of P-256, F0 01 00, 00
//
// P1 is the version to replace, of the same key identifier, or 00 to add one.
func (c *Chip) putSingleKey(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	k := singleKey{version: cmd.Data[0], id: cmd.P2}
	if cmd.P1&0x80 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	if k.version != tokenKeyVersion && k.version != receiptKeyVersion && k.version != dapKeyVersion {
		return nil, apdu.SWWrongData
	}
	kcv, sw := c.readSingle(&k, cmd.Data[1:])
	if !sw.OK() {
		return nil, sw
	}
	public := k.kind == keyTypeRSAModulus || k.kind == keyTypeECPublic
	if public && k.version == receiptKeyVersion || !public && k.version == tokenKeyVersion || c.ownKeys().keySet(k.version) != nil {
		return nil, apdu.SWWrongData
	}
	ring := c.ownKeys()
	_, exists := ring.single(k.version, k.id)
	if cmd.P1 == 0 {
		if exists {
			return nil, apdu.SWWrongData
		}
		if len(ring.singles) >= maxKeySets {
			return nil, apdu.SWNotEnoughMemory
		}
	} else {
		old, ok := ring.single(cmd.P1, k.id)
		if !ok {
			return nil, apdu.SWReferencedDataNotFound
		}
		if cmd.P1 != k.version && exists {
			return nil, apdu.SWWrongData
		}
		ring.deleteSingle(old)
	}
	ring.putSingle(k)
	return append([]byte{k.version}, kcv...), apdu.SWSuccess
}

// readSingle reads the key data field and checks the check value.
func (c *Chip) readSingle(k *singleKey, b []byte) (kcv []byte, sw apdu.StatusWord) {
	if len(b) == 0 {
		return nil, apdu.SWWrongData
	}
	f := fields{b: b[1:]}
	switch k.kind = b[0]; k.kind {
	case keyTypeAES, keyType3DES:
		key, kcv, rest, sw := c.keyField(k.kind, b)
		if sw.OK() && len(rest) != 0 {
			sw = apdu.SWWrongData
		}
		k.value = slices.Clone(key)
		return kcv, sw
	case keyTypeRSAModulus:
		k.value = slices.Clone(f.long())
		if f.bad || len(f.b) == 0 || f.b[0] != keyTypeRSAExponent {
			return nil, apdu.SWWrongData
		}
		f.b = f.b[1:]
		k.second = slices.Clone(f.long())
		check := f.next()
		e := new(big.Int).SetBytes(k.second)
		if !f.end() || len(check) != 0 || len(k.value) != 128 || k.value[0] < 0x80 || k.value[127]&1 == 0 ||
			len(k.second) > 4 || e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0 {
			return nil, apdu.SWWrongData
		}
		return nil, apdu.SWSuccess
	case keyTypeECPublic:
		k.value = slices.Clone(f.long())
		if f.bad || !bytes.Equal(f.b, []byte{keyTypeECReference, 1, 0, 0}) {
			return nil, apdu.SWWrongData
		}
		if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.value); err != nil {
			return nil, apdu.SWWrongData
		}
		return nil, apdu.SWSuccess
	}
	return nil, swAlgorithmNotSupported
}
