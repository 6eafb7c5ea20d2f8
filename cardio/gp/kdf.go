package gp

import (
	"context"
	"fmt"
)

// Derivation constants of Amendment D table 4-1.
const (
	DeriveCardCryptogram byte = 0x00 // under S-MAC
	DeriveHostCryptogram byte = 0x01 // under S-MAC
	DeriveCardChallenge  byte = 0x02 // under Key-ENC
	DeriveSENC           byte = 0x04 // from Key-ENC
	DeriveSMAC           byte = 0x06 // from Key-MAC
	DeriveSRMAC          byte = 0x07 // from Key-MAC
)

// DerivationData is the CMAC input of one block of the KDF of Amendment D
// 4.1.5: eleven zero bytes, the constant, a zero separator, the length in
// bits of what is derived, the block counter (from 1) and the context.
// A 128-bit key takes one block; 192 and 256 bits take blocks 1 and 2, cut to
// length.
func DerivationData(constant byte, bits int, counter byte, kdfContext []byte) []byte {
	out := make([]byte, 16, 16+len(kdfContext))
	out[11] = constant
	out[13], out[14] = byte(bits>>8), byte(bits)
	out[15] = counter
	return append(out, kdfContext...)
}

// Derive runs the KDF of Amendment D 4.1.5 under key for 64 to 256 bits, a
// multiple of 8.
func Derive(ctx context.Context, key Cipher, constant byte, bits int, kdfContext []byte) ([]byte, error) {
	if bits <= 0 || bits > 256 || bits%8 != 0 {
		return nil, fmt.Errorf("gp: cannot derive %d bits", bits)
	}
	out := make([]byte, 0, 2*blockSize)
	for i := byte(1); len(out)*8 < bits; i++ {
		block, err := key.CMAC(ctx, DerivationData(constant, bits, i, kdfContext))
		if err != nil {
			return nil, err
		}
		out = append(out, block...)
	}
	return out[:bits/8], nil
}

// Cryptogram is the card or host cryptogram of Amendment D 6.2.2.2 and
// 6.2.2.3 under S-MAC, as long as the mode says; constant is
// DeriveCardCryptogram or DeriveHostCryptogram. The length is part of what is
// derived from: one of S8 mode is not the start of one of S16 mode.
func Cryptogram(ctx context.Context, smac Cipher, mode Mode, constant byte, kdfContext []byte) ([]byte, error) {
	return Derive(ctx, smac, constant, int(mode)*8, kdfContext)
}

// CardChallenge is the pseudo-random card challenge of Amendment D 6.2.2.1, as
// long as the mode says: derived under Key-ENC from the 3-byte sequence counter and the AID
// (5 to 16 bytes) of the application that was asked for it.
func CardChallenge(ctx context.Context, enc Cipher, mode Mode, counter, aid []byte) ([]byte, error) {
	kdfContext := make([]byte, 0, len(counter)+len(aid))
	kdfContext = append(append(kdfContext, counter...), aid...)
	return Derive(ctx, enc, DeriveCardChallenge, int(mode)*8, kdfContext)
}

// KCV is the 3-byte key check value of an AES key: the first bytes of the
// encryption of sixteen bytes 01 (GPC_SPE_034 B.6).
func KCV(ctx context.Context, key Cipher) ([]byte, error) {
	block := make([]byte, blockSize)
	for i := range block {
		block[i] = 0x01
	}
	out, err := key.EncryptECB(ctx, block)
	if err != nil {
		return nil, err
	}
	if len(out) != blockSize {
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for one block", len(out))
	}
	return out[:3:3], nil
}
