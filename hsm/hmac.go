package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"
)

// HMAC is the 32-byte HMAC-SHA256 (FIPS 198-1) of data under the HMAC key
// with that label. ErrNoKey when there is none.
func (t *Token) HMAC(ctx context.Context, label string, data []byte) ([]byte, error) {
	var out []byte
	err := t.do(ctx, "HMAC", func(s *session) error {
		return s.using(pkcs11.CKO_SECRET_KEY, label, func(o object) error {
			if o.keyType != pkcs11.CKK_GENERIC_SECRET {
				return fmt.Errorf("%w: %s is not an HMAC key", ErrNoKey, label)
			}
			var err error
			out, err = s.sign(pkcs11.CKM_SHA256_HMAC, o.handle, data)
			return err
		})
	})
	return out, err
}

// Random returns n bytes of the token's random numbers.
func (t *Token) Random(ctx context.Context, n int) ([]byte, error) {
	var out []byte
	err := t.do(ctx, "random numbers", func(s *session) error {
		s.token.counts.add(fnGenerateRandom)
		var err error
		out, err = s.mod.GenerateRandom(s.h, n)
		return err
	})
	if err == nil && len(out) != n {
		return nil, fmt.Errorf("hsm: the module gave %d random bytes for %d", len(out), n)
	}
	return out, err
}
