package gp

import (
	"context"
	"fmt"
)

// TripleDESMACWith makes an Authority of a triple DES key: the full triple DES
// MAC, 8 bytes (GPC_SPE_034 B.1.2.1, ISO/IEC 9797-1 algorithm 1 with padding
// method 2).
func TripleDESMACWith(c DESCipher) Authority { return desAuthority{c, false} }

// RetailMACWith makes an Authority of a triple DES key of two parts: single
// DES but for the last block, 8 bytes (GPC_SPE_034 B.1.2.2, ISO/IEC 9797-1
// algorithm 3 with padding method 2).
func RetailMACWith(c DESCipher) Authority { return desAuthority{c, true} }

type desAuthority struct {
	c      DESCipher
	retail bool
}

func (a desAuthority) Sign(ctx context.Context, data []byte) ([]byte, error) {
	if a.retail {
		mac, err := retailMAC(ctx, a.c, [desBlock]byte{}, false, data)
		return mac[:], err
	}
	blocks := padBlocks(data, desBlock)
	out, err := a.c.EncryptCBC(ctx, make([]byte, desBlock), blocks)
	if err != nil {
		return nil, err
	}
	if len(out) != len(blocks) {
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(out), len(blocks))
	}
	return out[len(out)-desBlock:], nil
}
