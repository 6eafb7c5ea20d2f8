package line

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/emv/script"
	"cardbureau/cardio/tlv"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/vault"
)

// payment proves the payment application as a terminal and its issuer would, from
// a reset on: directory, every record, offline data authentication, PIN try counter,
// one transaction that goes online, and one issuer script.
func (p *prover) payment(ctx context.Context) error {
	bank := p.image.Bank
	if bank == nil {
		return notProven("the card image has no payment application")
	}
	s := p.line.Profiles.Payments[bank.Scheme]
	if s == nil {
		return notProven("payment scheme %q is not known", bank.Scheme)
	}
	if err := p.session.Reset(ctx); err != nil {
		return err
	}
	app, err := p.selectPayment(ctx, s)
	if err != nil {
		return emvFailed(err)
	}
	r := &records{elements: bank.Elements, sum: sha256.New(), read: map[string]bool{}}
	if err := r.compare(ctx, app, nil, "emv.9104"); err != nil {
		return emvFailed(err)
	}
	if _, err := app.GetData(ctx, 0x9F4F); !errors.Is(err, emv.ErrNotFound) {
		return emvFailed(notProven("the payment application keeps a log of transactions"))
	}
	if err := p.offline(ctx, app, s); err != nil {
		return emvFailed(err)
	}
	if err := p.transaction(ctx, app, s); err != nil {
		return emvFailed(err)
	}
	if bank.Elements["ppse.9102"] != nil {
		if err := p.contactless(ctx, s, r); err != nil {
			return emvFailed(err)
		}
	}
	if err := r.all(); err != nil {
		return err
	}
	p.add(r.sum.Sum(nil))
	return nil
}

// emvFailed marks what a check of the payment application said, unless the card or
// the keys were merely out of reach.
func emvFailed(err error) error {
	var known *proofError
	if err == nil || errors.As(err, &known) || errors.Is(err, apdu.ErrInDoubt) || vaultGone(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &proofError{fmt.Errorf("payment application: %w", err)}
}

// selectPayment finds the application by the directory, as a terminal does.
func (p *prover) selectPayment(ctx context.Context, s *payment.Scheme) (*emv.Application, error) {
	fci, entries, err := emv.ReadDirectory(ctx, p.session)
	if err != nil {
		return nil, fmt.Errorf("PSE: %w", err)
	}
	if len(entries) != 1 || !bytes.Equal(entries[0].AID, s.AID) || entries[0].Label != s.Label {
		return nil, notProven("the payment directory does not lead to the application")
	}
	record, err := emv.ReadRecord(ctx, p.session, fci.SFI, 1)
	if err != nil {
		return nil, fmt.Errorf("PSE: %w", err)
	}
	if !bytes.Equal(record, p.image.Bank.Elements["pse.0101"]) {
		return nil, notProven("the payment directory is not what was written")
	}
	app, err := emv.Select(ctx, p.session, s.AID)
	if err != nil {
		return nil, err
	}
	if app.FCI.Label != s.Label || app.FCI.LogEntry != nil {
		return nil, notProven("the payment application does not present itself as it was written")
	}
	return app, nil
}

// records are those of the payment application in the card image, and which of
// them were read.
type records struct {
	elements map[string][]byte
	sum      hash.Hash
	read     map[string]bool
}

// compare begins a transaction and compares every record that the card names with
// the image; options is the grouping that AIP and AFL were written with.
func (r *records) compare(ctx context.Context, app *emv.Application, terminal emv.Data, options string) error {
	if err := app.Initiate(ctx, terminal); err != nil {
		return err
	}
	if got := append(tlv.Encode(emv.TagAIP, app.AIP[:]), tlv.Encode(emv.TagAFL, app.AFL.Bytes())...); !bytes.Equal(got, r.elements[options]) {
		return notProven("AIP and AFL are not what was written")
	}
	if err := app.ReadRecords(ctx); err != nil {
		return err
	}
	for _, have := range app.Records {
		if !r.same(fmt.Sprintf("emv.%02X%02X", have.SFI, have.Number), have.Bytes) {
			return notProven("%v of the payment application is not what was written", have)
		}
	}
	return nil
}

// same compares one record.
func (r *records) same(name string, got []byte) bool {
	r.read[name] = true
	r.sum.Write(got)
	return bytes.Equal(got, r.elements[name])
}

// all fails where a record was written that no AFL led to.
func (r *records) all() error {
	for name := range r.elements {
		if record := len(name) == 8 && name[:5] >= "emv.0" && name[:6] < "emv.1F" && name != "emv.0062"; record && !r.read[name] {
			return notProven("%s of the payment application was written, and its AFL does not name it", name)
		}
	}
	return nil
}

// caKeys is the authority whose certificate the issuer has.
func (p *prover) caKeys(rid []byte, index byte) (oda.PublicKey, bool) {
	i := p.line.Issuer
	return oda.PublicKey{Modulus: i.CAModulus, Exponent: i.CAExponent}, bytes.Equal(rid, i.RID) && index == i.CAIndex
}

// eccKeys is caKeys for elliptic curves.
func (p *prover) eccKeys(rid []byte, index byte) (ecsdsa.PublicKey, bool) {
	return p.line.Issuer.ECCKey(rid, index)
}

// offline is static and dynamic data authentication, and the PIN's tries.
func (p *prover) offline(ctx context.Context, app *emv.Application, s *payment.Scheme) error {
	at := p.line.now()
	if s.Authenticates(payment.SDA) {
		if _, err := app.AuthenticateStatic(p.caKeys, at); err != nil {
			return fmt.Errorf("static data authentication: %w", err)
		}
	}
	if s.Authenticates(payment.DDA) {
		data, err := terminalData(s)
		if err != nil {
			return err
		}
		if _, err := app.AuthenticateDynamic(ctx, p.caKeys, at, nil, data); err != nil {
			return fmt.Errorf("dynamic data authentication: %w", err)
		}
	}
	tries, err := app.PINTries(ctx)
	if err != nil {
		return err
	}
	if tries != s.PIN.Tries {
		return notProven("the bank PIN has %d tries, not %d", tries, s.PIN.Tries)
	}
	return nil
}

// terminalData are a terminal's data objects of a transaction of nothing.
func terminalData(s *payment.Scheme) (emv.Data, error) {
	un := make([]byte, 4)
	if _, err := rand.Read(un); err != nil {
		return nil, err
	}
	number := func(text string) (n uint64) {
		for _, c := range text {
			n = n*10 + uint64(c-'0')
		}
		return n
	}
	return emv.Data{
		emv.TagAmount: emv.BCD(0, 6), emv.TagAmountOther: emv.BCD(0, 6), emv.TagTerminalCountry: emv.BCD(number(s.Country), 2),
		emv.TagCurrency: emv.BCD(number(s.Currency), 2), emv.TagTVR: make([]byte, 5), emv.TagDate: {0x26, 0x01, 0x01},
		emv.TagTransactionType: {0}, emv.TagUnpredictable: un, emv.TagARC: []byte("00"),
	}, nil
}

// approval is a card status update that approves and sets counters to zero.
var approval = []byte{0, emv.CSUApproves | emv.CSUResetCounter, 0, 0}

// transaction has the card make an ARQC, the HSM check and answer it, the card
// accept the answer, and one script command go through.
func (p *prover) transaction(ctx context.Context, app *emv.Application, s *payment.Scheme) error {
	data, err := terminalData(s)
	if err != nil {
		return err
	}
	how := signature(s)
	first, sent, err := app.GenerateSigned(ctx, emv.ARQC, how, emv.TagCDOL1, data)
	if err != nil {
		return err
	}
	if first.Kind() != emv.ARQC {
		return notProven("the card answers an ARQC request with %s", emv.KindName(first.Kind()))
	}
	if err := p.verify(app, how, &first, data[emv.TagUnpredictable], nil); err != nil {
		return err
	}
	bank := p.image.Bank
	request := vault.ARQCRequest{
		PAN: bank.PAN, Sequence: bank.Sequence, MasterKey: s.Cryptogram.MasterKey, Option: s.Cryptogram.Option,
		ATC: uint16(first.ATC[0])<<8 | uint16(first.ATC[1]), ARQC: first.AC, Method: s.Cryptogram.ARPC, CSU: approval, ARC: []byte("00"),
		Data: emv.Request{Sent: sent, AIP: app.AIP, ATC: first.ATC, IAD: first.IAD}.Input(),
	}
	answer, err := p.line.Vault.VerifyARQC(ctx, request)
	if err != nil {
		return err
	}
	if !answer.OK {
		return notProven("the card's ARQC is not made with the issuer's keys")
	}
	issuer := append(answer.ARPC, request.CSU...)
	if s.Cryptogram.ARPC == 1 {
		issuer = append(answer.ARPC, request.ARC...)
	}
	data[emv.TagIssuerAuth] = issuer // where CDOL2 asks for it; an answer that is wrong ends in an AAC
	if app.AIP.Has(emv.AIPIssuerAuth) {
		if err := app.ExternalAuthenticate(ctx, issuer); err != nil {
			return fmt.Errorf("the issuer's answer: %w", err)
		}
	}
	if how == emv.SignCDA {
		how = emv.SignNothing // CDA of the first is enough; XDA is asked for both times (EMV 4.4 Book 2, 12.5.1)
	}
	second, sent2, err := app.GenerateSigned(ctx, emv.TC, how, emv.TagCDOL2, data)
	if err != nil {
		return err
	}
	if second.Kind() != emv.TC {
		return notProven("the card declines what its issuer has approved")
	}
	if err := p.verify(app, how, &second, nil, sent2); err != nil {
		return err
	}
	return p.script(ctx, s, request)
}

// signature is what cryptograms of a scheme's cards are signed with.
func signature(s *payment.Scheme) emv.Signature {
	switch {
	case s.Authenticates(payment.CDA):
		return emv.SignCDA
	case s.Authenticates(payment.XDA):
		return emv.SignXDA
	}
	return emv.SignNothing
}

// verify checks a cryptogram's signature from the authority's key on; sent2 are the
// values of CDOL2 for the second, nil for the first.
func (p *prover) verify(app *emv.Application, how emv.Signature, c *emv.Cryptogram, un, sent2 []byte) error {
	switch how {
	case emv.SignCDA:
		key, err := app.ICCKey(p.caKeys, p.line.now())
		if err != nil {
			return err
		}
		if _, err := app.VerifyCombined(key, c, un, nil); err != nil {
			return fmt.Errorf("combined data authentication: %w", err)
		}
	case emv.SignXDA:
		key, err := app.ECCKey(p.eccKeys, p.line.now())
		if err == nil {
			err = app.VerifyExtended(key, *c, sent2)
		}
		if err != nil {
			return fmt.Errorf("extended data authentication: %w", err)
		}
	}
	return nil
}

// script sends the one issuer command that leaves the card as it is: PIN UNBLOCK of
// a PIN that has all its tries.
func (p *prover) script(ctx context.Context, s *payment.Scheme, r vault.ARQCRequest) error {
	session := &script.Session{
		Keys: scriptKeys{p.line.Vault, r}, Format: script.Format(s.Cryptogram.Scripts), AES: s.AES(),
		ATC: []byte{byte(r.ATC >> 8), byte(r.ATC)}, ARQC: r.ARQC,
	}
	command, err := session.Secure(ctx, script.PINUnblock())
	if err != nil {
		return err
	}
	answer, err := apdu.SendRaw(ctx, p.session, command)
	if err != nil {
		return err
	}
	if !answer.SW.OK() {
		return fmt.Errorf("issuer script: %w", answer.SW)
	}
	return nil
}

// scriptKeys are the session keys of a card's scripts, which stay with the vault.
type scriptKeys struct {
	vault *vault.Client
	of    vault.ARQCRequest
}

func (k scriptKeys) request() vault.ScriptRequest {
	return vault.ScriptRequest{PAN: k.of.PAN, Sequence: k.of.Sequence, MasterKey: k.of.MasterKey, Option: k.of.Option, ARQC: k.of.ARQC}
}

// MAC is that of a script command.
func (k scriptKeys) MAC(ctx context.Context, data []byte) ([]byte, error) {
	r := k.request()
	r.Message = data
	out, err := k.vault.ProtectScript(ctx, r)
	return out.MAC, err
}

// MACPadded is that of a script command of format 1.
func (k scriptKeys) MACPadded(ctx context.Context, data []byte) ([]byte, error) {
	r := k.request()
	r.Message, r.Padded = data, true
	out, err := k.vault.ProtectScript(ctx, r)
	return out.MAC, err
}

// Encipher is that of a script command's data.
func (k scriptKeys) Encipher(ctx context.Context, data []byte) ([]byte, error) {
	r := k.request()
	r.Plain = data
	out, err := k.vault.ProtectScript(ctx, r)
	return out.Enciphered, err
}
