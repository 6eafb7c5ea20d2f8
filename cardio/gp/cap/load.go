package cap

import (
	"crypto"
	_ "crypto/sha1" // cards before GlobalPlatform 2.3 know no other hash
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"

	"cardbureau/cardio/tlv"
)

// DAP is a block by which a security domain checks that its provider agreed to
// the load file data block (GPC_SPE_034 11.6.2.3). It is made elsewhere, over
// the hash.
type DAP struct {
	Domain    []byte // AID of the security domain, 5 to 16 bytes
	Signature []byte
}

// Hash is the load file data block hash of INSTALL [for load]: SHA-1, SHA-256,
// SHA-384 or SHA-512 over the block, without the tag and length that LoadFile
// puts before it. Any other hash is an error.
func Hash(h crypto.Hash, block []byte) ([]byte, error) {
	switch h {
	case crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("cap: no load file data block hash is made with %v", h)
	}
	d := h.New()
	d.Write(block)
	return d.Sum(nil), nil
}

// LoadFile is what the LOAD commands carry: DAP blocks under tag E2, then the
// load file data block under C4 (GPC_SPE_034 11.6.2.3). It is an error where
// the block is empty, a domain's AID is not 5 to 16 bytes or a signature is
// missing.
func LoadFile(block []byte, daps ...DAP) ([]byte, error) {
	if len(block) == 0 {
		return nil, errors.New("cap: a load file of nothing")
	}
	var out []byte
	for _, d := range daps {
		if len(d.Domain) < 5 || len(d.Domain) > 16 {
			return nil, fmt.Errorf("cap: DAP block of a security domain with an AID of %d bytes", len(d.Domain))
		}
		if len(d.Signature) == 0 {
			return nil, fmt.Errorf("cap: DAP block of %X without a signature", d.Domain)
		}
		out = append(out, tlv.Encode(0xE2, tlv.Encode(0x4F, d.Domain), tlv.Encode(0xC3, d.Signature))...)
	}
	return tlv.Append(out, 0xC4, block), nil
}
