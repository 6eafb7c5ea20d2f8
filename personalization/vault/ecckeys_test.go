package vault

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/xda"
)

var xdaSuites = []ecsdsa.Suite{ecsdsa.SuiteP256, ecsdsa.SuiteP521}

// TestXDASecrets: the terminal's side recovers the card's key from the test
// authority's on, that key is the card's, and nothing of a private key leaves.
func TestXDASecrets(t *testing.T) {
	s, ctx := bankService(t), t.Context()
	key := s.testDataKey(t)
	info, err := s.issuerInfo(ctx, &issuerRequest{RID: []byte{0xF0, 0, 0, 3, 0x64}, IIN: "589210"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.ECCKey(info.RID, info.CAIndex); ok {
		t.Error("the index of the RSA key leads to the key of an elliptic curve")
	}
	at := time.Now()
	const pan = "5892100000000016"
	if len(info.ECC) != len(xdaSuites) {
		t.Fatalf("%d certificates", len(info.ECC))
	}
	for i, e := range info.ECC {
		ca, ok := info.ECCKey(e.RID, e.CAIndex)
		if !ok || ca.Suite != xdaSuites[i] {
			t.Fatal("the authority's key is not found", ca.Suite)
		}
		issuer, err := xda.RecoverIssuer(xda.Authority{Key: ca, RID: e.RID, Index: e.CAIndex}, pan, e.Certificate, at)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{117, 217}[i]; len(e.Certificate) != want {
			t.Errorf("%v: %d bytes", ca.Suite, len(e.Certificate))
		}
		own, err := s.publicECC(ctx, RoleEMVIssuerECC, xdaSuites[i])
		if err != nil || !own.Equal(issuer) {
			t.Fatal("the certificate is of another key than the token's", err)
		}
	}
	private, _, err := s.deriveECC(ctx, RoleEMVIssuerECC, ecsdsa.SuiteP256)
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range xdaSuites {
		for _, above := range xdaSuites {
			in := &PaymentSecretsRequest{
				DataKey: key, AAD: []byte("row"), PAN: pan, Sequence: 1, Expiry: "3112", ServiceCode: "201", StaticData: []byte("certified data"),
				MasterKey: "1", Option: "A", PINLength: 4, PINMethod: "random", PVKI: 1, MailerAAD: []byte("mailer"),
				XDA: true, ICCSuite: suite, IssuerSuite: above,
			}
			out, err := s.newPaymentSecrets(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			public, err := s.issuerECC(ctx, &suiteRequest{above})
			if err != nil {
				t.Fatal(err)
			}
			signer := ecsdsa.PublicKey{Suite: above, X: public.Data}
			icc, err := xda.RecoverICC(signer, in.StaticData, out.ICC, at)
			if err != nil {
				t.Fatalf("%v under %v: %v", suite, above, err)
			}
			// 9F46 with 245 bytes makes a record of 252, of at most 254.
			if want := 49 + suite.FieldBytes() + above.SignatureBytes(); len(out.ICC) != want || want > 245 {
				t.Errorf("%v under %v: %d bytes", suite, above, len(out.ICC))
			}
			last := time.Date(2031, 12, 31, 23, 58, 59, 0, time.UTC)
			if _, err := xda.RecoverICC(signer, in.StaticData, out.ICC, last); err != nil {
				t.Errorf("the card's last minute: %v", err)
			}
			if _, err := xda.RecoverICC(signer, in.StaticData, out.ICC, last.Add(time.Minute)); err == nil {
				t.Error("the certificate outlives the card")
			}
			if _, err := xda.RecoverICC(signer, []byte("other data"), out.ICC, at); err == nil {
				t.Error("another card's data passed")
			}
			e, err := s.cardSecrets(ctx, SealItem{key, in.AAD, out.Sealed})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := (&ecsdsa.PrivateKey{Suite: suite, D: e[SecretEMVScalar]}).Public(); err != nil || !got.Equal(icc) {
				t.Errorf("%v: the card's key is not the certificate's: %v", suite, err)
			}
			text := fmt.Sprintf("%v %+v %X %x", private, *private, out.Mailer, info.ECC[0].Certificate)
			for _, d := range [][]byte{e[SecretEMVScalar], private.D} {
				if bytes.Contains(out.ICC, d) || bytes.Contains(out.Sealed, d) || strings.Contains(strings.ToUpper(text), strings.ToUpper(hex.EncodeToString(d))) {
					t.Error("a private key is in what leaves the agent")
				}
			}
			e.zero()
			in.DDA = true
			if _, err := s.newPaymentSecrets(ctx, in); err == nil {
				t.Error("RSA and elliptic curves on one card passed")
			}
		}
	}
	private.Zero()
}

// TestFromStream: a stream always gives the same key, also where the point's y is the
// greater one. The numbers were reckoned apart, in Python.
func TestFromStream(t *testing.T) {
	for _, suite := range xdaSuites {
		for i := range 16 {
			stream := bytes.Repeat([]byte{byte(i * 17)}, suite.FieldBytes()+8)
			key, public, err := fromStream(suite, stream)
			if err != nil {
				t.Fatalf("%v: %v", suite, err)
			}
			if again, err := key.Public(); err != nil || !again.Equal(public) {
				t.Errorf("%v: %v", suite, err)
			}
			if want := streamKnown[fmt.Sprintf("%v %d", byte(suite), i)]; want != "" && want != hex.EncodeToString(key.D) {
				t.Errorf("%v, %d: %x", suite, i, key.D)
			}
		}
	}
}

// streamKnown is by suite and byte of the stream.
var streamKnown = map[string]string{
	"16 0":  "0000000000000000000000000000000000000000000000000000000000000002",
	"16 3":  "66666665cccccccd409e9aaa1f337af5c632826a4603a8fe9569b00b31c14221",
	"16 9":  "cccccccc9999999a3e243001a2658f1e27366e1c7c24420e2736856463828440",
	"16 15": "00000000ffffffffbce6faad63fe99329ad16947f01cf010fc63254e00000002",
	"17 0":  "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000002",
	"17 3":  "00cccccccccccccccccccccccccccccccccccccccccccccccc3b5a40c05feb28a4574e9c571a33d6d0fdc54c2c9158d7d3cc6fdb06f1efe21d45e493160c3a168e6a",
	"17 9":  "00666666666666666666666666666666666666666666666664b20ec2411fc179ed0b9a4e7dcadc54dc8dd018846b137dd59513db4b1d460a1022f2498b061d0b4736",
	"17 15": "00000000000000000000000000000000000000000000000002d73cbc3e206834ca4019ff5b847b2d17e2251b23bb31dc28a2482470b763cdfd000000000000000001",
}
