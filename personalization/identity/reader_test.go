package identity

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/tlv"
)

// The terminal side shares no code with the builders: what they make must pass
// its passive authentication, and what was changed must not.
func TestPassiveAuthenticationAccepts(t *testing.T) {
	p := newPKI(t, elliptic.P384(), elliptic.P256())
	signer, err := NewSODSigner(p.signer, p.signerKey)
	if err != nil {
		t.Fatal(err)
	}
	at := epoch.AddDate(0, 2, 0)
	dg1 := []byte("dg1")
	file, err := signer.Sign(rand.Reader, testHashes(), at)
	if err != nil {
		t.Fatal(err)
	}
	object, err := sod.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if object.LDSVersion != LDSVersion || object.UnicodeVersion != UnicodeVersion || !object.SigningTime.Equal(at) ||
		len(object.Hashes) != 5 || object.Signer.State != "UTO" {
		t.Errorf("%+v", object)
	}
	csca, err := sod.ParseCertificate(p.csca)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := sod.NewTrust(csca)
	if err != nil {
		t.Fatal(err)
	}
	if err := object.Verify(trust, at).Err(); err != nil {
		t.Error(err)
	}
	if err := object.CheckHash(1, dg1); err != nil {
		t.Error(err)
	}
	var mismatch *sod.HashError
	if err := object.CheckHash(2, dg1); !errors.As(err, &mismatch) {
		t.Error(err)
	}

	if err := trust.Current(at); !errors.Is(err, sod.ErrRevocation) {
		t.Errorf("without a CRL: %v", err)
	}

	// Revoked by a CRL of the same CSCA.
	list, err := NewCRL(rand.Reader, CRLRequest{
		CSCA: p.csca, CSCAKey: p.cscaKey, Number: 1, ThisUpdate: epoch.AddDate(0, 1, 20), NextUpdate: epoch.AddDate(0, 3, 0),
		Revoked: []Revocation{{signer.Certificate().Serial, epoch.AddDate(0, 1, 10)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	crl, err := sod.ParseCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.AddCRL(crl); err != nil {
		t.Fatal(err)
	}
	if err := object.Verify(trust, at).Err(); !errors.Is(err, sod.ErrRevoked) {
		t.Errorf("after revocation: %v", err)
	}
	if err := trust.Current(at); err != nil {
		t.Error(err)
	}
	if err := trust.Current(epoch.AddDate(0, 3, 1)); !errors.Is(err, sod.ErrRevocation) {
		t.Errorf("with a CRL that is out of date: %v", err)
	}
	if err := object.Verify(trust, epoch.AddDate(0, 3, 1)).Err(); !errors.Is(err, sod.ErrRevoked) {
		t.Errorf("revoked by a CRL that is out of date: %v", err)
	}

	// Another State's CSCA.
	other := newPKI(t, elliptic.P256(), elliptic.P256())
	stranger, err := sod.ParseCertificate(other.csca)
	if err != nil {
		t.Fatal(err)
	}
	if trust, err = sod.NewTrust(stranger); err != nil {
		t.Fatal(err)
	}
	if err := object.Verify(trust, at).Err(); err == nil {
		t.Error("a stranger's CSCA vouches for the signer")
	}
}

func TestTerminalReadsSecurityInfos(t *testing.T) {
	access, err := lds.ParseSecurityInfos(CardAccess())
	if err != nil || len(access.PACE) != 1 || len(access.Other) != 0 {
		t.Fatalf("%+v, %v", access, err)
	}
	key := newKey(t, elliptic.P256())
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	dg14, err := DG14(point)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := tlv.Find(dg14, 0x6E)
	infos, err := lds.ParseSecurityInfos(content)
	if err != nil || len(infos.PACE) != 1 || len(infos.ChipAuth) != 1 || len(infos.PublicKeys) != 1 || len(infos.Other) != 0 {
		t.Fatalf("%+v, %v", infos, err)
	}
	if _, got, err := infos.ChipAuthKey(); err != nil || !bytes.Equal(got, point) {
		t.Errorf("%X, %v", got, err)
	}
}
