package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"cardbureau/hsm"
	"cardbureau/personalization/identity"
)

// signerCache is how long the newest document signer is remembered: another
// agent may have made a successor.
const signerCache = 10 * time.Minute

func (s *Service) signSOD(ctx context.Context, in *SODRequest) (*bytesReply, error) {
	if len(in.Hashes) == 0 {
		return nil, fmt.Errorf("%w: no data group hashes", ErrRequest)
	}
	for n, h := range in.Hashes {
		if n < 1 || n > 16 || len(h) != 32 {
			return nil, fmt.Errorf("%w: data group %d with a hash of %d bytes", ErrRequest, n, len(h))
		}
	}
	signer, err := s.documentSigner(ctx)
	if err != nil {
		return nil, err
	}
	sod, err := signer.Sign(rand.Reader, in.Hashes, s.now().UTC())
	if err != nil {
		s.signerMu.Lock()
		s.signer = nil
		s.signerMu.Unlock()
		return nil, err
	}
	return &bytesReply{Data: sod}, nil
}

// documentSigner is the newest document signer that has a certificate.
func (s *Service) documentSigner(ctx context.Context) (*identity.SODSigner, error) {
	s.signerMu.Lock()
	defer s.signerMu.Unlock()
	if s.signer != nil && s.now().Sub(s.signerAt) < signerCache {
		return s.signer, nil
	}
	versions, err := s.token.Versions(ctx, RoleDocumentSigner)
	if err != nil {
		return nil, err
	}
	for i := len(versions) - 1; i >= 0; i-- {
		l, err := roleLabel(RoleDocumentSigner, versions[i])
		if err != nil {
			return nil, err
		}
		der, err := s.token.Certificate(ctx, l)
		if err != nil {
			return nil, err
		}
		if der == nil {
			continue
		}
		key, err := s.token.EC(ctx, l)
		if err != nil {
			return nil, err
		}
		signer, err := identity.NewSODSigner(der, key)
		if err != nil {
			return nil, err
		}
		s.signer, s.signerAt = signer, s.now()
		return signer, nil
	}
	return nil, notProvisioned(fmt.Errorf("%w: no document signer", hsm.ErrNoKey))
}
