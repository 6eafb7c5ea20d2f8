package gp

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"cardbureau/cardio/apdu"
)

// countingDecipher counts what a token would be asked for.
type countingDecipher struct {
	*SoftwareCipher
	calls int
}

func (c *countingDecipher) DecryptCBC(ctx context.Context, iv, data []byte) ([]byte, error) {
	c.calls++
	return c.SoftwareCipher.DecryptCBC(ctx, iv, data)
}

// TestResponsesDecipheredTogether compares what is deciphered in one operation with what
// a card enciphers one by one with CBC of the standard library, each response from the
// vector of its own command (GPC 2.3 Amendment D 1.2, 6.2.7).
func TestResponsesDecipheredTogether(t *testing.T) {
	for _, keySize := range []int{16, 24, 32} {
		key := make([]byte, keySize)
		rand.Read(key)
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		software, err := NewSoftwareCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		// Lengths of the plain data; 0: the response has none and is not enciphered.
		for _, lengths := range [][]int{
			{}, {0}, {0, 0, 0}, {1}, {15}, {16}, {17}, {5, 5}, {0, 31, 0, 0, 32, 1, 0}, {240, 1, 16, 0, 223}, slices.Repeat([]int{16, 0, 3}, 30),
		} {
			c := &countingDecipher{SoftwareCipher: software}
			s := &SCP03{level: LevelFull, mode: S8, senc: c}
			var plain [][]byte
			var responses []apdu.Response
			for i, n := range lengths {
				counter := uint64(3*i + 0xFE) // not in step with the place in the batch
				s.expected = append(s.expected, expectation{counter: counter})
				p := make([]byte, n)
				rand.Read(p)
				plain = append(plain, p)
				var data []byte
				if n > 0 {
					padded := append(bytes.Clone(p), 0x80)
					padded = append(padded, make([]byte, (aes.BlockSize-len(padded)%aes.BlockSize)%aes.BlockSize)...)
					iv := make([]byte, aes.BlockSize)
					iv[0] = 0x80
					binary.BigEndian.PutUint64(iv[8:], counter)
					block.Encrypt(iv, iv)
					data = make([]byte, len(padded))
					cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, padded)
				}
				responses = append(responses, apdu.Response{Data: data, SW: apdu.SWSuccess})
			}
			if err := s.decipher(t.Context(), responses); err != nil {
				t.Fatalf("%d bytes of key, %v: %v", keySize, lengths, err)
			}
			if c.calls > 1 {
				t.Errorf("%v: %d operations", lengths, c.calls)
			}
			for i, r := range responses {
				if !bytes.Equal(r.Data, plain[i]) {
					t.Errorf("%d bytes of key, %v: response %d is %X, want %X", keySize, lengths, i, r.Data, plain[i])
				}
			}
		}
	}
}

// TestResponseThatCannotBeDeciphered: those before it are opened all the same, and the
// error says which it is.
func TestResponseThatCannotBeDeciphered(t *testing.T) {
	software, err := NewSoftwareCipher(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	enciphered := func(counter uint64, padded []byte) []byte {
		iv := make([]byte, aes.BlockSize)
		iv[0] = 0x80
		binary.BigEndian.PutUint64(iv[8:], counter)
		block.Encrypt(iv, iv)
		out := make([]byte, len(padded))
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, padded)
		return out
	}
	good := append([]byte("of the first"), 0x80, 0, 0, 0)
	for name, bad := range map[string][]byte{
		"no whole block": make([]byte, 17),
		"no padding":     enciphered(2, make([]byte, 16)),
	} {
		s := &SCP03{level: LevelFull, mode: S8, senc: software, expected: []expectation{{counter: 1}, {counter: 2}, {counter: 3}}}
		responses := []apdu.Response{
			{Data: enciphered(1, good), SW: apdu.SWSuccess}, {Data: bad, SW: apdu.SWSuccess}, {Data: enciphered(3, good), SW: apdu.SWSuccess},
		}
		err := s.decipher(t.Context(), responses)
		var at *apdu.ExchangeError
		if !errors.As(err, &at) || at.Index != 1 || !errors.Is(err, ErrResponseData) {
			t.Errorf("%s: %v", name, err)
		}
		if string(responses[0].Data) != "of the first" {
			t.Errorf("%s: the response before it is %X", name, responses[0].Data)
		}
	}
}
