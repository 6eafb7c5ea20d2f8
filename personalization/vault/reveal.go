package vault

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/hsm"
)

// SealedPAN is a sealed PAN, and what stands beside it in the list for the bank: it is
// put where Line has "pan".
type SealedPAN struct {
	Item SealItem
	Line map[string]any
}

type pansRequest struct {
	Header    map[string]any // of the list
	Items     []SealedPAN
	Recipient []byte // JWK
}

// revealPANs opens PANs for the one who gave them out: the bank's own key, so that
// they are in the clear nowhere between.
func (s *Service) revealPANs(ctx context.Context, in *pansRequest) (*textReply, error) {
	var to jose.JSONWebKey
	if err := json.Unmarshal(in.Recipient, &to); err != nil || !to.Valid() || !to.IsPublic() || to.Use != "enc" {
		return nil, fmt.Errorf("%w: the bank's key is no public JWK with use enc", ErrRequest)
	}
	cards := make([]map[string]any, 0, len(in.Items))
	for _, it := range in.Items {
		line := map[string]any{}
		for k, v := range it.Line {
			line[k] = v
		}
		err := s.withDataKey(ctx, it.Item.DataKey, func(key *hsm.AESKey) error {
			pan, err := openWith(ctx, key, kindData, it.Item.AAD, it.Item.Data)
			line["pan"] = string(pan)
			clear(pan)
			return err
		})
		if err != nil {
			return nil, err
		}
		cards = append(cards, line)
	}
	whole := map[string]any{"cards": cards}
	for k, v := range in.Header {
		whole[k] = v
	}
	plain, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	// Enciphering proves nothing of who did it: the bureau signs what is inside.
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": BindingKID, "typ": pansTokenType})
	if err != nil {
		return nil, err
	}
	jws := make([]byte, 0, b64.EncodedLen(len(header))+b64.EncodedLen(len(plain))+96)
	defer func() { clear(jws[:cap(jws)]) }()
	jws = append(b64.AppendEncode(jws, header), '.')
	jws = b64.AppendEncode(jws, plain)
	signed, err := s.signWith(ctx, RoleBankBinding, jws)
	if err != nil {
		return nil, err
	}
	jws = b64.AppendEncode(append(jws, '.'), signed.Data)
	return encryptTo(&to, pansTokenType, jws)
}

// pansTokenType is the typ of a list of PANs, and the cty of the JWE around it.
const pansTokenType = "bank-pans+jws"

// RevealPANs opens PANs and enciphers them to the bank's public key, a JWK on P-256
// with use enc: a compact JWE around a compact JWS by BindingKID, of JSON with the
// header's members and cards.
func (c *Client) RevealPANs(ctx context.Context, header map[string]any, items []SealedPAN, recipient []byte) (string, error) {
	out, _, err := call[textReply](ctx, c, methodRevealPANs, pansRequest{header, items, recipient})
	return out.Text, err
}

// encryptTo makes a compact JWE: ECDH-ES+A256KW, A256GCM.
func encryptTo(to *jose.JSONWebKey, contentType jose.ContentType, plain []byte) (*textReply, error) {
	text, err := EncryptTo(to, contentType, plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return &textReply{Text: text}, nil
}

// EncryptTo makes a compact JWE to a public key on P-256: ECDH-ES+A256KW, A256GCM. It
// needs no token.
func EncryptTo(to *jose.JSONWebKey, contentType jose.ContentType, plain []byte) (string, error) {
	options := (&jose.EncrypterOptions{}).WithContentType(contentType)
	enc, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: to}, options)
	if err != nil {
		return "", fmt.Errorf("the recipient's key: %w", err)
	}
	jwe, err := enc.Encrypt(plain)
	if err != nil {
		return "", err
	}
	return jwe.CompactSerialize()
}
