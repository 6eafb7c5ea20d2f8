package vault

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/cardio/emv/oda"
	"cardbureau/hsm"
)

func publicOf(k *hsm.RSAKey) oda.PublicKey {
	return oda.PublicKey{Modulus: k.Public().N.Bytes(), Exponent: big.NewInt(int64(k.Public().E)).Bytes()}
}

// makeBankKeys makes the bank's keys that are missing. The master, verification and
// zone keys of production come from the bank; only those of this bureau itself are
// made there, the issuer's RSA key among them, which the scheme's authority certifies.
func (s *Service) makeBankKeys(ctx context.Context, in *ProvisionRequest) error {
	options := func(use hsm.Use) hsm.KeyOptions { return hsm.KeyOptions{Use: use, Development: in.Development} }
	ec := func(use hsm.ECUse) func(string) error {
		return func(l string) error { return s.token.GenerateEC(ctx, l, elliptic.P256(), use, options(0)) }
	}
	hmac := func(l string) error { return s.token.GenerateHMAC(ctx, l, options(0)) }
	sealing := func(l string) error { return s.token.GenerateAES(ctx, l, 32, options(hsm.UseEncrypt)) }
	des := func(l string) error { return s.token.GenerateDES3(ctx, l, 16, options(hsm.UseEncrypt)) }
	aes := func(l string) error { return s.token.GenerateAES(ctx, l, 16, options(hsm.UseEncrypt)) }
	rsa := func(bits int) func(string) error {
		return func(l string) error { return s.token.GenerateRSA(ctx, l, bits, emvExponent, options(0)) }
	}
	type wanted struct {
		role string
		make func(string) error
	}
	all := []wanted{
		{RoleBankBinding, ec(hsm.ECSign)}, {RoleBankIntake, ec(hsm.ECAgree)},
		{RoleBankIBAN, hmac}, {RoleBankPAN, hmac}, {RolePool, sealing}, {RoleMailer, sealing},
		{RoleEMVIssuer, rsa(emvIssuerBits)}, {RoleEMVIssuerECC, hmac},
	}
	if in.Development {
		all = append(all, wanted{RoleBankTest, ec(hsm.ECSign)}, wanted{RoleEMVTestCA, rsa(emvCABits)}, wanted{RoleEMVTestCAECC, hmac})
		for _, role := range []string{RoleIMKAC, RoleIMKSMI, RoleIMKSMC, RoleIMKDN} {
			all = append(all, wanted{role, des}, wanted{role + RoleAES, aes})
		}
		all = append(all, wanted{RolePVK, des}, wanted{RoleZPK, des})
		if s.token.Capabilities().Has(hsm.CanDES3) {
			all = append(all, wanted{RoleKMC, func(l string) error { return s.token.GenerateDES3(ctx, l, 16, options(hsm.UseDerive)) }})
		}
	}
	for _, w := range all {
		l, err := roleLabel(w.role, "1")
		if err != nil {
			return err
		}
		if err := w.make(l); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return err
		}
	}
	if in.Development {
		return s.makeTestCVK(ctx, options(hsm.UseEncrypt))
	}
	return nil
}

// makeTestCVK draws a card verification key. Its first part stands in the token a
// second time, twice over: 3DES under it is the single DES that a CVV begins with.
func (s *Service) makeTestCVK(ctx context.Context, o hsm.KeyOptions) error {
	whole, err := roleLabel(RoleCVK, "1")
	if err != nil {
		return err
	}
	if exists, _, err := s.token.Exists(ctx, whole); err != nil || exists {
		return err
	}
	value, err := s.token.Random(ctx, 16)
	if err != nil {
		return err
	}
	defer clear(value)
	oddParity(value)
	return s.importCVK(ctx, firstVersion, value, o)
}

// importCVK stores both forms of a card verification key, the helping one first: a
// crash between them leaves a key that is not there yet.
func (s *Service) importCVK(ctx context.Context, version string, value []byte, o hsm.KeyOptions) error {
	left, err := roleLabel(RoleCVKLeft, version)
	if err != nil {
		return err
	}
	whole, err := roleLabel(RoleCVK, version)
	if err != nil {
		return err
	}
	if exists, _, err := s.token.Exists(ctx, left); err != nil {
		return err
	} else if exists {
		if err := s.token.Destroy(ctx, left); err != nil {
			return err
		}
	}
	twice := append(append(make([]byte, 0, 16), value[:8]...), value[:8]...)
	defer clear(twice)
	if err := s.token.ImportDES3(ctx, left, twice, o); err != nil {
		return err
	}
	return s.token.ImportDES3(ctx, whole, value, o)
}

// testIssuerYears is how long a test issuer's certificate is valid.
const testIssuerYears = 12

type issuerRequest struct {
	RID []byte
	IIN string
}

// issuerInfo has the test authority sign the issuer's key, with development keys.
func (s *Service) issuerInfo(ctx context.Context, in *issuerRequest) (*IssuerInfo, error) {
	l, err := roleLabel(RoleEMVTestCA, "1")
	if err != nil {
		return nil, err
	}
	exists, development, err := s.token.Exists(ctx, l)
	if err != nil {
		return nil, err
	}
	if !exists || !development {
		return nil, fmt.Errorf("%w: the token has no test certification authority", ErrDevelopment)
	}
	ca, err := s.token.RSA(ctx, l)
	if err != nil {
		return nil, err
	}
	_, issuer, err := s.issuer(ctx)
	if err != nil {
		return nil, err
	}
	authority := publicOf(ca)
	until := s.now().UTC().AddDate(testIssuerYears, 0, 0)
	expiry := until.Format("0106")
	certificate, remainder, err := oda.IssuerCertificate{IIN: in.IIN, Expiry: expiry, Serial: [3]byte{0, 0, 1}, Key: issuer}.Sign(ctx, authority, ca.Private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	ecc, err := s.testECCIssuers(ctx, in, until)
	if err != nil {
		return nil, fmt.Errorf("of elliptic curves: %w", err)
	}
	return &IssuerInfo{
		ECC: ecc, RID: in.RID, CAIndex: emvCAIndex, CAModulus: authority.Modulus, CAExponent: authority.Exponent,
		Certificate: certificate, Remainder: remainder, Exponent: issuer.Exponent, Expires: expiry,
	}, nil
}

func (s *Service) issuerKey(ctx context.Context, _ *nothing) (*IssuerInfo, error) {
	_, key, err := s.issuer(ctx)
	if err != nil {
		return nil, notProvisioned(err)
	}
	return &IssuerInfo{CAModulus: key.Modulus, CAExponent: key.Exponent}, nil
}

// IssuerKey is the public part of the issuer's RSA key, for the scheme's authority to
// certify: modulus and exponent.
func (c *Client) IssuerKey(ctx context.Context) (modulus, exponent []byte, err error) {
	out, _, err := call[IssuerInfo](ctx, c, methodIssuerKey, nothing{})
	return out.CAModulus, out.CAExponent, err
}

// TestIssuer has the test authorities certify the issuer's keys, of RSA and of an
// elliptic curve: what a scheme's authority does for a bank. Development only.
func (c *Client) TestIssuer(ctx context.Context, rid []byte, iin string) (IssuerInfo, error) {
	out, _, err := call[IssuerInfo](ctx, c, methodTestIssuer, issuerRequest{rid, iin})
	return out, err
}

type digestRequest struct{ Role, Text string }

func (s *Service) bankDigest(ctx context.Context, in *digestRequest) (*bytesReply, error) {
	if in.Role != RoleBankIBAN && in.Role != RoleBankPAN || in.Text == "" {
		return nil, fmt.Errorf("%w: digests are made of IBANs and PANs", ErrRequest)
	}
	l, err := roleLabel(in.Role, "1")
	if err != nil {
		return nil, err
	}
	mac, err := s.token.HMAC(ctx, l, []byte(in.Text))
	if err != nil {
		return nil, notProvisioned(err)
	}
	return &bytesReply{Data: mac}, nil
}

// PANToken is the 16-byte pseudonym of a PAN: the left half of its HMAC-SHA256
// under a key of the token.
func (c *Client) PANToken(ctx context.Context, pan string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodBankDigest, digestRequest{RoleBankPAN, pan})
	return out.Data[:min(16, len(out.Data))], err
}

// IBANRef is the 32-byte keyed digest of an IBAN.
func (c *Client) IBANRef(ctx context.Context, iban string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodBankDigest, digestRequest{RoleBankIBAN, iban})
	return out.Data, err
}

// signBinding signs what is a binding and nothing else: a COSE Sig_structure whose
// context is Signature1 (RFC 9052 4.4), or a JWS signing input whose header says
// the type.
func (s *Service) signBinding(ctx context.Context, in *bytesRequest) (*bytesReply, error) {
	if !isBinding(in.Data) {
		return nil, fmt.Errorf("%w: only bindings are signed with this key", ErrRequest)
	}
	return s.signWith(ctx, RoleBankBinding, in.Data)
}

func isBinding(tbs []byte) bool {
	if bytes.HasPrefix(tbs, append([]byte{0x84, 0x6A}, bindingCOSE...)) {
		return true
	}
	head, _, ok := strings.Cut(string(tbs), ".")
	if !ok {
		return false
	}
	raw, err := b64.DecodeString(head)
	var header struct{ Typ string }
	return err == nil && json.Unmarshal(raw, &header) == nil && header.Typ == bindingTokenType
}

func (s *Service) signWith(ctx context.Context, role string, data []byte) (*bytesReply, error) {
	l, err := roleLabel(role, "1")
	if err != nil {
		return nil, err
	}
	key, err := s.token.EC(ctx, l)
	if err != nil {
		return nil, notProvisioned(err)
	}
	sum := sha256.Sum256(data)
	signature, err := key.SignRaw(ctx, sum[:])
	return &bytesReply{Data: signature}, err
}

// SignBinding signs a binding's to-be-signed bytes with ES256: r ‖ s, 64 bytes.
// ErrRequest for anything that is no binding.
func (c *Client) SignBinding(ctx context.Context, tbs []byte) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodSignBinding, bytesRequest{tbs})
	return out.Data, err
}

// Key identifiers of the bank's keys, as their JWKs have them.
const (
	BindingKID    = RoleBankBinding + "/1"
	BankIntakeKID = RoleBankIntake + "/1"
	BankTestKID   = RoleBankTest + "/1"
)

func (s *Service) bankJWK(ctx context.Context, in *textReply) (*bytesReply, error) {
	use := map[string][2]string{BindingKID: {"sig", "ES256"}, BankIntakeKID: {"enc", "ECDH-ES+A256KW"}, BankTestKID: {"sig", "ES256"}}[in.Text]
	if use[0] == "" {
		return nil, fmt.Errorf("%w: %q is no key of the bank's", ErrRequest, in.Text)
	}
	jwk, err := s.jwk(ctx, in.Text, use[0], use[1])
	return &bytesReply{Data: jwk}, notProvisioned(err)
}

// BankJWK is the public key of BindingKID, BankIntakeKID or BankTestKID, JSON (RFC
// 7517).
func (c *Client) BankJWK(ctx context.Context, kid string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodBankJWK, textReply{kid})
	return out.Data, err
}

func (s *Service) openBankJWE(ctx context.Context, in *textReply) (*bytesReply, error) {
	return s.openJWEFor(ctx, RoleBankIntake, in.Text)
}

// OpenBankJWE decrypts what the bank has encrypted to BankIntakeKID: compact JWE,
// ECDH-ES+A256KW and A256GCM. ErrJWE when the input is at fault.
func (c *Client) OpenBankJWE(ctx context.Context, compact string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodOpenBankJWE, textReply{compact})
	return out.Data, err
}

func (s *Service) signTestBank(ctx context.Context, in *bytesRequest) (*textReply, error) {
	l, err := roleLabel(RoleBankTest, "1")
	if err != nil {
		return nil, err
	}
	exists, development, err := s.token.Exists(ctx, l)
	if err != nil {
		return nil, err
	}
	if !exists || !development {
		return nil, fmt.Errorf("%w: the token has no test bank", ErrDevelopment)
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": BankTestKID, "typ": "bank-message+jws"})
	if err != nil {
		return nil, err
	}
	input := b64.EncodeToString(header) + "." + b64.EncodeToString(in.Data)
	out, err := s.signWith(ctx, RoleBankTest, []byte(input))
	if err != nil {
		return nil, err
	}
	return &textReply{Text: input + "." + b64.EncodeToString(out.Data)}, nil
}

// SignTestBank signs a message as the test bank: a compact JWS with ES256.
// Development only.
func (c *Client) SignTestBank(ctx context.Context, payload []byte) (string, error) {
	out, _, err := call[textReply](ctx, c, methodSignTestBank, bytesRequest{payload})
	return out.Text, err
}

// MailerPIN is a sealed PIN with what it is bound to, and what stands beside it
// on the mailer.
type MailerPIN struct {
	AAD    []byte
	Sealed []byte
	Label  string // printed with it: a card's last digits, a running number
}

type mailersRequest struct {
	Items     []MailerPIN
	Recipient []byte // JWK
}

// revealMailers opens PINs for the one place that may have them: the printer's own
// key, so that they are in the clear nowhere between.
func (s *Service) revealMailers(ctx context.Context, in *mailersRequest) (*textReply, error) {
	var to jose.JSONWebKey
	if err := json.Unmarshal(in.Recipient, &to); err != nil || !to.Valid() || !to.IsPublic() {
		return nil, fmt.Errorf("%w: the printer's key is no public JWK", ErrRequest)
	}
	key, err := s.sealingKey(ctx, RoleMailer)
	if err != nil {
		return nil, err
	}
	type mailer struct {
		Label string `json:"label"`
		PIN   string `json:"pin"`
	}
	list := make([]mailer, 0, len(in.Items))
	for _, it := range in.Items {
		pin, err := openWith(ctx, key, kindMailer, it.AAD, it.Sealed)
		if err != nil {
			return nil, err
		}
		list = append(list, mailer{it.Label, string(pin)})
		clear(pin)
	}
	plain, err := json.Marshal(map[string]any{"made": s.now().UTC().Format(time.RFC3339), "mailers": list})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return encryptTo(&to, "pin-mailers+json", plain)
}

// RevealMailers opens PINs and enciphers them to the printer's public key, a JWK on
// P-256: a compact JWE.
func (c *Client) RevealMailers(ctx context.Context, items []MailerPIN, recipient []byte) (string, error) {
	out, _, err := call[textReply](ctx, c, methodRevealMailers, mailersRequest{items, recipient})
	return out.Text, err
}
