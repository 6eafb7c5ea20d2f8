package hsm

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"
)

// StoreCertificate keeps an X.509 certificate (DER) in the token under a
// label, replacing one of the same label. subject is the DER of its subject
// name, which PKCS#11 demands.
func (t *Token) StoreCertificate(ctx context.Context, label string, subject, der []byte) error {
	return t.do(ctx, "store the certificate "+label, func(s *session) error {
		old, err := s.search(attr(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), attr(pkcs11.CKA_LABEL, label), attr(pkcs11.CKA_TOKEN, true))
		if err != nil {
			return err
		}
		s.token.counts.add(fnCreateObject)
		if _, err := s.mod.CreateObject(s.h, []*pkcs11.Attribute{
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE),
			attr(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
			attr(pkcs11.CKA_TOKEN, true),
			attr(pkcs11.CKA_PRIVATE, false),
			attr(pkcs11.CKA_LABEL, label),
			attr(pkcs11.CKA_ID, []byte(label)),
			attr(pkcs11.CKA_SUBJECT, subject),
			attr(pkcs11.CKA_VALUE, der),
		}); err != nil {
			return err
		}
		s.token.objects.drop(objectKey{pkcs11.CKO_CERTIFICATE, label})
		for _, h := range old {
			if err := s.destroy(h); err != nil {
				return err
			}
		}
		return nil
	})
}

// Certificate reads the certificate (DER) of that label; nil and no error
// when there is none.
func (t *Token) Certificate(ctx context.Context, label string) ([]byte, error) {
	var der []byte
	err := t.do(ctx, "read the certificate "+label, func(s *session) error {
		return s.using(pkcs11.CKO_CERTIFICATE, label, func(o object) error {
			v, err := s.attributes(o.handle, pkcs11.CKA_VALUE)
			if err == nil {
				der = v[0]
			}
			return err
		})
	})
	if errors.Is(err, ErrNoKey) {
		return nil, nil
	}
	return der, err
}
