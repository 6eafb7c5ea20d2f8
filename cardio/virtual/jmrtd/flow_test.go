package jmrtd_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/jmrtd"
)

var both = map[string]struct {
	factory func() *jmrtd.Applet
	can     string
}{
	"applet": {jmrtd.New, ""},
	"fork":   {jmrtd.NewPACE, "123456"},
}

// readAll reads a document's files over a session and compares them.
func readAll(t *testing.T, sm *lds.SecureMessaging, d document) {
	t.Helper()
	ctx := context.Background()
	var files []lds.File
	for _, fid := range d.order {
		files = append(files, lds.File{ID: fid})
	}
	got, err := lds.Reader{Card: sm, Block: min(224, sm.MaxRead())}.Files(ctx, files...)
	if err != nil {
		t.Fatal(err)
	}
	for i, fid := range d.order {
		if !bytes.Equal(got[i], d.files[fid]) {
			t.Errorf("file %04X differs", fid)
		}
	}
}

// TestIssuedDocument personalizes a card in plain, as the vectors describe it,
// and reads it by Basic Access Control with a host that shares no code.
func TestIssuedDocument(t *testing.T) {
	ctx := context.Background()
	for name, v := range both {
		t.Run(name, func(t *testing.T) {
			d := newDocument(t, v.can)
			c := issued(t, v.factory, d)
			if err := lds.SelectApplication(ctx, c.chip); err != nil {
				t.Fatal(err)
			}
			wrong, err := lds.MRZ("L898902D", d.birth, d.expiry)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lds.OpenBAC(ctx, c.chip, wrong); !errors.Is(err, lds.ErrAccessDenied) {
				t.Errorf("another document number: %v", err)
			}
			sm, err := lds.OpenBAC(ctx, c.chip, d.password(t))
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, sm, d)
			activeAuthentication(t, sm)
		})
	}
}

// activeAuthentication has OpenSSL open the answer to a challenge.
func activeAuthentication(t *testing.T, sm *lds.SecureMessaging) {
	t.Helper()
	challenge := []byte{0xF1, 0x73, 0x58, 0x99, 0x74, 0xBF, 0x40, 0xC6}
	s, err := apdu.Must(context.Background(), sm, apdu.Command{INS: 0x88, Data: challenge, Ne: 128})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&testKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, sig := filepath.Join(dir, "key.pem"), filepath.Join(dir, "sig")
	if err := errors.Join(os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600), os.WriteFile(sig, s, 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := exec.Command("openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", key, "-pkeyopt", "rsa_padding_mode:none", "-in", sig).Output()
	if err != nil {
		t.Fatalf("openssl: %v", err)
	}
	h := sha1.Sum(append(f[1:107:107], challenge...))
	if len(f) != 128 || f[0] != 0x6A || f[127] != 0xBC || !bytes.Equal(f[107:127], h[:]) {
		t.Errorf("recovered %X", f)
	}
	if new(big.Int).SetBytes(f[1:107]).Sign() != 0 {
		t.Error("M1 is not the applet's zeros")
	}
}

// TestFork opens the fork by PACE and reads everything.
func TestFork(t *testing.T) {
	ctx := context.Background()
	d := newDocument(t, "123456")
	c := issued(t, jmrtd.NewPACE, d)
	can, err := lds.CAN(d.can)
	if err != nil {
		t.Fatal(err)
	}
	other, err := lds.CAN("654321")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]lds.Password{"CAN": can, "MRZ": d.password(t)} {
		t.Run(name, func(t *testing.T) {
			c.chip.Reset()
			_, infos, err := lds.ReadCardAccess(ctx, c.chip)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lds.OpenPACE(ctx, c.chip, other, infos); !errors.Is(err, lds.ErrAccessDenied) {
				t.Errorf("a wrong password: %v", err)
			}
			sm, err := lds.OpenPACE(ctx, c.chip, p, infos)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, sm, d)
			activeAuthentication(t, sm)
			c.raw("00A4020C020101", "6982") // in plain no more
		})
	}
	t.Run("PIN and PUK", func(t *testing.T) {
		for reference, want := range map[string]string{"03": "9000", "04": "9000", "01": "9000", "05": "6A88", "0C": "6A88"} {
			c.chip.Reset()
			c.raw("0022C1A40F800A04007F000702020402028301"+reference, "9000")
			answer, err := c.chip.Transmit(ctx, unhex(t, "10860000027C0000"))
			if err != nil {
				t.Fatal(err)
			}
			if sw := answer[len(answer)-2:]; !bytes.Equal(sw, unhex(t, want)) {
				t.Errorf("password %s: %X", reference, answer)
			}
		}
	})
}

// TestTears cuts the power before and after every command of a personalization,
// begins again from the first command, and finds the same memory as without a
// tear. A lock that was done before the tear ends it.
func TestTears(t *testing.T) {
	for name, v := range both {
		t.Run(name, func(t *testing.T) {
			d := newDocument(t, v.can)
			commands := d.commands()
			want := issued(t, v.factory, d).content()
			if len(want) < 9 {
				t.Fatalf("the applet keeps only %d values", len(want))
			}
			for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter} {
				for at := 1; at <= len(commands); at++ {
					c := newCard(t, v.factory)
					f := &virtual.Faulty{Chip: c.chip, At: at, Fault: fault}
					if err := personalize(f, commands); !errors.Is(err, virtual.ErrTorn) {
						t.Fatalf("at %d: %v", at, err)
					}
					c.chip.Reset()
					resume := commands
					switch {
					case fault == virtual.TearAfter && at == len(commands):
						resume = nil
					case v.can != "" && (at == len(commands) || fault == virtual.TearAfter && at == len(commands)-1):
						resume = commands[len(commands)-1:] // after 00DADEAF only the lock is left
					}
					if err := personalize(c.chip, resume); err != nil {
						t.Fatalf("resumed after a tear at %d: %v", at, err)
					}
					got := c.content()
					if len(got) != len(want) {
						t.Fatalf("tear at %d: %d values, want %d", at, len(got), len(want))
					}
					for k, b := range want {
						if got[k] != b {
							t.Fatalf("tear at %d: %s differs", at, k)
						}
					}
				}
			}
		})
	}
}
