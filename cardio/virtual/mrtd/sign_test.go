package mrtd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"testing"

	"cardbureau/cardio/apdu"
)

func (r *reader) choose(reference byte) apdu.StatusWord {
	_, sw := r.send(insManageSecurity, 0x41, 0xB6, []byte{0x84, 1, reference}, 0)
	return sw
}

func (r *reader) signature(hash []byte) ([]byte, apdu.StatusWord) {
	return r.send(insPerformSecurity, 0x9E, 0x9A, hash, 256)
}

// own changes the transport PIN to the holder's own.
func (r *reader) own(h holder, pin string) {
	_, sw := r.send(insChangeReference, 0, pinReference, []byte(h.pin+pin), 0)
	must(r.t, sw, apdu.SWSuccess)
}

// TestSignatures: each key signs for itself, once a verification, and after
// completion for the holder's own PIN only.
func TestSignatures(t *testing.T) {
	c, h := issued(t)
	hash := sha256.Sum256([]byte("pair-v1"))
	r := opened(c, h)
	must(t, r.choose(keyPairing), apdu.SWSuccess)
	_, sw := r.signature(hash[:])
	must(t, sw, apdu.SWSecurityStatusNotSatisfied)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	_, sw = r.signature(hash[:])
	must(t, sw, apdu.SWConditionsOfUseNotSatisfied) // the transport PIN is nobody's will
	r.own(h, "753190")
	for _, k := range []struct {
		reference byte
		private   []byte
	}{{keyPairing, h.private}, {keyReceipt, bytes.Repeat([]byte{7}, 32)}} {
		must(t, r.verify("753190"), apdu.SWSuccess)
		must(t, r.choose(k.reference), apdu.SWSuccess)
		out, sw := r.signature(hash[:])
		must(t, sw, apdu.SWSuccess)
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.private)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != 64 || !ecdsa.Verify(&key.PublicKey, hash[:], new(big.Int).SetBytes(out[:32]), new(big.Int).SetBytes(out[32:])) {
			t.Errorf("key %02X: the signature does not hold", k.reference)
		}
		_, sw = r.signature(hash[:]) // one signature a verification
		must(t, sw, apdu.SWSecurityStatusNotSatisfied)
		must(t, r.services(), apdu.SWSuccess) // which still opens files
	}
}

// TestSignaturesBeforeCompletion: the bureau proves the keys with the transport PIN.
func TestSignaturesBeforeCompletion(t *testing.T) {
	c, h := personalized(t)
	r := opened(c, h)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, r.choose(keyReceipt), apdu.SWSuccess)
	_, sw := r.signature(make([]byte, 32))
	must(t, sw, apdu.SWSuccess)
}

// TestSignaturesRefused has what the commands do not take.
func TestSignaturesRefused(t *testing.T) {
	c, h := issued(t)
	c.raw("002241B603840102", "6982")
	c.raw("002A9E9A20"+"0000000000000000000000000000000000000000000000000000000000000000"+"00", "6982")
	r := opened(c, h)
	for data, want := range map[string]apdu.StatusWord{
		"840101": apdu.SWReferencedDataNotFound, "840104": apdu.SWReferencedDataNotFound,
		"84020203": apdu.SWWrongData, "8400": apdu.SWWrongData, "": apdu.SWWrongData, "800102": apdu.SWWrongData, "840102800102": apdu.SWWrongData,
	} {
		_, sw := r.send(insManageSecurity, 0x41, 0xB6, unhex(t, data), 0)
		if sw != want {
			t.Errorf("%s: %v, want %v", data, sw, want)
		}
	}
	r.own(h, "753190")
	_, sw := r.signature(make([]byte, 32))
	must(t, sw, apdu.SWConditionsOfUseNotSatisfied) // no key chosen
	must(t, r.choose(keyPairing), apdu.SWSuccess)
	for _, n := range []int{0, 20, 31, 33, 64} {
		_, sw := r.signature(make([]byte, n))
		must(t, sw, apdu.SWWrongLength)
	}
	_, sw = r.send(insPerformSecurity, 0x9E, 0x9B, make([]byte, 32), 256)
	must(t, sw, apdu.SWIncorrectP1P2)
	_, sw = r.signature(make([]byte, 32))
	must(t, sw, apdu.SWSuccess)
	must(t, r.verify("000000"), 0x63C2) // a wrong PIN ends it
	_, sw = r.signature(make([]byte, 32))
	must(t, sw, apdu.SWSecurityStatusNotSatisfied)

	c, h = issued(t)
	for _, key := range []dgi{dgiPairingKey, dgiReceiptKey} {
		c.Memory().Delete(key.key())
	}
	r = opened(c, h)
	must(t, r.choose(keyPairing), apdu.SWReferencedDataNotFound)
	must(t, r.selectFile(fidPairing), apdu.SWFileNotFound)
}

// TestPairingFile is written by the holder's will, and nothing else is.
func TestPairingFile(t *testing.T) {
	c, h := issued(t)
	r := opened(c, h)
	update := func(offset int, data ...byte) apdu.StatusWord {
		_, sw := r.send(insUpdateBinary, byte(offset>>8), byte(offset), data, 0)
		return sw
	}
	must(t, update(0, 1), apdu.SWCommandNotAllowed)
	must(t, r.selectFile(fidPairing), apdu.SWSuccess)
	must(t, update(0, 1), apdu.SWSecurityStatusNotSatisfied)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, update(0, 1), apdu.SWConditionsOfUseNotSatisfied)
	r.own(h, "753190")
	must(t, update(0), apdu.SWWrongLength)
	must(t, update(pairingCapacity, 1), apdu.SWWrongP1P2)
	must(t, update(pairingCapacity-1, 1, 2), apdu.SWWrongData)
	must(t, update(pairingCapacity-2, 1, 2), apdu.SWSuccess)
	must(t, update(0, 0xA5), apdu.SWSuccess)
	_, sw := r.send(insUpdateBinary, 0x83, 0, []byte{1}, 0)
	must(t, sw, apdu.SWFunctionNotSupported)
	r = opened(c, h)
	must(t, r.selectFile(fidPairing), apdu.SWSuccess)
	_, sw = r.send(0xB0, 0, 0, nil, 4)
	must(t, sw, apdu.SWSecurityStatusNotSatisfied)
	must(t, r.verify("753190"), apdu.SWSuccess)
	got, sw := r.send(0xB0, 0, 0, nil, 4)
	must(t, sw, apdu.SWSuccess)
	if !bytes.Equal(got, []byte{0xA5, 0, 0, 0}) {
		t.Errorf("the file begins with %X", got)
	}
	for _, id := range []fid{fidServices, fidDG1, fidCOM} {
		must(t, r.selectFile(id), apdu.SWSuccess)
		must(t, update(0, 1), apdu.SWSecurityStatusNotSatisfied)
	}
	c, h = personalized(t)
	must(t, c.sequence(200, false, grouping{dgi(fidPairing), []byte{1}}), apdu.SWReferencedDataNotFound)
	r = opened(c, h)
	must(t, r.verify(h.pin), apdu.SWSuccess)
	must(t, r.selectFile(fidPairing), apdu.SWSuccess)
	must(t, update(0, 1), apdu.SWConditionsOfUseNotSatisfied)
}
