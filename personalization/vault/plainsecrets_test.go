package vault_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// every name that PlainSecrets releases.
var plainNames = []string{
	vault.SecretAAModulus, vault.SecretAAPrivateExponent, vault.SecretMRZDocumentNumber, vault.SecretMRZBirthDate,
	vault.SecretMRZExpiryDate, vault.SecretCANDigits, vault.SecretPINDigits, vault.SecretPUKDigits,
}

// TestPlainSecrets makes secrets with a key of active authentication, has
// OpenSSL check that the key is one, and takes them out by name.
func TestPlainSecrets(t *testing.T) {
	ctx := background(t)
	c := vaulttest.StartIn(t, t.TempDir())
	if _, err := c.Provision(ctx, vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	aad := []byte("card 1")
	request := vault.CardSecretsRequest{DataKey: key, AAD: aad, MRZInformation: "L898902C<369080619406236", CAN: "735519"}
	without, err := c.NewCardSecrets(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if without.ActivePublicKey != nil {
		t.Error("a key of active authentication that nobody asked for")
	}
	if values, err := c.PlainSecrets(ctx, key, aad, without.Sealed, []string{vault.SecretCANDigits}); !errors.Is(err, vault.ErrRequest) || values != nil {
		t.Errorf("a card of another kind: %d values, %v", len(values), err)
	}
	request.Plain = true
	request.ActiveAuthentication = 1024
	secrets, err := c.NewCardSecrets(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.PlainSecrets(ctx, key, aad, secrets.Sealed, plainNames)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := c.TransportPIN(ctx, key, aad, secrets.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		vault.SecretMRZDocumentNumber: "L898902C<", vault.SecretMRZBirthDate: "690806", vault.SecretMRZExpiryDate: "940623",
		vault.SecretCANDigits: "735519", vault.SecretPINDigits: string(pin),
	} {
		if string(got[name]) != want {
			t.Errorf("%s is another", name)
		}
	}
	if puk := string(got[vault.SecretPUKDigits]); len(puk) != 8 || strings.Trim(puk, "0123456789") != "" {
		t.Error("the unblock key is not 8 digits")
	}
	if len(got) != len(plainNames) || len(got[vault.SecretAAModulus]) != 128 || len(got[vault.SecretAAPrivateExponent]) != 128 {
		t.Fatalf("%d elements", len(got))
	}
	openedByOpenSSL(t, secrets.ActivePublicKey, got[vault.SecretAAModulus], got[vault.SecretAAPrivateExponent])

	// A long document number stands in full.
	request.MRZInformation = "D23145890734934071279507122"
	long, err := c.NewCardSecrets(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	more, err := c.PlainSecrets(ctx, key, aad, long.Sealed, plainNames)
	if err != nil {
		t.Fatal(err)
	}
	if string(more[vault.SecretMRZDocumentNumber]) != "D23145890734" {
		t.Error("a long document number is another")
	}
	if bytes.Equal(more[vault.SecretAAModulus], got[vault.SecretAAModulus]) {
		t.Error("two cards have the same key")
	}
}

// openedByOpenSSL signs the F of ICAO 9303-11 appendix F with the private
// exponent and has OpenSSL open it with the public key.
func openedByOpenSSL(t *testing.T, spki []byte, modulus, exponent []byte) {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).SetBytes(modulus)
	if p, ok := public.(*rsa.PublicKey); !ok || p.N.Cmp(n) != 0 || p.N.BitLen() != 1024 || p.E != 65537 || n.ProbablyPrime(1) {
		t.Fatal("the public key is another")
	}
	f, err := hex.DecodeString("6A9D2784A67F8E7C659973EA1AEA25D95B6C8F91E5002F369F0FBDCE8A3CEC1991B543F1696546C5524CF23A5303CD6C98599F40B79F377B5F3A1406B3B4D8F967" +
		"84D23AA88DB7E1032A405E69325FA91A6E86F5C71AEA978264C4A207446DAD4E7292E2DCDA3024B47DA8C063AA1E6D22FBD976AB0FE73D94D2D9C6D88127BC")
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(f)
	s.Exp(s, new(big.Int).SetBytes(exponent), n)
	dir := t.TempDir()
	key, sig := filepath.Join(dir, "key.der"), filepath.Join(dir, "sig")
	if err := errors.Join(os.WriteFile(key, spki, 0o600), os.WriteFile(sig, s.FillBytes(make([]byte, 128)), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", "pkeyutl", "-verifyrecover", "-pubin", "-keyform", "DER", "-inkey", key, "-pkeyopt", "rsa_padding_mode:none", "-in", sig).Output()
	if err != nil || !bytes.Equal(out, f) {
		t.Errorf("OpenSSL opens the signature to %d other bytes, %v", len(out), err)
	}
}

// TestPlainSecretsRefused: nothing that a secure channel must carry comes out
// in the clear, and one wrong name gives nothing at all.
func TestPlainSecretsRefused(t *testing.T) {
	ctx := background(t)
	c := vaulttest.StartIn(t, t.TempDir())
	if _, err := c.Provision(ctx, vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	aad := []byte("card 1")
	request := vault.CardSecretsRequest{DataKey: key, AAD: aad, MRZInformation: "L898902C<369080619406236", CAN: "735519", Plain: true}
	secrets, err := c.NewCardSecrets(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		vault.SecretBAC, vault.SecretPACEMRZ, vault.SecretPACECAN, vault.SecretChipAuthentication, vault.SecretPIN, vault.SecretPUK,
		vault.SecretAAModulus, vault.SecretAAPrivateExponent, "", "no such element",
	} {
		values, err := c.PlainSecrets(ctx, key, aad, secrets.Sealed, []string{vault.SecretCANDigits, name})
		if !errors.Is(err, vault.ErrRequest) || values != nil {
			t.Errorf("%q: %d values, %v", name, len(values), err)
		}
	}
	if _, err := c.PlainSecrets(ctx, key, []byte("card 2"), secrets.Sealed, []string{vault.SecretCANDigits}); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("another card's: %v", err)
	}
	for _, bits := range []int{-1, 512, 2048} {
		request.ActiveAuthentication = bits
		if _, err := c.NewCardSecrets(ctx, request); !errors.Is(err, vault.ErrRequest) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}
