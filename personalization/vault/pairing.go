package vault

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"cardbureau/hsm"
)

// Roles of the keys of pairing.
const (
	RolePairing      = "sim.pairing" // signs pairing records, EC P-256
	RolePairingRef   = "sim.ref"     // HMAC, of ICCIDs and telephone numbers
	pairingMediaType = "application/vnd.cardbureau.pairing+cbor"
)

// PairingKID is the key identifier of the key that signs pairing records.
const PairingKID = RolePairing + "/1"

// Methods of pairing.
const (
	methodSignPairing = "sign-pairing"
	methodPairingRef  = "pairing-ref"
	methodPairingJWK  = "pairing-jwk"
)

// makePairingKeys makes the keys of pairing that are missing.
func (s *Service) makePairingKeys(ctx context.Context, in *ProvisionRequest) error {
	o := hsm.KeyOptions{Development: in.Development}
	for role, make := range map[string]func(string) error{
		RolePairing:    func(l string) error { return s.token.GenerateEC(ctx, l, elliptic.P256(), hsm.ECSign, o) },
		RolePairingRef: func(l string) error { return s.token.GenerateHMAC(ctx, l, o) },
	} {
		l, err := roleLabel(role, "1")
		if err != nil {
			return err
		}
		if err := make(l); err != nil && !errors.Is(err, hsm.ErrKeyExists) {
			return err
		}
	}
	return nil
}

// signPairing signs what is a pairing record and nothing else.
func (s *Service) signPairing(ctx context.Context, in *bytesRequest) (*bytesReply, error) {
	if mediaType(in.Data) != pairingMediaType {
		return nil, fmt.Errorf("%w: only pairing records are signed with this key", ErrRequest)
	}
	return s.signWith(ctx, RolePairing, in.Data)
}

// mediaType is the content type in the protected header of a COSE Sig_structure of
// context Signature1 without external data (RFC 9052 section 4.4); empty for
// anything else.
func mediaType(tbs []byte) string {
	var sig struct {
		_         struct{} `cbor:",toarray"`
		Context   string
		Protected []byte
		External  []byte
		Payload   []byte
	}
	var head struct {
		Type string `cbor:"3,keyasint"`
	}
	if cbor.Unmarshal(tbs, &sig) != nil || sig.Context != bindingCOSE || len(sig.External) > 0 || len(sig.Payload) == 0 || cbor.Unmarshal(sig.Protected, &head) != nil {
		return ""
	}
	return head.Type
}

// Kinds of digests of pairing.
const (
	refICCID  = "iccid"
	refMSISDN = "msisdn"
)

func (s *Service) pairingRef(ctx context.Context, in *digestRequest) (*bytesReply, error) {
	if in.Role != refICCID && in.Role != refMSISDN || in.Text == "" {
		return nil, fmt.Errorf("%w: digests are made of ICCIDs and numbers", ErrRequest)
	}
	l, err := roleLabel(RolePairingRef, "1")
	if err != nil {
		return nil, err
	}
	mac, err := s.token.HMAC(ctx, l, []byte(in.Role+"\x00"+in.Text))
	if err != nil {
		return nil, notProvisioned(err)
	}
	return &bytesReply{Data: mac}, nil
}

func (s *Service) pairingJWK(ctx context.Context, _ *nothing) (*bytesReply, error) {
	jwk, err := s.jwk(ctx, PairingKID, "sig", "ES256")
	return &bytesReply{Data: jwk}, notProvisioned(err)
}

// SignPairing signs a pairing record's to-be-signed bytes (COSE Sig_structure) with
// ES256: r ‖ s, 64 bytes. ErrRequest for anything that is no pairing record.
func (c *Client) SignPairing(ctx context.Context, tbs []byte) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodSignPairing, bytesRequest{tbs})
	return out.Data, err
}

// ICCIDRef is the 32-byte keyed digest of an ICCID, its digits in ASCII.
func (c *Client) ICCIDRef(ctx context.Context, iccid string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodPairingRef, digestRequest{refICCID, iccid})
	return out.Data, err
}

// MSISDNRef is the 32-byte keyed digest of a telephone number, +989….
func (c *Client) MSISDNRef(ctx context.Context, msisdn string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodPairingRef, digestRequest{refMSISDN, msisdn})
	return out.Data, err
}

// PairingJWK is the public key of PairingKID, JSON (RFC 7517).
func (c *Client) PairingJWK(ctx context.Context) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodPairingJWK, nothing{})
	return out.Data, err
}
