package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"cardbureau/personalization/bureau"
	"cardbureau/personalization/desk"
	"cardbureau/personalization/document"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/store"
)

// paper is the file of a holder's receipt. It is taken before anything is done with a
// card, so that a receipt does not fail for a name; nil is none.
type paper struct {
	file    *os.File
	written bool
}

// takePaper makes the file that --receipt names, for its owner alone.
func takePaper(name string) (*paper, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &exitError{exitUsage, fmt.Sprintf("%s is there already: a receipt takes the place of no other file", name)}
	}
	if err != nil {
		return nil, fmt.Errorf("--receipt: %w", err)
	}
	return &paper{file: f}, nil
}

// write draws the receipt.
func (p *paper) write(r document.Receipt) error {
	if p == nil {
		return nil
	}
	err := r.WritePDF(p.file)
	if err = errors.Join(err, p.file.Sync()); err != nil {
		return fmt.Errorf("card %s: this was done, but its receipt is not written: %w", r.Card, err)
	}
	p.written = true
	return nil
}

// close removes a file that holds no receipt.
func (p *paper) close() {
	if p == nil {
		return
	}
	p.file.Close()
	if !p.written {
		os.Remove(p.file.Name())
	}
}

// receiptOf is what is printed of a visit; signed may be nil.
func receiptOf(b *bureau.Bureau, number string, kind store.VisitKind, signed *desk.Receipt) document.Receipt {
	r := document.Receipt{
		Bureau: b.Config.Audience, Development: b.Config.Development(), Card: number, At: time.Now().UTC().Truncate(time.Second),
		Kind: map[store.VisitKind]document.Deed{
			store.VisitActivate: document.Activated, store.VisitPair: document.Paired, store.VisitUnblockPIN: document.PINSet, store.VisitUnblock: document.BlockLifted,
		}[kind],
	}
	if signed != nil {
		r.Statement, r.Signature = signed.Content, signed.Signature
		if s, err := signed.Verify(); err == nil {
			r.At = s.At
		}
	}
	return r
}

// receipt is what is printed of a pairing, signed or not.
func (p *pairer) receipt(out *paired) (document.Receipt, error) {
	salt, err := hex.DecodeString(out.Salt)
	r := receiptOf(p.bureau, p.Number, store.VisitPair, p.signed)
	r.Pairing = &document.PairingReceipt{
		ID: out.Pairing, Operator: p.Network, LastFour: p.lastFour, Salt: salt, Pending: out.State != string(lifecycle.Active),
	}
	return r, err
}
