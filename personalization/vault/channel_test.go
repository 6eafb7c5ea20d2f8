package vault_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/hsm"
	"cardbureau/hsm/softhsm"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	out, err := hex.DecodeString(s)
	*h = out
	return err
}

type trace struct {
	Level                          hexBytes
	ENC, MAC, DEK                  hexBytes
	InitUpdate, InitUpdateResponse hexBytes
	ExternalAuthenticate           hexBytes
	PlainCommand, WrappedCommand   hexBytes
	WrappedResponseData, Status    hexBytes
	PlainResponseData              hexBytes
	AID                            hexBytes
}

type vectors struct {
	SCP03              []trace `json:"scp03"`
	DiversificationKCV []struct {
		Scheme                         string
		Master, KeyDiversificationData hexBytes
		KCV                            []hexBytes
	} `json:"diversificationKcv"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/globalplatform.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// sessions are the traces of real cards, and the sessions in S16 mode that the
// openssl command computed (cardio/gp/testdata).
func sessions(t testing.TB) []trace {
	t.Helper()
	b, err := os.ReadFile("testdata/scp03-s16.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.SCP03) == 0 {
		t.Fatal("the sessions in S16 mode are not there")
	}
	return append(readVectors(t).SCP03, v.SCP03...)
}

func (tr trace) hostChallenge() []byte { return tr.InitUpdate[5 : 5+int(tr.InitUpdate[4])] }

// keySet is the role of its keys: sessions of one source and key size share
// them.
func (tr trace) keySet() string {
	return fmt.Sprintf("cmk.trace%d-%x", len(tr.ENC)*8, []byte(tr.InitUpdateResponse[12:13]))
}

// withToken opens a SoftHSM token in this process, for what a client cannot
// do, and closes it again: keys of test vectors are imported so.
func withToken(t testing.TB, dir string, fn func(*hsm.Token)) {
	t.Helper()
	soft, err := softhsm.Ensure(context.Background(), dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := hsm.ReadPIN(soft.PINPath())
	if err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(context.Background(), hsm.Config{Module: soft.Module, Label: soft.Label, PIN: pin})
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	fn(token)
}

func importKey(t testing.TB, token *hsm.Token, label string, value []byte, use hsm.Use) {
	t.Helper()
	err := token.ImportAES(context.Background(), label, value, hsm.KeyOptions{Use: use, Development: true})
	if err != nil && !errors.Is(err, hsm.ErrKeyExists) {
		t.Fatal(err)
	}
}

// TestChannelTraces replays traces of real cards: the keys are in the token,
// session keys are derived there, and every byte must be the card's.
func TestChannelTraces(t *testing.T) {
	all := sessions(t)
	dir := t.TempDir()
	withToken(t, dir, func(token *hsm.Token) {
		for _, tr := range all {
			role := "cb/" + tr.keySet()
			importKey(t, token, role+".enc/1", tr.ENC, hsm.UseDerive)
			importKey(t, token, role+".mac/1", tr.MAC, hsm.UseDerive)
			importKey(t, token, role+".dek/1", tr.DEK, hsm.UseEncrypt|hsm.UseWrap)
		}
	})
	c := vaulttest.StartIn(t, dir)
	ctx := t.Context()
	for _, tr := range all {
		t.Run(fmt.Sprintf("%s level %X", tr.keySet(), []byte(tr.Level)), func(t *testing.T) {
			req := vault.ChannelRequest{
				KeySet: tr.keySet() + "/1", Diversification: vault.DiversifyNone, KeyBits: len(tr.ENC) * 8,
				HostChallenge: tr.hostChallenge(), InitializeUpdate: tr.InitUpdateResponse, AID: tr.AID, Level: gp.Level(tr.Level[0]),
			}
			ch, authenticate, err := c.OpenChannel(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			defer ch.Close()
			if !bytes.Equal(authenticate, tr.ExternalAuthenticate) {
				t.Errorf("EXTERNAL AUTHENTICATE\n got %X\nwant %X", authenticate, tr.ExternalAuthenticate)
			}
			plain, err := apdu.Parse(tr.PlainCommand)
			if err != nil {
				t.Fatal(err)
			}
			wrapped, err := ch.Wrap(ctx, []apdu.Command{plain})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(wrapped[0], tr.WrappedCommand) {
				t.Errorf("wrapped\n got %X\nwant %X", wrapped[0], tr.WrappedCommand)
			}
			answer := slices.Concat(tr.WrappedResponseData, tr.Status)
			got, err := ch.Unwrap(ctx, [][]byte{answer})
			if err != nil || len(got) != 1 || !bytes.Equal(got[0].Data, tr.PlainResponseData) {
				t.Errorf("unwrap: %v, %v", got, err)
			}
			wrong := req
			wrong.InitializeUpdate = bytes.Clone(tr.InitUpdateResponse)
			wrong.InitializeUpdate[22] ^= 1
			if _, _, err := c.OpenChannel(ctx, wrong); !errors.Is(err, gp.ErrCardCryptogram) {
				t.Errorf("a wrong cryptogram: %v", err)
			}
			wrong = req
			wrong.AID = mustHex(t, "A0000002471001")
			if _, _, err := c.OpenChannel(ctx, wrong); !errors.Is(err, gp.ErrCardChallenge) {
				t.Errorf("another AID than the challenge's: %v", err)
			}
		})
	}
	if s, err := c.Stats(ctx); err != nil || s.OpenChannels != 0 || !s.DeriveInToken {
		t.Errorf("after all channels were closed: %+v, %v", s, err)
	}
}

// TestKDF3InToken diversifies the vectors' master key inside the token, as a
// card would see it: the KCVs of PUT KEY are compared.
func TestKDF3InToken(t *testing.T) {
	v := readVectors(t)
	tr := v.SCP03[0]
	dir := t.TempDir()
	withToken(t, dir, func(token *hsm.Token) {
		importKey(t, token, "cb/cmk.t.enc/1", tr.ENC, hsm.UseDerive)
		importKey(t, token, "cb/cmk.t.mac/1", tr.MAC, hsm.UseDerive)
		importKey(t, token, "cb/cmk.t.dek/1", tr.DEK, hsm.UseEncrypt|hsm.UseWrap)
		for _, d := range v.DiversificationKCV {
			importKey(t, token, "cb/cmk.master/1", d.Master, hsm.UseDerive)
		}
	})
	c := vaulttest.StartIn(t, dir)
	ctx := t.Context()
	ch, _, err := c.OpenChannel(ctx, vault.ChannelRequest{
		KeySet: "cmk.t/1", Diversification: vault.DiversifyNone, KeyBits: 128,
		HostChallenge: tr.hostChallenge(), InitializeUpdate: tr.InitUpdateResponse, AID: tr.AID, Level: gp.Level(tr.Level[0]),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	dek, err := gp.NewSoftwareCipher(tr.DEK)
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, d := range v.DiversificationKCV {
		if d.Scheme != "kdf3" {
			continue
		}
		tested++
		for _, bits := range []int{128, 192, 256} {
			pk, err := ch.PutKey(ctx, vault.PutKeyRequest{
				KeySet: "cmk.master/1", Diversification: vault.DiversifyKDF3, KeyBits: bits,
				KeyVersion: 0x11, ReplacesVersion: 0x30, KeyDiversificationData: d.KeyDiversificationData,
			})
			if err != nil {
				t.Fatal(err)
			}
			want := software(t, d.Master, d.KeyDiversificationData, bits/8)
			for i := range want {
				if bits == 128 && !bytes.Equal(pk.KCVs[i], d.KCV[i]) {
					t.Errorf("key %d: KCV %X, want %X", i+1, pk.KCVs[i], d.KCV[i])
				}
				padded := make([]byte, gp.PaddedKeySize(len(want[i])))
				copy(padded, want[i])
				ciphertext, err := dek.EncryptCBC(ctx, make([]byte, 16), padded)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Contains(pk.Command.Data, ciphertext) {
					t.Errorf("AES-%d: PUT KEY does not hold key %d", bits, i+1)
				}
			}
		}
	}
	if tested == 0 {
		t.Error("no KDF3 vector")
	}
	blank, err := c.BlankKeys(ctx, vault.BlankKeysRequest{KeySet: "cmk.master/1", Diversification: vault.DiversifyKDF3, KeyBits: 128, KeyDiversificationData: v.DiversificationKCV[0].KeyDiversificationData})
	if err != nil {
		t.Fatal(err)
	}
	want := software(t, v.DiversificationKCV[0].Master, v.DiversificationKCV[0].KeyDiversificationData, 16)
	if !bytes.Equal(blank.ENC, want[0]) || !bytes.Equal(blank.MAC, want[1]) || !bytes.Equal(blank.DEK, want[2]) {
		t.Error("the blank's keys are not those that the token derives")
	}
	if s := fmt.Sprintf("%v %+v", blank, *blank); strings.Contains(s, fmt.Sprint([]byte(blank.ENC))[1:12]) {
		t.Errorf("a blank's keys print: %s", s)
	}
}

// software diversifies with keys in memory.
func software(t testing.TB, master, kdd []byte, size int) (out [3][]byte) {
	t.Helper()
	m, err := gp.NewSoftwareCipher(master)
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []byte{gp.KeyENC, gp.KeyMAC, gp.KeyDEK} {
		if out[i], err = vault.DiversifyKDF3.Derive(context.Background(), m, kind, kdd, size); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
