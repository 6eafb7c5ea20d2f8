package emv

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Application is a payment application that was selected. Its methods are the
// parts of a transaction that need no decision; they are called in the order in
// which they stand here.
type Application struct {
	Card apdu.Card
	FCI  FCI

	AIP     AIP
	AFL     AFL
	Records []Record
	// Data are the data objects of the records, with AIP (82) and AFL (94).
	Data Data

	options []byte // values of the PDOL, which CDA hashes
	cdol1   []byte // values sent with the first GENERATE AC
}

// Select selects an application for use. Blocked ones are refused: ErrBlocked.
func Select(ctx context.Context, card apdu.Card, aid []byte) (*Application, error) {
	f, err := SelectFile(ctx, card, aid)
	if err != nil {
		return nil, err
	}
	return &Application{Card: card, FCI: f, Data: Data{}}, nil
}

// String says which application, and nothing of its data.
func (a *Application) String() string { return "application " + nameOf(a.FCI.Name) }

// GoString is String.
func (a *Application) GoString() string { return a.String() }

// send sends a command and wants 9000.
func (a *Application) send(ctx context.Context, what string, c apdu.Command) ([]byte, error) {
	r, err := apdu.Send(ctx, a.Card, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !r.SW.OK() {
		return nil, fmt.Errorf("%s: %w", what, status(c, r.SW))
	}
	return r.Data, nil
}

// Initiate is GET PROCESSING OPTIONS (Book 3, section 10.1): a transaction begins,
// and the card's transaction counter goes up by one. terminal fills the PDOL, of
// cards that have one. ErrConditions: the card does not want to be used so.
func (a *Application) Initiate(ctx context.Context, terminal Data) error {
	var dol DOL
	if a.FCI.PDOL != nil {
		var err error
		if dol, err = ParseDOL(a.FCI.PDOL); err != nil {
			return fmt.Errorf("PDOL: %w", err)
		}
	}
	a.options = dol.Fill(terminal)
	c := apdu.Command{CLA: 0x80, INS: 0xA8, Data: tlv.Encode(TagCommandTemplate, a.options), Ne: 256}
	b, err := a.send(ctx, "GET PROCESSING OPTIONS", c)
	if errors.Is(err, apdu.SWConditionsOfUseNotSatisfied) {
		return fmt.Errorf("%w: %w", ErrConditions, err)
	}
	if err != nil {
		return err
	}
	if a.AIP, a.AFL, err = ParseOptions(b); err != nil {
		return err
	}
	a.Data = Data{TagAIP: bytes.Clone(a.AIP[:]), TagAFL: a.AFL.Bytes()}
	a.Records, a.cdol1 = nil, nil
	return nil
}

// mandatory are the data objects that every card has in its records (Book 3, table
// 26).
var mandatory = []tlv.Tag{TagExpiry, TagPAN, TagCDOL1, TagCDOL2}

// ReadRecords reads all records that the AFL names and their data objects (Book 3,
// section 10.2). It fails where a terminal must end the transaction: a record that
// is not there or is no template, a data object twice or of a wrong form, a
// mandatory one missing.
func (a *Application) ReadRecords(ctx context.Context) error {
	var batch []apdu.Item
	for _, e := range a.AFL {
		for n := int(e.First); n <= int(e.Last); n++ {
			c, err := readRecord(e.SFI, byte(n)).Bytes()
			if err != nil {
				return err
			}
			batch = append(batch, apdu.Item{Command: c})
			a.Records = append(a.Records, Record{SFI: e.SFI, Number: byte(n), Signed: n < int(e.First)+int(e.Signed)})
		}
	}
	answers, err := apdu.Exchange(ctx, a.Card, batch)
	var at *apdu.ExchangeError
	if errors.As(err, &at) {
		err = fmt.Errorf("%v: %w", a.Records[at.Index], at.Err)
	}
	if err != nil {
		return err
	}
	for i, answer := range answers {
		r := &a.Records[i]
		if r.Bytes = answer.Data; r.SFI > 10 {
			continue // not this terminal's to interpret
		}
		if err := a.take(*r); err != nil {
			return fmt.Errorf("%v: %w", *r, err)
		}
	}
	for _, tag := range mandatory {
		if a.Data[tag] == nil {
			return fmt.Errorf("%w: %s (%X)", ErrMissing, elements[tag].Name, uint32(tag))
		}
	}
	return nil
}

func (a *Application) take(r Record) error {
	o, rest, err := tlv.Next(r.Bytes)
	if err != nil || o.Tag != TagRecord || len(rest) > 0 {
		return format("it is no template 70")
	}
	list, err := tlv.Parse(o.Value)
	if err != nil {
		return format("%v", err)
	}
	for _, o := range list {
		if err := a.Data.add(o); err != nil {
			return err
		}
	}
	return nil
}

// PAN is the card's number as text. It is not to be printed.
func (a *Application) PAN() string { return digits(a.Data[TagPAN]) }

// GetData reads one of the data objects that are in no record (Book 3, section
// 6.5.7): 9F36, 9F13, 9F17, 9F4F. ErrNotFound: the card does not give it.
func (a *Application) GetData(ctx context.Context, tag tlv.Tag) ([]byte, error) {
	what := fmt.Sprintf("GET DATA %X", uint32(tag))
	b, err := a.send(ctx, what, apdu.Command{CLA: 0x80, INS: 0xCA, P1: byte(tag >> 8), P2: byte(tag), Ne: 256})
	var sw *apdu.StatusError
	if errors.As(err, &sw) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	o, rest, err := tlv.Next(b)
	if err != nil || o.Tag != tag || len(rest) > 0 {
		return nil, format("the answer to %s is another object", what)
	}
	if e, ok := elements[tag]; ok {
		if err := e.check(tag, o.Value); err != nil {
			return nil, err
		}
	}
	return o.Value, nil
}

// PINTries is how many tries the offline PIN has left.
func (a *Application) PINTries(ctx context.Context) (int, error) {
	b, err := a.GetData(ctx, TagPINTries)
	if err != nil {
		return 0, err
	}
	return int(b[0]), nil
}

// Counters are the application transaction counter and its value at the last
// transaction that went online (9F36, 9F13).
func (a *Application) Counters(ctx context.Context) (atc, lastOnline uint16, err error) {
	x, err := a.GetData(ctx, TagATC)
	if err != nil {
		return 0, 0, err
	}
	y, err := a.GetData(ctx, TagLastOnlineATC)
	if err != nil {
		return 0, 0, err
	}
	return uint16(x[0])<<8 | uint16(x[1]), uint16(y[0])<<8 | uint16(y[1]), nil
}

// GenerateAC is GenerateSigned with CDA or without a signature.
func (a *Application) GenerateAC(ctx context.Context, kind byte, combined bool, dol tlv.Tag, sources ...Data) (c Cryptogram, sent []byte, err error) {
	how := SignNothing
	if combined {
		how = SignCDA
	}
	return a.GenerateSigned(ctx, kind, how, dol, sources...)
}

// Signature is which signature GENERATE AC is asked for: bits 5 and 4 of P1 (EMV
// 4.4 Book 3, table 12).
type Signature byte

// Signatures.
const (
	SignNothing Signature = 0x00
	SignCDA     Signature = 0x10
	SignXDA     Signature = 0x08
)

// GenerateSigned asks for a cryptogram of a kind (Book 3, section 6.5.5). dol is
// tag CDOL1 for the first and CDOL2 for the second of a transaction; sources fill
// it, the card's own data objects after them. It returns the values that were sent,
// over which the cryptogram is. That the card may answer so was checked: not
// better than was asked for. Signatures are not verified here: VerifyCombined,
// VerifyExtended.
func (a *Application) GenerateSigned(ctx context.Context, kind byte, how Signature, dol tlv.Tag, sources ...Data) (c Cryptogram, sent []byte, err error) {
	list, err := ParseDOL(a.Data[dol])
	if err != nil {
		return c, nil, err
	}
	sent = list.Fill(append(sources, a.Data)...)
	command := apdu.Command{CLA: 0x80, INS: 0xAE, P1: kind&0xC0 | byte(how), Data: sent, Ne: 256}
	b, err := a.send(ctx, "GENERATE AC", command)
	if err != nil {
		return c, sent, err
	}
	if dol == TagCDOL1 {
		a.cdol1 = sent
	}
	if c, err = ParseCryptogram(b); err != nil {
		return c, sent, err
	}
	got := c.Kind()
	if kind == AAC && got != AAC || kind == ARQC && got == TC || dol == TagCDOL2 && got == ARQC {
		return c, sent, fmt.Errorf("%w: %s for %s", ErrCryptogram, KindName(got), KindName(kind))
	}
	if how != SignCDA && c.Signed != nil && c.AC == nil {
		return c, sent, fmt.Errorf("%w: it is signed as nobody asked", ErrCryptogram)
	}
	return c, sent, nil
}

// ExternalAuthenticate gives the card its issuer's answer to the ARQC, 8 to 16
// bytes (Book 3, section 6.5.4). A refusal is an *apdu.StatusError.
func (a *Application) ExternalAuthenticate(ctx context.Context, issuer []byte) error {
	_, err := a.send(ctx, "EXTERNAL AUTHENTICATE", apdu.Command{INS: 0x82, Data: issuer})
	return err
}
