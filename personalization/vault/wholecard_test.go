package vault_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
	"cardbureau/hsm"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// newBlank makes a software chip whose transport keys come from the token.
func newBlank(t testing.TB, c *vault.Client, bits int, i byte, modules map[string]func() virtual.Applet) (*virtual.Chip, virtual.Serial) {
	t.Helper()
	serial := virtual.NewSerial(7, 4711)
	kdd := serial.Bytes()
	keys, err := c.BlankKeys(context.Background(), vault.BlankKeysRequest{
		KeySet: "cmk.acme/1", Diversification: vault.DiversifyKDF3, KeyBits: bits, KeyDiversificationData: kdd[:],
	})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Zero()
	blank := virtual.LDSBlank(serial, virtual.Keys{Version: 0x30, ENC: bytes.Clone(keys.ENC), MAC: bytes.Clone(keys.MAC), DEK: bytes.Clone(keys.DEK)})
	blank.SCP = i
	chip, err := virtual.New(virtual.Config{Blank: &blank, Applets: modules})
	if err != nil {
		t.Fatal(err)
	}
	return chip, serial
}

// optionsOf is the i of a blank that offers everything in a mode.
func optionsOf(mode gp.Mode) byte {
	if mode == gp.S16 {
		return virtual.SCP03Full | virtual.SCP03S16
	}
	return virtual.SCP03Full
}

// open selects the issuer security domain and opens a channel.
func open(t testing.TB, c *vault.Client, card apdu.Card, keySet string, version byte, bits int, mode gp.Mode, level gp.Level) (*vault.Channel, error) {
	t.Helper()
	ctx := context.Background()
	if _, err := apdu.Must(ctx, card, gp.SelectISDCommand()); err != nil {
		t.Fatal(err)
	}
	challenge, err := c.HostChallenge(ctx, mode)
	if err != nil {
		t.Fatal(err)
	}
	iu, err := apdu.Must(ctx, card, gp.InitializeUpdateCommand(version, challenge))
	if err != nil {
		return nil, err
	}
	ch, authenticate, err := c.OpenChannel(ctx, vault.ChannelRequest{
		KeySet: keySet, Diversification: vault.DiversifyKDF3, KeyBits: bits,
		HostChallenge: challenge, InitializeUpdate: iu, AID: gp.ISDAID, Level: level,
	})
	if err != nil {
		return nil, err
	}
	r, err := apdu.SendRaw(ctx, card, authenticate)
	if err != nil || !r.SW.OK() {
		t.Fatalf("EXTERNAL AUTHENTICATE: %v, %v", r.SW, err)
	}
	return ch, nil
}

// keeper is an applet that keeps what STORE DATA brings, deciphered.
type keeper struct{ stored *[][]byte }

func (keeper) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWSuccess
}
func (keeper) Deselect(virtual.Env) {}
func (keeper) Process(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWInstructionNotSupported
}
func (k keeper) StoreData(e virtual.Env, p1, _ byte, data []byte) ([]byte, apdu.StatusWord) {
	if p1&0x60 == 0x60 {
		for len(data) > 3 { // DGI, one length byte
			plain, err := e.DecipherDEK(data[3 : 3+int(data[2])])
			if err != nil {
				return nil, apdu.SWWrongData
			}
			*k.stored = append(*k.stored, bytes.Clone(plain))
			data = data[3+int(data[2]):]
		}
	}
	return nil, apdu.SWSuccess
}

// TestWholeCard takes a software chip, which has its own implementation of
// everything, through transport keys, secrets, PUT KEY and the issuer's keys.
func TestWholeCard(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	wholeCard(t, c)
	if s, err := c.Stats(t.Context()); err != nil || !s.DeriveInToken {
		t.Errorf("keys are not derived in the token: %v", err)
	}
}

// TestWholeCardWithoutDerivation is the same with a module that can neither
// derive nor wrap as it should: keys pass through the agent's memory.
func TestWholeCardWithoutDerivation(t *testing.T) {
	c, err := vault.Start(t.Context(), vaulttest.Options(t, t.TempDir(), "--without", string(hsm.CanDerive)+","+string(hsm.CanWrapCBC)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Provision(t.Context(), vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	before, err := c.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wholeCard(t, c)
	after, err := c.Stats(t.Context())
	if err != nil || after.DeriveInToken || after.Operations["C_DeriveKey"] != before.Operations["C_DeriveKey"] {
		t.Errorf("keys are derived in the token all the same: %v", err)
	}
}

func wholeCard(t *testing.T, c *vault.Client) {
	ctx := t.Context()
	for _, tc := range []struct {
		bits  int
		mode  gp.Mode
		level gp.Level
	}{
		{128, gp.S8, gp.LevelCENC}, {128, gp.S8, gp.LevelFull}, {256, gp.S8, gp.LevelCENC}, {256, gp.S8, gp.LevelFull}, {192, gp.S8, gp.LevelFull},
		{128, gp.S16, gp.LevelFull}, {192, gp.S16, gp.LevelCENC}, {192, gp.S16, gp.LevelFull}, {256, gp.S16, gp.LevelFull},
	} {
		t.Run(fmt.Sprintf("AES-%d %v level %s", tc.bits, tc.mode, tc.level), func(t *testing.T) {
			var stored [][]byte
			chip, serial := newBlank(t, c, tc.bits, optionsOf(tc.mode), map[string]func() virtual.Applet{
				virtual.LDSAID: func() virtual.Applet { return keeper{&stored} },
			})
			if _, err := open(t, c, chip, vault.KeySetIssuer, 0x30, tc.bits, tc.mode, tc.level); !errors.Is(err, gp.ErrCardCryptogram) {
				t.Fatalf("the wrong keys: %v", err)
			}
			ch, err := open(t, c, chip, "cmk.acme/1", 0x30, tc.bits, tc.mode, tc.level)
			if err != nil {
				t.Fatal(err)
			}
			defer ch.Close()
			key, err := c.NewDataKey(ctx)
			if err != nil {
				t.Fatal(err)
			}
			aad := []byte("image row")
			secrets, err := c.NewCardSecrets(ctx, vault.CardSecretsRequest{DataKey: key, AAD: aad, MRZInformation: "L898902C<369080619406236", CAN: "123456"})
			if err != nil {
				t.Fatal(err)
			}
			names := []string{vault.SecretBAC, vault.SecretPACEMRZ, vault.SecretPACECAN, vault.SecretChipAuthentication, vault.SecretPIN, vault.SecretPUK}
			values, err := ch.EncipherSecrets(ctx, key, aad, secrets.Sealed, names)
			if err != nil {
				t.Fatal(err)
			}
			aidOf := mustHex(t, virtual.LDSAID)
			commands := []apdu.Command{gp.InstallForPersonalizationCommand(aidOf)}
			var dgis []gp.DGI
			for i, n := range names {
				dgis = append(dgis, gp.DGI{ID: 0x8001 + uint16(i), Value: values[n]})
			}
			blocks, err := gp.StoreData(dgis, gp.StoreDataOptions{Enciphered: true, MaxData: gp.MaxPlainData(tc.mode, tc.level, false)})
			if err != nil {
				t.Fatal(err)
			}
			commands = append(commands, blocks...)
			kdd := serial.Bytes()
			pk, err := ch.PutKey(ctx, vault.PutKeyRequest{
				KeySet: vault.KeySetIssuer, Diversification: vault.DiversifyKDF3, KeyBits: tc.bits,
				KeyVersion: 0x11, ReplacesVersion: 0x30, KeyDiversificationData: kdd[:],
			})
			if err != nil {
				t.Fatal(err)
			}
			commands = append(commands, pk.Command)
			responses := transact(t, ch, chip, commands)
			components := make([]gp.KeyComponent, 3)
			for i := range components {
				components[i].KCV = pk.KCVs[i]
			}
			if err := gp.CheckPutKeyResponse(responses[len(responses)-1].Data, 0x11, components); err != nil {
				t.Error(err)
			}
			checkSecrets(t, c, stored, key, aad, secrets)
			issuer, err := open(t, c, chip, vault.KeySetIssuer, 0x11, tc.bits, tc.mode, tc.level)
			if err != nil {
				t.Fatalf("with the issuer's keys: %v", err)
			}
			transact(t, issuer, chip, []apdu.Command{gp.GetDataCommand(0x9F7F)})
			issuer.Close()
			if _, err := issuer.Wrap(ctx, commands); !errors.Is(err, vault.ErrChannelGone) {
				t.Errorf("a closed channel: %v", err)
			}
		})
	}
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func transact(t testing.TB, ch gp.Channel, card apdu.Card, commands []apdu.Command) []apdu.Response {
	t.Helper()
	ctx := context.Background()
	wrapped, err := ch.Wrap(ctx, commands)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([][]byte, len(wrapped))
	for i, w := range wrapped {
		r, err := apdu.SendRaw(ctx, card, w)
		if err != nil {
			t.Fatal(err)
		}
		if !r.SW.OK() {
			t.Fatalf("command %d: %v", i+1, r.SW)
		}
		raw[i] = r.Bytes()
	}
	out, err := ch.Unwrap(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func checkSecrets(t *testing.T, c *vault.Client, stored [][]byte, key vault.DataKey, aad []byte, secrets vault.CardSecrets) {
	t.Helper()
	if len(stored) != 6 {
		t.Fatalf("the card got %d secrets", len(stored))
	}
	for i, size := range []int{32, 20, 6, 32, 7, 9} {
		end := bytes.LastIndexByte(stored[i], 0x80)
		if end != size {
			t.Errorf("secret %d has %d bytes, want %d", i+1, end, size)
		}
	}
	// ICAO 9303-11 appendix D.2.
	if got := hex.EncodeToString(stored[0][:32]); got != "ab94fdecf2674fdfb9b391f85d7f76f27962d9ece03d1acd4c76089dce131543" {
		t.Errorf("BAC keys %s", got)
	}
	pin, err := c.TransportPIN(context.Background(), key, aad, secrets.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if stored[4][0] != 3 || !bytes.Equal(stored[4][1:7], pin) || stored[5][0] != 10 {
		t.Error("the card's PIN is not the one for the proof")
	}
	if _, err := c.Open(context.Background(), key, aad, secrets.Sealed); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("card secrets opened as data: %v", err)
	}
}

// TestUnwrapRefusesForgeries alters one response of a batch.
func TestUnwrapRefusesForgeries(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := t.Context()
	var stored [][]byte
	chip, _ := newBlank(t, c, 128, virtual.SCP03Full, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return keeper{&stored} }})
	ch, err := open(t, c, chip, "cmk.acme/1", 0x30, 128, gp.S8, gp.LevelFull)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	commands := []apdu.Command{gp.GetDataCommand(0x9F7F), gp.GetDataCommand(0x9F7F)}
	wrapped, err := ch.Wrap(ctx, commands)
	if err != nil {
		t.Fatal(err)
	}
	var raw [][]byte
	for _, w := range wrapped {
		r, err := apdu.SendRaw(ctx, chip, w)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, r.Bytes())
	}
	raw[1][3] ^= 1
	good, err := ch.Unwrap(ctx, raw)
	var at *apdu.ExchangeError
	if !errors.Is(err, gp.ErrResponseMAC) || !errors.As(err, &at) || at.Index != 1 {
		t.Errorf("a forged response: %v", err)
	}
	if len(good) > 1 {
		t.Errorf("%d responses are said to be good", len(good))
	}
	if _, err := ch.Wrap(ctx, commands); err == nil {
		t.Error("the channel goes on after a forged response")
	}
}
