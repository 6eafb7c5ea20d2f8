package vault

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
)

// TestKMC brings a bank's KMC in by components: it stays in the token, only derives,
// and a card's K_ENC, K_MAC and K_DEK follow from KEYDATA as two other libraries have
// them (EMV CPS 1.1).
func TestKMC(t *testing.T) {
	raw, err := os.ReadFile("testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		KMC struct{ KMC, KeyData, ENC, MAC, DEK string }
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	ctx, s := t.Context(), exchangeService(t)
	if _, err := s.importComponents(ctx, components(t, RoleKMC, "1", v.KMC.KMC, kcvOf(t, 'T', v.KMC.KMC))); err != nil {
		t.Fatal(err)
	}
	set, err := newCardKeySet(RoleKMC+"/1", KeyTypeDES3, 128, DiversifyEMV)
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[byte]string{gp.KeyENC: v.KMC.ENC, gp.KeyMAC: v.KMC.MAC, gp.KeyDEK: v.KMC.DEK} {
		got, err := s.blankKey(ctx, set, kind, bytesOf(t, v.KMC.KeyData))
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("key %d: %x, %v", kind, []byte(got), err)
		}
	}
	all, err := s.token.List(ctx)
	if err != nil || len(all) != 1 || !all[0].Sensitive || all[0].Extractable {
		t.Errorf("%+v, %v", all, err)
	}
	if e, err := exchangedRole("kmc.sepah"); err != nil || e.use != hsm.UseDerive {
		t.Errorf("%+v, %v", e, err)
	}
}
