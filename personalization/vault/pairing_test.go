package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/statement"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// TestPairingKeys: records are signed with the pairing key, nothing else is, and
// digests keep their kinds apart.
func TestPairingKeys(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := t.Context()
	sign := func(tbs []byte) ([]byte, error) { return c.SignPairing(ctx, tbs) }
	const kind = "application/vnd.cardbureau.pairing+cbor"
	raw, err := statement.COSE(map[int]int{1: 1}, kind, vault.PairingKID, sign)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.PairingJWK(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(b, &jwk); err != nil {
		t.Fatal(err)
	}
	var back map[int]int
	if err := statement.Verify(raw, kind, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}}, &back); err != nil || back[1] != 1 {
		t.Fatalf("%v, %v", back, err)
	}
	if _, err := statement.COSE(map[int]int{1: 1}, "application/vnd.cardbureau.binding+cbor", vault.PairingKID, sign); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("a binding was signed: %v", err)
	}
	external, err := cbor.Marshal([]any{"Signature1", []byte{0xA1, 0x03, 0x60}, []byte{}, []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tbs := range [][]byte{nil, {0xA0}, external, []byte("pair-v1")} {
		if _, err := sign(tbs); !errors.Is(err, vault.ErrRequest) {
			t.Errorf("%x: %v", tbs, err)
		}
	}
	one, err1 := c.ICCIDRef(ctx, "8998110000000000012")
	again, err2 := c.ICCIDRef(ctx, "8998110000000000012")
	other, err3 := c.MSISDNRef(ctx, "8998110000000000012")
	if err := errors.Join(err1, err2, err3); err != nil || len(one) != 32 || !bytes.Equal(one, again) || bytes.Equal(one, other) {
		t.Errorf("digests: %v", err)
	}
	if _, err := c.ICCIDRef(ctx, ""); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("nothing: %v", err)
	}
}
