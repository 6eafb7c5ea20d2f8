package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
)

func TestAESAgainstSoftware(t *testing.T) {
	ctx := t.Context()
	key := make([]byte, 32)
	rand.Read(key)
	k := importForTest(t, key, UseEncrypt|UseMAC)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4096)
	rand.Read(data)
	want := make([]byte, len(data))
	cipher.NewCBCEncrypter(block, katIV).CryptBlocks(want, data)
	got, err := k.EncryptCBC(ctx, katIV, data)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("CBC: %v", err)
	}
	if back, err := k.DecryptCBC(ctx, katIV, got); err != nil || !bytes.Equal(back, data) {
		t.Errorf("CBC back: %v", err)
	}
	if mac, err := k.CMAC(ctx, data[:333]); err != nil || !bytes.Equal(mac, softCMAC(key, data[:333])) {
		t.Errorf("CMAC: %v", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := data[:12]
	for _, n := range []int{0, 1, 16, 4000} {
		sealed, err := k.SealGCM(ctx, nonce, data[:20], data[:n])
		if err != nil || !bytes.Equal(sealed, gcm.Seal(nil, nonce, data[:n], data[:20])) {
			t.Errorf("GCM of %d bytes: %v", n, err)
		}
		if back, err := k.OpenGCM(ctx, nonce, data[:20], sealed); err != nil || !bytes.Equal(back, data[:n]) {
			t.Errorf("GCM of %d bytes back: %v", n, err)
		}
		if n > 0 {
			sealed[0] ^= 1
			if _, err := k.OpenGCM(ctx, nonce, data[:20], sealed); !errors.Is(err, ErrAuthentication) {
				t.Errorf("an altered ciphertext: %v", err)
			}
		}
	}
	for _, bad := range [][]byte{nil, data[:15]} {
		if _, err := k.EncryptECB(ctx, bad); err == nil {
			t.Errorf("ECB of %d bytes", len(bad))
		}
		if _, err := k.EncryptCBC(ctx, katIV, bad); err == nil {
			t.Errorf("CBC of %d bytes", len(bad))
		}
	}
}

func TestWrapAndUnwrap(t *testing.T) {
	ctx := t.Context()
	const label = "cb/test.kek/1"
	if err := shared.GenerateAES(ctx, label, 32, KeyOptions{Use: UseWrap}); err != nil {
		t.Fatal(err)
	}
	defer shared.Destroy(ctx, label)
	if err := shared.GenerateAES(ctx, label, 32, KeyOptions{}); !errors.Is(err, ErrKeyExists) {
		t.Errorf("the label is taken: %v", err)
	}
	kek, err := shared.AES(ctx, label)
	if err != nil {
		t.Fatal(err)
	}
	key, err := shared.GenerateSession(ctx, 32, SessionTemplate{Use: UseEncrypt, Exportable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	wrapped, err := kek.Wrap(ctx, key)
	if err != nil || len(wrapped) != 40 {
		t.Fatalf("wrapped into %d bytes, %v", len(wrapped), err)
	}
	again, err := kek.Unwrap(ctx, wrapped, 32, SessionTemplate{Use: UseEncrypt})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	a, errA := key.EncryptECB(ctx, katIV)
	b, errB := again.EncryptECB(ctx, katIV)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the unwrapped key is another: %v, %v", errA, errB)
	}
	if _, err := kek.Wrap(ctx, again); err == nil {
		t.Error("a key that is not exportable was wrapped")
	}
	wrapped[5] ^= 1
	if _, err := kek.Unwrap(ctx, wrapped, 32, SessionTemplate{Use: UseEncrypt}); !errors.Is(err, ErrAuthentication) {
		t.Errorf("an altered wrapped key: %v", err)
	}
	for n := range 41 {
		if n == 40 {
			break
		}
		if _, err := kek.Unwrap(ctx, wrapped[:n], 32, SessionTemplate{}); !errors.Is(err, ErrAuthentication) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSessionKeysStayInside asks the token for values that it must not give.
func TestSessionKeysStayInside(t *testing.T) {
	for _, exportable := range []bool{false, true} {
		k, err := shared.GenerateSession(t.Context(), 16, SessionTemplate{Use: UseEncrypt, Exportable: exportable})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		err = k.with(t.Context(), "read", func(s *session, h pkcs11.ObjectHandle) error {
			_, err := s.attributes(h, pkcs11.CKA_VALUE)
			return err
		})
		if !errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)) {
			t.Errorf("exportable %v: the value comes out: %v", exportable, err)
		}
	}
}

func TestClosedSessionKeyIsGone(t *testing.T) {
	ctx := t.Context()
	k, err := shared.GenerateSession(ctx, 16, SessionTemplate{Use: UseEncrypt})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.EncryptECB(ctx, katIV); !errors.Is(err, ErrKeyGone) {
		t.Errorf("got %v", err)
	}
}

func TestECDSAAndECDH(t *testing.T) {
	ctx := t.Context()
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		label := "cb/test.ec/" + strings.ToLower(curve.Params().Name)
		if err := shared.GenerateEC(ctx, label, curve, ECSign, KeyOptions{Development: true}); err != nil {
			t.Fatal(err)
		}
		defer shared.Destroy(ctx, label)
		k, err := shared.EC(ctx, label)
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range [][]byte{sum256("x"), sum512("x")} {
			sig, err := k.Sign(rand.Reader, digest, nil)
			if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest, sig) {
				t.Errorf("%s: the signature over %d bytes does not verify: %v", label, len(digest), err)
			}
		}
		if _, err := k.ECDH(ctx, k.Point()); err == nil {
			t.Error("a signing key agreed on a secret")
		}
	}
	const label = "cb/test.agree/1"
	if err := shared.GenerateEC(ctx, label, elliptic.P256(), ECAgree, KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	defer shared.Destroy(ctx, label)
	k, err := shared.EC(ctx, label)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdh.P256().NewPublicKey(k.Point())
	if err != nil {
		t.Fatal(err)
	}
	want, err := peer.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.ECDH(ctx, peer.PublicKey().Bytes()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ECDH: %v", err)
	}
	off := k.Point()
	off[64] ^= 1
	if _, err := k.ECDH(ctx, off); !errors.Is(err, ErrPoint) {
		t.Errorf("a point off the curve: %v", err)
	}
	if _, err := k.SignContext(ctx, sum256("x")); err == nil {
		t.Error("an agreement key signed")
	}
}

func sum256(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }
func sum512(s string) []byte { h := sha512.Sum512([]byte(s)); return h[:] }

func TestHMACAndRandom(t *testing.T) {
	ctx := t.Context()
	const label = "cb/test.hmac/1"
	if err := shared.GenerateHMAC(ctx, label, KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	defer shared.Destroy(ctx, label)
	a, err := shared.HMAC(ctx, label, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := shared.HMAC(ctx, label, []byte("x"))
	if err != nil || len(a) != 32 || !hmac.Equal(a, b) {
		t.Errorf("%d bytes, %v", len(a), err)
	}
	if _, err := shared.AES(ctx, label); !errors.Is(err, ErrNoKey) {
		t.Errorf("an HMAC key taken for AES: %v", err)
	}
	if r, err := shared.Random(ctx, 100); err != nil || len(r) != 100 {
		t.Errorf("random: %d, %v", len(r), err)
	}
}

func TestListAndVersions(t *testing.T) {
	ctx := t.Context()
	for _, l := range []string{"cb/test.list/2", "cb/test.list/10", "cb/test.list/1"} {
		if err := shared.GenerateAES(ctx, l, 16, KeyOptions{Use: UseDerive, Development: l == "cb/test.list/1"}); err != nil {
			t.Fatal(err)
		}
		defer shared.Destroy(ctx, l)
	}
	if err := shared.ImportAES(ctx, "cb/test.import/1", kat128, KeyOptions{Use: UseEncrypt}); err != nil {
		t.Fatal(err)
	}
	defer shared.Destroy(ctx, "cb/test.import/1")
	versions, err := shared.Versions(ctx, "test.list")
	if err != nil || fmt.Sprint(versions) != "[1 2 10]" {
		t.Errorf("versions %v, %v", versions, err)
	}
	all, err := shared.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byLabel := map[string]KeyInfo{}
	for _, k := range all {
		byLabel[k.Label] = k
	}
	if k := byLabel["cb/test.list/1"]; k.Type != "AES-128" || !k.Sensitive || k.Extractable || !k.NeverExtractable || !k.Development || len(k.KCV) != 6 {
		t.Errorf("a made key: %+v", k)
	}
	if k := byLabel["cb/test.import/1"]; k.KCV != kcvOf(kat128) || k.Extractable || k.NeverExtractable || k.Development {
		t.Errorf("an imported key: %+v, want KCV %s", k, kcvOf(kat128))
	}
	if _, err := shared.AES(ctx, "cb/test.list/3"); !errors.Is(err, ErrNoKey) {
		t.Errorf("no such key: %v", err)
	}
	if err := shared.Destroy(ctx, "cb/test.list/3"); !errors.Is(err, ErrNoKey) {
		t.Errorf("destroy no such key: %v", err)
	}
}

func kcvOf(key []byte) string {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	b := bytes.Repeat([]byte{1}, 16)
	block.Encrypt(b, b)
	return hex.EncodeToString(b[:3])
}

func TestCertificates(t *testing.T) {
	ctx := t.Context()
	const label = "cb/test.cert/1"
	if der, err := shared.Certificate(ctx, label); der != nil || err != nil {
		t.Errorf("there is none: %x, %v", der, err)
	}
	for _, der := range [][]byte{{0x30, 0x00}, {0x30, 0x01, 0x05}} {
		if err := shared.StoreCertificate(ctx, label, []byte{0x30, 0x00}, der); err != nil {
			t.Fatal(err)
		}
		if got, err := shared.Certificate(ctx, label); err != nil || !bytes.Equal(got, der) {
			t.Errorf("got %x, %v", got, err)
		}
	}
	if err := shared.Destroy(ctx, label); err != nil {
		t.Error(err)
	}
}

func TestLabels(t *testing.T) {
	for _, c := range []struct{ role, version, want string }{
		{"csca", "1", "cb/csca/1"}, {"kek.pii", "2025-11", "cb/kek.pii/2025-11"},
		{"", "1", ""}, {"a", "", ""}, {"A", "1", ""}, {"a/b", "1", ""}, {"a", "1/2", ""}, {strings.Repeat("a", 70), "1", ""},
	} {
		got, err := Label(c.role, c.version)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q %q: %q, %v", c.role, c.version, got, err)
		}
	}
	for _, l := range []string{"", "cb/", "cb/a", "cb/a/", "cb//1", "xx/a/1", "cb/a/1/2", "cb/A/1"} {
		if _, _, ok := ParseLabel(l); ok {
			t.Errorf("%q is taken for a label", l)
		}
	}
}

// TestManyAtATime has more goroutines than sessions at work: SoftHSM kills
// the process when two share a session.
func TestManyAtATime(t *testing.T) {
	ctx := t.Context()
	base := importForTest(t, kat128, UseEncrypt|UseMAC|UseDerive)
	want := softCMAC(kat128, katPlain)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				if mac, err := base.CMAC(ctx, katPlain); err != nil || !bytes.Equal(mac, want) {
					t.Errorf("CMAC: %v", err)
				}
				k, err := base.DeriveCMAC(ctx, [][]byte{katPlain}, 16, SessionTemplate{Use: UseEncrypt})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := k.EncryptECB(ctx, katPlain); err != nil {
					t.Error(err)
				}
				if err := k.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestTwoKeysOfOneLabel makes the label's second key as another process would
// that did not see the first.
func TestTwoKeysOfOneLabel(t *testing.T) {
	ctx := t.Context()
	const label = "cb/test.twice/1"
	var wrapped [][]byte
	key, err := shared.GenerateSession(ctx, 32, SessionTemplate{Use: UseEncrypt, Exportable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	for i := range 2 {
		value := bytes.Repeat([]byte{byte(i)}, 32)
		if err := shared.ImportAES(ctx, fmt.Sprintf("%s%d", label, i), value, KeyOptions{Use: UseWrap}); err != nil {
			t.Fatal(err)
		}
		own, err := shared.ImportSession(ctx, value, SessionTemplate{Use: UseWrap})
		if err != nil {
			t.Fatal(err)
		}
		w, err := own.Wrap(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		wrapped = append(wrapped, w)
		if err := errors.Join(own.Close(), shared.Destroy(ctx, fmt.Sprintf("%s%d", label, i))); err != nil {
			t.Fatal(err)
		}
		err = shared.do(ctx, "make", func(s *session) error {
			template := append(tokenAttributes(label, KeyOptions{}),
				attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), attr(pkcs11.CKA_VALUE, value))
			_, err := s.mod.CreateObject(s.h, append(template, useAttributes(UseWrap)...))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	defer shared.Destroy(ctx, label)
	kek, err := shared.AES(ctx, label)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range wrapped {
		k, err := kek.UnwrapAny(ctx, w, 32, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Errorf("wrapped by key %d: %v", i+1, err)
			continue
		}
		k.Close()
	}
	wrapped[0][0] ^= 1
	if _, err := kek.UnwrapAny(ctx, wrapped[0], 32, SessionTemplate{}); !errors.Is(err, ErrAuthentication) {
		t.Errorf("wrapped by neither: %v", err)
	}
}
