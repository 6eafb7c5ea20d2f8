package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// KeyInfo describes a key of this program in the token; nothing in it is
// secret.
type KeyInfo struct {
	Label       string
	Role        string
	Version     string
	Type        string // AES-128, AES-192, AES-256, 3DES-112, 3DES-168, HMAC-256, EC P-256, EC P-384
	KCV         string // six hexadecimal digits, see Token.List
	Sensitive   bool
	Extractable bool
	// NeverExtractable: the token itself has never held the key otherwise.
	// It is false for imported keys, whose past the token does not know.
	NeverExtractable bool
	Development      bool
}

// List describes the keys of this program in the token, by label.
//
// A KCV is, for AES keys that encipher, the first 3 bytes of the encryption of
// sixteen bytes 01 (GPC_SPE_034 B.6); for other AES keys the token's
// CKA_CHECK_VALUE, over sixteen bytes 00; for triple DES keys the first 3 bytes
// of the encryption of eight bytes 00, as CKA_CHECK_VALUE is; for HMAC keys the first 3 bytes of
// the HMAC of nothing; for EC keys those of the SHA-256 of the uncompressed
// public point; for RSA keys of the modulus.
func (t *Token) List(ctx context.Context) ([]KeyInfo, error) {
	var out []KeyInfo
	err := t.do(ctx, "list keys", func(s *session) error {
		out = nil
		for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
			handles, err := s.search(attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_TOKEN, true))
			if err != nil {
				return err
			}
			for _, h := range handles {
				info, ok, err := s.describe(class, h)
				if err != nil {
					return err
				}
				if ok {
					out = append(out, info)
				}
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b KeyInfo) int { return strings.Compare(a.Label, b.Label) })
	return out, err
}

func (s *session) describe(class uint, h pkcs11.ObjectHandle) (info KeyInfo, ok bool, err error) {
	v, err := s.attributes(h, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_SENSITIVE,
		pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_NEVER_EXTRACTABLE)
	if err != nil {
		return info, false, err
	}
	info = KeyInfo{
		Label:            string(v[0]),
		Development:      strings.HasPrefix(string(v[1]), developmentID),
		Sensitive:        truth(v[3]),
		Extractable:      truth(v[4]),
		NeverExtractable: truth(v[5]),
	}
	if info.Role, info.Version, ok = ParseLabel(info.Label); !ok {
		return info, false, nil
	}
	switch keyType := word64(v[2]); {
	case class == pkcs11.CKO_PRIVATE_KEY && keyType == pkcs11.CKK_EC:
		curve, point, err := s.publicPoint(info.Label)
		if err != nil {
			return info, false, err
		}
		sum := sha256.Sum256(point)
		info.Type = "EC " + curve.Params().Name
		info.KCV = hex.EncodeToString(sum[:3])
	case class == pkcs11.CKO_PRIVATE_KEY && keyType == pkcs11.CKK_RSA:
		public, err := s.rsaPublic(info.Label)
		if err != nil {
			return info, false, err
		}
		sum := sha256.Sum256(public.N.Bytes())
		info.Type = fmt.Sprintf("RSA-%d", public.N.BitLen())
		info.KCV = hex.EncodeToString(sum[:3])
	case keyType == pkcs11.CKK_AES:
		n, err := s.uintAttribute(h, pkcs11.CKA_VALUE_LEN)
		if err != nil {
			return info, false, err
		}
		info.Type = fmt.Sprintf("AES-%d", n*8)
		info.KCV = s.secretKCV(h, pkcs11.CKM_AES_ECB, bytes.Repeat([]byte{1}, blockSize))
	case keyType == pkcs11.CKK_DES2, keyType == pkcs11.CKK_DES3:
		info.Type = map[bool]string{true: "3DES-112", false: "3DES-168"}[keyType == pkcs11.CKK_DES2]
		info.KCV = s.secretKCV(h, pkcs11.CKM_DES3_ECB, make([]byte, desBlock))
	case keyType == pkcs11.CKK_GENERIC_SECRET:
		n, err := s.uintAttribute(h, pkcs11.CKA_VALUE_LEN)
		if err != nil {
			return info, false, err
		}
		info.Type = fmt.Sprintf("HMAC-%d", n*8)
		if mac, err := s.sign(pkcs11.CKM_SHA256_HMAC, h, nil); err == nil {
			info.KCV = hex.EncodeToString(mac[:3])
		}
	default:
		info.Type = "other"
	}
	return info, true, nil
}

// secretKCV is empty where the token gives none.
func (s *session) secretKCV(h pkcs11.ObjectHandle, mechanism uint, block []byte) string {
	v, err := s.attributes(h, pkcs11.CKA_ENCRYPT)
	if err == nil && truth(v[0]) {
		if out, err := s.encrypt(mechanism, nil, h, block); err == nil {
			return hex.EncodeToString(out[:3])
		}
	}
	if v, err = s.attributes(h, pkcs11.CKA_CHECK_VALUE); err == nil && len(v[0]) >= 3 {
		return hex.EncodeToString(v[0][:3])
	}
	return ""
}

// Versions lists the versions of a role that the token holds, in
// lexicographic order of equal lengths ("2" before "10").
func (t *Token) Versions(ctx context.Context, role string) ([]string, error) {
	var out []string
	err := t.do(ctx, "find keys of role "+role, func(s *session) error {
		out = nil
		for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
			handles, err := s.search(attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_TOKEN, true))
			if err != nil {
				return err
			}
			for _, h := range handles {
				v, err := s.attributes(h, pkcs11.CKA_LABEL)
				if err != nil {
					return err
				}
				if r, version, ok := ParseLabel(string(v[0])); ok && r == role {
					out = append(out, version)
				}
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(out), err
}
