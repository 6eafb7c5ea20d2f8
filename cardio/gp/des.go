package gp

import (
	"context"
	"fmt"
)

// desBlock is the bytes of a DES block, and of every MAC and cryptogram of
// SCP02.
const desBlock = 8

// DESCipher does triple DES under one key of two parts K1 ‖ K2 (EDE with K1,
// K2, K1), which may live in a token. Parity bits mean nothing. A DESCipher that
// also is an io.Closer is closed with the session that holds it. It serves one
// caller at a time unless its implementation says otherwise.
type DESCipher interface {
	// EncryptECB enciphers blocks, any multiple of 8 bytes, each alone.
	EncryptECB(ctx context.Context, blocks []byte) ([]byte, error)
	// EncryptCBC enciphers data, a multiple of 8 bytes, from an 8-byte iv.
	EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
	// EncryptSingleCBC is EncryptCBC with single DES under K1, which a retail
	// MAC (ISO/IEC 9797-1 algorithm 3) takes for all blocks but the last.
	// Sessions ask it of S-MAC and S-RMAC only.
	EncryptSingleCBC(ctx context.Context, iv, data []byte) ([]byte, error)
}

// Kinds of static key, numbered as PUT KEY does.
const (
	KeyENC byte = 1
	KeyMAC byte = 2
	KeyDEK byte = 3
)

// Constants of the session keys of SCP02 (GPC_SPE_034 E.4.1).
const (
	DeriveSCP02CMAC uint16 = 0x0101 // from Key-MAC
	DeriveSCP02RMAC uint16 = 0x0102 // from Key-MAC
	DeriveSCP02DEK  uint16 = 0x0181 // from Key-DEK
	DeriveSCP02ENC  uint16 = 0x0182 // from Key-ENC
)

// StaticDESKeys are the three 16-byte keys of one card and key version, or its
// one base key under all three names.
type StaticDESKeys interface {
	// DeriveSession makes a session key of 16 bytes: the CBC encipherment with
	// a zero initial vector, under the static key kind (KeyENC, KeyMAC or KeyDEK),
	// of SCP02DerivationData(constant, sequenceCounter).
	DeriveSession(ctx context.Context, kind byte, constant uint16, sequenceCounter []byte) (DESCipher, error)
}

// SCP02DerivationData is what a session key of SCP02 is the encipherment of
// (GPC_SPE_034 E.4.1): the constant, the 2-byte sequence counter and twelve
// zero bytes.
func SCP02DerivationData(constant uint16, sequenceCounter []byte) []byte {
	out := make([]byte, 2, 16)
	out[0], out[1] = byte(constant>>8), byte(constant)
	return append(out, sequenceCounter...)[:16]
}

// DESKCV is the 3-byte key check value of a triple DES key: the first bytes of
// the encryption of eight zero bytes (GPC_SPE_034 B.6).
func DESKCV(ctx context.Context, key BlockCipher) ([]byte, error) {
	out, err := ecb(ctx, key, make([]byte, desBlock))
	if err != nil {
		return nil, err
	}
	return out[:3:3], nil
}

// SCP02Cryptogram is the 8-byte card or host cryptogram (GPC_SPE_034 E.4.2):
// the full triple DES MAC under S-ENC. first and second are the host challenge
// and then sequence counter ‖ card challenge for the card's, and the other way
// round for the host's.
func SCP02Cryptogram(ctx context.Context, senc DESCipher, first, second []byte) ([]byte, error) {
	data := make([]byte, 0, 3*desBlock)
	data = padBlocks(append(append(data, first...), second...), desBlock)
	out, err := senc.EncryptCBC(ctx, make([]byte, desBlock), data)
	if err != nil {
		return nil, err
	}
	if len(out) != len(data) {
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(out), len(data))
	}
	return out[len(out)-desBlock:], nil
}

// SCP02CardChallenge is the 6-byte card challenge of the well-known
// pseudo-random algorithm (GPC_SPE_034 E.4.2): the first bytes of the MAC over
// the AID of the application, under S-MAC with a zero ICV.
func SCP02CardChallenge(ctx context.Context, smac DESCipher, aid []byte) ([]byte, error) {
	mac, err := retailMAC(ctx, smac, [desBlock]byte{}, false, aid)
	if err != nil {
		return nil, err
	}
	return mac[:6], nil
}

// retailMAC is ISO/IEC 9797-1 algorithm 3 over message, padded with 80 and
// zeros: single DES CBC from icv, and triple DES for the last block
// (GPC_SPE_034 B.1.2.2).
//
// With encipherICV the chain starts from icv enciphered with single DES under
// K1. That is what CBC makes of the block icv after a zero vector, so that it
// takes no call of its own.
func retailMAC(ctx context.Context, key DESCipher, icv [desBlock]byte, encipherICV bool, message []byte) (mac [desBlock]byte, err error) {
	var blocks []byte
	if encipherICV {
		blocks = append(blocks, icv[:]...)
		clear(icv[:])
	}
	blocks = append(blocks, padBlocks(message, desBlock)...)
	n := len(blocks) - desBlock
	chain := icv[:]
	if n > 0 {
		out, err := key.EncryptSingleCBC(ctx, icv[:], blocks[:n])
		if err != nil {
			return mac, err
		}
		if len(out) != n {
			return mac, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(out), n)
		}
		chain = out[n-desBlock:]
	}
	xor(chain, blocks[n:])
	out, err := ecb(ctx, key, chain)
	if err != nil {
		return mac, err
	}
	copy(mac[:], out)
	return mac, nil
}
