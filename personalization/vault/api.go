package vault

import (
	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Labels of keys are cb/<role>/<version>. A key is named by "role/version"
// in this package's arguments: "cmk.acme/1".
const (
	RoleCSCA             = "csca"          // country signing CA, EC P-384
	RoleDocumentSigner   = "ds"            // document signer, EC P-256
	RoleIntake           = "intake"        // records are encrypted to it, EC P-256
	RolePersonRef        = "person-ref"    // HMAC-SHA256
	RoleTestRegistry     = "registry.test" // signs test records, EC P-256, development only
	RoleCardMasterIssuer = "cmk.issuer"    // master of the issuer's own card keys, AES-256
	RoleCardMaster       = "cmk."          // prefix: master of a vendor's transport keys, AES-256
	RolePersonalData     = "kek.pii"       // key-encryption keys of personal data, AES-256, version yyyy-mm
	DefaultVendor        = "acme"          // of the development blanks
	KeySetIssuer         = "cmk.issuer/1"  // key set of the finished card
	// RoleDES3 ends the roles of masters of triple DES keys, themselves triple
	// DES keys of two parts: cmk.issuer-des, cmk.acme-des.
	RoleDES3 = "-des"
)

// Types of a card's keys.
const (
	KeyTypeAES  = "aes"  // for SCP03
	KeyTypeDES3 = "3des" // triple DES keys of two parts, for SCP02
)

// Diversifications of the keys that this program's own cards have.
var (
	// DiversifyKDF3 is GlobalPlatformPro's KDF3.
	DiversifyKDF3 = gp.Diversification{Cipher: gp.DiversifyAESCMAC, Input: "counter 000000 key 00 kdd"}
	// DiversifyEMV is that of EMV CPS 5.3.
	DiversifyEMV = gp.Diversification{Cipher: gp.DiversifyDES3ECB, Input: "kdd[4..9] F0 key kdd[4..9] 0F key"}
	// DiversifyNone takes three keys as they are: roles <role>.enc, <role>.mac
	// and <role>.dek.
	DiversifyNone = gp.Diversification{Cipher: gp.DiversifyNone}
)

// KeyInfo describes a key in the token. It holds nothing secret.
type KeyInfo struct {
	Label   string `json:"label"`
	Role    string `json:"role"`
	Version string `json:"version"`
	Type    string `json:"type"` // AES-128, AES-192, AES-256, 3DES-112, 3DES-168, HMAC-256, EC P-256, EC P-384
	// KCV is six hexadecimal digits. AES keys that encipher: GlobalPlatform's,
	// over sixteen bytes 01 (GPC_SPE_034 B.6); other AES keys: the token's
	// CKA_CHECK_VALUE, over sixteen bytes 00; triple DES keys: over eight bytes 00; HMAC keys: of the HMAC of nothing;
	// EC keys: of the SHA-256 of the uncompressed public point.
	KCV              string `json:"kcv"`
	Sensitive        bool   `json:"sensitive"`
	Extractable      bool   `json:"extractable"`
	NeverExtractable bool   `json:"neverExtractable"` // since it was made, by the token's word
	Development      bool   `json:"development"`
}

// ProvisionRequest says which keys a token must have.
type ProvisionRequest struct {
	// Development marks every key that is made as a development key and adds
	// the test registry's.
	// A token is either for development or not: ErrDevelopment otherwise.
	Development bool
	State       string // as in the MRZ: UTO, IRN
	// Country is the two-letter code for certificates; empty: that of UTO or IRN.
	Country string
	// Organization, Contact (e-mail address or URI) and CRLs (URIs) stand in the
	// certificates. Empty ones take invalid examples, with Development only.
	Organization string
	Contact      string
	CRLs         []string
	// DocumentTypes are the document codes that the signer may sign; nil: IR.
	DocumentTypes []string
	// DocumentYears is the longest validity of a document: 10 when zero.
	DocumentYears int
	// Vendors are those whose transport masters are made, with Development
	// only: real ones come from the vendors. nil: DefaultVendor. Each gets an AES
	// master, cmk.<vendor>, and a triple DES master, cmk.<vendor>-des, and the
	// issuer gets cmk.issuer-des, where the token has triple DES.
	Vendors []string
}

// Provisioned is what others need to know of a provisioned token. All of it is
// public.
type Provisioned struct {
	CSCA           []byte // certificate, DER
	CSCACRL        []byte // certificate revocation list, DER
	DocumentSigner []byte // certificate, DER
	IntakeJWK      []byte // public key, JSON (RFC 7517)
	IntakeKID      string
	RegistryJWK    []byte // public key of the test registry, JSON; nil without development keys
	RegistryKID    string
}

// DataKey is one person's data key, wrapped under the key-encryption key of
// the month it was made in (AES key wrap, RFC 3394: 40 bytes).
type DataKey struct {
	Epoch   string // yyyy-mm
	Wrapped []byte
}

// SealItem is one piece to seal or open: Data is the plain or sealed bytes,
// AAD what it is bound to (table, row, column, person, version).
type SealItem struct {
	DataKey DataKey
	AAD     []byte
	Data    []byte
}

// CardSecretsRequest asks for one card's secrets.
type CardSecretsRequest struct {
	DataKey DataKey
	AAD     []byte
	// MRZInformation is document number, birth date and expiry date, each with
	// its check digit (ICAO 9303-11 4.3.2): 24 characters, or more with a long
	// document number.
	MRZInformation string
	CAN            string // 6 digits
	PINTries       byte   // before the transport PIN blocks: 1 to 15, 3 when zero
	PUKTries       byte   // before the unblock key blocks: 1 to 15, 10 when zero
	// Plain: the card's applet takes its secrets in the clear, and PlainSecrets may
	// release those that it needs. Of other cards nothing is released so.
	Plain bool
	// ActiveAuthentication is the length in bits of the RSA key of active
	// authentication: 0 for none, or 1024.
	ActiveAuthentication int
	// HolderKeys asks for the keys with which the chip signs for its holder.
	HolderKeys bool
}

// Names of the elements of a card's secrets.
const (
	SecretBAC                = "bac"                 // KEnc ‖ KMac, 32 bytes (ICAO 9303-11 9.7.2)
	SecretPACEMRZ            = "pace-mrz"            // SHA-1 of the MRZ information, 20 bytes
	SecretPACECAN            = "pace-can"            // 6 ASCII digits
	SecretChipAuthentication = "chip-authentication" // private scalar on P-256, 32 bytes
	SecretPIN                = "pin"                 // try limit, then 6 ASCII digits
	SecretPUK                = "puk"                 // try limit, then 8 ASCII digits
	SecretPairingKey         = "pairing-key"         // signs SIM pairings, private scalar on P-256, 32 bytes
	SecretReceiptKey         = "receipt-key"         // signs receipts, private scalar on P-256, 32 bytes

	// Of the RSA key of active authentication, where the request asked for one.
	SecretAAModulus         = "aa-modulus"          // 128 bytes, which DG15 has too
	SecretAAPrivateExponent = "aa-private-exponent" // 128 bytes, zeros in front

	// What applets take that are personalized in plain, see Client.PlainSecrets.
	SecretMRZDocumentNumber = "mrz-document-number" // 9 characters or more with filler, no check digit
	SecretMRZBirthDate      = "mrz-birth-date"      // YYMMDD, no check digit
	SecretMRZExpiryDate     = "mrz-expiry-date"     // YYMMDD, no check digit
	SecretCANDigits         = "can-digits"          // 6 ASCII digits
	SecretPINDigits         = "pin-digits"          // 6 ASCII digits, no try limit
	SecretPUKDigits         = "puk-digits"          // 8 ASCII digits, no try limit
)

// plainElements are the elements that PlainSecrets releases: those that an
// applet without a secure channel must be sent in the clear. Keys that only a
// secure channel carries are not among them.
var plainElements = map[string]bool{
	SecretAAModulus: true, SecretAAPrivateExponent: true,
	SecretMRZDocumentNumber: true, SecretMRZBirthDate: true, SecretMRZExpiryDate: true,
	SecretCANDigits: true, SecretPINDigits: true, SecretPUKDigits: true,
}

// CardSecrets are one card's secrets, sealed under the person's data key.
type CardSecrets struct {
	Sealed        []byte
	ChipPublicKey []byte // uncompressed point on P-256, 65 bytes
	// ActivePublicKey is that of active authentication, SubjectPublicKeyInfo,
	// DER; nil where none was asked for.
	ActivePublicKey []byte
	// PairingPublicKey and ReceiptPublicKey are the holder's, uncompressed points on
	// P-256, 65 bytes; nil where none were asked for.
	PairingPublicKey []byte
	ReceiptPublicKey []byte
}

// SODRequest asks for a signature over data group hashes.
type SODRequest struct {
	Hashes map[int][]byte // SHA-256 by data group number, 1 to 16
}

// ChannelRequest asks for a secure channel to one card.
type ChannelRequest struct {
	// KeySet names one master, "cmk.acme/1" for cb/cmk.acme/1, from which the
	// card's three keys follow; or, where there is no such key, three masters
	// that are separate by purpose, cb/cmk.acme.enc/1, .mac and .dek. Undiversified
	// keys are those three themselves.
	KeySet          string
	KeyType         string // KeyTypeAES, also when empty, or KeyTypeDES3
	Diversification gp.Diversification
	KeyBits         int // of the card's keys: 128, 192 or 256; triple DES: 128
	// Protocol is what the card is expected to answer with: 3, also when zero,
	// for SCP03, 2 for SCP02. Another answer is gp.ErrUnsupported.
	Protocol int
	// I is the option byte of a card with SCP02, whose answer does not carry it.
	// Of SCP03 the answer counts.
	I             byte
	HostChallenge []byte // what INITIALIZE UPDATE carried, from Client.HostChallenge
	// InitializeUpdate is the response data, without status word. Its first ten
	// bytes are the key diversification data.
	InitializeUpdate []byte
	// DiversificationData is what the keys are diversified over instead of those
	// ten bytes, 10 bytes; nil: those.
	DiversificationData []byte
	AID                 []byte // of the application that INITIALIZE UPDATE went to
	Level               gp.Level
	// CountDataOnly: the card's encryption counter stands still at commands
	// without data (see gp.CountDataOnly). SCP02 has no counter.
	CountDataOnly bool
}

// PutKeyRequest asks for the command that replaces a card's keys. Under SCP03
// the new keys are AES keys, under SCP02 triple DES keys, and always diversified.
type PutKeyRequest struct {
	KeySet                 string // whose keys the card gets: "cmk.issuer/1"
	KeyType                string // as in ChannelRequest
	Diversification        gp.Diversification
	KeyBits                int    // as in ChannelRequest
	KeyVersion             byte   // of the new key set, 01 to 7F
	ReplacesVersion        byte   // key version that is replaced; 00 adds a key set
	KeyDiversificationData []byte // as INITIALIZE UPDATE gave it, 10 bytes
}

// PutKey is a PUT KEY command in the clear (its keys are enciphered under the
// card's DEK), to be wrapped by the channel it was made by.
type PutKey struct {
	Command    apdu.Command
	KeyVersion byte
	KCVs       [][]byte // of ENC, MAC and DEK, 3 bytes each
}

// BlankKeysRequest names the transport keys of one software blank.
type BlankKeysRequest struct {
	KeySet                 string // a development key set
	KeyType                string // as in ChannelRequest
	Diversification        gp.Diversification
	KeyBits                int
	KeyDiversificationData []byte // 10 bytes
}

// BlankKeys are a software blank's transport keys.
type BlankKeys struct{ ENC, MAC, DEK Secret }

// Zero overwrites the keys.
func (k *BlankKeys) Zero() { k.ENC.Zero(); k.MAC.Zero(); k.DEK.Zero() }

// Stats are counts since the agent started.
type Stats struct {
	// Operations counts calls into the module by PKCS#11 function, "C_Sign".
	Operations map[string]uint64
	// Calls counts the client's calls by intent.
	Calls map[string]uint64
	// CPU is the agent's processor time in nanoseconds, user and system.
	CPU int64
	// Resident is the agent's greatest resident size in bytes.
	Resident int64
	// OpenChannels is the number of channels open now.
	OpenChannels int
	// DeriveInToken reports that AES card and session keys never leave the
	// token, DeriveDES3InToken that derived triple DES keys do not, but for the new
	// ones of PUT KEY where the module cannot wrap.
	DeriveInToken     bool
	DeriveDES3InToken bool
}
