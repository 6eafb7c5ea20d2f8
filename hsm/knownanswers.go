package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"slices"

	"github.com/miekg/pkcs11"
)

// Key and blocks of FIPS 197, RFC 4493 and SP 800-38A.
var (
	kat128    = unhex("2b7e151628aed2a6abf7158809cf4f3c")
	katPlain  = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
	katECB    = unhex("3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf") // SP 800-38A F.1.1
	katIV     = unhex("000102030405060708090a0b0c0d0e0f")
	katCBC    = unhex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2") // SP 800-38A F.2.1
	katCMAC40 = unhex("dfa66747de9ae63030ca32611497c827")                                 // RFC 4493 example 3, 40 bytes
	katCMAC0  = unhex("bb1d6929e95937287fa37d129b756746")                                 // RFC 4493 example 1, no bytes
)

func testECB(s *session) error {
	return s.withTestKey(kat128, SessionTemplate{Use: UseEncrypt}, func(h pkcs11.ObjectHandle) error {
		out, err := s.encrypt(pkcs11.CKM_AES_ECB, nil, h, katPlain)
		return expect(out, err, katECB)
	})
}

func testCBC(s *session) error {
	return s.withTestKey(kat128, SessionTemplate{Use: UseEncrypt}, func(h pkcs11.ObjectHandle) error {
		out, err := s.encrypt(pkcs11.CKM_AES_CBC, katIV, h, katPlain)
		if err := expect(out, err, katCBC); err != nil {
			return err
		}
		out, err = s.decrypt(pkcs11.CKM_AES_CBC, katIV, h, katCBC)
		return expect(out, err, katPlain)
	})
}

func testCMAC(s *session) error {
	return s.withTestKey(kat128, SessionTemplate{Use: UseMAC}, func(h pkcs11.ObjectHandle) error {
		out, err := s.sign(pkcs11.CKM_AES_CMAC, h, append(slices.Clone(katPlain), unhex("30c81c46a35ce411")...))
		if err := expect(out, err, katCMAC40); err != nil {
			return err
		}
		out, err = s.sign(pkcs11.CKM_AES_CMAC, h, nil)
		return expect(out, err, katCMAC0)
	})
}

// testGCM is test case 16 of the GCM specification (McGrew and Viega).
func testGCM(s *session) error {
	key := unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
	plain := unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
	aad := unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	sealed := unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b")
	nonce := unhex("cafebabefacedbaddecaf888")
	return s.withTestKey(key, SessionTemplate{Use: UseEncrypt}, func(h pkcs11.ObjectHandle) error {
		p := pkcs11.NewGCMParams(nonce, aad, GCMOverhead*8)
		defer p.Free()
		out, err := s.encrypt(pkcs11.CKM_AES_GCM, p, h, plain)
		if err := expect(out, err, sealed); err != nil {
			return err
		}
		out, err = s.decrypt(pkcs11.CKM_AES_GCM, p, h, sealed)
		return expect(out, err, plain)
	})
}

// testKeyWrap is RFC 3394 4.6: a 256-bit key under a 256-bit key.
func testKeyWrap(s *session) error {
	kek := unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	value := unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
	want := unhex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")
	return s.withTestKey(kek, SessionTemplate{Use: UseWrap}, func(h pkcs11.ObjectHandle) error {
		if err := s.withTestKey(value, SessionTemplate{Use: UseEncrypt, Exportable: true}, func(k pkcs11.ObjectHandle) error {
			out, err := s.mod.WrapKey(s.h, mech(pkcs11.CKM_AES_KEY_WRAP, nil), h, k)
			return expect(out, err, want)
		}); err != nil {
			return err
		}
		k, err := s.unwrap(h, want, 32, SessionTemplate{Use: UseEncrypt})
		if err != nil {
			return err
		}
		defer s.destroy(k.handle)
		return s.isKey(k.handle, value)
	})
}

// isKey checks that a key that can encipher has a value.
func (s *session) isKey(h pkcs11.ObjectHandle, value []byte) error {
	block, err := aes.NewCipher(value)
	if err != nil {
		return err
	}
	want := make([]byte, blockSize)
	block.Encrypt(want, katIV)
	out, err := s.encrypt(pkcs11.CKM_AES_ECB, nil, h, katIV)
	return expect(out, err, want)
}

func testWrapCBC(s *session) error {
	value := unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
	block, err := aes.NewCipher(kat128)
	if err != nil {
		return err
	}
	for _, size := range []int{16, 32} {
		want := make([]byte, size)
		var iv [blockSize]byte
		for i := 0; i < size; i += blockSize {
			for j := range blockSize {
				iv[j] ^= value[i+j]
			}
			block.Encrypt(want[i:], iv[:])
			copy(iv[:], want[i:])
		}
		if err := s.withTestKey(kat128, SessionTemplate{Use: UseEncrypt | UseWrap}, func(h pkcs11.ObjectHandle) error {
			return s.withTestKey(value[:size], SessionTemplate{Use: UseEncrypt, Exportable: true}, func(k pkcs11.ObjectHandle) error {
				out, err := s.mod.WrapKey(s.h, mech(pkcs11.CKM_AES_CBC, make([]byte, blockSize)), h, k)
				return expect(out, err, want)
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// testDerive tries all key lengths, and that the result does not come out.
func testDerive(s *session) error {
	block, err := aes.NewCipher(kat128)
	if err != nil {
		return err
	}
	value := make([]byte, 32)
	block.Encrypt(value, katPlain)
	block.Encrypt(value[blockSize:], katPlain[blockSize:])
	return s.withTestKey(kat128, SessionTemplate{Use: UseDerive}, func(h pkcs11.ObjectHandle) error {
		for _, size := range []int{16, 24, 32} {
			n := (size + blockSize - 1) / blockSize * blockSize
			k, err := s.encryptIntoKey(h, katPlain[:n], size, SessionTemplate{Use: UseEncrypt})
			if err != nil {
				return err
			}
			err = s.isKey(k.handle, value[:size])
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
				return err
			}
		}
		return nil
	})
}

// testHMAC is RFC 4231 test case 2 with its key of 4 bytes.
func testHMAC(s *session) error {
	h, err := s.mod.CreateObject(s.h, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		attr(pkcs11.CKA_TOKEN, false),
		attr(pkcs11.CKA_PRIVATE, false),
		attr(pkcs11.CKA_SIGN, true),
		attr(pkcs11.CKA_VALUE, unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")),
	})
	if err != nil {
		return err
	}
	defer s.destroy(h)
	out, err := s.sign(pkcs11.CKM_SHA256_HMAC, h, []byte("Hi There"))
	return expect(out, err, unhex("198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"))
}

// sessionPair makes an EC key pair on P-256 for one test.
func (s *session) sessionPair(use ECUse) (public []byte, private pkcs11.ObjectHandle, done func(), err error) {
	params, err := curveOID(elliptic.P256())
	if err != nil {
		return nil, 0, nil, err
	}
	pub, priv, err := s.mod.GenerateKeyPair(s.h, mech(pkcs11.CKM_EC_KEY_PAIR_GEN, nil),
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_EC_PARAMS, params), attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_PRIVATE, false),
		},
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_PRIVATE, true), attr(pkcs11.CKA_SENSITIVE, true),
			attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_SIGN, use == ECSign), attr(pkcs11.CKA_DERIVE, use == ECAgree),
		})
	if err != nil {
		return nil, 0, nil, err
	}
	done = func() {
		_ = s.destroy(pub)
		_ = s.destroy(priv)
	}
	v, err := s.attributes(pub, pkcs11.CKA_EC_POINT)
	if err != nil {
		done()
		return nil, 0, nil, err
	}
	if rest, err := asn1.Unmarshal(v[0], &public); err != nil || len(rest) != 0 {
		public = v[0]
	}
	return public, priv, done, nil
}

// testECDSA has the module sign and Go verify: signatures are random.
func testECDSA(s *session) error {
	point, private, done, err := s.sessionPair(ECSign)
	if err != nil {
		return err
	}
	defer done()
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(katPlain)
	raw, err := s.sign(pkcs11.CKM_ECDSA, private, digest[:])
	if err != nil {
		return err
	}
	if len(raw) != 64 {
		return errWrongAnswer
	}
	sig, err := derSignature(raw)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(public, digest[:], sig) {
		return errWrongAnswer
	}
	return nil
}

// testECDH agrees with a key of Go's on the same secret.
func testECDH(s *session) error {
	point, private, done, err := s.sessionPair(ECAgree)
	if err != nil {
		return err
	}
	defer done()
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	peer, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return err
	}
	want, err := own.ECDH(peer)
	if err != nil {
		return err
	}
	got, err := s.agree(private, own.PublicKey().Bytes(), 32)
	return expect(got, err, want)
}

// testRandom asks for two draws that must differ.
func testRandom(s *session) error {
	a, err := s.mod.GenerateRandom(s.h, 32)
	if err != nil {
		return err
	}
	b, err := s.mod.GenerateRandom(s.h, 32)
	if err != nil {
		return err
	}
	if len(a) != 32 || bytes.Equal(a, b) {
		return errWrongAnswer
	}
	return nil
}
