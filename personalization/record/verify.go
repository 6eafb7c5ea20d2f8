package record

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are the signatures that a record can carry.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA}

// MaxLine is the greatest length in bytes of a line that Verify looks at: a
// photo of MaxPhoto bytes under three layers of base64 leaves room for all else.
const MaxLine = 512 << 10

// clockSkew is how far a registry's clock may be ahead.
const clockSkew = 5 * time.Minute

// Verifier checks signed records. Set its fields before first use and leave
// them; it may then be used from many goroutines.
type Verifier struct {
	Trust *Trust
	// TrustNow is asked for the trust of the moment where it changes while the
	// program runs, as by TrustFile.Now; nil: Trust.
	TrustNow func() *Trust
	// Opener decrypts records that come as JWE; nil: none are taken.
	Opener Opener
	// Audience is this bureau's name in records.
	Audience string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// RequireJWE refuses records that come without encryption (production).
	RequireJWE bool
	// MaxPhoto is the greatest photo in bytes that the products' chips take;
	// 0: MaxPhoto of this package.
	MaxPhoto int
	// Rules are what configuration adds to the schema.
	Rules Rules
}

func (v *Verifier) trust() *Trust {
	if v.TrustNow != nil {
		return v.TrustNow()
	}
	return v.Trust
}

// Verified is a record that passed every check.
type Verified struct {
	Record Record
	// KeyID is the kid of the trust file's entry that the signature belongs to.
	KeyID string
	// DailyCap is that entry's cap on new records a day; 0: none.
	DailyCap int
	// Signed is the compact JWS, to be kept sealed and checked again before
	// anything is signed for the record (see Recheck).
	Signed []byte
	// Digest is the SHA-256 of the payload: two records with the same recordId
	// and revision are the same if their digests are.
	Digest [sha256.Size]byte
	// ViaJWE says that the record came encrypted.
	ViaJWE bool
}

// String shows which record, nothing of the person.
func (v Verified) String() string { return "verified " + v.Record.String() }

// GoString is String.
func (v Verified) GoString() string { return v.String() }

// LogValue is String for log/slog.
func (v Verified) LogValue() slog.Value { return slog.StringValue(v.String()) }

// Verify checks one line: a compact JWS, or a compact JWE around one. White
// space around it is overlooked. A *Refusal says that the input is at fault; any
// other error, that the answer is not known.
func (v *Verifier) Verify(ctx context.Context, line []byte) (*Verified, error) {
	if len(line) > MaxLine {
		return nil, refuse(LineTooLong, "")
	}
	token := strings.Trim(string(line), " \t\r\n")
	if v.trust() == nil {
		return nil, errNoTrust
	}
	parts, ref := split(token)
	if ref != nil {
		return nil, ref
	}
	viaJWE := len(parts) == 5
	if viaJWE {
		inner, err := v.open(ctx, token, parts)
		if err != nil {
			return nil, err
		}
		token = inner
		if parts, ref = split(token); ref != nil || len(parts) != 3 {
			return nil, refuse(NotJWS, "inside the JWE")
		}
	} else if v.RequireJWE {
		return nil, refuse(JWERequired, "")
	}
	now := v.now()
	out, id, ref := v.signed(token, parts, now, viaJWE)
	if ref != nil {
		ref.RecordID = id
		return nil, ref
	}
	out.ViaJWE = viaJWE
	return out, nil
}

// Recheck verifies a compact JWS that was accepted before, as of the time of its
// acceptance: signature, trust of today in the key, schema, audience and sense.
// A key that has left the trust file since, or a record altered in storage, is
// refused; a key or record that has only run out since is not.
func (v *Verifier) Recheck(signed []byte, acceptedAt time.Time) (*Verified, error) {
	if v.trust() == nil {
		return nil, errNoTrust
	}
	token := string(signed)
	parts, ref := split(token)
	if ref == nil && len(parts) != 3 {
		ref = refuse(NotJWS, "")
	}
	if ref != nil {
		return nil, ref
	}
	// How it came is not known any more: acceptance has judged that.
	out, id, ref := v.signed(token, parts, acceptedAt, true)
	if ref != nil {
		ref.RecordID = id
		return nil, ref
	}
	return out, nil
}

var errNoTrust = errors.New("record: the verifier has no trust file")

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

// compactAlphabet is base64url and the dot. A table, because every byte of every
// photo is looked up.
var compactAlphabet = func() (in [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") {
		in[c] = true
	}
	return in
}()

// split cuts a compact serialization into its parts: three are a JWS, five a
// JWE. The alphabet is checked because base64 decoders overlook line breaks.
func split(token string) ([]string, *Refusal) {
	for i := range len(token) {
		if !compactAlphabet[token[i]] {
			return nil, refuse(NotJWS, "")
		}
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 && len(parts) != 5 {
		// eyJ is base64url of {" : with it and too few parts, an end is missing.
		return nil, &Refusal{Code: NotJWS, incomplete: len(parts) < 5 && strings.HasPrefix(token, "eyJ")}
	}
	return parts, nil
}

func (v *Verifier) open(ctx context.Context, token string, parts []string) (string, error) {
	if v.Opener == nil {
		return "", refuse(JWENotAccepted, "")
	}
	if ref := checkJWE(parts); ref != nil {
		return "", ref
	}
	plain, err := v.Opener.OpenJWE(ctx, token)
	switch {
	case errors.Is(err, ErrJWE):
		return "", refuse(JWEUnreadable, "")
	case err != nil:
		return "", fmt.Errorf("open an encrypted record: %w", err)
	}
	return string(plain), nil
}

// signed verifies the signature, reads the payload and checks its sense. The id
// comes back with refusals too, as far as it can be read.
func (v *Verifier) signed(token string, parts []string, at time.Time, encrypted bool) (*Verified, string, *Refusal) {
	jws, key, ref := v.parse(token, at)
	if ref != nil {
		return nil, unverifiedID(parts[1]), ref
	}
	payload, err := jws.Verify(key.JWK.Key)
	if err != nil {
		id := unverifiedID(parts[1])
		return nil, id, &Refusal{Code: BadSignature, incomplete: len(jws.Signatures[0].Signature) < signatureSize(key)}
	}
	tree, err := parseTree(payload)
	if err != nil {
		return nil, "", refuse(NotJSON, "")
	}
	id := claimedID(tree)
	if ref := checkSchema(tree); ref != nil {
		return nil, id, ref
	}
	var r reader
	rec := r.record(tree)
	if r.err != nil {
		return nil, id, r.err
	}
	if ref := v.check(&rec, key, at, encrypted); ref != nil {
		return nil, id, ref
	}
	return &Verified{
		Record: rec, KeyID: key.KeyID, DailyCap: key.DailyCap,
		Signed: []byte(token), Digest: sha256.Sum256(payload),
	}, id, nil
}

// parse reads the header and finds the key that the trust file has for it.
func (v *Verifier) parse(token string, at time.Time) (*jose.JSONWebSignature, *TrustKey, *Refusal) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		var alg *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &alg) {
			// The first three parts of a JWE look like a JWS.
			return nil, nil, &Refusal{Code: JWSHeader, Detail: "alg", incomplete: encryption(string(alg.Got))}
		}
		return nil, nil, &Refusal{Code: NotJWS, incomplete: strings.HasPrefix(token, "eyJ")}
	}
	h := jws.Signatures[0].Protected
	typ, _ := h.ExtraHeaders[jose.HeaderType].(string)
	switch {
	case h.KeyID == "":
		return nil, nil, refuse(JWSHeader, "kid")
	case !sameType(typ):
		return nil, nil, refuse(JWSHeader, "typ")
	case h.ExtraHeaders["crit"] != nil || h.ExtraHeaders["b64"] != nil:
		return nil, nil, refuse(JWSHeader, "crit")
	}
	trust := v.trust()
	key := trust.byID[h.KeyID]
	switch {
	case key == nil:
		return nil, nil, refuse(UnknownKey, "")
	case key.Algorithm != h.Algorithm:
		return nil, nil, refuse(AlgMismatch, "")
	case !trust.NotAfter.IsZero() && at.After(trust.NotAfter):
		return nil, nil, refuse(TrustExpired, "")
	case at.Before(key.NotBefore):
		return nil, nil, refuse(KeyNotYetValid, "")
	case at.After(key.NotAfter):
		return nil, nil, refuse(KeyExpired, "")
	}
	return jws, key, nil
}

// signatureSize is the length in bytes of a whole signature by the key.
func signatureSize(k *TrustKey) int {
	if pub, ok := k.JWK.Key.(interface{ Size() int }); ok { // *rsa.PublicKey
		return pub.Size()
	}
	return 64 // ES256: r and s of 32 bytes (RFC 7518 3.4); Ed25519: RFC 8032 5.1.6
}

// unverifiedID reads the id that an unverified payload claims, for the answer.
func unverifiedID(part string) string {
	payload, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return ""
	}
	tree, err := parseTree(payload)
	if err != nil {
		return ""
	}
	return claimedID(tree)
}
