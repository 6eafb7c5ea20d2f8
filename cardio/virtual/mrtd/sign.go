package mrtd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// P1 P2 of the commands that sign (ISO/IEC 7816-8:2021 clause 5.4.2, and
// ISO/IEC 7816-4:2020 clause 11.5.11 for the template).
const (
	setSignature     = 0x41B6 // MANAGE SECURITY ENVIRONMENT: SET, digital signature template
	computeSignature = 0x9E9A // PERFORM SECURITY OPERATION: COMPUTE DIGITAL SIGNATURE
)

// hashSize is the length of what is signed: a SHA-256.
const hashSize = 32

// References of the holder's signing keys. Each is for one purpose, so that a
// signature can never be taken for one of the other kind.
const (
	keyPairing = 0x02 // statements of SIM pairing
	keyReceipt = 0x03 // receipts
)

// signatureKey is where the key of a reference lies.
func signatureKey(reference byte) (dgi, bool) {
	switch reference {
	case keyPairing:
		return dgiPairingKey, true
	case keyReceipt:
		return dgiReceiptKey, true
	}
	return 0, false
}

// chooseKey executes MANAGE SECURITY ENVIRONMENT: SET with a digital signature
// template: one key reference. The choice lasts until the session ends.
func (a *Applet) chooseKey(e virtual.Env, values map[tlv.Tag][]byte) apdu.StatusWord {
	a.signer = 0
	reference := values[tagReference]
	if !onlyTags(values, tagReference) || len(reference) != 1 {
		return apdu.SWWrongData
	}
	if !a.secureMessaging() {
		return apdu.SWSecurityStatusNotSatisfied
	}
	where, ok := signatureKey(reference[0])
	if !ok || a.at != application || len(e.Memory().Get(where.key())) == 0 {
		return apdu.SWReferencedDataNotFound
	}
	a.signer = reference[0]
	return apdu.SWSuccess
}

// sign executes PERFORM SECURITY OPERATION: COMPUTE DIGITAL SIGNATURE over a
// hash: ECDSA on P-256, r ‖ s. One signature is given for one verification of the
// PIN, and after completion only for the holder's own.
func (a *Applet) sign(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	switch {
	case int(c.P1)<<8|int(c.P2) != computeSignature:
		return nil, apdu.SWIncorrectP1P2
	case !a.secureMessaging():
		return nil, apdu.SWSecurityStatusNotSatisfied
	case a.signer == 0:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	case len(c.Data) != hashSize, c.Ne == 0:
		return nil, apdu.SWWrongLength
	case !a.pinOK, !a.consent:
		return nil, apdu.SWSecurityStatusNotSatisfied
	case complete(e) && loadPIN(e).transport:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	where, _ := signatureKey(a.signer)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), e.Memory().Get(where.key()))
	if err != nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	a.consent = false
	r, s, err := ecdsa.Sign(rand.Reader, key, c.Data)
	if err != nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	out := make([]byte, 2*hashSize)
	r.FillBytes(out[:hashSize])
	s.FillBytes(out[hashSize:])
	return out, apdu.SWSuccess
}

// pairingCapacity is the size of the file for pairing records in bytes: three places.
// The chip knows nothing of places; a card that was written when there was one keeps
// the 1024 bytes that it has.
const pairingCapacity = 3 * 1024

// pairingFile is the content of the file for pairing records: zeros until
// something is written. It is there where the pairing key is.
func pairingFile(e virtual.Env) []byte {
	if b := e.Memory().Get(fidPairing.key()); b != nil {
		return b
	}
	if len(e.Memory().Get(dgiPairingKey.key())) == 0 {
		return nil
	}
	return make([]byte, pairingCapacity)
}

// updateBinary executes UPDATE BINARY with even INS on the current file, which
// must be that of pairing records: no other is ever written after completion. The
// holder's own PIN must have been verified.
func (a *Applet) updateBinary(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	switch {
	case !a.secureMessaging():
		return nil, apdu.SWSecurityStatusNotSatisfied
	case c.P1&0x80 != 0:
		return nil, apdu.SWFunctionNotSupported // none of these files has a short identifier
	case a.current == (file{}):
		return nil, apdu.SWCommandNotAllowed
	case a.current.id != fidPairing:
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	if sw := a.mayRead(e, a.current); !sw.OK() {
		return nil, sw
	}
	offset := int(c.P1)<<8 | int(c.P2)
	switch {
	case !complete(e):
		return nil, apdu.SWConditionsOfUseNotSatisfied
	case len(c.Data) == 0:
		return nil, apdu.SWWrongLength
	case offset >= len(a.content):
		return nil, apdu.SWWrongP1P2
	case offset+len(c.Data) > len(a.content):
		return nil, apdu.SWWrongData
	}
	content := append([]byte(nil), a.content...)
	copy(content[offset:], c.Data)
	e.Memory().Set(fidPairing.key(), content)
	a.content = content
	return nil, apdu.SWSuccess
}
