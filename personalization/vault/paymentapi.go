package vault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"cardbureau/cardio/emv/ecsdsa"
)

// Roles of the bank's keys.
const (
	RoleIMKAC     = "imk.ac"      // issuer master key of application cryptograms, 3DES of two parts; with "-aes" AES-128
	RoleIMKSMI    = "imk.smi"     // of script MACs
	RoleIMKSMC    = "imk.smc"     // of script confidentiality
	RoleIMKDN     = "imk.dn"      // of ICC dynamic numbers
	RoleAES       = "-aes"        // ends the roles of those that are AES keys
	RoleCVK       = "cvk"         // card verification key, A ‖ B
	RoleCVKLeft   = "cvk.left"    // its first part twice, with which the token does single DES
	RoleKMC       = "kmc"         // master of the keys by which payment applications are personalized (EMV CPS), 3DES of two parts
	RolePVK       = "pvk"         // PIN verification key, of PVV and offset
	RoleZPK       = "zpk"         // zone PIN key with the bank's host
	RoleEMVIssuer = "emv.issuer"  // the issuer's RSA key
	RoleEMVTestCA = "emv.ca.test" // a certification authority for development only
	// RoleEMVIssuerECC and RoleEMVTestCAECC are HMAC keys of which the EC-SDSA keys of
	// the issuer and of a test authority are derived, for each signature anew.
	RoleEMVIssuerECC = "emv.issuer.ecc"
	RoleEMVTestCAECC = "emv.ca.test.ecc"
	RoleBankBinding  = "bank.binding" // signs bindings and lists of PANs, EC P-256
	RoleBankIBAN     = "bank.iban"    // HMAC
	RoleBankPAN      = "bank.pan"     // HMAC
	RoleBankIntake   = "bank.intake"  // the bank's messages are encrypted to it, EC P-256
	RoleBankTest     = "bank.test"    // signs a test bank's messages, EC P-256, development only
	RolePool         = "kek.pool"     // seals ICC keys that wait, AES-256
	RoleMailer       = "kek.mailer"   // seals PINs that wait to be printed, AES-256
	emvIssuerBits    = 1976
	emvCABits        = 1984
	emvExponent      = 65537
	emvCAIndex       = 1
	emvCAIndexECC    = 2 // test authority's key on P-256; of P-521 the next
	bindingCOSE      = "Signature1"
	bindingTokenType = "cardbureau-binding+jwt"
)

// BindingType is the typ header of a binding that is a JWS.
const BindingType = bindingTokenType

// Names of the elements of a payment application's secrets.
const (
	SecretEMVKeys     = "emv-keys"      // MK-AC ‖ MK-SMI ‖ MK-SMC, 48 bytes
	SecretEMVDynamic  = "emv-dn"        // MK-DN, 16 bytes
	SecretEMVPINBlock = "emv-pin-block" // ISO 9564 format 2, 8 bytes
	SecretEMVQInv     = "emv-qinv"      // Chinese remainder parts, each half the modulus
	SecretEMVDQ       = "emv-dq"
	SecretEMVDP       = "emv-dp"
	SecretEMVQ        = "emv-q"
	SecretEMVP        = "emv-p"
	SecretEMVScalar   = "emv-d" // private key of an elliptic curve, 32 or 66 bytes
	SecretEMVModulus  = "emv-modulus"
	SecretEMVExponent = "emv-exponent"

	emvAES = "emv-aes" // marks that the keys are AES keys
)

// IssuerInfo is what terminals and cards need to know of the issuer's key and the
// authority above it. All of it is public.
type IssuerInfo struct {
	RID         []byte `json:"rid"` // 5 bytes
	CAIndex     byte   `json:"caIndex"`
	CAModulus   []byte `json:"caModulus"`
	CAExponent  []byte `json:"caExponent"`
	Certificate []byte `json:"certificate"`         // tag 90
	Remainder   []byte `json:"remainder"`           // tag 92
	Exponent    []byte `json:"exponent"`            // tag 9F32
	Expires     string `json:"expires"`             // of the certificate, MMYY
	CAExpires   string `json:"caExpires,omitempty"` // last day of the authority's key, YYYYMMDD; empty: not told

	ECC ECCIssuers `json:"ecc,omitempty"` // for extended data authentication; empty: cannot be issued
}

// ECCIssuers are certificates of the issuer's keys of elliptic curves, one for each
// authority's key.
type ECCIssuers []ECCIssuer

// UnmarshalJSON reads a list, or one certificate that stands alone.
func (e *ECCIssuers) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		var one ECCIssuer
		err := json.Unmarshal(b, &one)
		*e = ECCIssuers{one}
		return err
	}
	return json.Unmarshal(b, (*[]ECCIssuer)(e))
}

// For is the certificate of an authority's key, by RID, 5 bytes, and index; nil
// where there is none.
func (e ECCIssuers) For(rid []byte, index byte) *ECCIssuer {
	for i := range e {
		if bytes.Equal(rid, e[i].RID) && index == e[i].CAIndex {
			return &e[i]
		}
	}
	return nil
}

// With is the list with a certificate in it, in place of the one of the same
// authority's key.
func (e ECCIssuers) With(n ECCIssuer) ECCIssuers {
	out := slices.Clone(e)
	if at := out.For(n.RID, n.CAIndex); at != nil {
		*at = n
		return out
	}
	return append(out, n)
}

// ECCIssuer is IssuerInfo of the issuer's key of an elliptic curve.
type ECCIssuer struct {
	RID         []byte       `json:"rid"` // 5 bytes
	CAIndex     byte         `json:"caIndex"`
	CASuite     ecsdsa.Suite `json:"caSuite"`             // signature algorithm suite indicator of the authority's key
	CAKey       []byte       `json:"caKey"`               // its x-coordinate
	Suite       ecsdsa.Suite `json:"suite"`               // of the issuer's key
	Certificate []byte       `json:"certificate"`         // tag 90
	Expires     string       `json:"expires"`             // the certificate's last day, YYYYMMDD
	CAExpires   string       `json:"caExpires,omitempty"` // last day of the authority's key, YYYYMMDD; empty: not told
}

// ECCKey finds the authority's key of elliptic curves, as terminals do: by RID, 5
// bytes, and index.
func (i IssuerInfo) ECCKey(rid []byte, index byte) (ecsdsa.PublicKey, bool) {
	e := i.ECC.For(rid, index)
	if e == nil {
		return ecsdsa.PublicKey{}, false
	}
	return ecsdsa.PublicKey{Suite: e.CASuite, X: e.CAKey}, true
}

// ICCKey is a card's RSA key before it has a card: sealed under the pool's key.
type ICCKey struct {
	ID     []byte // 16 bytes, what it is bound to
	Bits   int
	Sealed []byte
}

// PaymentSecretsRequest asks for all that is secret or signed of one card's
// payment application. It is one call a card.
type PaymentSecretsRequest struct {
	DataKey DataKey
	AAD     []byte

	PAN         string
	Sequence    byte   // PAN sequence number
	Expiry      string // YYMM, as on the stripe
	ServiceCode string
	// StaticData is the static data to be authenticated; with XDA the Issuer Certified
	// Card Data.
	StaticData []byte

	MasterKey string // version of the issuer's master keys
	Option    string // A, B, or C for AES
	CVK, PVK  string // versions of the verification keys; empty: 1

	PINLength int
	PINMethod string // random, ibm3624
	PVKI      int    // 0: no PVV
	// MailerAAD is what the PIN for the mailer is bound to.
	MailerAAD []byte

	SDA, DDA bool
	Key      ICCKey // of the pool; without Sealed one is made now
	Bits     int
	Exponent int

	// XDA has a card's key made on the curve of ICCSuite and certified with the
	// issuer's key of IssuerSuite.
	XDA                   bool
	ICCSuite, IssuerSuite ecsdsa.Suite
}

// PaymentSecrets are a card's.
type PaymentSecrets struct {
	Sealed []byte // elements, under the person's data key
	Mailer []byte // the PIN, under the mailers' key
	Values Verification

	Static       []byte // signed static application data; nil without SDA
	ICC          []byte // certificate; nil without DDA and XDA
	ICCRemainder []byte
	ICCExponent  []byte
}

// Verification are values that the stripe, the chip and the card's face carry. They
// print as nothing.
type Verification struct {
	CVV    string // of the stripe
	ICVV   string // of the chip's track 2 equivalent data
	CVV2   string // printed
	PVV    string // empty without a PVKI
	Offset string // IBM 3624; empty for random PINs
}

// String shows nothing.
func (Verification) String() string { return "verification values (redacted)" }

// GoString is String.
func (v Verification) GoString() string { return v.String() }

// Format shows nothing.
func (v Verification) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.String())) }

// LogValue shows nothing.
func (v Verification) LogValue() slog.Value { return slog.StringValue(v.String()) }

// ARQCRequest asks whether a cryptogram is a card's, and for the issuer's answer.
type ARQCRequest struct {
	PAN       string
	Sequence  byte
	MasterKey string
	Option    string // A, B, C
	ATC       uint16
	Data      []byte // what the cryptogram is over, without padding
	ARQC      []byte // 8 bytes
	Method    int    // of the ARPC: 1 or 2; 0: none is wanted
	ARC       []byte // method 1: authorization response code, 2 bytes
	CSU       []byte // method 2: card status update, 4 bytes
	// Proprietary is authentication data of the issuer's own, method 2, 0 to 8 bytes.
	Proprietary []byte
}

// ARQCResult is the answer: an ARPC only for a right cryptogram.
type ARQCResult struct {
	OK   bool
	ARPC []byte // 8 bytes by method 1, 4 by method 2
}

// ScriptRequest asks for the protection of one issuer script command.
type ScriptRequest struct {
	PAN       string
	Sequence  byte
	MasterKey string
	Option    string
	ARQC      []byte // R of the session keys
	// Message is what the MAC is over, without padding; Plain is data to be
	// enciphered first, padded with 80…, and put where Message has no bytes yet: it is
	// returned apart.
	Message []byte
	Plain   []byte
	// Padded says that Message is whole blocks already, as in format 1 (Book 2, 9.2.3).
	Padded bool
}

// ScriptResult is the MAC, 8 bytes, and the enciphered data. Of a padded message the
// MAC is whole: with AES 16 bytes.
type ScriptResult struct {
	MAC        []byte
	Enciphered []byte
}

// TranslatePINRequest asks for a PIN block under the zone key in another format.
type TranslatePINRequest struct {
	Block    []byte
	From, To int // ISO 9564-1 formats 0, 1, 3
	PAN      string
	ZPK      string // version of the zone key; empty: 1
}
