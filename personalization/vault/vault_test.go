package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/hsm/softhsm"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

func background(t testing.TB) context.Context {
	t.Helper()
	return t.Context()
}

// TestProvisionIsIdempotent provisions twice, the second time from another
// agent on the same token, and expects the same keys and certificates.
func TestProvisionIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	ctx := background(t)
	c := vaulttest.StartIn(t, dir)
	first, err := c.Provision(ctx, vaulttest.Development)
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other := vaulttest.StartIn(t, dir)
	second, err := other.Provision(ctx, vaulttest.Development)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CSCA, second.CSCA) || !bytes.Equal(first.DocumentSigner, second.DocumentSigner) ||
		!bytes.Equal(first.IntakeJWK, second.IntakeJWK) || !bytes.Equal(first.RegistryJWK, second.RegistryJWK) {
		t.Error("the second provisioning gave other certificates or keys")
	}
	after, err := other.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("%d keys before, %d after", len(before), len(after))
	}
	roles := map[string]bool{}
	for i, k := range before {
		if k != after[i] {
			t.Errorf("key %s differs: %+v, %+v", k.Label, k, after[i])
		}
		// A card verification key is brought in, so it was extractable before.
		never := k.NeverExtractable || strings.HasPrefix(k.Role, vault.RoleCVK)
		if !k.Development || !k.Sensitive || k.Extractable || !never || len(k.KCV) != 6 {
			t.Errorf("key %+v should be for development, sensitive, never extractable, with a KCV", k)
		}
		roles[k.Role] = true
	}
	for _, role := range []string{"csca", "ds", "intake", "person-ref", "cmk.acme", "cmk.issuer", "kek.pii", "registry.test"} {
		if !roles[role] {
			t.Errorf("no key of role %s", role)
		}
	}
	if _, err := c.Provision(ctx, vault.ProvisionRequest{State: "IRN", Contact: "a@b", CRLs: []string{"http://c"}}); !errors.Is(err, vault.ErrDevelopment) {
		t.Errorf("real keys beside development keys: %v", err)
	}
}

// TestPKCS11ToolAgrees has OpenSC look at the token: every key is sensitive
// and was never extractable.
func TestPKCS11ToolAgrees(t *testing.T) {
	tool, err := exec.LookPath("pkcs11-tool")
	if err != nil {
		t.Skip("pkcs11-tool (opensc) is not installed")
	}
	dir := t.TempDir()
	c := vaulttest.StartIn(t, dir)
	if _, err := c.Provision(background(t), vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	c.Close()
	module, err := softhsm.FindModule()
	if err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(filepath.Join(dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "--module", module, "--token-label", softhsm.DefaultLabel, "--login", "--pin", "env:PIN", "--list-objects")
	cmd.Env = append(os.Environ(), softhsm.ConfigVariable+"="+filepath.Join(dir, "softhsm2.conf"), "PIN="+strings.TrimSpace(string(pin)))
	out, err := cmd.Output() // warnings on standard error would fall between its lines
	if err != nil {
		t.Fatalf("pkcs11-tool: %v\n%s", err, out)
	}
	objects := splitObjects(string(out))
	seen := 0
	for _, o := range objects {
		if !strings.HasPrefix(o, "Secret Key Object") && !strings.HasPrefix(o, "Private Key Object") {
			continue
		}
		seen++
		if strings.Contains(o, "cb/cvk") {
			continue // brought in: sensitive and not extractable, but not always
		}
		if !strings.Contains(o, "sensitive") || !strings.Contains(o, "always sensitive") || !strings.Contains(o, "never extractable") {
			t.Errorf("pkcs11-tool shows:\n%s", o)
		}
	}
	for _, label := range []string{"cb/cmk.acme/1", "cb/cmk.issuer/1", "cb/csca/1", "cb/ds/1", "cb/kek.pii/"} {
		if !strings.Contains(string(out), label) {
			t.Errorf("pkcs11-tool does not show %s", label)
		}
	}
	if seen < 8 {
		t.Errorf("pkcs11-tool shows %d secret and private keys:\n%s", seen, out)
	}
}

// splitObjects cuts pkcs11-tool's list where a line is not indented.
func splitObjects(list string) []string {
	var out []string
	for _, line := range strings.Split(list, "\n") {
		if len(out) == 0 || line != "" && !strings.HasPrefix(line, " ") {
			out = append(out, line)
			continue
		}
		out[len(out)-1] += "\n" + line
	}
	return out
}

func TestSealAndOpen(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := background(t)
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	aad := vault.AAD("record", "sealed", uuid.New(), uuid.New(), 1)
	plain := bytes.Repeat([]byte("a record "), 3000)
	sealed, err := c.Seal(ctx, key, aad, plain)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len(plain)+29 || bytes.Contains(sealed, []byte("record")) {
		t.Errorf("sealed into %d bytes from %d", len(sealed), len(plain))
	}
	opened, err := c.Open(ctx, key, aad, sealed)
	if err != nil || !bytes.Equal(opened, plain) {
		t.Fatalf("open: %v", err)
	}
	altered := bytes.Clone(sealed)
	altered[len(altered)-1] ^= 1
	stale := key
	stale.Wrapped = bytes.Clone(key.Wrapped)
	stale.Wrapped[3] ^= 1
	for name, it := range map[string]vault.SealItem{
		"altered":            {DataKey: key, AAD: aad, Data: altered},
		"another row":        {DataKey: key, AAD: vault.AAD("record", "sealed", uuid.New(), uuid.New(), 1), Data: sealed},
		"another person":     {DataKey: other, AAD: aad, Data: sealed},
		"altered data key":   {DataKey: stale, AAD: aad, Data: sealed},
		"cut":                {DataKey: key, AAD: aad, Data: sealed[:20]},
		"empty":              {DataKey: key, AAD: aad},
		"data key cut short": {DataKey: vault.DataKey{Epoch: key.Epoch, Wrapped: key.Wrapped[:8]}, AAD: aad, Data: sealed},
	} {
		if _, err := c.OpenAll(ctx, []vault.SealItem{it}); !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
	if _, err := c.Open(ctx, vault.DataKey{Epoch: "2001-01", Wrapped: key.Wrapped}, aad, sealed); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("a destroyed epoch: %v, want ErrNoKey", err)
	}
	// None of it may have broken the token.
	if opened, err = c.Open(ctx, key, aad, sealed); err != nil || !bytes.Equal(opened, plain) {
		t.Fatalf("open after refusals: %v", err)
	}
	items := []vault.SealItem{{DataKey: key, AAD: aad, Data: []byte("one")}, {DataKey: other, AAD: aad, Data: []byte("two")}, {DataKey: key, AAD: aad, Data: nil}}
	many, err := c.SealAll(ctx, items)
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		items[i].Data = many[i]
	}
	back, err := c.OpenAll(ctx, items)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s", back); got != "[one two ]" {
		t.Errorf("opened %s", got)
	}
}

func TestPseudonymsAndDigests(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := background(t)
	a, err := c.PersonRef(ctx, "1234567890")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.PersonRef(ctx, "1234567890")
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.PersonRef(ctx, "1234567891")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.IdentityDigest(ctx, []byte("1234567890"))
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != 32 || !bytes.Equal(a, again) || bytes.Equal(a, b) || bytes.Equal(a, d) {
		t.Error("a pseudonym must be 32 bytes, stable, different by person and by purpose")
	}
	if _, err := c.PersonRef(ctx, ""); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("empty unique id: %v", err)
	}
}

// TestOpenJWE encrypts with go-jose, which this package does not decrypt with.
func TestOpenJWE(t *testing.T) {
	c, p := vaulttest.Provisioned(t)
	ctx := background(t)
	var intake jose.JSONWebKey
	if err := json.Unmarshal(p.IntakeJWK, &intake); err != nil {
		t.Fatal(err)
	}
	encrypt := func(alg jose.KeyAlgorithm, enc jose.ContentEncryption, kid string) string {
		t.Helper()
		e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: intake.Key, KeyID: kid},
			(&jose.EncrypterOptions{}).WithContentType("verified-record+jws"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := e.Encrypt([]byte("a signed record"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, kid := range []string{"", p.IntakeKID} {
		plain, err := c.OpenJWE(ctx, encrypt(jose.ECDH_ES_A256KW, jose.A256GCM, kid))
		if err != nil || string(plain) != "a signed record" {
			t.Errorf("kid %q: %q, %v", kid, plain, err)
		}
	}
	good := encrypt(jose.ECDH_ES_A256KW, jose.A256GCM, "")
	parts := strings.Split(good, ".")
	altered := func(i int) string {
		p := append([]string(nil), parts...)
		b := []byte(p[i])
		b[len(b)/2] ^= 1
		p[i] = string(b)
		return strings.Join(p, ".")
	}
	bad := map[string]string{
		"empty":           "",
		"not five parts":  strings.Join(parts[:4], "."),
		"other algorithm": encrypt(jose.ECDH_ES, jose.A256GCM, ""),
		"other content":   encrypt(jose.ECDH_ES_A256KW, jose.A128CBC_HS256, ""),
		"other kid":       encrypt(jose.ECDH_ES_A256KW, jose.A256GCM, "intake/7"),
		"signing key":     encrypt(jose.ECDH_ES_A256KW, jose.A256GCM, "ds/1"),
		"altered header":  altered(0), "altered key": altered(1), "altered iv": altered(2),
		"altered text": altered(3), "altered tag": altered(4),
	}
	for name, s := range bad {
		if _, err := c.OpenJWE(ctx, s); !errors.Is(err, vault.ErrJWE) {
			t.Errorf("%s: %v, want ErrJWE", name, err)
		}
	}
}

func TestSignTestRecord(t *testing.T) {
	c, p := vaulttest.Provisioned(t)
	compact, err := c.SignTestRecord(background(t), []byte(`{"schema":"verified-record/1"}`))
	if err != nil {
		t.Fatal(err)
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(p.RegistryJWK, &key); err != nil {
		t.Fatal(err)
	}
	s, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Verify(key)
	if err != nil || string(payload) != `{"schema":"verified-record/1"}` {
		t.Errorf("%q, %v", payload, err)
	}
	if s.Signatures[0].Header.KeyID != p.RegistryKID {
		t.Errorf("kid %q, want %q", s.Signatures[0].Header.KeyID, p.RegistryKID)
	}
}

// TestProductionHasNoTestRegistry checks what real keys do not allow.
func TestProductionHasNoTestRegistry(t *testing.T) {
	c := vaulttest.Start(t)
	ctx := background(t)
	if _, err := c.PersonRef(ctx, "1"); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("before provisioning: %v, want ErrNoKey", err)
	}
	if _, err := c.Provision(ctx, vault.ProvisionRequest{State: "IRN"}); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("without contact: %v, want ErrRequest", err)
	}
	p, err := c.Provision(ctx, vault.ProvisionRequest{State: "IRN", Organization: "Bureau", Contact: "pki@example.org", CRLs: []string{"http://example.org/crl"}})
	if err != nil {
		t.Fatal(err)
	}
	if p.RegistryJWK != nil {
		t.Error("a real token has a test registry")
	}
	if err := c.CheckEnvironment(ctx, false); err != nil {
		t.Error(err)
	}
	if err := c.CheckEnvironment(ctx, true); !errors.Is(err, vault.ErrEnvironment) {
		t.Errorf("production keys under a development configuration: %v", err)
	}
	if _, err := c.SignTestRecord(ctx, []byte("x")); !errors.Is(err, vault.ErrDevelopment) {
		t.Errorf("sign a test record: %v, want ErrDevelopment", err)
	}
	if _, err := c.BlankKeys(ctx, vault.BlankKeysRequest{KeySet: vault.KeySetIssuer, Diversification: vault.DiversifyKDF3, KeyBits: 128, KeyDiversificationData: make([]byte, 10)}); !errors.Is(err, vault.ErrDevelopment) {
		t.Errorf("blank keys: %v, want ErrDevelopment", err)
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Development || strings.HasPrefix(k.Role, "cmk.") && k.Role != "cmk.issuer" {
			t.Errorf("a real token holds %+v", k)
		}
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	s := vault.Secret("123456")
	text, err := json.Marshal(map[string]any{"pin": s})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(s) + fmt.Sprintf("%v %+v %#v %x %q %d %s", s, s, s, s, s, s, s) + string(text) + s.LogValue().String()
	if strings.Contains(all, "123456") || strings.Contains(all, "313233") || strings.Contains(all, "49 50") {
		t.Errorf("a secret shows: %s", all)
	}
}
