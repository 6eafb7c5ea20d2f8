package hsm

import (
	"crypto/cipher"
	"crypto/des"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Key 1 and 2 of SP 800-67, with the plain text of FIPS 81; the answers are
// those of Go's crypto/des, which its tests compare with published ones.
var (
	katDES2     = unhex("0123456789abcdef23456789abcdef01")
	katDES3     = unhex("0123456789abcdef23456789abcdef01456789abcdef0123")
	katDESPlain = unhex("4e6f77206973207468652074696d6520666f7220616c6c20")
)

// goDES3 is what a module is compared with.
func goDES3(key []byte) (cipher.Block, error) {
	return des.NewTripleDESCipher(append(key[:len(key):len(key)], key...)[:24])
}

func goECB(block cipher.Block, data []byte) []byte {
	out := make([]byte, len(data))
	for i := 0; i < len(data); i += desBlock {
		block.Encrypt(out[i:], data[i:])
	}
	return out
}

func goCBC(block cipher.Block, data []byte) []byte {
	out := make([]byte, len(data))
	cipher.NewCBCEncrypter(block, make([]byte, desBlock)).CryptBlocks(out, data)
	return out
}

// testDES3 enciphers and deciphers with keys of two and three parts.
func testDES3(s *session) error {
	for _, key := range [][]byte{katDES2, katDES3} {
		block, err := goDES3(key)
		if err != nil {
			return err
		}
		keyType, err := des3Type(len(key))
		if err != nil {
			return err
		}
		iv := make([]byte, desBlock)
		if err := s.withKeyOf(keyType, key, SessionTemplate{Use: UseEncrypt}, func(h pkcs11.ObjectHandle) error {
			out, err := s.encrypt(pkcs11.CKM_DES3_ECB, nil, h, katDESPlain)
			if err := expect(out, err, goECB(block, katDESPlain)); err != nil {
				return err
			}
			out, err = s.encrypt(pkcs11.CKM_DES3_CBC, iv, h, katDESPlain)
			if err := expect(out, err, goCBC(block, katDESPlain)); err != nil {
				return err
			}
			out, err = s.decrypt(pkcs11.CKM_DES3_CBC, iv, h, goCBC(block, katDESPlain))
			return expect(out, err, katDESPlain)
		}); err != nil {
			return err
		}
	}
	return nil
}

// testDeriveDES3 derives as cards' keys and session keys are: by ECB and CBC,
// a key of two equal parts, and an AES key. What results does not come out.
func testDeriveDES3(s *session) error {
	master, err := goDES3(katDES2)
	if err != nil {
		return err
	}
	data := katDESPlain[:16]
	twice := append(data[:desBlock:desBlock], data[:desBlock]...)
	zero := make([]byte, desBlock)
	return s.withKeyOf(pkcs11.CKK_DES2, katDES2, SessionTemplate{Use: UseDerive}, func(h pkcs11.ObjectHandle) error {
		for _, test := range []struct {
			mechanism uint
			iv, data  []byte
			want      []byte
			keyType   uint
			use       Use
		}{
			{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, nil, data, goECB(master, data), pkcs11.CKK_DES2, UseDerive},
			{pkcs11.CKM_DES3_CBC_ENCRYPT_DATA, zero, data, goCBC(master, data), pkcs11.CKK_DES2, UseEncrypt | UseWrap},
			{pkcs11.CKM_DES3_CBC_ENCRYPT_DATA, zero, data, goCBC(master, data), pkcs11.CKK_DES2, UseMACs},
			{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, nil, twice, goECB(master, twice), pkcs11.CKK_DES2, UseMACs},
			{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, nil, data, goECB(master, data), pkcs11.CKK_AES, UseEncrypt},
		} {
			k, err := s.deriveKey(h, test.mechanism, test.iv, test.data, test.keyType, len(test.data), SessionTemplate{Use: test.use})
			if err != nil {
				return err
			}
			if test.keyType == pkcs11.CKK_AES {
				err = s.isKey(k.handle, test.want)
			} else {
				err = s.isDES3(k.handle, test.want)
			}
			if err == nil {
				if v, verr := s.attributes(k.handle, pkcs11.CKA_VALUE); verr == nil && len(v[0]) > 0 {
					clear(v[0])
					err = errors.New("a derived key is not sensitive")
				}
			}
			if derr := s.destroy(k.handle); err == nil {
				err = derr
			}
			if err != nil {
				return fmt.Errorf("mechanism %X: %w", test.mechanism, err)
			}
		}
		return nil
	})
}

// isDES3 checks that a key that can encipher has a value, parity aside.
func (s *session) isDES3(h pkcs11.ObjectHandle, value []byte) error {
	block, err := goDES3(value)
	if err != nil {
		return err
	}
	out, err := s.encrypt(pkcs11.CKM_DES3_ECB, nil, h, katDESPlain)
	return expect(out, err, goECB(block, katDESPlain))
}

func testWrapDES3(s *session) error {
	block, err := goDES3(katDES2)
	if err != nil {
		return err
	}
	value := katDES3[8:]
	return s.withKeyOf(pkcs11.CKK_DES2, katDES2, SessionTemplate{Use: UseEncrypt | UseWrap}, func(h pkcs11.ObjectHandle) error {
		return s.withKeyOf(pkcs11.CKK_DES2, value, SessionTemplate{Use: UseEncrypt, Exportable: true}, func(k pkcs11.ObjectHandle) error {
			out, err := s.mod.WrapKey(s.h, mech(pkcs11.CKM_DES3_ECB, nil), h, k)
			return expect(out, err, goECB(block, value))
		})
	})
}
