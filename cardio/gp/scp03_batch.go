package gp

import (
	"context"
	"crypto/subtle"
	"fmt"
)

// With keys in a token each operation is two calls into its module, and a
// batch is some eighty commands. What follows computes the same bytes for a
// whole batch in a few calls, out of the block cipher alone.

// fewForBatch is up to how many MACs are asked for one by one: a batch takes a
// call for its subkeys and one for the MACs.
const fewForBatch = 2

// BlockCipher is what a Cipher and a DESCipher have in common: enciphering of
// blocks, each alone.
type BlockCipher interface {
	EncryptECB(ctx context.Context, blocks []byte) ([]byte, error)
}

// encrypter enciphers batches.
type encrypter interface {
	BlockCipher
	EncryptCBC(ctx context.Context, iv, data []byte) ([]byte, error)
}

// encipherAll enciphers each of data, whole blocks of size bytes or nothing, in
// CBC from its own block of ivs. CBC chains within one of them only, so the
// first blocks of all go into one ECB call, then all second blocks, and so on.
func encipherAll(ctx context.Context, c encrypter, size int, ivs []byte, data [][]byte) ([][]byte, error) {
	out := make([][]byte, len(data))
	count, longest := 0, 0
	for _, d := range data {
		if len(d) > 0 {
			count++
			longest = max(longest, len(d)/size)
		}
	}
	if count <= longest {
		for i, d := range data {
			if len(d) == 0 {
				continue
			}
			var err error
			if out[i], err = c.EncryptCBC(ctx, ivs[i*size:(i+1)*size], d); err != nil {
				return nil, fmt.Errorf("encipher command %d: %w", i+1, err)
			}
		}
		return out, nil
	}
	for i, d := range data {
		out[i] = make([]byte, len(d))
	}
	batch := make([]byte, 0, count*size)
	defer func() { wipe(batch[:cap(batch)]) }()
	for at := 0; at < longest*size; at += size {
		batch = batch[:0]
		for i, d := range data {
			if at >= len(d) {
				continue
			}
			before := ivs[i*size : (i+1)*size]
			if at > 0 {
				before = out[i][at-size : at]
			}
			batch = appendXOR(batch, d[at:at+size], before)
		}
		done, err := ecb(ctx, c, batch)
		if err != nil {
			return nil, fmt.Errorf("encipher commands: %w", err)
		}
		for i, d := range data {
			if at < len(d) {
				copy(out[i][at:], done[:size])
				done = done[size:]
			}
		}
	}
	return out, nil
}

// chainedCMACs gives the CMAC of each message, of which each but the first has
// the one before it put in front, and the first has chain. None is empty.
//
// A CMAC that begins with the block M enciphers M first. If M is the CMAC
// before, that is what CBC does when its next block is zero. So all messages,
// each behind a zero block and with CMAC's subkey added to its last block, are
// one CBC encipherment, and the last block of each is its CMAC.
func chainedCMACs(ctx context.Context, c Cipher, chain [blockSize]byte, messages [][]byte) ([][blockSize]byte, error) {
	out := make([][blockSize]byte, len(messages))
	if len(messages) <= fewForBatch {
		for i, m := range messages {
			mac, err := c.CMAC(ctx, append(chain[:len(chain):len(chain)], m...))
			if err != nil {
				return nil, err
			}
			if len(mac) != blockSize {
				return nil, fmt.Errorf("gp: the cipher gave a CMAC of %d bytes", len(mac))
			}
			copy(chain[:], mac)
			out[i] = chain
		}
		return out, nil
	}
	zero, err := ecb(ctx, c, make([]byte, blockSize))
	if err != nil {
		return nil, err
	}
	k1, k2 := subkeys(zero)
	defer wipe(zero, k1[:], k2[:])
	size := 0
	for _, m := range messages {
		size += blockSize + (len(m)+blockSize-1)/blockSize*blockSize
	}
	plain := make([]byte, 0, size)
	defer func() { wipe(plain) }()
	ends := make([]int, len(messages))
	for i, m := range messages {
		plain = append(plain, chain[:]...)
		clear(chain[:]) // the others find the MAC before them in CBC's own chain
		plain = appendLast(append(plain, m[:lastBlock(m)]...), m[lastBlock(m):], &k1, &k2)
		ends[i] = len(plain)
	}
	done, err := c.EncryptCBC(ctx, make([]byte, blockSize), plain)
	if err != nil {
		return nil, err
	}
	if len(done) != len(plain) {
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for %d", len(done), len(plain))
	}
	for i, end := range ends {
		copy(out[i][:], done[end-blockSize:])
	}
	wipe(done)
	return out, nil
}

// cmacs gives the CMAC of each message, none of which is empty. They are
// independent of each other, so one ECB call takes a block of each.
func cmacs(ctx context.Context, c Cipher, messages [][]byte) ([][blockSize]byte, error) {
	out := make([][blockSize]byte, len(messages))
	longest := 0
	for _, m := range messages {
		longest = max(longest, (len(m)+blockSize-1)/blockSize)
	}
	if len(messages) <= max(fewForBatch, longest) {
		for i, m := range messages {
			mac, err := c.CMAC(ctx, m)
			if err != nil {
				return nil, err
			}
			if len(mac) != blockSize {
				return nil, fmt.Errorf("gp: the cipher gave a CMAC of %d bytes", len(mac))
			}
			copy(out[i][:], mac)
		}
		return out, nil
	}
	zero, err := ecb(ctx, c, make([]byte, blockSize))
	if err != nil {
		return nil, err
	}
	k1, k2 := subkeys(zero)
	defer wipe(zero, k1[:], k2[:])
	padded := make([][]byte, len(messages))
	var batch []byte
	defer func() { wipe(padded...); wipe(batch) }()
	for i, m := range messages {
		last := lastBlock(m)
		padded[i] = appendLast(append(make([]byte, 0, last+blockSize), m[:last]...), m[last:], &k1, &k2)
	}
	batch = make([]byte, 0, len(messages)*blockSize)
	for at := 0; at < longest*blockSize; at += blockSize {
		batch = batch[:0]
		for i, p := range padded {
			if at < len(p) {
				batch = appendXOR(batch, p[at:at+blockSize], out[i][:])
			}
		}
		done, err := ecb(ctx, c, batch)
		if err != nil {
			return nil, err
		}
		for i, p := range padded {
			if at < len(p) {
				copy(out[i][:], done[:blockSize])
				done = done[blockSize:]
			}
		}
	}
	return out, nil
}

// lastBlock is where the last block of a message begins.
func lastBlock(m []byte) int { return max(0, len(m)-1) / blockSize * blockSize }

// appendLast appends a message's last block as CMAC enciphers it (NIST SP
// 800-38B 6.2): padded where it is short, with the subkey that says so.
func appendLast(to, tail []byte, k1, k2 *[blockSize]byte) []byte {
	block := [blockSize]byte{}
	key := k1
	if copy(block[:], tail); len(tail) < blockSize {
		block[len(tail)] = 0x80
		key = k2
	}
	return appendXOR(to, block[:], key[:])
}

// subkeys are CMAC's, from E(K, 0) (NIST SP 800-38B 6.1).
func subkeys(zero []byte) (k1, k2 [blockSize]byte) {
	k1 = double([blockSize]byte(zero))
	return k1, double(k1)
}

// appendXOR appends the sum of two blocks.
func appendXOR(to, a, b []byte) []byte {
	n := len(to)
	to = append(to, a...)
	subtle.XORBytes(to[n:], a, b)
	return to
}

func ecb(ctx context.Context, c BlockCipher, blocks []byte) ([]byte, error) {
	out, err := c.EncryptECB(ctx, blocks)
	if err == nil && len(out) != len(blocks) {
		err = fmt.Errorf("gp: the cipher gave %d bytes for %d", len(out), len(blocks))
	}
	return out, err
}

// wipe zeroes what CMAC's subkeys, or blocks that they were added to, are in.
func wipe(all ...[]byte) {
	for _, b := range all {
		clear(b)
	}
}
