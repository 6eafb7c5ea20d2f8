package hsm

import (
	"errors"

	"github.com/miekg/pkcs11"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrModule: the PKCS#11 module cannot be loaded or lacks what is needed.
	ErrModule = errors.New("the PKCS#11 module cannot be used")
	// ErrToken: the token is missing or failing; it may come back.
	ErrToken = errors.New("the HSM token is not available")
	// ErrPIN: the token refuses the PIN. It is never tried again.
	ErrPIN = errors.New("the HSM token refuses the PIN")
	// ErrNoKey: the token holds no key with that label.
	ErrNoKey = errors.New("the HSM token holds no such key")
	// ErrKeyExists: a key with that label is there already.
	ErrKeyExists = errors.New("the HSM token already holds a key of that name")
	// ErrKeyGone: a session key that was destroyed, or that went with its
	// session or module.
	ErrKeyGone = errors.New("the session key is gone")
	// ErrAuthentication: data that fails its integrity check.
	ErrAuthentication = errors.New("the data fails its integrity check")
	// ErrUnsupported: the module cannot do this.
	ErrUnsupported = errors.New("the PKCS#11 module cannot do this")
	// ErrClosed: the token was closed.
	ErrClosed = errors.New("the HSM token was closed")
)

// errVanished: an object that was there and is no more. Another process may
// have destroyed it; or the token has lost its storage, which SoftHSM does not
// notice until it is initialized anew.
var errVanished = errors.New("the key has vanished from the token")

// remedy is what mends a class of errors.
type remedy int

const (
	remedyNone    remedy = iota // an answer about the request: hand it on
	remedySession               // replace the session, then once more
	remedyLogin                 // log in once, then once more
	remedyObject                // find the object again, then once more
	remedyRefresh               // finalize, initialize, log in, then once more
	remedyRestart               // the same, but what was asked may have been done
	remedyPIN                   // never again
)

func remedyFor(err error) remedy {
	if errors.Is(err, errVanished) {
		return remedyRefresh
	}
	var e pkcs11.Error
	if !errors.As(err, &e) {
		return remedyNone
	}
	switch e {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_OPERATION_ACTIVE:
		return remedySession
	case pkcs11.CKR_USER_NOT_LOGGED_IN:
		return remedyLogin
	case pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID,
		pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID:
		return remedyObject
	case pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID,
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_HOST_MEMORY:
		return remedyRestart
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return remedyPIN
	}
	return remedyNone
}

// refused reports that the module refused the data it was given, as an altered
// ciphertext or wrapped key draws. SoftHSM answers GENERAL_ERROR then, like a
// device that fails, so that answer is believed to be about the data only
// while the session still works.
func (s *session) refused(err error) bool {
	var e pkcs11.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE,
		pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE,
		pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_SIGNATURE_INVALID,
		pkcs11.Error(0x42): // CKR_AEAD_DECRYPT_FAILED, PKCS#11 3.0
		return true
	case pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED:
		return s.works()
	}
	return false
}

// works asks the token for something that a failing one does not give.
func (s *session) works() bool {
	if _, err := s.mod.GetSessionInfo(s.h); err != nil {
		return false
	}
	s.token.counts.add(fnGenerateRandom)
	b, err := s.mod.GenerateRandom(s.h, 8)
	return err == nil && len(b) == 8
}
