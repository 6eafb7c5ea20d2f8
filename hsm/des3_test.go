package hsm

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/des"
	"errors"
	"testing"
)

// des3ForTest imports a triple DES key of this process.
func des3ForTest(t testing.TB, value []byte, use Use) *DES3Key {
	t.Helper()
	keyType, err := des3Type(len(value))
	if err != nil {
		t.Fatal(err)
	}
	var k *secretKey
	err = shared.do(context.Background(), "import a session key", func(s *session) error {
		k, err = s.importSessionKey(keyType, value, SessionTemplate{Use: use})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return &DES3Key{k}
}

func goBlock(t testing.TB, value []byte) cipher.Block {
	t.Helper()
	block, err := goDES3(value)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// TestDeriveCardKeysDES3 makes card keys inside the token, as EMV CPS derives
// them from a KMC; the keys were computed by two other libraries that agree.
func TestDeriveCardKeysDES3(t *testing.T) {
	ctx := t.Context()
	kmc := des3ForTest(t, unhex("404142434445464748494a4b4c4d4e4f"), UseDerive)
	for kind, want := range map[byte]string{
		1: "5c5f4621adce1ed069dba7a92f15780d", 2: "615651d8945c1b5b6e85b1bcf2decefa", 3: "177209a9629e759a692df626261d3f92",
	} {
		unique := unhex("100012345678")
		data := append(append(append(bytes.Clone(unique), 0xF0, kind), unique...), 0x0F, kind)
		k, err := kmc.DeriveECB(ctx, data, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.EncryptECB(ctx, katDESPlain)
		if err != nil || !bytes.Equal(got, goECB(goBlock(t, unhex(want)), katDESPlain)) {
			t.Errorf("kind %d is another key, %v", kind, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if _, err := k.EncryptECB(ctx, katDESPlain); !errors.Is(err, ErrKeyGone) {
			t.Errorf("a closed key: %v", err)
		}
		aes, err := kmc.DeriveAES(ctx, data, 16, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		err = shared.do(ctx, "compare", func(s *session) error { return s.isKey(aes.handle, unhex(want)) })
		if err != nil {
			t.Errorf("kind %d as an AES key: %v", kind, err)
		}
		aes.Close()
	}
}

// TestMACKeyDES3 derives S-MAC of a session that openssl computed, and does
// both kinds of DES under it.
func TestMACKeyDES3(t *testing.T) {
	ctx := t.Context()
	static := des3ForTest(t, unhex("101102030405060708090a0b0c0d0e0f"), UseDerive)
	smac := unhex("c219dcbd72bfa1e4a397bca77674f353")
	k, err := static.DeriveMACKey(ctx, unhex("01010016000000000000000000000000"))
	if err != nil {
		t.Fatal(err)
	}
	iv := unhex("0102030405060708")
	want := make([]byte, len(katDESPlain))
	single, err := des.NewCipher(smac[:8])
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(single, iv).CryptBlocks(want, katDESPlain)
	if got, err := k.EncryptSingleCBC(ctx, iv, katDESPlain); err != nil || !bytes.Equal(got, want) {
		t.Errorf("single DES: %x, want %x, %v", got, want, err)
	}
	triple := goBlock(t, smac)
	cipher.NewCBCEncrypter(triple, iv).CryptBlocks(want, katDESPlain)
	got, err := k.EncryptCBC(ctx, iv, katDESPlain)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("triple DES: %x, want %x, %v", got, want, err)
	}
	if _, err := k.DecryptCBC(ctx, iv, got); err == nil {
		t.Error("a MAC key deciphers")
	}
	other := des3ForTest(t, smac, UseEncrypt)
	if back, err := other.DecryptCBC(ctx, iv, got); err != nil || !bytes.Equal(back, katDESPlain) {
		t.Errorf("deciphered: %x, %v", back, err)
	}
	single2 := k.single
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if _, err := single2.EncryptECB(ctx, katDESPlain); !errors.Is(err, ErrKeyGone) {
		t.Errorf("its half outlives a closed key: %v", err)
	}
}

func TestKeysThatStayDES3(t *testing.T) {
	ctx := t.Context()
	value := unhex("404142434445464748494a4b4c4d4e4f")
	opt := KeyOptions{Use: UseDerive, Development: true}
	for _, step := range []struct {
		label string
		make  func(string) error
		size  int
		kind  string
	}{
		{"cb/des3.known/1", func(l string) error { return shared.ImportDES3(ctx, l, value, opt) }, 16, "3DES-112"},
		{"cb/des3.two/1", func(l string) error { return shared.GenerateDES3(ctx, l, 16, opt) }, 16, "3DES-112"},
		{"cb/des3.three/1", func(l string) error { return shared.GenerateDES3(ctx, l, 24, opt) }, 24, "3DES-168"},
	} {
		if err := step.make(step.label); err != nil {
			t.Fatal(err)
		}
		defer shared.Destroy(ctx, step.label)
		if err := step.make(step.label); !errors.Is(err, ErrKeyExists) {
			t.Errorf("%s again: %v", step.label, err)
		}
		k, err := shared.DES3(ctx, step.label)
		if err != nil || k.KeySize() != step.size {
			t.Errorf("%s: %+v, %v", step.label, k, err)
		}
		if _, err := shared.AES(ctx, step.label); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s as an AES key: %v", step.label, err)
		}
	}
	all, err := shared.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, k := range all {
		switch k.Role {
		case "des3.known":
			if k.KCV != "8baf47" {
				t.Errorf("KCV %s", k.KCV)
			}
			if k.Type != "3DES-112" {
				t.Errorf("type %s", k.Type)
			}
		case "des3.two", "des3.three":
			if !k.NeverExtractable {
				t.Errorf("%s could be extracted", k.Role)
			}
		default:
			continue
		}
		seen++
		if !k.Sensitive || k.Extractable || !k.Development || len(k.KCV) != 6 {
			t.Errorf("%+v", k)
		}
	}
	if seen != 3 {
		t.Errorf("%d keys are listed", seen)
	}
	for _, n := range []int{0, 8, 32} {
		if err := shared.ImportDES3(ctx, "cb/des3.wrong/1", make([]byte, n), opt); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}

// TestWithoutDES3: what the module cannot do is said, not done otherwise.
func TestWithoutDES3(t *testing.T) {
	ctx := t.Context()
	k := des3ForTest(t, katDES2, UseDerive|UseWrap)
	if _, err := k.WrapECB(ctx, k); !errors.Is(err, ErrUnsupported) {
		t.Errorf("SoftHSM wraps under triple DES: %v", err)
	}
	less := &Token{caps: Capabilities{}}
	orphan := &DES3Key{&secretKey{token: less, size: 16}}
	if _, err := orphan.DeriveCBC(ctx, make([]byte, 16), SessionTemplate{}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := orphan.DeriveMACKey(ctx, make([]byte, 8)); err == nil {
		t.Error("a MAC key of 8 bytes")
	}
	for _, fn := range []func() error{
		func() error { _, err := k.EncryptECB(ctx, make([]byte, 9)); return err },
		func() error { _, err := k.EncryptCBC(ctx, make([]byte, 16), make([]byte, 8)); return err },
		func() error { _, err := k.DecryptCBC(ctx, make([]byte, 8), nil); return err },
		func() error { _, err := k.DeriveECB(ctx, make([]byte, 8), SessionTemplate{}); return err },
		func() error { _, err := k.DeriveAES(ctx, make([]byte, 24), 16, SessionTemplate{}); return err },
	} {
		if fn() == nil {
			t.Error("lengths that make no sense were taken")
		}
	}
}

// TestDeriveECBOfAES compares with the token's own encryption.
func TestDeriveECBOfAES(t *testing.T) {
	ctx := t.Context()
	master := importForTest(t, kat128, UseDerive)
	for _, size := range []int{16, 24, 32} {
		data := katPlain[:(size+15)/16*16]
		k, err := master.DeriveECB(ctx, data, size, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		err = shared.do(ctx, "compare", func(s *session) error { return s.isKey(k.handle, katECB[:size]) })
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := master.DeriveECB(ctx, katPlain, 16, SessionTemplate{}); err == nil {
		t.Error("more data than the key has")
	}
}
