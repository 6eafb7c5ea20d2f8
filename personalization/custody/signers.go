package custody

import "github.com/go-jose/go-jose/v4"

// Signers counts the custodians whose signature a document carries.
func Signers(document []byte, custodians []jose.JSONWebKey) int {
	jws, err := jose.ParseSignedJSON(string(document), Algorithms)
	if err != nil {
		return 0
	}
	signed := map[int]bool{}
	for _, key := range custodians {
		if i, _, _, err := jws.VerifyMulti(key.Key); err == nil {
			signed[i] = true
		}
	}
	return len(signed)
}
