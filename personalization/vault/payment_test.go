package vault

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"

	"cardbureau/cardio/emv/oda"
	"cardbureau/hsm"
	"cardbureau/hsm/softhsm"
)

// emptyToken is a token of the test's own.
func emptyToken(t testing.TB) (*hsm.Token, context.Context) {
	t.Helper()
	ctx := context.Background()
	soft, err := softhsm.Ensure(ctx, t.TempDir(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := hsm.ReadPIN(soft.PINPath())
	if err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(ctx, hsm.Config{Module: soft.Module, Label: soft.Label, PIN: pin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token, ctx
}

// components splits a key into three for a ceremony. kcv is the whole key's.
func components(t testing.TB, role, version, key, kcv string) *wireImport {
	t.Helper()
	last := bytesOf(t, key)
	in := &wireImport{Role: role, Version: version, KCV: bytesOf(t, kcv), Development: true}
	e, err := exchangedRole(role)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		part := make([]byte, len(last))
		if _, err := rand.Read(part); err != nil {
			t.Fatal(err)
		}
		subtle.XORBytes(last, last, part)
		in.Components = append(in.Components, part)
	}
	in.Components = append(in.Components, last)
	for _, c := range in.Components {
		kcv, err := e.kcv(c)
		if err != nil {
			t.Fatal(err)
		}
		in.ComponentKCVs = append(in.ComponentKCVs, kcv)
	}
	return in
}

// bankService is a service on a token of the test's own, with the keys of the
// vectors under the bank's roles before the rest is provisioned.
func bankService(t testing.TB) *Service {
	t.Helper()
	token, ctx := emptyToken(t)
	s := NewService(token, "")
	for _, role := range []string{RoleIMKAC, RoleIMKSMI, RoleIMKSMC, RoleIMKDN, RolePVK, RoleCVK} {
		if _, err := s.importComponents(ctx, components(t, role, "1", "0123456789abcdeffedcba9876543210", "08d7b4fb629d0885")); err != nil {
			t.Fatal(role, err)
		}
	}
	if _, err := s.provision(ctx, &ProvisionRequest{Development: true, State: "UTO"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type paymentVectors struct {
	CVV []struct{ PAN, Expiry, Service, CVV string }  `json:"cvv"`
	PVV []struct{ PAN, PVKI, PIN, PVV string }        `json:"pvv"`
	IBM []struct{ Table, PAN, PIN, Offset string }    `json:"ibm3624Offset"`
	MK  []struct{ Option, IMK, PAN, PSN, Key string } `json:"iccMasterKey"`
	CSK []struct{ MasterKey, R, Key string }          `json:"sessionKeyCsk"`
	AC  []struct {
		IMK, MasterKey, PAN, PSN, R, ATC, Data, ARQC, ARPC1, ARPC2 string
		ARC                                                        string `json:"arpcMethod1Arc"`
		CSU                                                        string `json:"arpcMethod2Csu"`
	} `json:"arqc"`
}

func vectorsOfPayment(t testing.TB) (v paymentVectors) {
	t.Helper()
	raw, err := os.ReadFile("testdata/payment.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil || len(v.CVV) != 4 || len(v.PVV) != 1 || len(v.IBM) != 1 || len(v.MK) != 2 || len(v.CSK) != 1 || len(v.AC) != 2 {
		t.Fatalf("vectors: %v", err)
	}
	return v
}

// TestPaymentVectors: CVV, PVV, offset, master keys, session keys, cryptograms and
// their answers are those of the shared vectors.
func TestPaymentVectors(t *testing.T) {
	s, v, ctx := bankService(t), vectorsOfPayment(t), t.Context()
	for _, c := range v.CVV {
		if got, err := s.cvv(ctx, "", c.PAN, c.Expiry, c.Service); err != nil || got[0] != c.CVV {
			t.Errorf("CVV with service code %s: %v %v", c.Service, got, err)
		}
	}
	for _, c := range v.PVV {
		if got, err := s.pvv(ctx, "", c.PAN, int(c.PVKI[0]-'0'), []byte(c.PIN)); err != nil || got != c.PVV {
			t.Errorf("PVV: %s %v", got, err)
		}
	}
	for _, c := range v.IBM {
		natural, err := s.naturalPIN(ctx, "", c.PAN, len(c.PIN))
		if err != nil || c.Table != decimalization || offsetOf([]byte(c.PIN), natural) != c.Offset {
			t.Errorf("IBM 3624: %v", err)
		}
	}
	for _, c := range v.MK {
		psn := bytesOf(t, c.PSN)[0]
		account, err := accountBlock(c.Option, c.PAN, psn>>4*10+psn&0x0F)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.iccMasterKey(ctx, RoleIMKAC, "1", c.Option, account); err != nil || hex.EncodeToString(got) != c.Key {
			t.Errorf("option %s: %x %v", c.Option, got, err)
		}
	}
	for _, c := range v.CSK {
		got, err := emvSuite{}.sessionKey(bytesOf(t, c.MasterKey), bytesOf(t, c.R))
		if oddParity(got); err != nil || hex.EncodeToString(got) != c.Key {
			t.Errorf("session key: %x %v", got, err)
		}
	}
	for _, c := range v.AC {
		master := bytesOf(t, c.MasterKey)
		if c.IMK != "" {
			account, _ := accountBlock("A", c.PAN, 45)
			var err error
			if master, err = s.iccMasterKey(ctx, RoleIMKAC, "1", "A", account); err != nil {
				t.Fatal(err)
			}
		}
		r := bytesOf(t, c.R)
		if c.ATC != "" {
			r = append(bytesOf(t, c.ATC), make([]byte, 6)...)
		}
		key, err := emvSuite{}.sessionKey(master, r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := (emvSuite{}).mac(ctx, key, bytesOf(t, c.Data)); err != nil || hex.EncodeToString(got) != c.ARQC {
			t.Errorf("ARQC: %x %v", got, err)
		}
		if got, err := (emvSuite{}).mac(ctx, key, append(bytesOf(t, c.ARQC), bytesOf(t, c.CSU)...)); err != nil || hex.EncodeToString(got[:4]) != c.ARPC2 {
			t.Errorf("ARPC by method 2: %x %v", got, err)
		}
		if c.ARPC1 != "" {
			block := bytesOf(t, c.ARQC)
			block[0], block[1] = block[0]^bytesOf(t, c.ARC)[0], block[1]^bytesOf(t, c.ARC)[1]
			cipher, _ := emvSuite{}.cipher(key)
			if cipher.Encrypt(block, block); hex.EncodeToString(block) != c.ARPC1 {
				t.Errorf("ARPC by method 1: %x", block)
			}
		}
	}
}

func (s *Service) testDataKey(t testing.TB) DataKey {
	t.Helper()
	k, err := s.newDataKey(t.Context(), &nothing{})
	if err != nil {
		t.Fatal(err)
	}
	return *k
}

// TestNewPaymentSecrets: signatures lead to the test authority, secrets open under
// the person's key alone, the PIN of card and mailer is one, and nothing prints.
func TestNewPaymentSecrets(t *testing.T) {
	s, ctx := bankService(t), t.Context()
	key := s.testDataKey(t)
	info, err := s.issuerInfo(ctx, &issuerRequest{RID: []byte{0xF0, 0, 0, 3, 0x64}, IIN: "589210"})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := s.newICCKeys(ctx, &iccKeysRequest{Bits: 1408, Exponent: 65537, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"A", "B", "C"} {
		in := &PaymentSecretsRequest{
			DataKey: key, AAD: []byte("row"), PAN: "5892100000000016", Sequence: 1, Expiry: "3112", ServiceCode: "201", StaticData: []byte("static"),
			MasterKey: "1", Option: option, PINLength: 4, PINMethod: "ibm3624", PVKI: 1, MailerAAD: []byte("mailer"), SDA: true, DDA: true,
			Bits: 1408, Exponent: 65537,
		}
		if option != "A" {
			in.Key = pool.Keys[0]
		}
		out, err := s.newPaymentSecrets(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if v := out.Values; v.CVV != "951" || v.ICVV != "327" || v.CVV2 != "463" || len(v.PVV) != 4 || len(v.Offset) != 4 {
			t.Errorf("option %s: the verification values differ", option)
		}
		if got := fmt.Sprintf("%v %+v %#v", out.Values, out.Values, out.Values); strings.Contains(got, "951") {
			t.Error("verification values are printed")
		}
		at := time.Now()
		issuer, err := oda.RecoverIssuer(oda.PublicKey{Modulus: info.CAModulus, Exponent: info.CAExponent}, in.PAN, info.Certificate, info.Remainder, info.Exponent, at)
		if err != nil {
			t.Fatal(err)
		}
		icc, err := oda.RecoverICC(issuer, in.PAN, in.StaticData, out.ICC, out.ICCRemainder, out.ICCExponent, at)
		if err != nil || len(icc.Modulus) != 176 {
			t.Fatal(err)
		}
		if _, err := oda.VerifyStatic(issuer, out.Static, in.StaticData); err != nil {
			t.Error(err)
		}
		e, err := s.cardSecrets(ctx, SealItem{key, in.AAD, out.Sealed})
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).Mul(new(big.Int).SetBytes(e[SecretEMVP]), new(big.Int).SetBytes(e[SecretEMVQ]))
		if !bytes.Equal(n.Bytes(), icc.Modulus) || len(e[SecretEMVKeys]) != 48 || len(e[SecretEMVDynamic]) != 16 {
			t.Error("the card's key is not the certificate's")
		}
		if _, err := s.cardSecrets(ctx, SealItem{key, []byte("another row"), out.Sealed}); !errors.Is(err, ErrSealed) {
			t.Errorf("secrets of another row: %v", err)
		}
		printer, private := printerKey(t)
		revealed, err := s.revealMailers(ctx, &mailersRequest{Items: []MailerPIN{{in.MailerAAD, out.Mailer, "0016"}}, Recipient: printer})
		if err != nil {
			t.Fatal(err)
		}
		jwe, err := jose.ParseEncryptedCompact(revealed.Text, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			t.Fatal(err)
		}
		plain, err := jwe.Decrypt(private)
		var list struct{ Mailers []struct{ Label, PIN string } }
		if err != nil || json.Unmarshal(plain, &list) != nil || len(list.Mailers) != 1 || list.Mailers[0].Label != "0016" {
			t.Fatalf("mailers: %v", err)
		}
		if block := e[SecretEMVPINBlock]; hex.EncodeToString(block) != "24"+list.Mailers[0].PIN+"ffffffffff" {
			t.Error("mailer and card have different PINs")
		}
		if _, err := s.revealMailers(ctx, &mailersRequest{Items: []MailerPIN{{[]byte("other"), out.Mailer, ""}}, Recipient: printer}); !errors.Is(err, ErrSealed) {
			t.Errorf("a mailer of another row: %v", err)
		}
		checkARQC(t, s, option, e)
	}
}

func printerKey(t testing.TB) (public []byte, private *ecdsa.PrivateKey) {
	t.Helper()
	private = mustP256(t)
	public, err := json.Marshal(jose.JSONWebKey{Key: &private.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// checkARQC makes a cryptogram as the card would, with the keys that it gets.
func checkARQC(t *testing.T, s *Service, option string, e elements) {
	t.Helper()
	ctx, suite := t.Context(), emvSuite{aes: option == "C"}
	key, err := suite.sessionKey(e[SecretEMVKeys][:16], []byte{0, 7, 0, 0, 0, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	arqc, err := suite.mac(ctx, key, []byte("transaction"))
	if err != nil {
		t.Fatal(err)
	}
	in := ARQCRequest{PAN: "5892100000000016", Sequence: 1, MasterKey: "1", Option: option, ATC: 7, Data: []byte("transaction"), ARQC: arqc, Method: 2, CSU: []byte{0, 0x82, 0, 0}}
	out, err := s.verifyARQC(ctx, &in)
	if err != nil || !out.OK || len(out.ARPC) != 4 {
		t.Fatalf("option %s: %+v %v", option, out, err)
	}
	for _, spoil := range []func(*ARQCRequest){
		func(r *ARQCRequest) { r.ATC++ }, func(r *ARQCRequest) { r.Sequence++ }, func(r *ARQCRequest) { r.Data = []byte("transactioN") },
		func(r *ARQCRequest) { r.PAN = "5892100000000024" },
	} {
		wrong := in
		spoil(&wrong)
		if out, err := s.verifyARQC(ctx, &wrong); err != nil || out.OK || out.ARPC != nil {
			t.Errorf("option %s: a wrong cryptogram: %+v %v", option, out, err)
		}
	}
	script, err := s.protectScript(ctx, &ScriptRequest{PAN: in.PAN, Sequence: 1, MasterKey: "1", Option: option, ARQC: arqc, Message: []byte("header"), Plain: []byte("newPIN")})
	if err != nil || len(script.MAC) != 8 || len(script.Enciphered)%8 != 0 {
		t.Errorf("script: %v", err)
	}
}

func TestWeakPINs(t *testing.T) {
	for pin, weak := range map[string]bool{"0000": true, "1234": true, "4321": true, "1235": false, "9999": true, "7913": false} {
		if weakPIN([]byte(pin)) != weak {
			t.Errorf("%s", pin)
		}
	}
}

// TestICCKeysWithExponent3: what the Go library does not make.
func TestICCKeysWithExponent3(t *testing.T) {
	k, err := newCRT(1152, 3)
	if err != nil {
		t.Fatal(err)
	}
	n, d := new(big.Int).SetBytes(k.Modulus), new(big.Int)
	p, q := new(big.Int).SetBytes(k.P), new(big.Int).SetBytes(k.Q)
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	d.ModInverse(big.NewInt(3), phi)
	if x := new(big.Int).Exp(big.NewInt(2), d, n); x.Exp(x, big.NewInt(3), n).Int64() != 2 || n.BitLen() != 1152 {
		t.Error("the key does not work")
	}
	for _, bits := range []int{512, 1985, 2048} {
		if _, err := newCRT(bits, 3); !errors.Is(err, ErrRequest) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

// TestOnlyBindingsAreSigned: the key for bindings signs nothing else.
func TestOnlyBindingsAreSigned(t *testing.T) {
	s, ctx := bankService(t), t.Context()
	structure, err := cbor.Marshal([]any{"Signature1", []byte{0xA1, 1, 0x26}, []byte{}, []byte("payload")})
	if err != nil {
		t.Fatal(err)
	}
	header := b64.EncodeToString([]byte(`{"alg":"ES256","kid":"bank.binding/1","typ":"cardbureau-binding+jwt"}`))
	for _, tbs := range [][]byte{structure, []byte(header + "." + b64.EncodeToString([]byte("{}")))} {
		out, err := s.signBinding(ctx, &bytesRequest{tbs})
		if err != nil || len(out.Data) != 64 {
			t.Fatal(err)
		}
		jwk, err := s.bankJWK(ctx, &textReply{BindingKID})
		if err != nil {
			t.Fatal(err)
		}
		var key jose.JSONWebKey
		if err := json.Unmarshal(jwk.Data, &key); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(tbs)
		r, sig := new(big.Int).SetBytes(out.Data[:32]), new(big.Int).SetBytes(out.Data[32:])
		if !ecdsa.Verify(key.Key.(*ecdsa.PublicKey), sum[:], r, sig) {
			t.Error("the signature is not the key's")
		}
	}
	other := b64.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`))
	for _, tbs := range [][]byte{nil, []byte("text"), []byte(other + ".e30"), {0x84, 0x69}} {
		if _, err := s.signBinding(ctx, &bytesRequest{tbs}); !errors.Is(err, ErrRequest) {
			t.Errorf("%q: %v", tbs, err)
		}
	}
}

// TestTranslatePIN: a PIN changes its format, never its cover.
func TestTranslatePIN(t *testing.T) {
	s, ctx := bankService(t), t.Context()
	zpk, err := s.token.DES3(ctx, "cb/"+RoleZPK+"/1")
	if err != nil {
		t.Fatal(err)
	}
	const pan = "5555555551234567"
	block, err := zpk.EncryptECB(ctx, bytesOf(t, "041261aaaaedcba9"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.translatePIN(ctx, &TranslatePINRequest{Block: block, From: 0, To: 1, PAN: pan})
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.translatePIN(ctx, &TranslatePINRequest{Block: out.Data, From: 1, To: 0, PAN: pan})
	if err != nil || !bytes.Equal(back.Data, block) {
		t.Errorf("%x %v", back, err)
	}
	if _, err := s.translatePIN(ctx, &TranslatePINRequest{Block: block, From: 0, To: 1, PAN: "5555555551234000"}); !errors.Is(err, ErrRequest) {
		t.Errorf("for another account: %v", err)
	}
}

func BenchmarkNewPaymentSecrets(b *testing.B) {
	s := bankService(b)
	key, err := s.newDataKey(context.Background(), &nothing{})
	if err != nil {
		b.Fatal(err)
	}
	pool, err := s.newICCKeys(context.Background(), &iccKeysRequest{Bits: 1408, Exponent: 65537, N: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		if _, err := s.newPaymentSecrets(context.Background(), &PaymentSecretsRequest{
			DataKey: *key, AAD: []byte("row"), PAN: "5892100000000016", Sequence: 1, Expiry: "3112", ServiceCode: "201", StaticData: []byte("static"),
			MasterKey: "1", Option: "A", PINLength: 4, PINMethod: "random", PVKI: 1, MailerAAD: []byte("mailer"), SDA: true, DDA: true, Bits: 1408, Exponent: 65537, Key: pool.Keys[0],
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewICCKeys(b *testing.B) {
	for _, bits := range []int{1152, 1408, 1976, 1984} {
		b.Run(fmt.Sprint(bits), func(b *testing.B) {
			for b.Loop() {
				if _, err := newCRT(bits, 65537); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mustP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPaddedMAC: MACs of script commands of format 1, to whose blocks nothing is added
// (EMV Book 2, 9.2.3), as the openssl command makes them.
func TestPaddedMAC(t *testing.T) {
	key, _ := hex.DecodeString("0123456789abcdeffedcba9876543210")
	for _, c := range []struct {
		aes           bool
		message, want string
	}{
		{false, "11223344556677888c24000080000000", "0612512bbd63b9ec"},
		{true, "112233445566778800000000000000008c24000280000000000000000000000087030102038000000000000000000000", "c6991e5da504edcd8b6426915d581ff8"},
	} {
		message, _ := hex.DecodeString(c.message)
		got, err := emvSuite{aes: c.aes}.macPadded(t.Context(), key, message)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("AES %v: %x, %v", c.aes, got, err)
		}
	}
	if _, err := (emvSuite{}).macPadded(t.Context(), key, key[:7]); !errors.Is(err, ErrRequest) {
		t.Errorf("half a block: %v", err)
	}
}
