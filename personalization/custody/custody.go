// Package custody is what custodians vouch for together: documents that the
// bureau believes only after two of them have signed, as JWS in JSON
// serialization (RFC 7515 section 7.2). Their private keys are their own and
// never in the bureau's token.
package custody

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Needed is how many custodians must have signed in production.
const Needed = 2

// Algorithms are those that custodians sign with.
var Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA}

// ErrUnsigned marks a document that too few custodians have signed.
var ErrUnsigned = errors.New("not signed by enough custodians")

// Open returns the payload of a document after checking that at least Needed
// different keys of custodians signed it. what names it in errors.
func Open(what string, document []byte, custodians []jose.JSONWebKey) ([]byte, error) {
	jws, err := jose.ParseSignedJSON(string(document), Algorithms)
	if err != nil {
		return nil, fmt.Errorf("the %s is not a signed one: %w", what, err)
	}
	var payload []byte
	signed := make(map[int]bool) // by index of the signature, so that no signature counts twice
	for _, key := range custodians {
		if !key.Valid() || !key.IsPublic() {
			return nil, errors.New("a custodian's key must be a public key")
		}
		i, _, p, err := jws.VerifyMulti(key.Key)
		if err != nil || signed[i] {
			continue
		}
		signed[i], payload = true, p
	}
	if len(signed) < Needed {
		return nil, fmt.Errorf("the %s carries %d valid signature(s) of custodians, %d are needed: %w", what, len(signed), Needed, ErrUnsigned)
	}
	return payload, nil
}

// general is the general JSON serialization.
type general struct {
	Payload    string      `json:"payload"`
	Signatures []signature `json:"signatures"`
}

type signature struct {
	Protected string `json:"protected"`
	Signature string `json:"signature"`
}

// Sign signs payload with a custodian's private key. The signatures of document,
// if it is of the very same payload, are kept; another document, or none, is
// begun anew. A second signature with the same key replaces the first.
func Sign(document, payload []byte, key jose.JSONWebKey) ([]byte, error) {
	if key.IsPublic() || !key.Valid() {
		return nil, errors.New("a custodian signs with a private key (JWK)")
	}
	algorithm := jose.SignatureAlgorithm(key.Algorithm)
	if algorithm == "" {
		return nil, errors.New(`the custodian's key does not say its algorithm: add "alg": "ES256", "PS256" or "EdDSA"`)
	}
	if !slices.Contains(Algorithms, algorithm) {
		return nil, fmt.Errorf("custodians sign with ES256, PS256 or EdDSA, not with %s", algorithm)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		return nil, fmt.Errorf("the custodian's key: %w", err)
	}
	one, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var flat struct {
		Payload string `json:"payload"`
		signature
	}
	if err := json.Unmarshal([]byte(one.FullSerialize()), &flat); err != nil {
		return nil, err
	}
	out := general{Payload: flat.Payload}
	var before general
	if json.Unmarshal(document, &before) == nil && before.Payload == flat.Payload {
		jws, err := jose.ParseSignedJSON(string(document), Algorithms)
		if err != nil {
			return nil, fmt.Errorf("the signatures that are there cannot be read: %w", err)
		}
		mine, _, _, err := jws.VerifyMulti(key.Public().Key)
		for i, s := range before.Signatures {
			if err != nil || i != mine {
				out.Signatures = append(out.Signatures, s)
			}
		}
	}
	out.Signatures = append(out.Signatures, flat.signature)
	return json.MarshalIndent(out, "", "  ")
}
