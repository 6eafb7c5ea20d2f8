package hsm

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/subtle"
	"encoding/hex"
	"testing"

	"github.com/miekg/pkcs11"
	"pgregory.net/rapid"
)

// softCMAC is AES-CMAC written after RFC 4493, to judge the token by.
func softCMAC(key, msg []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	var l [blockSize]byte
	block.Encrypt(l[:], l[:])
	k1 := double(l)
	k2 := double(k1)
	n := max(1, (len(msg)+blockSize-1)/blockSize)
	last := make([]byte, blockSize)
	copy(last, msg[(n-1)*blockSize:])
	if len(msg) == n*blockSize {
		subtle.XORBytes(last, last, k1[:])
	} else {
		last[len(msg)-(n-1)*blockSize] = 0x80
		subtle.XORBytes(last, last, k2[:])
	}
	x := make([]byte, blockSize)
	for i := range n {
		in := last
		if i < n-1 {
			in = msg[i*blockSize : (i+1)*blockSize]
		}
		subtle.XORBytes(x, x, in)
		block.Encrypt(x, x)
	}
	return x
}

func TestSoftCMACIsRight(t *testing.T) {
	if got := softCMAC(kat128, append(bytes.Clone(katPlain), unhex("30c81c46a35ce411")...)); !bytes.Equal(got, katCMAC40) {
		t.Errorf("RFC 4493 example 3: %x", got)
	}
	msg := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	if got := softCMAC(kat128, msg); hex.EncodeToString(got) != "51f0bebf7e3b9d92fc49741779363cfe" {
		t.Errorf("RFC 4493 example 4: %x", got)
	}
}

// TestDeriveKDF3 makes the vectors' diversified keys inside the token and
// compares check values (GlobalPlatformPro's KDF3).
func TestDeriveKDF3(t *testing.T) {
	ctx := t.Context()
	master := importForTest(t, unhex("404142434445464748494a4b4c4d4e4f"), UseDerive)
	kdd := unhex("00010203040506070809")
	for kind, kcv := range map[byte]string{1: "e79c05", 2: "d1bd77", 3: "3fde8c"} {
		msg := append([]byte{1, 0, 0, 0, kind, 0}, kdd...)
		k, err := master.DeriveCMAC(ctx, [][]byte{msg}, 16, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		out, err := k.EncryptECB(ctx, bytes.Repeat([]byte{1}, 16))
		if err != nil || hex.EncodeToString(out[:3]) != kcv {
			t.Errorf("kind %d: KCV %x, want %s, %v", kind, out, kcv, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	master = importForTest(t, unhex("8c72c72cf908411653018807950d82fbad947562f0828a0b10b8b9606abf3bcd"), UseDerive)
	kdd = unhex("d9b1de5d0362dedce4fb")
	var messages [][]byte
	for counter := byte(1); counter <= 2; counter++ {
		messages = append(messages, append([]byte{counter, 0, 0, 0, 1, 0}, kdd...))
	}
	k, err := master.DeriveCMAC(ctx, messages, 32, SessionTemplate{Use: UseEncrypt})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	block, err := aes.NewCipher(unhex("9aac5d0b3601f89438a0d9d0b6b256cfb47e6462dfa5228d3420c4ac7c224781"))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 16)
	block.Encrypt(want, katIV)
	if out, err := k.EncryptECB(ctx, katIV); err != nil || !bytes.Equal(out, want) {
		t.Errorf("AES-256: %x, want %x, %v", out, want, err)
	}
}

func importForTest(t testing.TB, value []byte, use Use) *AESKey {
	t.Helper()
	k, err := shared.ImportSession(context.Background(), value, SessionTemplate{Use: use})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// TestDeriveAgainstSoftware derives from messages of every shape, both inside
// the token and by way of memory.
func TestDeriveAgainstSoftware(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "base")
		size := rapid.SampledFrom([]int{16, 24, 32}).Draw(t, "size")
		var messages [][]byte
		var want []byte
		for range (size + 15) / 16 {
			m := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "message")
			messages = append(messages, m)
			want = append(want, softCMAC(base, m)...)
		}
		want = want[:size]
		k, err := shared.ImportSession(ctx, base, SessionTemplate{Use: UseDerive})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		inside, err := k.DeriveCMAC(ctx, messages, size, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		defer inside.Close()
		var outside *AESKey
		err = k.with(ctx, "derive", func(s *session, h pkcs11.ObjectHandle) error {
			outside, err = deriveOutside(s, h, messages, size, SessionTemplate{Use: UseEncrypt})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer outside.Close()
		block, err := aes.NewCipher(want)
		if err != nil {
			t.Fatal(err)
		}
		expected := make([]byte, 16)
		block.Encrypt(expected, katIV)
		for name, d := range map[string]*AESKey{"inside": inside, "outside": outside} {
			if out, err := d.EncryptECB(ctx, katIV); err != nil || !bytes.Equal(out, expected) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

func TestDeriveRefusesNonsense(t *testing.T) {
	k := importForTest(t, kat128, UseDerive)
	ctx := t.Context()
	if _, err := k.DeriveCMAC(ctx, [][]byte{nil}, 17, SessionTemplate{}); err == nil {
		t.Error("a key of 17 bytes")
	}
	if _, err := k.DeriveCMAC(ctx, [][]byte{nil}, 32, SessionTemplate{}); err == nil {
		t.Error("32 bytes out of one message")
	}
	plain := importForTest(t, kat128, UseEncrypt)
	if _, err := plain.DeriveCMAC(ctx, [][]byte{nil}, 16, SessionTemplate{}); err == nil {
		t.Error("a key that is not for derivation derived")
	}
}
