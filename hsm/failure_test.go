package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cardbureau/hsm/softhsm"
)

// apart runs fn with a token of its own. The shared one is closed meanwhile,
// because a process can open a module only once at a time.
func apart(t *testing.T, fn func(tok softhsm.Token, pin string)) {
	t.Helper()
	old := os.Getenv(softhsm.ConfigVariable)
	if err := shared.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		t.Helper()
		dir := filepath.Dir(old)
		tok, err := softhsm.Ensure(context.Background(), dir, "", "")
		if err == nil {
			shared, err = openSoft(tok)
		}
		if err != nil {
			t.Fatalf("open the shared token again: %v", err)
		}
	}()
	tok, err := softhsm.Ensure(t.Context(), t.TempDir(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(tok.PINPath())
	if err != nil {
		t.Fatal(err)
	}
	fn(tok, strings.TrimSpace(string(b)))
}

// soft opens the token for one test.
func soft(t *testing.T, tok softhsm.Token, change ...func(*Config)) *Token {
	t.Helper()
	token, err := openSoft(tok, change...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestWrongPINIsNeverTriedAgain(t *testing.T) {
	apart(t, func(tok softhsm.Token, pin string) {
		_, err := openSoft(tok, func(c *Config) { c.PIN = NewPIN([]byte("000000")) })
		if !errors.Is(err, ErrPIN) || strings.Contains(err.Error(), "000000") {
			t.Errorf("got %v", err)
		}
		token := soft(t, tok)
		defer token.Close()
		// The PIN is changed behind our back and the login lost: one attempt,
		// then no more.
		token.cfg.PIN.Zero()
		token.logout(t)
		before := token.Operations()["C_Login"]
		for range 3 {
			if _, err := token.List(t.Context()); !errors.Is(err, ErrPIN) || strings.Contains(err.Error(), pin) {
				t.Errorf("got %v", err)
			}
			if _, err := token.ImportSession(t.Context(), kat128, SessionTemplate{}); !errors.Is(err, ErrPIN) {
				t.Errorf("got %v", err)
			}
		}
		if n := token.Operations()["C_Login"] - before; n != 1 {
			t.Errorf("the PIN was tried %d times", n)
		}
	})
}

// logout ends the login of the whole process.
func (t *Token) logout(tb testing.TB) {
	tb.Helper()
	s := <-t.pool
	defer func() { t.pool <- s }()
	if err := s.mod.Logout(s.h); err != nil {
		tb.Fatal(err)
	}
}

func TestLostLoginIsRepeated(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok)
		defer token.Close()
		ctx := t.Context()
		if err := token.GenerateHMAC(ctx, "cb/test/1", KeyOptions{}); err != nil {
			t.Fatal(err)
		}
		before := token.Operations()
		token.logout(t)
		if err := token.GenerateHMAC(ctx, "cb/test/2", KeyOptions{}); err != nil {
			t.Errorf("after a lost login: %v", err)
		}
		after := token.Operations()
		if after["C_Login"] != before["C_Login"]+1 || after["C_Initialize"] != before["C_Initialize"] {
			t.Errorf("before %v, after %v", before, after)
		}
		token.logout(t) // and this takes private objects' handles along
		if _, err := token.HMAC(ctx, "cb/test/1", nil); err != nil {
			t.Errorf("a key after a lost login: %v", err)
		}
	})
}

func TestClosedSessionsAreReplaced(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok)
		defer token.Close()
		ctx := t.Context()
		if err := token.GenerateAES(ctx, "cb/test/1", 16, KeyOptions{Use: UseDerive}); err != nil {
			t.Fatal(err)
		}
		k, err := token.AES(ctx, "cb/test/1")
		if err != nil {
			t.Fatal(err)
		}
		kept, err := token.GenerateSession(ctx, 16, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		if err := token.mod.CloseAllSessions(token.slot); err != nil {
			t.Fatal(err)
		}
		for range 3 { // more often than there are sessions
			if _, err := k.CMAC(ctx, nil); err != nil {
				t.Errorf("after all sessions were closed: %v", err)
			}
		}
		if _, err := kept.EncryptECB(ctx, katIV); !errors.Is(err, ErrKeyGone) {
			t.Errorf("a session key whose session is gone: %v", err)
		}
		if n := token.Operations()["C_Initialize"]; n != 1 {
			t.Errorf("initialized %d times", n)
		}
		// An operation that was left open belongs to nobody.
		for range token.cfg.Sessions {
			s := <-token.pool
			o, err := s.lookup(pkcs11.CKO_SECRET_KEY, "cb/test/1")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.mod.SignInit(s.h, mech(pkcs11.CKM_AES_CMAC, nil), o.handle); err != nil {
				t.Fatal(err)
			}
			token.pool <- s
		}
		for range 3 {
			if _, err := k.CMAC(ctx, nil); err != nil {
				t.Errorf("with an operation left open: %v", err)
			}
		}
	})
}

func TestObjectsAreFoundAgain(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok)
		defer token.Close()
		ctx := t.Context()
		make := func() {
			t.Helper()
			if err := token.ImportAES(ctx, "cb/test/1", kat128, KeyOptions{Use: UseDerive}); err != nil {
				t.Fatal(err)
			}
		}
		make()
		k, err := token.AES(ctx, "cb/test/1")
		if err != nil {
			t.Fatal(err)
		}
		// Destroyed and made again behind the cache's back.
		s := <-token.pool
		all, err := s.lookupAll(pkcs11.CKO_SECRET_KEY, "cb/test/1")
		if err == nil {
			err = s.mod.DestroyObject(s.h, all[0].handle)
		}
		token.pool <- s
		if err != nil {
			t.Fatal(err)
		}
		token.objects.put(objectKey{pkcs11.CKO_SECRET_KEY, "other"}, object{})
		restore := token.objects.m[objectKey{pkcs11.CKO_SECRET_KEY, "cb/test/1"}]
		make()
		token.objects.put(objectKey{pkcs11.CKO_SECRET_KEY, "cb/test/1"}, restore)
		if mac, err := k.CMAC(ctx, katPlain); err != nil || !bytes.Equal(mac, softCMAC(kat128, katPlain)) {
			t.Errorf("a key that was made again: %v", err)
		}
		if n := token.Operations()["C_Initialize"]; n != 1 {
			t.Errorf("initialized %d times", n)
		}
	})
}

// TestVanishedFolder takes the token away, as an unmounted disk does, and
// brings it back.
func TestVanishedFolder(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok)
		defer token.Close()
		ctx := t.Context()
		if err := token.GenerateAES(ctx, "cb/test/1", 16, KeyOptions{Use: UseDerive}); err != nil {
			t.Fatal(err)
		}
		k, err := token.AES(ctx, "cb/test/1")
		if err != nil {
			t.Fatal(err)
		}
		want, err := k.CMAC(ctx, katPlain)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := token.GenerateSession(ctx, 16, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		tokens := filepath.Join(tok.Dir, "tokens")
		if err := os.Rename(tokens, tokens+".away"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := k.CMAC(ctx, katPlain); !errors.Is(err, ErrToken) && !errors.Is(err, ErrNoKey) {
				t.Errorf("without its folder: %v", err)
			}
		}
		if err := os.Rename(tokens+".away", tokens); err != nil {
			t.Fatal(err)
		}
		// The gate opens again when the delay is over.
		deadline := time.Now().Add(20 * time.Second)
		var got []byte
		for {
			if got, err = k.CMAC(ctx, katPlain); err == nil || time.Now().After(deadline) {
				break
			}
			time.Sleep(20 * time.Millisecond) // the delay is the thing under test
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("with its folder back: %v", err)
		}
		if _, err := kept.EncryptECB(ctx, katIV); err != nil && !errors.Is(err, ErrKeyGone) {
			t.Errorf("a session key of before: %v", err)
		}
	})
}

// TestDeviceErrorRestartsTheModule pretends that the device failed once.
func TestDeviceErrorRestartsTheModule(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok)
		defer token.Close()
		ctx := t.Context()
		if err := token.GenerateAES(ctx, "cb/test/1", 16, KeyOptions{Use: UseDerive}); err != nil {
			t.Fatal(err)
		}
		k, err := token.AES(ctx, "cb/test/1")
		if err != nil {
			t.Fatal(err)
		}
		kept, err := token.GenerateSession(ctx, 16, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		err = token.do(ctx, "fail", func(*session) error { runs++; return pkcs11.Error(pkcs11.CKR_DEVICE_ERROR) })
		if !errors.Is(err, ErrToken) || runs != 1 {
			t.Errorf("%d runs, %v", runs, err)
		}
		if _, err := k.CMAC(ctx, katPlain); err != nil {
			t.Errorf("after the restart: %v", err)
		}
		if _, err := kept.EncryptECB(ctx, katIV); !errors.Is(err, ErrKeyGone) {
			t.Errorf("a session key of before: %v", err)
		}
		if n := token.Operations()["C_Initialize"]; n != 2 {
			t.Errorf("initialized %d times", n)
		}
	})
}

func TestOpenErrorsAreOneSentence(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		for name, c := range map[string]struct {
			change func(*Config)
			want   error
			text   string
		}{
			"no module":       {func(c *Config) { c.Module = "/usr/lib/no/such.so" }, ErrModule, "there is no file /usr/lib/no/such.so"},
			"not a module":    {func(c *Config) { c.Module = "/etc/hostname" }, ErrModule, "is not a PKCS#11 module"},
			"nothing named":   {func(c *Config) { c.Module = "" }, ErrModule, "no module is named"},
			"no such token":   {func(c *Config) { c.Label = "other" }, ErrToken, `has no token "other", only "cardbureau"`},
			"no capabilities": {func(c *Config) { c.Without = []Capability{CanCMAC} }, ErrModule, "AES-CMAC (switched off)"},
		} {
			_, err := openSoft(tok, c.change)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", name, err)
			}
		}
		token := soft(t, tok)
		if _, err := openSoft(tok); !errors.Is(err, ErrModule) {
			t.Errorf("opened twice: %v", err)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
		if _, err := token.Random(t.Context(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestWithoutDerivation switches the mechanism off: keys pass through memory
// and the capabilities say so.
func TestWithoutDerivation(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		token := soft(t, tok, func(c *Config) { c.Without = []Capability{CanDerive, CanWrapCBC} })
		defer token.Close()
		ctx := t.Context()
		if token.Capabilities().DeriveInToken {
			t.Error("the capabilities do not say so")
		}
		base, err := token.ImportSession(ctx, kat128, SessionTemplate{Use: UseDerive | UseWrap})
		if err != nil {
			t.Fatal(err)
		}
		before := token.Operations()["C_DeriveKey"]
		k, err := base.DeriveCMAC(ctx, [][]byte{katPlain}, 16, SessionTemplate{Use: UseMAC, Exportable: true})
		if err != nil {
			t.Fatal(err)
		}
		if mac, err := k.CMAC(ctx, nil); err != nil || !bytes.Equal(mac, softCMAC(softCMAC(kat128, katPlain), nil)) {
			t.Errorf("derived another key: %v", err)
		}
		if n := token.Operations()["C_DeriveKey"]; n != before {
			t.Error("the mechanism was used all the same")
		}
		if _, err := base.WrapCBC(ctx, k); !errors.Is(err, ErrUnsupported) {
			t.Errorf("CBC wrapping: %v", err)
		}
	})
}

func TestHangIsNoticed(t *testing.T) {
	apart(t, func(tok softhsm.Token, _ string) {
		hung := make(chan string, 100)
		token := soft(t, tok, func(c *Config) {
			c.HangAfter = 200 * time.Millisecond
			c.OnHang = func(what string) { hung <- what }
		})
		defer token.Close()
		release := make(chan struct{})
		done := make(chan error)
		go func() { done <- token.do(t.Context(), "sleep", func(*session) error { <-release; return nil }) }()
		if what := <-hung; what != "sleep" {
			t.Errorf("what hung is %q", what)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPINFilesAndPrinting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pin")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("654321\nignored\n", 0o600)
	pin, err := ReadPIN(path)
	if err != nil || string(pin.value) != "654321" {
		t.Errorf("read: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s %x %d", pin, pin, pin, pin, pin, pin) + pin.LogValue().String(); strings.Contains(s, "654321") || strings.Contains(s, "36353") {
		t.Errorf("a PIN prints: %s", s)
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
	}{"open to the group": {"654321", 0o640}, "open to all": {"654321", 0o604}, "empty": {"\n", 0o600}} {
		write(c.text, c.mode)
		if _, err := ReadPIN(path); err == nil || strings.Contains(err.Error(), "654321") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadPIN(dir); err == nil {
		t.Error("a folder was read as a PIN file")
	}
	t.Setenv("CB_TEST_PIN", "1234")
	if pin, err = PINFromEnvironment("CB_TEST_PIN"); err != nil || string(pin.value) != "1234" || os.Getenv("CB_TEST_PIN") != "" {
		t.Errorf("from the environment: %v, %q is left", err, os.Getenv("CB_TEST_PIN"))
	}
	if _, err := PINFromEnvironment("CB_TEST_PIN"); err == nil {
		t.Error("an empty variable gave a PIN")
	}
}
