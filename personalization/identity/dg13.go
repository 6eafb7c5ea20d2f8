package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"cardbureau/cardio/tlv"
)

// Versions of DG13: with keys of the holder, and without.
const (
	hiddenVersion     = 0
	hiddenVersionKeys = 1
)

// References of the holder's signing keys on the chip, each for one purpose.
const (
	PairingKeyReference byte = 0x02 // signs statements of SIM pairing
	ReceiptKeyReference byte = 0x03 // signs receipts
)

// HiddenFile is a file that only the holder's PIN opens. Its content must hold
// a random salt of its own: see ServicesFile.
type HiddenFile struct {
	FID     uint16 // file identifier
	Content []byte // the whole file
}

// HiddenDigest is a hidden file's line in DG13.
type HiddenDigest struct {
	FID    uint16
	Digest []byte // SHA-256 of the whole file, 32 bytes
}

// HolderKey is a key with which the chip signs for its holder, behind the PIN.
type HolderKey struct {
	Reference byte   // on the chip
	Point     []byte // uncompressed, on P-256, 65 bytes
}

// Public is the key as Go has it.
func (k HolderKey) Public() (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.Point)
}

// ErrSignature says that a holder's key has not signed something.
var ErrSignature = errors.New("identity: the signature is not the holder's key's")

// Verify checks a signature, r ‖ s of 64 bytes, over a SHA-256; [ErrSignature].
func (k HolderKey) Verify(hash, signature []byte) error {
	public, err := k.Public()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if len(signature) != 64 ||
		!ecdsa.Verify(public, hash, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return ErrSignature
	}
	return nil
}

// DG13Content is what EF.DG13 says.
type DG13Content struct {
	Files []HiddenDigest
	Keys  []HolderKey
}

// Key finds a key by its reference.
func (c *DG13Content) Key(reference byte) (HolderKey, bool) {
	for _, k := range c.Keys {
		if k.Reference == reference {
			return k, true
		}
	}
	return HolderKey{}, false
}

// DG13 builds EF.DG13, which Doc 9303-10 leaves to the issuer: the digests of
// the files behind the holder's PIN, so that the document security object
// vouches for them while hiding them, and the keys with which the chip signs for
// its holder.
//
//	DG13        ::= [APPLICATION 13] IMPLICIT HiddenFiles   -- tag 6D
//	HiddenFiles ::= SEQUENCE {
//	  version        INTEGER (0 | 1),                       -- 1: with keys
//	  hashAlgorithm  AlgorithmIdentifier,                   -- SHA-256
//	  files          SEQUENCE OF SEQUENCE {
//	    fileIdentifier  OCTET STRING (SIZE (2)),
//	    digest          OCTET STRING (SIZE (32)) },
//	  keys           SEQUENCE OF SEQUENCE {                 -- version 1 only
//	    keyReference    OCTET STRING (SIZE (1)),
//	    publicKey       SubjectPublicKeyInfo } OPTIONAL }   -- ECDSA on P-256
func DG13(keys []HolderKey, files ...HiddenFile) ([]byte, error) {
	var list []byte
	for _, f := range files {
		if len(f.Content) < SaltSize {
			return nil, fmt.Errorf("%w: file %04X is too short to be salted", ErrServices, f.FID)
		}
		list = append(list, sequence(octets([]byte{byte(f.FID >> 8), byte(f.FID)}), octets(Hash(f.Content)))...)
	}
	if len(keys) == 0 {
		return tlv.Encode(0x6D, number(hiddenVersion), sequence(oid(oidSHA256)), sequence(list)), nil
	}
	var holder []byte
	for _, k := range keys {
		public, err := k.Public()
		if err != nil {
			return nil, fmt.Errorf("%w: key %02X: %w", ErrServices, k.Reference, err)
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, fmt.Errorf("%w: key %02X: %w", ErrServices, k.Reference, err)
		}
		holder = append(holder, sequence(octets([]byte{k.Reference}), der)...)
	}
	return tlv.Encode(0x6D, number(hiddenVersionKeys), sequence(oid(oidSHA256)), sequence(list), sequence(holder)), nil
}

// ParseDG13 reads what DG13 wrote. Errors match ErrServices.
func ParseDG13(file []byte) (*DG13Content, error) {
	in := cryptobyte.String(file)
	var body, algorithm, list cryptobyte.String
	var version int
	var hash asn1.ObjectIdentifier
	if !in.ReadASN1(&body, 0x6D) || !in.Empty() ||
		!body.ReadASN1Integer(&version) || version != hiddenVersion && version != hiddenVersionKeys ||
		!body.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&hash) || !algorithm.Empty() || !hash.Equal(oidSHA256) ||
		!body.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil, fmt.Errorf("%w: the structure is another", ErrServices)
	}
	out := &DG13Content{}
	for !list.Empty() {
		var one cryptobyte.String
		var fid, digest []byte
		if !list.ReadASN1(&one, cbasn1.SEQUENCE) ||
			!one.ReadASN1Bytes(&fid, cbasn1.OCTET_STRING) || len(fid) != 2 ||
			!one.ReadASN1Bytes(&digest, cbasn1.OCTET_STRING) || len(digest) != 32 || !one.Empty() {
			return nil, fmt.Errorf("%w: a file's line is unreadable", ErrServices)
		}
		out.Files = append(out.Files, HiddenDigest{FID: uint16(fid[0])<<8 | uint16(fid[1]), Digest: digest})
	}
	if version == hiddenVersionKeys {
		var keys cryptobyte.String
		if !body.ReadASN1(&keys, cbasn1.SEQUENCE) || keys.Empty() {
			return nil, fmt.Errorf("%w: it has no keys", ErrServices)
		}
		for !keys.Empty() {
			k, err := parseHolderKey(&keys)
			if err != nil {
				return nil, err
			}
			if _, twice := out.Key(k.Reference); twice {
				return nil, fmt.Errorf("%w: key %02X stands there twice", ErrServices, k.Reference)
			}
			out.Keys = append(out.Keys, k)
		}
	}
	if !body.Empty() {
		return nil, fmt.Errorf("%w: something follows it", ErrServices)
	}
	return out, nil
}

func parseHolderKey(in *cryptobyte.String) (HolderKey, error) {
	var one, der cryptobyte.String
	var reference []byte
	if !in.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1Bytes(&reference, cbasn1.OCTET_STRING) || len(reference) != 1 ||
		!one.ReadASN1Element(&der, cbasn1.SEQUENCE) || !one.Empty() {
		return HolderKey{}, fmt.Errorf("%w: a key's line is unreadable", ErrServices)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	key, ok := public.(*ecdsa.PublicKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return HolderKey{}, fmt.Errorf("%w: key %02X is not one on P-256", ErrServices, reference[0])
	}
	point, err := key.Bytes()
	if err != nil {
		return HolderKey{}, fmt.Errorf("%w: key %02X: %w", ErrServices, reference[0], err)
	}
	return HolderKey{Reference: reference[0], Point: point}, nil
}

// CheckHiddenFile compares a file with its digest in an EF.DG13 that the
// document security object has vouched for. Errors match ErrHiddenFile, or
// ErrServices where DG13 is unreadable.
func CheckHiddenFile(dg13 []byte, f HiddenFile) error {
	content, err := ParseDG13(dg13)
	if err != nil {
		return err
	}
	for _, d := range content.Files {
		if d.FID == f.FID {
			if subtle.ConstantTimeCompare(d.Digest, Hash(f.Content)) == 1 {
				return nil
			}
			return fmt.Errorf("%w: file %04X", ErrHiddenFile, f.FID)
		}
	}
	return fmt.Errorf("%w: file %04X is not listed", ErrHiddenFile, f.FID)
}
