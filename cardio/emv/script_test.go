package emv_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/script"
	"cardbureau/cardio/tlv"
)

// smKeys are the session keys for scripts.
type smKeys struct {
	aes      bool
	mac, enc []byte
}

func keysFor(f facts, arqc []byte) smKeys {
	return smKeys{f.aes, session(f.aes, masterSMI, arqc), session(f.aes, masterSMC, arqc)}
}

func (k smKeys) MAC(_ context.Context, data []byte) ([]byte, error) {
	return mac(k.aes, k.mac, data), nil
}

func (k smKeys) MACPadded(_ context.Context, data []byte) ([]byte, error) {
	return macPadded(k.aes, k.mac, data), nil
}

func (k smKeys) Encipher(_ context.Context, data []byte) ([]byte, error) {
	c := block(k.aes, k.enc)
	out := pad(data, c.BlockSize())
	cipher.NewCBCEncrypter(c, make([]byte, c.BlockSize())).CryptBlocks(out, out)
	return out, nil
}

// TestScripts: every command of an issuer, in both formats and with both ciphers.
func TestScripts(t *testing.T) {
	other := unhex("259876 5fffffffff")
	for name, change := range map[string]func(*facts){
		"format 1":      func(f *facts) { f.control = 0x40 },
		"format 2":      func(f *facts) { f.control = 0 },
		"format 1, AES": func(f *facts) { f.control, f.aes = 0x40, true },
		"format 2, AES": func(f *facts) { f.control, f.aes = 0, true },
	} {
		t.Run(name, func(t *testing.T) {
			f := standard()
			change(&f)
			format := script.Format2
			if f.control&0x40 != 0 {
				format = script.Format1
			}
			card := f.card(t)
			secured := func(r emv.Request, tag uint16, commands ...script.Command) (out [][]byte) {
				s := script.Session{Keys: keysFor(f, r.ARQC), Format: format, AES: f.aes, ATC: r.ATC, ARQC: r.ARQC}
				for _, c := range commands {
					b, err := s.Secure(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					one, err := script.Template(tlv.Tag(tag), []byte{0, 0, 0, byte(len(out))}, b)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, one)
				}
				return out
			}
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			h.scripts = func(r emv.Request) ([][]byte, [][]byte) {
				return secured(r, 0x71, script.PutData(emv.TagUpperOffline, []byte{7}), script.PINChange(2, other), script.PINUnblock()), nil
			}
			r := run(t, terminal(h), card, emv.Transaction{Amount: 1})
			if !r.Approved || len(r.Scripts) != 3 || !r.TSI.Has(emv.DidScript) || len(r.Failures()) > 0 {
				t.Fatalf("%v %+v", r, r.Failures())
			}
			if b := r.Scripts[2].Bytes(); !bytes.Equal(b, []byte{0x20, 0, 0, 0, 2}) {
				t.Errorf("%X", b)
			}
			if v, err := r.Application.GetData(t.Context(), emv.TagUpperOffline); err != nil || v[0] != 7 {
				t.Error(v, err)
			}
			// The new PIN, and blocking.
			card.Reset()
			term := terminal(h)
			term.PIN = func(context.Context, emv.PINRequest) (*emv.PINBlock, error) {
				b := emv.PINBlock(other)
				return &b, nil
			}
			h.scripts = func(r emv.Request) ([][]byte, [][]byte) { return nil, secured(r, 0x72, script.ApplicationBlock()) }
			if r = run(t, term, card, emv.Transaction{Amount: 1, ForceOnline: true}); !r.Approved || r.CVM[2] != 2 || len(r.Scripts) != 1 || !r.Scripts[0].OK() {
				t.Fatalf("%v %+v", r, r.Scripts)
			}
			card.Reset()
			if _, err := term.Run(t.Context(), card, emv.Transaction{Amount: 1}); !errors.Is(err, emv.ErrNoApplication) {
				t.Errorf("a blocked application: %v", err)
			}
			card.Reset()
			if _, err := emv.Select(t.Context(), card, aid); !errors.Is(err, emv.ErrBlocked) {
				t.Errorf("a blocked application: %v", err)
			}
		})
	}
}

// TestRefusedScripts: a wrong MAC, a replayed one, a script out of its place, and
// bytes that are none.
func TestRefusedScripts(t *testing.T) {
	f := standard()
	var old []byte
	for name, test := range map[string]struct {
		scripts func(r emv.Request, good []byte) ([][]byte, [][]byte)
		status  apdu.StatusWord
		invalid bool
	}{
		"wrong MAC": {func(_ emv.Request, good []byte) ([][]byte, [][]byte) {
			bad := bytes.Clone(good)
			bad[len(bad)-1] ^= 1
			return [][]byte{bad}, nil
		}, apdu.SWSecureMessagingIncorrect, false},
		"replayed": {func(emv.Request, []byte) ([][]byte, [][]byte) { return [][]byte{old}, nil }, apdu.SWSecureMessagingIncorrect, false},
		"misplaced": {func(_ emv.Request, good []byte) ([][]byte, [][]byte) {
			return nil, [][]byte{good}
		}, 0, true},
		"no script": {func(emv.Request, []byte) ([][]byte, [][]byte) { return [][]byte{{0x71, 0x05, 0x00}}, nil }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			card := f.card(t)
			h := &host{t: t, f: f, csu: approve, arc: "00"}
			replay := false
			h.scripts = func(r emv.Request) ([][]byte, [][]byte) {
				s := script.Session{Keys: keysFor(f, r.ARQC), Format: script.Format1, ATC: r.ATC, ARQC: r.ARQC, MACLength: 4}
				b, err := s.Secure(t.Context(), script.PINUnblock())
				if err != nil {
					t.Fatal(err)
				}
				good, err := script.Template(script.Before, nil, b)
				if err != nil {
					t.Fatal(err)
				}
				if name == "replayed" && !replay {
					old, replay = good, true
					return nil, nil
				}
				return test.scripts(r, good)
			}
			r := run(t, terminal(h), card, emv.Transaction{Amount: 1})
			if name == "replayed" {
				card.Reset()
				r = run(t, terminal(h), card, emv.Transaction{Amount: 1})
			}
			if len(r.Scripts) != 1 || r.Scripts[0].OK() || r.Scripts[0].Invalid != test.invalid || r.Scripts[0].Status != test.status ||
				!r.TVR.Has(emv.ScriptFailedBefore) && !r.TVR.Has(emv.ScriptFailedAfter) {
				t.Errorf("%v %+v", r, r.Scripts)
			}
		})
	}
}
