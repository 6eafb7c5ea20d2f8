package hsm

import "sync/atomic"

// function is a PKCS#11 function that is counted.
type function int

const (
	fnEncrypt function = iota
	fnDecrypt
	fnSign
	fnDeriveKey
	fnWrapKey
	fnUnwrapKey
	fnGenerateKey
	fnGenerateKeyPair
	fnGenerateRandom
	fnCreateObject
	fnDestroyObject
	fnFindObjects
	fnGetAttributeValue
	fnOpenSession
	fnLogin
	fnInitialize
	functions
)

var functionNames = [functions]string{
	"C_Encrypt", "C_Decrypt", "C_Sign", "C_DeriveKey", "C_WrapKey", "C_UnwrapKey",
	"C_GenerateKey", "C_GenerateKeyPair", "C_GenerateRandom", "C_CreateObject", "C_DestroyObject",
	"C_FindObjects", "C_GetAttributeValue", "C_OpenSession", "C_Login", "C_Initialize",
}

type counters [functions]atomic.Uint64

func (c *counters) add(f function) { c[f].Add(1) }

// Operations counts the calls into the module since Open by PKCS#11 function.
// An operation of two calls (C_SignInit and C_Sign) counts once.
func (t *Token) Operations() map[string]uint64 {
	out := make(map[string]uint64, functions)
	for f := range functions {
		if n := t.counts[f].Load(); n > 0 {
			out[functionNames[f]] = n
		}
	}
	return out
}
