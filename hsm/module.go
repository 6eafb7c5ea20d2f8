package hsm

/*
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// module is a loaded PKCS#11 library.
type module struct {
	*pkcs11.Ctx
	path     string
	reserved unsafe.Pointer // C string, or nil
}

// loadModule loads the library without initializing it.
func loadModule(path, reserved string) (*module, error) {
	if path == "" {
		return nil, fmt.Errorf("%w: no module is named", ErrModule)
	}
	if strings.ContainsRune(path, '/') {
		if _, err := os.Stat(path); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("%w: there is no file %s; install the HSM's PKCS#11 module (SoftHSM: apt install softhsm2) or name another one", ErrModule, path)
			}
			return nil, fmt.Errorf("%w: %v", ErrModule, err)
		}
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("%w: %s is not a PKCS#11 module, or a library that it needs is missing", ErrModule, path)
	}
	m := &module{Ctx: ctx, path: path}
	if reserved != "" {
		m.reserved = unsafe.Pointer(C.CString(reserved))
	}
	return m, nil
}

// initialize is C_Initialize with locking by the operating system.
func (m *module) initialize() error {
	var options []pkcs11.InitializeOption
	if m.reserved != nil {
		options = append(options, pkcs11.InitializeWithReserved(m.reserved))
	}
	err := m.Initialize(options...)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("%w: %s is in use by another part of this process", ErrModule, m.path)
	}
	return err
}

// unload releases the library. It must have been finalized.
func (m *module) unload() {
	m.Destroy()
	C.free(m.reserved)
	m.reserved = nil
}

// encryptDataMechanism derives a key by enciphering data. Its parameter,
// CK_KEY_DERIVATION_STRING_DATA, or CK_DES_CBC_ENCRYPT_DATA_PARAMS where there
// is an iv, holds a pointer, so data goes into C memory, which release zeroes
// and frees.
func encryptDataMechanism(mechanism uint, iv, data []byte) (m *pkcs11.Mechanism, release func()) {
	n := C.size_t(len(data))
	p := C.CBytes(data)
	word := int(unsafe.Sizeof(uintptr(0)))
	param := make([]byte, len(iv)+2*word)
	copy(param, iv) // 8 bytes, so that no padding follows
	putWord(param[len(iv):], uint64(uintptr(p)))
	putWord(param[len(iv)+word:], uint64(len(data)))
	return pkcs11.NewMechanism(mechanism, param), func() {
		C.memset(p, 0, n)
		C.free(p)
		runtime.KeepAlive(param)
	}
}

func putWord(b []byte, v uint64) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		binary.NativeEndian.PutUint64(b, v)
		return
	}
	binary.NativeEndian.PutUint32(b, uint32(v))
}

func attr(typ uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(typ, value) }

func mech(typ uint, param any) []*pkcs11.Mechanism {
	if b, ok := param.([]byte); ok && b == nil {
		param = nil
	}
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(typ, param)}
}
