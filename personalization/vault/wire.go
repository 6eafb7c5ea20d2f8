package vault

import (
	"cardbureau/cardio/apdu"
)

// Methods of the agent.
const (
	methodKeys            = "keys"
	methodProvision       = "provision"
	methodSignTestRecord  = "sign-test-record"
	methodOpenJWE         = "open-jwe"
	methodPersonRef       = "person-ref"
	methodIdentityDigest  = "identity-digest"
	methodNewDataKey      = "new-data-key"
	methodSeal            = "seal"
	methodOpen            = "open"
	methodNewCardSecrets  = "new-card-secrets"
	methodTransportPIN    = "transport-pin"
	methodUnblockingKey   = "unblocking-key"
	methodPlainSecrets    = "plain-secrets"
	methodSignSOD         = "sign-sod"
	methodBlankKeys       = "blank-keys"
	methodOpenChannel     = "open-channel"
	methodWrap            = "wrap"
	methodUnwrap          = "unwrap"
	methodEncipherSecrets = "encipher-secrets"
	methodSecretKCVs      = "secret-kcvs"
	methodPutKey          = "put-key"
	methodCloseChannel    = "close-channel"
	methodStats           = "stats"
	methodEnvironment     = "environment"

	methodImportComponents  = "import-components"
	methodIssuerKey         = "issuer-key"
	methodIssuerECC         = "issuer-ecc"
	methodRevealPANs        = "reveal-pans"
	methodKeyBlock          = "key-block"
	methodNewICCKeys        = "new-icc-keys"
	methodNewPaymentSecrets = "new-payment-secrets"
	methodVerifyARQC        = "verify-arqc"
	methodProtectScript     = "protect-script"
	methodTranslatePIN      = "translate-pin"
	methodTestIssuer        = "test-issuer"
	methodBankDigest        = "bank-digest"
	methodSignBinding       = "sign-binding"
	methodBankJWK           = "bank-jwk"
	methodOpenBankJWE       = "open-bank-jwe"
	methodSignTestBank      = "sign-test-bank"
	methodRevealMailers     = "reveal-mailers"

	methodSIMKeysIn   = "sim-keys-in"
	methodNewSIMKeys  = "new-sim-keys"
	methodSIMProgram  = "sim-program"
	methodSIMVector   = "sim-vector"
	methodSIMCheckRES = "sim-check-res"
	methodSIMResync   = "sim-resync"
	methodSealTestSIM = "seal-test-sim"
)

type nothing struct{}

type keysReply struct{ Keys []KeyInfo }

type bytesRequest struct{ Data []byte }

// Zero wipes an argument once it is answered.
func (r *bytesRequest) Zero() { clear(r.Data) }

type bytesReply struct{ Data []byte }

// Zero wipes a result once it is sent.
func (r *bytesReply) Zero() { clear(r.Data) }

type textReply struct{ Text string }

type piecesReply struct{ Pieces [][]byte }

// Zero wipes a result once it is sent.
func (r *piecesReply) Zero() {
	for _, p := range r.Pieces {
		clear(p)
	}
}

type sealRequest struct{ Items []SealItem }

// Zero wipes what was to be sealed.
func (r *sealRequest) Zero() {
	for _, i := range r.Items {
		clear(i.Data)
	}
}

// wireBlankKeys carries what a Secret would redact.
type wireBlankKeys struct{ ENC, MAC, DEK []byte }

// Zero wipes the keys once they are sent.
func (k *wireBlankKeys) Zero() { clear(k.ENC); clear(k.MAC); clear(k.DEK) }

type openChannelReply struct {
	ID                   uint64
	ExternalAuthenticate []byte
}

type channelRequest struct{ ID uint64 }

type wrapRequest struct {
	ID       uint64
	Commands []wireCommand
}

// wireCommand is an apdu.Command in few bytes.
type wireCommand struct {
	_        struct{} `cbor:",toarray"`
	Header   uint32
	Data     []byte
	Ne       int
	Extended bool
}

func toWire(c apdu.Command) wireCommand {
	return wireCommand{
		Header: uint32(c.CLA)<<24 | uint32(c.INS)<<16 | uint32(c.P1)<<8 | uint32(c.P2),
		Data:   c.Data, Ne: c.Ne, Extended: c.Extended,
	}
}

func (w wireCommand) command() apdu.Command {
	return apdu.Command{
		CLA: byte(w.Header >> 24), INS: byte(w.Header >> 16), P1: byte(w.Header >> 8), P2: byte(w.Header),
		Data: w.Data, Ne: w.Ne, Extended: w.Extended,
	}
}

type unwrapRequest struct {
	ID        uint64
	Responses [][]byte
}

type wireResponse struct {
	_    struct{} `cbor:",toarray"`
	Data []byte
	SW   uint16
}

// unwrapReply returns good responses also when one failed.
type unwrapReply struct {
	Responses []wireResponse
	Index     int
	Code      string
	Text      string
}

type encipherRequest struct {
	ID   uint64
	Sets []SecretSet
}

type secretKCVsRequest struct {
	Item  SealItem
	Names []string
}

type plainSecretsRequest struct {
	Item  SealItem
	Names []string
}

type plainSecretsReply struct{ Values map[string][]byte }

// Zero wipes a result once it is sent.
func (r *plainSecretsReply) Zero() { elements(r.Values).zero() }

type encipherReply struct{ Values map[string][]byte }

type putKeyRequest struct {
	ID      uint64
	Request PutKeyRequest
}

type putKeyReply struct {
	Command wireCommand
	KCVs    [][]byte
}
