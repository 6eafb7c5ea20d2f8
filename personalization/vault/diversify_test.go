package vault_test

import (
	"bytes"
	"fmt"
	"testing"

	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// TestDiversificationsOfAESKeys diversifies AES keys in every way, from one
// master and from masters separate by purpose, inside the token and by way of
// memory, and compares with software.
func TestDiversificationsOfAESKeys(t *testing.T) {
	tr := readVectors(t).SCP03[0]
	kdd := mustHex(t, "00010203040506070809")
	masters := map[string][]byte{
		"": mustHex(t, "404142434445464748494a4b4c4d4e4f"), ".enc": mustHex(t, "505152535455565758595a5b5c5d5e5f"),
		".mac": mustHex(t, "606162636465666768696a6b6c6d6e6f"), ".dek": mustHex(t, "707172737475767778797a7b7c7d7e7f"),
	}
	dir := t.TempDir()
	withToken(t, dir, func(token *hsm.Token) {
		importKey(t, token, "cb/cmk.t.enc/1", tr.ENC, hsm.UseDerive)
		importKey(t, token, "cb/cmk.t.mac/1", tr.MAC, hsm.UseDerive)
		importKey(t, token, "cb/cmk.t.dek/1", tr.DEK, hsm.UseEncrypt|hsm.UseWrap)
		for suffix, value := range masters {
			role := "one"
			if suffix != "" {
				role = "separate" + suffix
			}
			importKey(t, token, "cb/cmk.aes-"+role+"/1", value, hsm.UseDerive)
			importDES3(t, token, "cb/cmk.des-"+role+"/1", value)
		}
	})
	dek, err := gp.NewSoftwareCipher(tr.DEK)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--without", string(hsm.CanDerive) + "," + string(hsm.CanDeriveDES3) + "," + string(hsm.CanWrapCBC)}} {
		c, err := vault.Start(t.Context(), vaulttest.Options(t, dir, args...))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		ch, _, err := c.OpenChannel(ctx, vault.ChannelRequest{
			KeySet: "cmk.t/1", Diversification: vault.DiversifyNone, KeyBits: 128,
			HostChallenge: tr.hostChallenge(), InitializeUpdate: tr.InitUpdateResponse, AID: tr.AID, Level: gp.Level(tr.Level[0]),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close()
		for _, test := range []struct {
			d    gp.Diversification
			bits int
		}{
			{vault.DiversifyEMV, 128},
			{gp.Diversification{Cipher: gp.DiversifyDES3ECB, Input: "kdd kdd key 000000"}, 192},
			{gp.Diversification{Cipher: gp.DiversifyAESECB, Input: "kdd key 0000000000"}, 128},
			{gp.Diversification{Cipher: gp.DiversifyAESECB, Input: "kdd key 0000000000 kdd key FFFFFFFFFF"}, 192},
			{gp.Diversification{Cipher: gp.DiversifyAESECB, Input: "kdd key 0000000000 kdd key FFFFFFFFFF"}, 256},
			{vault.DiversifyKDF3, 256},
		} {
			for _, separate := range []bool{false, true} {
				role := map[bool]string{true: "des-", false: "aes-"}[test.d.Cipher == gp.DiversifyDES3ECB] + map[bool]string{true: "separate", false: "one"}[separate]
				name := fmt.Sprintf("%s %s %d bits, without %v", role, test.d.Cipher, test.bits, args)
				pk, err := ch.PutKey(ctx, vault.PutKeyRequest{
					KeySet: "cmk." + role + "/1", Diversification: test.d, KeyBits: test.bits,
					KeyVersion: 0x11, ReplacesVersion: 0x30, KeyDiversificationData: kdd,
				})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				var components []gp.KeyComponent
				for i, suffix := range []string{".enc", ".mac", ".dek"} {
					value := masters[""]
					if separate {
						value = masters[suffix]
					}
					var master gp.BlockCipher
					if test.d.Cipher == gp.DiversifyDES3ECB {
						master, err = gp.NewSoftwareDESCipher(value)
					} else {
						master, err = gp.NewSoftwareCipher(value)
					}
					if err != nil {
						t.Fatal(err)
					}
					key, err := test.d.Derive(ctx, master, byte(i+1), kdd, test.bits/8)
					if err != nil {
						t.Fatal(err)
					}
					component, err := gp.NewKeyComponent(ctx, dek, key)
					if err != nil {
						t.Fatal(err)
					}
					components = append(components, component)
				}
				if want := gp.ReplaceKeyCommand(0x30, 0x11, 1, components); !bytes.Equal(pk.Command.Data, want.Data) {
					t.Errorf("%s: PUT KEY\n got %X\nwant %X", name, pk.Command.Data, want.Data)
				}
			}
		}
	}
}
