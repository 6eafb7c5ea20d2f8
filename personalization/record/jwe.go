package record

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// ErrJWE is what an Opener's error wraps when the input is at fault: not
// encrypted to the bureau's key, or altered. Any other error means that the
// answer is not known (the HSM is away, the context ended).
var ErrJWE = errors.New("record: the JWE cannot be decrypted with the intake key")

// Opener decrypts a compact JWE with the bureau's intake key.
type Opener interface {
	// OpenJWE returns the plaintext: a compact JWS. Its error wraps ErrJWE when
	// the input is at fault.
	OpenJWE(ctx context.Context, compact string) ([]byte, error)
}

const mediaType = "verified-record+jws"

// sameType compares a typ or cty with the record's media type as RFC 7515
// section 4.1.9 says: without case, and with "application/" understood.
func sameType(s string) bool {
	s = strings.ToLower(s)
	return strings.TrimPrefix(s, "application/") == mediaType
}

// checkJWE looks at the parts that need no key, so that the HSM is asked only
// about input that it can possibly open.
func checkJWE(parts []string) *Refusal {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil {
		return refuse(NotJWS, "")
	}
	var h struct {
		Alg  string          `json:"alg"`
		Enc  string          `json:"enc"`
		Cty  string          `json:"cty"`
		Zip  json.RawMessage `json:"zip"`
		Crit json.RawMessage `json:"crit"`
	}
	if json.Unmarshal(raw, &h) != nil {
		return refuse(NotJWS, "")
	}
	switch {
	case !encryption(h.Alg):
		return refuse(JWEHeader, "alg")
	case h.Enc != "A256GCM":
		return refuse(JWEHeader, "enc")
	case !sameType(h.Cty):
		return refuse(JWEHeader, "cty")
	case h.Zip != nil: // a photo does not compress, a bomb does
		return refuse(JWEHeader, "zip")
	case h.Crit != nil:
		return refuse(JWEHeader, "crit")
	}
	// Lengths of RFC 7518 section 5.3: IV of 96 bits, tag of 128 bits.
	if base64.RawURLEncoding.DecodedLen(len(parts[2])) != 12 || parts[1] == "" {
		return refuse(JWEUnreadable, "")
	}
	if n := base64.RawURLEncoding.DecodedLen(len(parts[4])); n != 16 {
		return &Refusal{Code: JWEUnreadable, incomplete: n < 16}
	}
	return nil
}

// encryption reports whether alg is one of those that a JWE can carry.
func encryption(alg string) bool { return alg == "ECDH-ES+A256KW" || alg == "RSA-OAEP-256" }
