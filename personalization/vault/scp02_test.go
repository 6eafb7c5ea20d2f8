package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// session02 is a session of SCP02 that the openssl command computed
// (cardio/gp/testdata).
type session02 struct {
	I, Level                       hexBytes
	ENC, MAC, DEK, AID             hexBytes
	InitUpdate, InitUpdateResponse hexBytes
	ExternalAuthenticate           hexBytes
	Secret, Enciphered             hexBytes
	Exchanges                      []struct{ Plain, Wrapped, Answer, Protected hexBytes }
}

func sessions02(t testing.TB) []session02 {
	t.Helper()
	b, err := os.ReadFile("testdata/scp02.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ SCP02 []session02 }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP02) == 0 {
		t.Fatal("the sessions of SCP02 are not there")
	}
	return v.SCP02
}

// keySet is the role of its keys: cards with one base key share it.
func (v session02) keySet() string { return fmt.Sprintf("cmk.scp02-%d", v.I[0]&1) }

func (v session02) request() vault.ChannelRequest {
	return vault.ChannelRequest{
		KeySet: v.keySet() + "/1", KeyType: vault.KeyTypeDES3, Diversification: vault.DiversifyNone, KeyBits: 128, Protocol: 2, I: v.I[0],
		HostChallenge: v.InitUpdate[5:13], InitializeUpdate: v.InitUpdateResponse, AID: v.AID, Level: gp.Level(v.Level[0]),
	}
}

func importDES3(t testing.TB, token *hsm.Token, label string, value []byte) {
	t.Helper()
	err := token.ImportDES3(t.Context(), label, value, hsm.KeyOptions{Use: hsm.UseDerive, Development: true})
	if err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		t.Fatal(err)
	}
}

// emvMaster is the KMC of the known answers, whose keys emvKeys are for
// emvData: computed with two libraries that agree.
var (
	emvMaster = "404142434445464748494a4b4c4d4e4f"
	emvData   = "ffff5892100012345678"
	emvKeys   = [3]string{"5c5f4621adce1ed069dba7a92f15780d", "615651d8945c1b5b6e85b1bcf2decefa", "177209a9629e759a692df626261d3f92"}
)

func importAll02(t *testing.T, dir string, all []session02) {
	withToken(t, dir, func(token *hsm.Token) {
		for _, v := range all {
			role := "cb/" + v.keySet()
			importDES3(t, token, role+".enc/1", v.ENC)
			importDES3(t, token, role+".mac/1", v.MAC)
			importDES3(t, token, role+".dek/1", v.DEK)
		}
		importDES3(t, token, "cb/cmk.one/1", mustHex(t, emvMaster))
		// Separate masters: each the same here, so that the same keys follow.
		for _, purpose := range []string{"enc", "mac", "dek"} {
			importDES3(t, token, "cb/cmk.separate."+purpose+"/1", mustHex(t, emvMaster))
		}
	})
}

// TestChannelsOfSCP02 replays sessions that openssl computed: the keys are in
// the token, session keys are derived there, and every byte must be the same.
// Without derivation in the token it is the same as well.
func TestChannelsOfSCP02(t *testing.T) {
	all := sessions02(t)
	for _, inToken := range []bool{true, false} {
		t.Run(fmt.Sprintf("derived in the token %v", inToken), func(t *testing.T) {
			dir := t.TempDir()
			importAll02(t, dir, all)
			var args []string
			if !inToken {
				args = []string{"--without", string(hsm.CanDeriveDES3)}
			}
			c, err := vault.Start(t.Context(), vaulttest.Options(t, dir, args...))
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
			for _, v := range all {
				t.Run(fmt.Sprintf("i=%X level %X", []byte(v.I), []byte(v.Level)), func(t *testing.T) { replay02(t, c, v) })
			}
			after, err := c.Stats(t.Context())
			if err != nil || after.OpenChannels != 0 || after.DeriveDES3InToken != inToken {
				t.Errorf("after all channels were closed: %+v, %v", after, err)
			}
			// Whatever is made for a session is destroyed with it.
			derived := after.Operations["C_DeriveKey"] - before.Operations["C_DeriveKey"]
			destroyed := after.Operations["C_DestroyObject"] - before.Operations["C_DestroyObject"]
			if derived != destroyed || (derived > 0) != inToken {
				t.Errorf("%d keys were derived, %d objects destroyed", derived, destroyed)
			}
			putKey02(t, c, all)
		})
	}
}

func replay02(t *testing.T, c *vault.Client, v session02) {
	ctx := t.Context()
	ch, authenticate, err := c.OpenChannel(ctx, v.request())
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	if !bytes.Equal(authenticate, v.ExternalAuthenticate) {
		t.Errorf("EXTERNAL AUTHENTICATE\n got %X\nwant %X", authenticate, v.ExternalAuthenticate)
	}
	var commands []apdu.Command
	var responses [][]byte
	for _, e := range v.Exchanges {
		p := e.Plain
		commands = append(commands, apdu.Command{CLA: p[0], INS: p[1], P1: p[2], P2: p[3], Data: p[5:]})
		responses = append(responses, append(bytes.Clone(e.Protected), 0x90, 0x00))
	}
	before, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := ch.Wrap(ctx, commands)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Two for each C-MAC, which chain, and a few for all data.
	if n := after.Operations["C_Encrypt"] - before.Operations["C_Encrypt"]; n > uint64(2*len(commands)+3) {
		t.Errorf("%d operations to wrap %d commands", n, len(commands))
	}
	answers, err := ch.Unwrap(ctx, responses)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range v.Exchanges {
		if !bytes.Equal(wrapped[i], e.Wrapped) {
			t.Errorf("command %d\n got %X\nwant %X", i+1, wrapped[i], e.Wrapped)
		}
		if !bytes.Equal(answers[i].Data, e.Answer) {
			t.Errorf("answer %d\n got %X\nwant %X", i+1, answers[i].Data, e.Answer)
		}
	}
	wrong := v.request()
	wrong.InitializeUpdate = bytes.Clone(v.InitUpdateResponse)
	wrong.InitializeUpdate[22] ^= 1
	if _, authenticate, err := c.OpenChannel(ctx, wrong); !errors.Is(err, gp.ErrCardCryptogram) || authenticate != nil {
		t.Errorf("a wrong cryptogram: %v", err)
	}
	if v.I[0]&0x40 != 0 {
		wrong = v.request()
		wrong.AID = mustHex(t, "A0000002471001")
		if _, _, err := c.OpenChannel(ctx, wrong); !errors.Is(err, gp.ErrCardChallenge) {
			t.Errorf("another AID than the challenge's: %v", err)
		}
	}
}

// putKey02 compares PUT KEY and secrets with what openssl's S-DEK and known
// diversified keys make of them.
func putKey02(t *testing.T, c *vault.Client, all []session02) {
	ctx := t.Context()
	var v session02
	for _, v = range all {
		if v.I[0] == 0x55 {
			break
		}
	}
	keys, err := gp.NewSoftwareDESKeys(v.ENC, v.MAC, v.DEK)
	if err != nil {
		t.Fatal(err)
	}
	sdek, err := keys.DeriveSession(ctx, gp.KeyDEK, gp.DeriveSCP02DEK, v.InitUpdateResponse[12:14])
	if err != nil {
		t.Fatal(err)
	}
	if out, err := sdek.EncryptECB(ctx, v.Secret); err != nil || !bytes.Equal(out, v.Enciphered) {
		t.Fatalf("S-DEK is not openssl's: %v", err)
	}
	ch, _, err := c.OpenChannel(ctx, v.request())
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	req := vault.PutKeyRequest{
		KeyType: vault.KeyTypeDES3, Diversification: vault.DiversifyEMV, KeyBits: 128,
		KeyVersion: 0x21, ReplacesVersion: 0x20, KeyDiversificationData: mustHex(t, emvData),
	}
	var components []gp.KeyComponent
	for _, key := range emvKeys {
		k, err := gp.NewDESKeyComponent(ctx, sdek, mustHex(t, key))
		if err != nil {
			t.Fatal(err)
		}
		components = append(components, k)
	}
	want := gp.ReplaceKeyCommand(0x20, 0x21, 1, components)
	for _, set := range []string{"cmk.one/1", "cmk.separate/1"} {
		req.KeySet = set
		pk, err := ch.PutKey(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pk.Command.Data, want.Data) || pk.Command.P1 != 0x20 || pk.Command.P2 != 0x81 {
			t.Errorf("%s: PUT KEY\n got %v %X\nwant %v %X", set, pk.Command, pk.Command.Data, want, want.Data)
		}
		for i, k := range components {
			if !bytes.Equal(pk.KCVs[i], k.KCV) {
				t.Errorf("%s: KCV %X, want %X", set, pk.KCVs[i], k.KCV)
			}
		}
		blank, err := c.BlankKeys(ctx, vault.BlankKeysRequest{KeySet: set, KeyType: vault.KeyTypeDES3, Diversification: vault.DiversifyEMV, KeyBits: 128, KeyDiversificationData: req.KeyDiversificationData})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(blank.ENC, mustHex(t, emvKeys[0])) || !bytes.Equal(blank.MAC, mustHex(t, emvKeys[1])) || !bytes.Equal(blank.DEK, mustHex(t, emvKeys[2])) {
			t.Errorf("%s: the blank's keys are others", set)
		}
	}
	secrets02(t, c, ch, sdek)
	wrong := req
	wrong.KeyType, wrong.Diversification = vault.KeyTypeAES, vault.DiversifyEMV
	if _, err := ch.PutKey(ctx, wrong); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("AES keys under SCP02: %v", err)
	}
	wrong = req
	wrong.Diversification = vault.DiversifyNone
	if _, err := ch.PutKey(ctx, wrong); !errors.Is(err, vault.ErrRequest) {
		t.Errorf("undiversified keys: %v", err)
	}
}

// secrets02 enciphers a card's secrets under S-DEK.
func secrets02(t *testing.T, c *vault.Client, ch *vault.Channel, sdek gp.DESCipher) {
	ctx := t.Context()
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	aad := []byte("image row")
	secrets, err := c.NewCardSecrets(ctx, vault.CardSecretsRequest{DataKey: key, AAD: aad, MRZInformation: "L898902C<369080619406236", CAN: "123456"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ch.EncipherSecrets(ctx, key, aad, secrets.Sealed, []string{vault.SecretBAC, vault.SecretPACECAN})
	if err != nil {
		t.Fatal(err)
	}
	for name, plain := range map[string][]byte{
		vault.SecretPACECAN: append([]byte("123456"), 0x80, 0x00),
		// ICAO 9303-11 appendix D.2.
		vault.SecretBAC: append(mustHex(t, "ab94fdecf2674fdfb9b391f85d7f76f27962d9ece03d1acd4c76089dce131543"), 0x80, 0, 0, 0, 0, 0, 0, 0),
	} {
		want, err := sdek.EncryptECB(ctx, plain)
		if err != nil || !bytes.Equal(got[name], want) {
			t.Errorf("%s: %X, want %X, %v", name, got[name], want, err)
		}
	}
}

// TestDiversifiedChannelOfSCP02 opens a channel with keys that follow from the
// development master, as the software of cardio/gp has them from BlankKeys.
func TestDiversifiedChannelOfSCP02(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := t.Context()
	kdd := mustHex(t, emvData)
	for _, set := range []string{"cmk.acme-des/1", "cmk.issuer-des/1"} {
		blank, err := c.BlankKeys(ctx, vault.BlankKeysRequest{KeySet: set, KeyType: vault.KeyTypeDES3, Diversification: vault.DiversifyEMV, KeyBits: 128, KeyDiversificationData: kdd})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := gp.NewSoftwareDESKeys(blank.ENC, blank.MAC, blank.DEK)
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := c.HostChallenge(ctx, gp.S8)
		if err != nil {
			t.Fatal(err)
		}
		counter := []byte{0x01, 0x02}
		senc, err := keys.DeriveSession(ctx, gp.KeyENC, gp.DeriveSCP02ENC, counter)
		if err != nil {
			t.Fatal(err)
		}
		card := append(bytes.Clone(counter), 1, 2, 3, 4, 5, 6)
		cryptogram, err := gp.SCP02Cryptogram(ctx, senc, challenge, card)
		if err != nil {
			t.Fatal(err)
		}
		answer := append(append(append(bytes.Clone(kdd), 0x20, 0x02), card...), cryptogram...)
		iu, err := gp.ParseInitializeUpdate(answer)
		if err != nil {
			t.Fatal(err)
		}
		soft, want, err := gp.OpenSCP02(ctx, keys, iu, 0x15, challenge, nil, gp.LevelCENC)
		if err != nil {
			t.Fatal(err)
		}
		req := vault.ChannelRequest{
			KeySet: set, KeyType: vault.KeyTypeDES3, Diversification: vault.DiversifyEMV, KeyBits: 128, Protocol: 2, I: 0x15,
			HostChallenge: challenge, InitializeUpdate: answer, Level: gp.LevelCENC,
		}
		ch, got, err := c.OpenChannel(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("EXTERNAL AUTHENTICATE\n got %X\nwant %X", got, want)
		}
		var commands []apdu.Command
		for n := range 40 {
			commands = append(commands, apdu.Command{CLA: 0x80, INS: 0xE2, P2: byte(n), Data: bytes.Repeat([]byte{byte(n)}, 6*n)})
		}
		left, err := ch.Wrap(ctx, commands)
		if err != nil {
			t.Fatal(err)
		}
		right, err := soft.Wrap(ctx, commands)
		if err != nil {
			t.Fatal(err)
		}
		for i := range left {
			if !bytes.Equal(left[i], right[i]) {
				t.Errorf("command %d\n got %X\nwant %X", i+1, left[i], right[i])
			}
		}
		ch.Close()
		for what, change := range map[string]func(*vault.ChannelRequest){
			"SCP03 expected":      func(r *vault.ChannelRequest) { r.Protocol = 3 },
			"no protocol said":    func(r *vault.ChannelRequest) { r.Protocol = 0 },
			"implicit initiation": func(r *vault.ChannelRequest) { r.I = 0x1A },
			"R-MAC not offered":   func(r *vault.ChannelRequest) { r.Level = gp.LevelCENCRMAC },
			"AES keys": func(r *vault.ChannelRequest) {
				r.KeyType = ""
				r.KeySet = "cmk.acme/1"
				r.Diversification = vault.DiversifyKDF3
			},
			"a challenge of 16":     func(r *vault.ChannelRequest) { r.HostChallenge = make([]byte, 16) },
			"an unknown protocol":   func(r *vault.ChannelRequest) { r.Protocol = 17 },
			"bits that are no keys": func(r *vault.ChannelRequest) { r.KeyBits = 192 },
			"a type of no keys":     func(r *vault.ChannelRequest) { r.KeyType = "des" },
			"no diversification":    func(r *vault.ChannelRequest) { r.Diversification = gp.Diversification{} },
			"AES diversification":   func(r *vault.ChannelRequest) { r.Diversification = vault.DiversifyKDF3 },
			"no such master":        func(r *vault.ChannelRequest) { r.KeySet = "cmk.acme/1" },
		} {
			wrong := req
			change(&wrong)
			_, _, err := c.OpenChannel(ctx, wrong)
			if !errors.Is(err, gp.ErrUnsupported) && !errors.Is(err, vault.ErrRequest) && !errors.Is(err, vault.ErrNoKey) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
