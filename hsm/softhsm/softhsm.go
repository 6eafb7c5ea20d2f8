// Package softhsm makes private SoftHSM tokens: a folder with the token, its
// configuration and its PINs, apart from any other SoftHSM of the machine.
//
// SoftHSM keeps its keys in files, enciphered under the PIN that lies beside
// them. It is for development, tests and rehearsal; a bureau in operation uses
// a hardware module.
package softhsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/miekg/pkcs11"
)

// ConfigVariable is the environment variable in which SoftHSM looks for its
// configuration file's path.
const ConfigVariable = "SOFTHSM2_CONF"

// DefaultLabel is the label of tokens made without another.
const DefaultLabel = "cardbureau"

// Modules lists where distributions put SoftHSM's library.
var Modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
}

// ErrNotInstalled says that no SoftHSM library was found.
var ErrNotInstalled = errors.New("SoftHSM is not installed (apt install softhsm2)")

// FindModule returns the path of the installed library.
func FindModule() (string, error) {
	for _, m := range Modules {
		if info, err := os.Stat(m); err == nil && info.Mode().IsRegular() {
			return m, nil
		}
	}
	return "", ErrNotInstalled
}

// Token is a private token's folder.
type Token struct {
	Dir    string
	Module string // the library
	Label  string // of the token
}

// ConfigPath is the configuration file, for [ConfigVariable].
func (t Token) ConfigPath() string { return filepath.Join(t.Dir, "softhsm2.conf") }

// PINPath is the file that holds the user PIN (mode 0600).
func (t Token) PINPath() string { return filepath.Join(t.Dir, "pin") }

// SOPINPath is the file that holds the security officer's PIN (mode 0600).
func (t Token) SOPINPath() string { return filepath.Join(t.Dir, "so-pin") }

func (t Token) tokensPath() string   { return filepath.Join(t.Dir, "tokens") }
func (t Token) completePath() string { return filepath.Join(t.Dir, "complete") }

// Ensure makes the token in dir, unless it is there, and points this
// process's SoftHSM at it by setting [ConfigVariable]. module empty: the
// installed one; label empty: [DefaultLabel].
//
// It loads the module, so it belongs into the process that will use it, and no
// other token may be open there. Several processes may call it at the same
// time; what a killed one left half made is made anew.
func Ensure(ctx context.Context, dir, module, label string) (Token, error) {
	var err error
	if module == "" {
		if module, err = FindModule(); err != nil {
			return Token{}, err
		}
	}
	if label == "" {
		label = DefaultLabel
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Token{}, fmt.Errorf("the token's folder: %w", err)
	}
	t := Token{Dir: dir, Module: module, Label: label}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t, fmt.Errorf("make the token's folder: %w", err)
	}
	unlock, err := t.Lock()
	if err != nil {
		return t, err
	}
	defer unlock()
	// The folder may have been moved: the configuration holds its path.
	if err := t.writeConfig(); err != nil {
		return t, err
	}
	if err := os.Setenv(ConfigVariable, t.ConfigPath()); err != nil {
		return t, err
	}
	if _, err := os.Stat(t.completePath()); err == nil {
		return t, nil
	}
	if err := os.RemoveAll(t.tokensPath()); err != nil {
		return t, fmt.Errorf("clear a half-made token: %w", err)
	}
	if err := os.Mkdir(t.tokensPath(), 0o700); err != nil {
		return t, fmt.Errorf("make the token's folder: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return t, err
	}
	if err := t.make(); err != nil {
		return t, err
	}
	return t, os.WriteFile(t.completePath(), nil, 0o600)
}

// Lock keeps other processes from making the token and from logging in to it,
// until unlock is called. SoftHSM 2.6.1 writes the token's own file anew at
// each C_Login, and a process that reads it in that instant takes the token
// for an uninitialized one. So hold it from C_Initialize to C_Login.
func (t Token) Lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(t.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the token's folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the token's folder: %w", err)
	}
	return func() { f.Close() }, nil
}

func (t Token) writeConfig() error {
	text := strings.Join([]string{
		"# Made by cardbureau, written anew at each start.",
		"directories.tokendir = " + t.tokensPath(),
		"objectstore.backend = file",
		"log.level = ERROR",
		"slots.removable = false",
		"",
	}, "\n")
	if old, err := os.ReadFile(t.ConfigPath()); err == nil && string(old) == text {
		return nil
	}
	tmp := t.ConfigPath() + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write SoftHSM's configuration: %w", err)
	}
	if err := os.Rename(tmp, t.ConfigPath()); err != nil {
		return fmt.Errorf("write SoftHSM's configuration: %w", err)
	}
	return nil
}

// make initializes the token through the module (C_InitToken, C_InitPIN).
func (t Token) make() error {
	pin, err := t.newPIN(t.PINPath())
	if err != nil {
		return err
	}
	so, err := t.newPIN(t.SOPINPath())
	if err != nil {
		return err
	}
	if _, err := os.Stat(t.Module); err != nil {
		return fmt.Errorf("%w: there is no file %s", ErrNotInstalled, t.Module)
	}
	p := pkcs11.New(t.Module)
	if p == nil {
		return fmt.Errorf("%s is not a PKCS#11 module", t.Module)
	}
	defer p.Destroy()
	if err := t.initToken(p, so); err != nil {
		return fmt.Errorf("make a SoftHSM token in %s: %w", t.Dir, err)
	}
	if err := t.initPIN(p, so, pin); err != nil {
		return fmt.Errorf("set the PIN of the SoftHSM token in %s: %w", t.Dir, err)
	}
	return nil
}

// initToken uses the one free slot that SoftHSM always offers.
func (t Token) initToken(p *pkcs11.Ctx, so string) error {
	if err := p.Initialize(); err != nil {
		return err
	}
	defer p.Finalize()
	slots, err := p.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		if err != nil {
			return err
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			return p.InitToken(slot, so, t.Label)
		}
	}
	return errors.New("the module offers no free slot")
}

// initPIN runs after a fresh C_Initialize: SoftHSM gives the new token another
// slot number then.
func (t Token) initPIN(p *pkcs11.Ctx, so, pin string) error {
	if err := p.Initialize(); err != nil {
		return err
	}
	defer p.Finalize()
	slots, err := p.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		if err != nil {
			return err
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 || strings.TrimRight(info.Label, " \x00") != t.Label {
			continue
		}
		s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return err
		}
		defer p.CloseSession(s)
		if err := p.Login(s, pkcs11.CKU_SO, so); err != nil {
			return err
		}
		defer p.Logout(s)
		return p.InitPIN(s, pin)
	}
	return errors.New("the new token is not in the slot list")
}

// newPIN draws 16 digits and writes them to a file that only the own user can
// read.
func (t Token) newPIN(path string) (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1e16))
	if err != nil {
		return "", fmt.Errorf("draw a PIN: %w", err)
	}
	pin := fmt.Sprintf("%016d", n)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("write the PIN file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the PIN file: %w", err)
	}
	if _, err := f.WriteString(pin + "\n"); err != nil {
		f.Close()
		return "", fmt.Errorf("write the PIN file: %w", err)
	}
	return pin, f.Close()
}
