package vault

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	josecipher "github.com/go-jose/go-jose/v4/cipher"

	"cardbureau/hsm"
)

var b64 = base64.RawURLEncoding.Strict()

// jwk is a public EC key on P-256 (RFC 7517, RFC 7518 6.2.1).
type jwk struct {
	KTY string `json:"kty"`
	CRV string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	KID string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
}

func jwkOf(k *hsm.ECKey, kid, use, alg string) ([]byte, error) {
	p := k.Point()
	if len(p) != 65 {
		return nil, errors.New("the key is not on P-256")
	}
	return json.Marshal(jwk{KTY: "EC", CRV: "P-256", X: b64.EncodeToString(p[1:33]), Y: b64.EncodeToString(p[33:]), KID: kid, Use: use, Alg: alg})
}

// point is the uncompressed form; nil when the coordinates are not 32 bytes.
func (j jwk) point() []byte {
	x, errX := b64.DecodeString(j.X)
	y, errY := b64.DecodeString(j.Y)
	if j.KTY != "EC" || j.CRV != "P-256" || errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil
	}
	return append(append([]byte{4}, x...), y...)
}

// jweHeader is the protected header of a compact JWE that is understood.
type jweHeader struct {
	Alg  string          `json:"alg"`
	Enc  string          `json:"enc"`
	KID  string          `json:"kid"`
	EPK  jwk             `json:"epk"`
	APU  string          `json:"apu"`
	APV  string          `json:"apv"`
	Zip  json.RawMessage `json:"zip"`
	Crit json.RawMessage `json:"crit"`
}

// encrypted is a parsed compact JWE (RFC 7516 3.1).
type encrypted struct {
	header              jweHeader
	protected           string // as it came: it is authenticated
	peer                []byte // ephemeral public key, uncompressed
	apu, apv            []byte
	key, iv, ciphertext []byte
	tag                 []byte
}

// ErrJWE with a reason that holds nothing of the input.
func badJWE(reason string) error { return fmt.Errorf("%w: %s", ErrJWE, reason) }

// parseJWE takes a compact JWE apart.
func parseJWE(compact string) (*encrypted, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 5 {
		return nil, badJWE("it has not five parts")
	}
	e := &encrypted{protected: parts[0]}
	header, err := b64.DecodeString(parts[0])
	if err != nil {
		return nil, badJWE("its header is not base64url")
	}
	if err := json.Unmarshal(header, &e.header); err != nil {
		return nil, badJWE("its header is not JSON")
	}
	switch h := e.header; {
	case h.Alg != "ECDH-ES+A256KW" || h.Enc != "A256GCM":
		return nil, badJWE("its algorithms are not ECDH-ES+A256KW and A256GCM")
	case h.Zip != nil || h.Crit != nil:
		return nil, badJWE("compression and critical headers are not taken")
	}
	if e.peer = e.header.EPK.point(); e.peer == nil {
		return nil, badJWE("its ephemeral key is not on P-256")
	}
	for _, f := range []struct {
		to   *[]byte
		text string
		size int // 0: any
	}{
		{&e.apu, e.header.APU, 0}, {&e.apv, e.header.APV, 0},
		{&e.key, parts[1], 40}, {&e.iv, parts[2], 12}, {&e.ciphertext, parts[3], 0}, {&e.tag, parts[4], 16},
	} {
		b, err := b64.DecodeString(f.text)
		if err != nil || f.size != 0 && len(b) != f.size {
			return nil, badJWE("one of its parts is malformed")
		}
		*f.to = b
	}
	return e, nil
}

func (s *Service) openJWE(ctx context.Context, in *textReply) (*bytesReply, error) {
	return s.openJWEFor(ctx, RoleIntake, in.Text)
}

// openJWEFor opens what was encrypted to a key of a role.
func (s *Service) openJWEFor(ctx context.Context, role, text string) (*bytesReply, error) {
	e, err := parseJWE(text)
	if err != nil {
		return nil, err
	}
	name := e.header.KID
	if name == "" {
		name = role + "/1"
	}
	if !strings.HasPrefix(name, role+"/") {
		return nil, badJWE("it is not encrypted to the intake key")
	}
	l, err := label(name)
	if err != nil {
		return nil, badJWE("it is not encrypted to the intake key")
	}
	key, err := s.token.EC(ctx, l)
	if errors.Is(err, hsm.ErrNoKey) && name != role+"/1" {
		return nil, badJWE("it is encrypted to an intake key that is not here")
	}
	if err != nil {
		return nil, notProvisioned(err)
	}
	z, err := key.ECDH(ctx, e.peer)
	if errors.Is(err, hsm.ErrPoint) {
		return nil, badJWE("its ephemeral key is not on P-256")
	}
	if err != nil {
		return nil, err
	}
	defer clear(z)
	plain, err := e.open(z)
	if err != nil {
		return nil, err
	}
	return &bytesReply{Data: plain}, nil
}

// open deciphers with the shared secret z (RFC 7518 4.6.2: Concat KDF of
// SP 800-56A; RFC 3394; SP 800-38D).
func (e *encrypted) open(z []byte) ([]byte, error) {
	lengthPrefixed := func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	kdf := josecipher.NewConcatKDF(crypto.SHA256, z,
		lengthPrefixed([]byte(e.header.Alg)), lengthPrefixed(e.apu), lengthPrefixed(e.apv),
		binary.BigEndian.AppendUint32(nil, 256), nil)
	kek := make([]byte, 32)
	defer clear(kek)
	if _, err := io.ReadFull(kdf, kek); err != nil {
		return nil, fmt.Errorf("derive the wrapping key: %w", err)
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	cek, err := josecipher.KeyUnwrap(block, e.key)
	if err != nil || len(cek) != 32 {
		return nil, badJWE("it is not encrypted to the intake key, or was altered")
	}
	defer clear(cek)
	if block, err = aes.NewCipher(cek); err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, e.iv, append(e.ciphertext, e.tag...), []byte(e.protected))
	if err != nil {
		return nil, badJWE("it was altered")
	}
	return plain, nil
}

// signTestRecord makes a compact JWS with ES256 (RFC 7515 3.1, RFC 7518 3.4).
func (s *Service) signTestRecord(ctx context.Context, in *bytesRequest) (*textReply, error) {
	const kid = RoleTestRegistry + "/1"
	l, err := label(kid)
	if err != nil {
		return nil, err
	}
	exists, development, err := s.token.Exists(ctx, l)
	if err != nil {
		return nil, err
	}
	if !exists || !development {
		return nil, fmt.Errorf("%w: the token has no test registry", ErrDevelopment)
	}
	key, err := s.token.EC(ctx, l)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid, "typ": "verified-record+jws"})
	if err != nil {
		return nil, err
	}
	input := b64.EncodeToString(header) + "." + b64.EncodeToString(in.Data)
	digest := sha256.Sum256([]byte(input))
	signature, err := key.SignRaw(ctx, digest[:])
	if err != nil {
		return nil, err
	}
	return &textReply{Text: input + "." + b64.EncodeToString(signature)}, nil
}
