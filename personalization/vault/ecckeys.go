package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"time"

	"cardbureau/cardio/emv/certify"
	"cardbureau/cardio/emv/ecsdsa"
)

// Modules have no mechanism for EC-SDSA, so no token can sign with a key that it
// keeps to itself. What the token keeps is an HMAC key; the private key is derived of
// it for one signature and wiped after it. It is written down nowhere, wrapped or
// not, and who has the token's backup has the key.

// derivation begins what the HMAC is over; the rest is the suite and a counter.
const derivation = "cardbureau EC-SDSA key\x00"

// deriveECC is the key of a role on a suite's curve, which the caller zeroes. It is
// NIST SP 800-108 in counter mode with HMAC-SHA256, 64 bits longer than the order,
// reduced (FIPS 186-5, appendix A.2.1), and negated where the point has the greater
// y (EMV 4.4 Book 2, B2.2.4).
func (s *Service) deriveECC(ctx context.Context, role string, suite ecsdsa.Suite) (*ecsdsa.PrivateKey, ecsdsa.PublicKey, error) {
	var none ecsdsa.PublicKey
	if !suite.Valid() {
		return nil, none, fmt.Errorf("%w: %w", ErrRequest, ecsdsa.ErrSuite)
	}
	label, err := roleLabel(role, firstVersion)
	if err != nil {
		return nil, none, err
	}
	size := suite.FieldBytes() + 8
	stream := make([]byte, 0, size+sha256.Size)
	defer func() { clear(stream[:cap(stream)]) }()
	for i := uint32(1); len(stream) < size; i++ {
		input := append(binary.BigEndian.AppendUint32(nil, i), derivation...)
		input = binary.BigEndian.AppendUint32(append(input, byte(suite)), uint32(size*8))
		block, err := s.token.HMAC(ctx, label, input)
		if err != nil {
			return nil, none, notProvisioned(err)
		}
		stream = append(stream, block...)
		clear(block)
	}
	return fromStream(suite, stream[:size])
}

// fromStream makes a key of random bytes, 8 more than it has.
func fromStream(suite ecsdsa.Suite, stream []byte) (*ecsdsa.PrivateKey, ecsdsa.PublicKey, error) {
	order := suite.Curve().Params().N
	d := new(big.Int).SetBytes(stream)
	defer wipe(d)
	d.Mod(d, new(big.Int).Sub(order, big.NewInt(3))).Add(d, big.NewInt(2)) // 2 to n-2
	key := &ecsdsa.PrivateKey{Suite: suite, D: d.FillBytes(make([]byte, suite.FieldBytes()))}
	public, err := key.Public()
	if err != nil { // in this range only for the greater y
		d.Sub(order, d).FillBytes(key.D)
		public, err = key.Public()
	}
	if err != nil {
		key.Zero()
		return nil, ecsdsa.PublicKey{}, err
	}
	return key, public, nil
}

// signECC signs as a role: the key exists while this runs.
func (s *Service) signECC(role string, suite ecsdsa.Suite) certify.Sign {
	return func(ctx context.Context, message []byte) ([]byte, error) {
		key, _, err := s.deriveECC(ctx, role, suite)
		if err != nil {
			return nil, err
		}
		defer key.Zero()
		random := &tokenReader{ctx: ctx, token: s.token}
		defer random.forget()
		return ecsdsa.Sign(key, message, random)
	}
}

func (s *Service) publicECC(ctx context.Context, role string, suite ecsdsa.Suite) (ecsdsa.PublicKey, error) {
	key, public, err := s.deriveECC(ctx, role, suite)
	key.Zero()
	return public, err
}

// testSuites are the suites of the test authority's keys, in the order of their
// indexes. Each certifies the issuer's key of the same suite.
var testSuites = []ecsdsa.Suite{ecsdsa.SuiteP256, ecsdsa.SuiteP521}

// testECCIssuers has the test authority of elliptic curves certify the issuer's keys.
func (s *Service) testECCIssuers(ctx context.Context, in *issuerRequest, until time.Time) (out ECCIssuers, err error) {
	for i, suite := range testSuites {
		index := byte(emvCAIndexECC + i)
		authority, err := s.publicECC(ctx, RoleEMVTestCAECC, suite)
		if err != nil {
			return nil, err
		}
		key, err := s.publicECC(ctx, RoleEMVIssuerECC, suite)
		if err != nil {
			return nil, err
		}
		certificate, err := certify.IssuerCertificate{
			IIN: in.IIN, Expires: until, Serial: [3]byte{0, 0, byte(i + 1)}, RID: in.RID, CAIndex: index, Key: key,
		}.Sign(ctx, s.signECC(RoleEMVTestCAECC, suite))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		out = append(out, ECCIssuer{
			RID: bytes.Clone(in.RID), CAIndex: index, CASuite: suite, CAKey: authority.X,
			Suite: suite, Certificate: certificate, Expires: until.Format("20060102"),
		})
	}
	return out, nil
}

type suiteRequest struct{ Suite ecsdsa.Suite }

func (s *Service) issuerECC(ctx context.Context, in *suiteRequest) (*bytesReply, error) {
	key, err := s.publicECC(ctx, RoleEMVIssuerECC, in.Suite)
	return &bytesReply{Data: key.X}, err
}

// IssuerECC is the public part of the issuer's key on a suite's curve, for the
// scheme's authority to certify.
func (c *Client) IssuerECC(ctx context.Context, suite ecsdsa.Suite) (ecsdsa.PublicKey, error) {
	out, _, err := call[bytesReply](ctx, c, methodIssuerECC, suiteRequest{suite})
	return ecsdsa.PublicKey{Suite: suite, X: out.Data}, err
}

// addXDA makes the card's key and has the issuer certify it with the card's data.
// The certificate holds as long as the card, to the last minute of its month in UTC.
func (s *Service) addXDA(ctx context.Context, e elements, in *PaymentSecretsRequest, out *PaymentSecrets) error {
	month, err := time.Parse("0601", in.Expiry)
	if err != nil {
		return fmt.Errorf("%w: an expiry is YYMM", ErrRequest)
	}
	random := &tokenReader{ctx: ctx, token: s.token}
	defer random.forget()
	key, public, err := ecsdsa.GenerateKey(in.ICCSuite, random)
	if err != nil {
		return fmt.Errorf("%w: the ICC key: %w", ErrRequest, err)
	}
	e[SecretEMVScalar] = key.D // the elements take it over and are zeroed in the end
	certificate := certify.ICCCertificate{Expires: month.AddDate(0, 1, 0).Add(-time.Minute), ICCD: sha256.Sum256(in.StaticData), Key: public}
	if _, err := io.ReadFull(random, certificate.Serial[:]); err != nil {
		return err
	}
	out.ICC, err = certificate.Sign(ctx, s.signECC(RoleEMVIssuerECC, in.IssuerSuite))
	return err
}
