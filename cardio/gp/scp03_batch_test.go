package gp

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"testing"
)

// countingCipher counts what a token would be asked for.
type countingCipher struct {
	*SoftwareCipher
	calls int
}

func (c *countingCipher) EncryptECB(ctx context.Context, b []byte) ([]byte, error) {
	c.calls++
	return c.SoftwareCipher.EncryptECB(ctx, b)
}

func (c *countingCipher) EncryptCBC(ctx context.Context, iv, b []byte) ([]byte, error) {
	c.calls++
	return c.SoftwareCipher.EncryptCBC(ctx, iv, b)
}

func (c *countingCipher) CMAC(ctx context.Context, b []byte) ([]byte, error) {
	c.calls++
	return c.SoftwareCipher.CMAC(ctx, b)
}

// TestBatchesAreTheSame compares what is computed for a whole batch with the
// same asked for one by one, for batches and lengths around every boundary.
func TestBatchesAreTheSame(t *testing.T) {
	ctx := t.Context()
	for _, keySize := range []int{16, 24, 32} {
		key := make([]byte, keySize)
		rand.Read(key)
		one, err := NewSoftwareCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, lengths := range [][]int{
			{}, {5}, {16, 17}, {1, 16, 32}, {15, 16, 17, 31, 32, 33, 5, 244, 240, 1}, {300, 5, 5},
			slices.Repeat([]int{244}, 80), append(slices.Repeat([]int{18}, 40), 500),
		} {
			messages := make([][]byte, len(lengths))
			for i, n := range lengths {
				messages[i] = make([]byte, n)
				rand.Read(messages[i])
			}
			var chain [blockSize]byte
			rand.Read(chain[:])

			c := &countingCipher{SoftwareCipher: one}
			got, err := chainedCMACs(ctx, c, chain, messages)
			if err != nil {
				t.Fatal(err)
			}
			if c.calls > 2 {
				t.Errorf("%v: %d calls for a chain", lengths, c.calls)
			}
			before := chain[:]
			for i, m := range messages {
				want, _ := one.CMAC(ctx, slices.Concat(before, m))
				if !bytes.Equal(got[i][:], want) {
					t.Fatalf("%v: chained CMAC %d differs", lengths, i)
				}
				before = want
			}

			c.calls = 0
			if got, err = cmacs(ctx, c, messages); err != nil {
				t.Fatal(err)
			}
			if c.calls > len(lengths) {
				t.Errorf("%v: %d calls for CMACs", lengths, c.calls)
			}
			for i, m := range messages {
				if want, _ := one.CMAC(ctx, m); !bytes.Equal(got[i][:], want) {
					t.Fatalf("%v: CMAC %d differs", lengths, i)
				}
			}

			data := make([][]byte, len(messages))
			for i, m := range messages {
				if i%5 != 4 { // some commands have no data
					data[i] = pad(m)
				}
			}
			ivs := make([]byte, blockSize*len(data))
			rand.Read(ivs)
			c.calls = 0
			enciphered, err := encipherAll(ctx, c, blockSize, ivs, data)
			if err != nil {
				t.Fatal(err)
			}
			if c.calls > len(lengths) {
				t.Errorf("%v: %d calls to encipher", lengths, c.calls)
			}
			for i, d := range data {
				want, _ := one.EncryptCBC(ctx, ivs[i*blockSize:(i+1)*blockSize], d)
				if !bytes.Equal(enciphered[i], want) {
					t.Fatalf("%v: command %d is enciphered otherwise", lengths, i)
				}
			}
		}
	}
}
