package ecsdsa

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"testing"
)

// TestStuckSource: a source that gives the same bytes for two messages, or for two
// keys, does not give them the same factor, and a good one never signs alike.
func TestStuckSource(t *testing.T) {
	for _, suite := range []Suite{SuiteP256, SuiteP521} {
		key, pub, err := GenerateKey(suite, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		// factor is k of a signature: s - r·d.
		factor := func(key *PrivateKey, message string, fresh byte) string {
			t.Helper()
			pub, err := key.Public()
			if err != nil {
				t.Fatal(err)
			}
			signature, err := Sign(key, []byte(message), bytes.NewReader(bytes.Repeat([]byte{fresh}, 200)))
			if err != nil || Verify(pub, []byte(message), signature) != nil {
				t.Fatal(err)
			}
			r, s := new(big.Int).SetBytes(signature[:suite.HashBytes()]), new(big.Int).SetBytes(signature[suite.HashBytes():])
			r.Mul(r, new(big.Int).SetBytes(key.D))
			return s.Mod(s.Sub(s, r), suite.order()).Text(16)
		}
		other, _, err := GenerateKey(suite, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{factor(key, "one", 7): true}
		for _, k := range []string{factor(key, "two", 7), factor(key, "one", 8), factor(other, "one", 7), factor(key, "", 7)} {
			if seen[k] {
				t.Errorf("%v: a factor twice", suite)
			}
			seen[k] = true
		}
		a, _ := Sign(key, []byte("one"), rand.Reader)
		b, err := Sign(key, []byte("one"), rand.Reader)
		if err != nil || bytes.Equal(a, b) || Verify(pub, []byte("one"), b) != nil {
			t.Errorf("%v: %v", suite, err)
		}
	}
}

// TestZero: words that a number had before it became shorter are overwritten too.
func TestZero(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(0x5EC4E7), 512)
	n.SetBit(n, 70, 1)
	words := n.Bits()
	n.SetInt64(3) // in the same place
	zero(n)
	for i, word := range words {
		if word != 0 {
			t.Errorf("word %d is left", i)
		}
	}
}
