package virtual

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
)

// Key types (GPC_SPE_034 v2.3.1 table 11-16).
const (
	keyType3DES = 0x80 // mode implicitly known
	keyTypeAES  = 0x88
)

// coded is the type as key information and PUT KEY name it.
func (t KeyType) coded() byte {
	if t == TripleDES {
		return keyType3DES
	}
	return keyTypeAES
}

// Status words of PUT KEY (GPC_SPE_034 v2.3.1 table 11-73).
const (
	swAlgorithmNotSupported apdu.StatusWord = 0x9484
	swInvalidKeyCheckValue  apdu.StatusWord = 0x9485
)

// maxKeySets bounds what the card keeps.
const maxKeySets = 8

// putKey is PUT KEY (GPC_SPE_034 v2.3.1 section 11.8, GPC_SPE_014 section
// 7.2) of a whole key set: P1 the version to replace or 00 to add one, P2 =
// 81, data: new version, then three times in SCP03
//
//	88, length of the next two, key length, key under the DEK (CBC, zero IV,
//	AES-192 filled to 32 bytes), 03, key check value
//
// and in SCP02
//
//	80, 10, key under the session's DEK (ECB), 03, key check value
//
// The three keys change together or not at all. A session goes on under the
// keys that it was opened with.
func (c *Chip) putKey(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if isSingle(cmd) {
		return c.putSingleKey(cmd)
	}
	if cmd.P1&0x80 != 0 || cmd.P2 != 0x81 {
		return nil, apdu.SWIncorrectP1P2
	}
	if len(cmd.Data) < 1 {
		return nil, apdu.SWWrongData
	}
	k := &keySet{version: cmd.Data[0], typ: keyTypeOf(c.link().protocol)}
	out := []byte{k.version}
	rest := cmd.Data[1:]
	for _, key := range []*[]byte{&k.enc, &k.mac, &k.dek} {
		value, kcv, tail, sw := c.keyField(k.typ.coded(), rest)
		if !sw.OK() {
			return nil, sw
		}
		*key, rest = value, tail
		out = append(out, kcv...)
	}
	if len(rest) != 0 {
		return nil, apdu.SWWrongData
	}
	if k.version == factoryVersion || k.public().check() != nil {
		return nil, apdu.SWWrongData
	}
	k.prepare()
	return c.replaceKeys(cmd.P1, k, out)
}

// keyField reads one key of PUT KEY of a type, AES or 3DES, deciphers it under
// the DEK of the session and checks its check value.
func (c *Chip) keyField(typ byte, b []byte) (key, kcv, rest []byte, sw apdu.StatusWord) {
	if len(b) < 3 {
		return nil, nil, nil, apdu.SWWrongData
	}
	if b[0] != typ {
		return nil, nil, nil, swAlgorithmNotSupported
	}
	n := int(b[1])
	if len(b) < 2+n+4 {
		return nil, nil, nil, apdu.SWWrongData
	}
	enciphered, check, rest := b[2:2+n], b[2+n:2+n+4], b[2+n+4:]
	size := 16
	if b[0] == keyTypeAES {
		size = int(b[2])
		if n != 1+(size+15)/16*16 {
			return nil, nil, nil, apdu.SWWrongData
		}
		enciphered = enciphered[1:]
	} else if n != size {
		return nil, nil, nil, apdu.SWWrongData
	}
	if size != 16 && size != 24 && size != 32 || check[0] != 3 {
		return nil, nil, nil, apdu.SWWrongData
	}
	key = c.session.dek.decipher(enciphered)[:size]
	if b[0] == keyTypeAES {
		kcv = mustAESKey(key).kcv()
	} else {
		kcv = mustDESKey(key).kcv()
	}
	if !bytes.Equal(kcv, check[1:]) {
		return nil, nil, nil, swInvalidKeyCheckValue
	}
	return key, kcv, rest, apdu.SWSuccess
}

func (c *Chip) replaceKeys(old byte, k *keySet, out []byte) ([]byte, apdu.StatusWord) {
	ring := c.ownKeys()
	if _, taken := ring.single(k.version, 0); taken {
		return nil, apdu.SWWrongData
	}
	if old == 0 {
		if ring.keySet(k.version) != nil {
			return nil, apdu.SWWrongData
		}
		if len(ring.keys) >= maxKeySets {
			return nil, apdu.SWNotEnoughMemory
		}
		order := uint16(0)
		for _, o := range ring.keys {
			order = o.order + 1
		}
		ring.putKeySet(k, order)
		ring.keys = append(ring.keys, k)
		if factory := ring.keySet(factoryVersion); factory != nil {
			ring.deleteKeySet(factory) // see QuirkFactoryVersion
		}
		c.personalized()
		return out, apdu.SWSuccess
	}
	replaced := ring.keySet(old)
	if replaced == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if k.version != old && ring.keySet(k.version) != nil {
		return nil, apdu.SWWrongData
	}
	order := replaced.order
	at := slices.Index(ring.keys, replaced)
	ring.deleteKeySet(replaced)
	ring.putKeySet(k, order)
	ring.keys = slices.Insert(ring.keys, at, k)
	return out, apdu.SWSuccess
}
