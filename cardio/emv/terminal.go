package emv

import (
	"context"
	"crypto/rand"
	"io"
	"time"

	"cardbureau/cardio/apdu"
)

// Terminal is a terminal as its owner and its schemes have set it up. It can be
// used for any number of transactions, at the same time too if its hooks can.
type Terminal struct {
	Type         byte    // 9F35: 22 attended, both online and offline (Book 4, annex A1)
	Capabilities [3]byte // 9F33 (Book 4, annex A2)
	Additional   [5]byte // 9F40
	Country      uint16  // 9F1A, ISO 3166-1 numeric
	Currency     uint16  // 5F2A, ISO 4217 numeric
	Exponent     byte    // 5F36

	Applications []Settings
	CAKeys       CAKeys    // RSA; nil: none
	ECCKeys      ECCCAKeys // elliptic curves, for XDA; nil: none
	// Choose picks one of several candidates; nil: the first, and those that ask for
	// the holder's consent too.
	Choose func(ctx context.Context, list []Candidate) (int, error)
	// PIN asks the holder; nil: there is no PIN pad.
	PIN PINPad
	// Online asks the issuer; nil: nobody can be asked.
	Online Online
	// Random is where unpredictable numbers and random selection come from; nil:
	// crypto/rand.
	Random io.Reader
	// Now is the clock; nil: the machine's.
	Now func() time.Time
}

// Settings are what a scheme sets for an application (Book 4, section 10.2).
type Settings struct {
	Wanted
	Version                 uint16  // 9F09
	Denial, Online, Default [5]byte // terminal action codes
	DDOL, TDOL              []byte  // for cards without
	FloorLimit              uint64  // 9F1B, in the currency's smallest unit; transactions from it on go online
	// Threshold, Target and Max are of random selection: below the threshold Target
	// percent go online, and up to Max percent towards the floor limit.
	Threshold   uint64
	Target, Max int
}

// Capabilities, second byte: cardholder verification.
const (
	CanPlaintextPIN  byte = 0x80
	CanOnlinePIN     byte = 0x40
	CanSignature     byte = 0x20
	CanEncipheredPIN byte = 0x10
	CanNoCVM         byte = 0x08
)

// Capabilities, third byte: security.
const (
	CanSDA byte = 0x80
	CanDDA byte = 0x40
	CanCDA byte = 0x08
	CanXDA byte = 0x04 // EMV 4.4
)

// Transaction types, tag 9C (ISO 8583:1987, processing code).
const (
	Purchase byte = 0x00
	Cash     byte = 0x01
	Cashback byte = 0x09
)

// Transaction is what the holder wants.
type Transaction struct {
	Type        byte   // 9C
	Amount      uint64 // 9F02, in the currency's smallest unit, with Other
	Other       uint64 // 9F03, cashback
	Services    bool   // a purchase of services, not of goods
	ForceOnline bool   // the trader wants the issuer asked
}

// PINRequest is what a PIN pad is asked for.
type PINRequest struct {
	Online bool // for the issuer: the block stays with the pad, and any value means that it was entered
	Tries  int  // left, -1: unknown
	Again  bool // the PIN before was wrong
}

// PINPad asks the holder for the PIN. nil means that the holder entered none.
type PINPad func(ctx context.Context, r PINRequest) (*PINBlock, error)

// unattended reports whether nobody stands by (types 4, 5, 6 of a tens digit).
func (t *Terminal) unattended() bool { return t.Type&0x0F > 3 }

// onlineCapable: types 3 and 6 are offline only; offlineCapable: 1 and 4 are
// online only.
func (t *Terminal) onlineCapable() bool  { return t.Type&0x0F != 3 && t.Type&0x0F != 6 }
func (t *Terminal) offlineCapable() bool { return t.Type&0x0F != 1 && t.Type&0x0F != 4 }

// cashMachine: an unattended terminal of a bank that gives out cash (Book 4, annex
// A1).
func (t *Terminal) cashMachine() bool {
	return t.Type >= 0x14 && t.Type <= 0x16 && t.Additional[0]&0x80 != 0
}

func (t *Terminal) random() io.Reader {
	if t.Random == nil {
		return rand.Reader
	}
	return t.Random
}

func (t *Terminal) now() time.Time {
	if t.Now == nil {
		return time.Now().UTC()
	}
	return t.Now().UTC()
}

// data are the terminal's own data objects of a transaction.
func (t *Terminal) data(tx Transaction, s Settings, at time.Time) (Data, error) {
	unpredictable := make([]byte, 4)
	if _, err := io.ReadFull(t.random(), unpredictable); err != nil {
		return nil, err
	}
	stamp := func(layout string) []byte {
		n := uint64(0)
		for _, c := range at.Format(layout) {
			n = n*10 + uint64(c-'0')
		}
		return BCD(n, 3)
	}
	return Data{
		TagTerminalType: {t.Type}, TagCapabilities: t.Capabilities[:], TagAdditional: t.Additional[:],
		TagTerminalCountry: BCD(uint64(t.Country), 2), TagCurrency: BCD(uint64(t.Currency), 2), TagCurrencyExponent: {t.Exponent},
		TagTransactionType: {tx.Type}, TagAmount: BCD(tx.Amount, 6), TagAmountOther: BCD(tx.Other, 6),
		TagDate: stamp("060102"), TagTime: stamp("150405"), TagUnpredictable: unpredictable,
		TagTerminalAID: s.AID, TagTerminalVersion: {byte(s.Version >> 8), byte(s.Version)},
		TagFloorLimit: put32(uint32(min(s.FloorLimit, 1<<32-1))),
	}, nil
}

// run is one transaction on its way.
type run struct {
	*Terminal
	tx     Transaction
	set    Settings
	at     time.Time
	app    *Application
	term   Data // the terminal's data objects
	result *Result

	sent     []byte    // the values of CDOL1
	signed   Signature // what GENERATE AC is to be asked for
	key      keys
	extended extended
}

// sync writes TVR and TSI to the data objects that lists are filled from.
func (r *run) sync() {
	r.term[TagTVR] = append([]byte{}, r.result.TVR[:]...)
	r.term[TagTSI] = append([]byte{}, r.result.TSI[:]...)
	r.term[TagCVMResults] = append([]byte{}, r.result.CVM[:]...)
}

// Run runs a whole transaction with a card that was just switched on (Book 3,
// section 10; Book 4, section 6.3). The result tells every check, whatever became
// of the transaction. An error means that the terminal had to end it: the card
// does not keep to the standard, is blocked, or was lost.
func (t *Terminal) Run(ctx context.Context, card apdu.Card, tx Transaction) (*Result, error) {
	r := &run{Terminal: t, tx: tx, at: t.now(), result: &Result{CVM: [3]byte{0x3F, 0, 0}}}
	err := r.all(ctx, card)
	if err != nil {
		r.result.note("transaction", Failed, err.Error())
	}
	return r.result, err
}

func (r *run) all(ctx context.Context, card apdu.Card) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.selectApplication(ctx, card) },
		r.readRecords, r.authenticate, r.restrict, r.verifyHolder, r.manageRisk, r.firstCryptogram,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		r.sync()
	}
	if r.extended.err != nil && r.result.First.Kind() != AAC {
		return r.completeUnproven(ctx)
	}
	switch r.result.First.Kind() {
	case ARQC:
		return r.complete(ctx)
	case TC:
		if r.result.Approved = r.signed != SignCDA || !r.result.TVR.Has(CDAFailed); !r.result.Approved {
			r.arc("Z1")
		}
	}
	return nil
}
