package ecsdsa

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKnown are answers that this project did not make: the self tests of libecc
// for ECOSDSA, the optimized version that hashes x alone. The one for P-256 is of
// ISO/IEC 14888-3, that for P-521 has the key and the k of RFC 4754. Message: abc.
func TestKnown(t *testing.T) {
	for _, test := range []struct {
		suite           Suite
		d, k, signature string
	}{
		{SuiteP256, "5202A3D8ACAF6909D12C9A774CD886F9FBA61137FFD3E8E76AED363FB47AC492",
			"DE7E0E5E663F24183414B7C72F24546B81E9E5F410BEBF26F3CA5FA82F5192C8",
			"D7FB8135D8EA45E8FB3C9059F146E2630EF4BD51C4006A92EDB4C8B0849963FB" +
				"B46D1525379E02E232D97928265B7254EA2ED97813454388C1A08F62DCCD70B3"},
		{SuiteP521, "0108b94c219206b8d8921690a51576ae703d464b71bdf568f9f670929567858055b916dbce5db56a25b7913325f514f72a22be4efb4db79e2f01b571a93f217982c5",
			"01730300163079949bb6e3603c96f6f09023a6f748c5a6fc41ec39f524045959a8fe4cc19b01475aacc5f392ab50601f398bc3b8014a63911bce30e7cc0f3d823b05",
			"bd54e8d7271ccc1e0addc3338a99eb945e654018056faf7ec76c0aa6b4d2628900e05c052495a0917d808514d91e4142c5ae53062431e231058db5192e3590e3" +
				"00527bab84c9af15cfa7d92529dc15d21745ee048891f5e06a0665e5cb162e622a0a62c31223cc216d8ffec33acddde50d58efe387893a5cbce2ea076e3b7ce79500"},
	} {
		t.Run(test.suite.String(), func(t *testing.T) {
			key := &PrivateKey{test.suite, unhex(t, test.d)}
			k, want := new(big.Int).SetBytes(unhex(t, test.k)), unhex(t, test.signature)
			got, err := sign(key, k, []byte("abc"))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%X %v", got, err)
			}
			d, _ := key.scalar()
			p, err := test.suite.base(d)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(test.suite, p, []byte("abc"), want); err != nil {
				t.Error(err)
			}
			// x alone stands for the point with the smaller y: the signature verifies
			// with it exactly if that is the key's point.
			_, small, _ := test.suite.public(d)
			pub := PublicKey{test.suite, p[1 : 1+test.suite.FieldBytes()]}
			if err := Verify(pub, []byte("abc"), want); (err == nil) != small {
				t.Errorf("the smaller y: %v, %v", small, err)
			}
			if _, err := Sign(key, nil, rand.Reader); (err == nil) != small {
				t.Errorf("the smaller y: %v, %v", small, err)
			}
		})
	}
}

func TestSigns(t *testing.T) {
	for _, suite := range []Suite{SuiteP256, SuiteP521} {
		for range 2 {
			key, pub, err := GenerateKey(suite, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := key.Public(); err != nil || !got.Equal(pub) {
				t.Fatal(err)
			}
			signature, err := Sign(key, []byte("message"), rand.Reader)
			if err != nil || len(signature) != suite.SignatureBytes() {
				t.Fatal(len(signature), err)
			}
			if err := Verify(pub, []byte("message"), signature); err != nil {
				t.Fatal(err)
			}
			other := &PrivateKey{suite, new(big.Int).Sub(suite.order(), new(big.Int).SetBytes(key.D)).FillBytes(make([]byte, suite.FieldBytes()))}
			if _, err := Sign(other, nil, rand.Reader); !errors.Is(err, ErrKey) {
				t.Errorf("the other y: %v", err)
			}
			for _, i := range []int{0, suite.HashBytes() - 1, suite.HashBytes() + 2, len(signature) - 1} {
				bad := bytes.Clone(signature)
				bad[i] ^= 1
				if err := Verify(pub, []byte("message"), bad); !errors.Is(err, ErrSignature) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
			if err := Verify(pub, []byte("messagf"), signature); !errors.Is(err, ErrSignature) {
				t.Errorf("another message: %v", err)
			}
		}
	}
}

// TestRefuses: what is out of range or of a wrong length.
func TestRefuses(t *testing.T) {
	for _, suite := range []Suite{SuiteP256, SuiteP521} {
		n, order := suite.FieldBytes(), suite.order()
		fill := func(v *big.Int) []byte { return v.FillBytes(make([]byte, n)) }
		for name, d := range map[string][]byte{
			"zero": make([]byte, n), "one": fill(big.NewInt(1)), "the order": fill(order),
			"the order less one": fill(new(big.Int).Sub(order, big.NewInt(1))), "short": make([]byte, n-1), "long": make([]byte, n+1), "none": nil,
		} {
			if _, err := Sign(&PrivateKey{suite, d}, nil, rand.Reader); !errors.Is(err, ErrKey) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, pub, err := GenerateKey(suite, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.Repeat([]byte{1}, suite.HashBytes())
		for name, signature := range map[string][]byte{
			"s zero":      append(bytes.Clone(r), make([]byte, n)...),
			"s the order": append(bytes.Clone(r), fill(order)...),
			"r zero":      append(make([]byte, len(r)), fill(big.NewInt(5))...),
			"short":       make([]byte, len(r)+n-1), "long": make([]byte, len(r)+n+1), "none": nil,
		} {
			if err := Verify(pub, nil, signature); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, x := range map[string][]byte{"short": make([]byte, n-1), "the field": fill(suite.Curve().Params().P), "none": nil, "no point": noPoint(suite)} {
			if err := Verify(PublicKey{suite, x}, nil, nil); !errors.Is(err, ErrKey) {
				t.Errorf("x %s: %v", name, err)
			}
		}
		if _, err := Sign(&PrivateKey{suite, bytes.Repeat([]byte{1}, n)}, nil, strings.NewReader("too short")); err == nil {
			t.Error("there was no random number")
		}
	}
	if err := Verify(PublicKey{0x12, nil}, nil, nil); !errors.Is(err, ErrSuite) {
		t.Error(err)
	}
	if _, _, err := GenerateKey(0x80, rand.Reader); !errors.Is(err, ErrSuite) {
		t.Error(err)
	}
	if _, err := Sign(nil, nil, rand.Reader); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if Suite(0).Curve() != nil || Suite(0).SignatureBytes() != 0 || !strings.Contains(Suite(0x12).String(), "12") {
		t.Error("a suite that is not supported")
	}
}

func noPoint(s Suite) []byte {
	for i := int64(1); ; i++ {
		x := big.NewInt(i).FillBytes(make([]byte, s.FieldBytes()))
		if (PublicKey{s, x}).Check() != nil {
			return x
		}
	}
}

// TestSecret: nothing prints a private key, and Zero leaves none.
func TestSecret(t *testing.T) {
	key, _, err := GenerateKey(SuiteP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", key, "value", *key)
	text, err := json.Marshal(map[string]any{"key": key, "value": *key})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(text) + fmt.Sprintf("%v %+v %#v %x %s %d", key, *key, key, *key, key, key)
	if strings.Contains(strings.ToLower(out), hex.EncodeToString(key.D[:4])) || strings.Contains(out, fmt.Sprint(key.D)) || !strings.Contains(out, redacted) {
		t.Error("it printed the key")
	}
	key.Zero()
	if !bytes.Equal(key.D, make([]byte, 32)) {
		t.Error("it is still there")
	}
}

// FuzzVerify: no key and no signature makes it panic.
func FuzzVerify(f *testing.F) {
	f.Add(byte(SuiteP256), make([]byte, 32), []byte("m"), make([]byte, 64))
	f.Add(byte(SuiteP521), bytes.Repeat([]byte{1}, 66), []byte{}, bytes.Repeat([]byte{1}, 130))
	f.Add(byte(0x12), []byte{}, []byte{}, []byte{})
	f.Fuzz(func(_ *testing.T, suite byte, x, message, signature []byte) {
		_ = Verify(PublicKey{Suite(suite), x}, message, signature)
	})
}
