package emv

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/tlv"
)

// CAKeys finds the public key of a certification authority by the application's
// RID, 5 bytes, and the card's index (tag 8F).
type CAKeys func(rid []byte, index byte) (oda.PublicKey, bool)

// StaticData is the static data to be authenticated (Book 3, section 10.3): the
// signed records in the AFL's order, and the AIP where the SDA tag list names it.
// A list that names anything else makes authentication fail.
func (a *Application) StaticData() ([]byte, error) {
	out, err := a.signedRecords()
	if err != nil {
		return nil, err
	}
	switch list := a.Data[TagSDATagList]; {
	case len(list) == 0:
	case bytes.Equal(list, []byte{byte(TagAIP)}):
		out = append(out, a.AIP[:]...)
	default:
		return nil, fmt.Errorf("%w: the SDA tag list names more than the AIP", ErrAuthentication)
	}
	return out, nil
}

// signedRecords are the parts of the signed records, in the AFL's order.
func (a *Application) signedRecords() (out []byte, err error) {
	for _, r := range a.Records {
		if !r.Signed {
			continue
		}
		b, err := r.authenticated()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAuthentication, err)
		}
		out = append(out, b...)
	}
	return out, nil
}

func (a *Application) need(tags ...tlv.Tag) error {
	for _, t := range tags {
		if len(a.Data[t]) == 0 {
			return fmt.Errorf("%w: %w: %s (%X)", ErrAuthentication, ErrMissing, elements[t].Name, uint32(t))
		}
	}
	return nil
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrAuthentication, err)
}

func unknownAuthority(rid []byte, index byte) error {
	return fmt.Errorf("%w: %w: RID %X, index %02X", ErrAuthentication, ErrAuthority, rid, index)
}

// IssuerKey recovers the issuer's public key (Book 2, section 5.3).
func (a *Application) IssuerKey(ca CAKeys, at time.Time) (oda.PublicKey, error) {
	if err := a.need(TagCAIndex, TagIssuerCert, TagIssuerExponent); err != nil {
		return oda.PublicKey{}, err
	}
	index := a.Data[TagCAIndex][0]
	var key oda.PublicKey
	ok := ca != nil
	if ok {
		key, ok = ca(a.FCI.Name[:5], index)
	}
	if !ok {
		return oda.PublicKey{}, unknownAuthority(a.FCI.Name[:5], index)
	}
	issuer, err := oda.RecoverIssuer(key, a.PAN(), a.Data[TagIssuerCert], a.Data[TagIssuerRemainder], a.Data[TagIssuerExponent], at)
	return issuer, failed(err)
}

// ICCKey recovers the card's public key (Book 2, section 6.4).
func (a *Application) ICCKey(ca CAKeys, at time.Time) (oda.PublicKey, error) {
	if err := a.need(TagICCCert, TagICCExponent); err != nil {
		return oda.PublicKey{}, err
	}
	issuer, err := a.IssuerKey(ca, at)
	if err != nil {
		return oda.PublicKey{}, err
	}
	static, err := a.StaticData()
	if err != nil {
		return oda.PublicKey{}, err
	}
	key, err := oda.RecoverICC(issuer, a.PAN(), static, a.Data[TagICCCert], a.Data[TagICCRemainder], a.Data[TagICCExponent], at)
	return key, failed(err)
}

// PINKey recovers the key under which offline PINs are enciphered: one that is for
// that alone, or else the card's (Book 2, section 7.1).
func (a *Application) PINKey(ca CAKeys, at time.Time) (oda.PublicKey, error) {
	if a.Data[TagPINCert] == nil {
		return a.ICCKey(ca, at)
	}
	if err := a.need(TagPINExponent); err != nil {
		return oda.PublicKey{}, err
	}
	issuer, err := a.IssuerKey(ca, at)
	if err != nil {
		return oda.PublicKey{}, err
	}
	key, err := oda.RecoverICC(issuer, a.PAN(), nil, a.Data[TagPINCert], a.Data[TagPINRemainder], a.Data[TagPINExponent], at)
	return key, failed(err)
}

// AuthenticateStatic is SDA (Book 2, section 5). It returns the data
// authentication code.
func (a *Application) AuthenticateStatic(ca CAKeys, at time.Time) (dac [2]byte, err error) {
	if err := a.need(TagSSAD); err != nil {
		return dac, err
	}
	issuer, err := a.IssuerKey(ca, at)
	if err != nil {
		return dac, err
	}
	static, err := a.StaticData()
	if err != nil {
		return dac, err
	}
	dac, err = oda.VerifyStatic(issuer, a.Data[TagSSAD], static)
	return dac, failed(err)
}

// defaultDDOL asks for the unpredictable number alone.
var defaultDDOL = []byte{0x9F, 0x37, 0x04}

// AuthenticateDynamic is DDA (Book 2, section 6.5): the card signs what its DDOL,
// or else ddol, asks the terminal for. It returns the ICC dynamic number.
func (a *Application) AuthenticateDynamic(ctx context.Context, ca CAKeys, at time.Time, ddol []byte, terminal Data) ([]byte, error) {
	key, err := a.ICCKey(ca, at)
	if err != nil {
		return nil, err
	}
	list := a.Data[TagDDOL]
	if list == nil {
		if list = ddol; list == nil {
			list = defaultDDOL
		}
	}
	dol, err := ParseDOL(list)
	if err != nil {
		return nil, failed(err)
	}
	if !dol.Wants(TagUnpredictable) {
		return nil, fmt.Errorf("%w: the DDOL does not ask for the unpredictable number", ErrAuthentication)
	}
	sent := dol.Fill(terminal, a.Data)
	b, err := a.send(ctx, "INTERNAL AUTHENTICATE", apdu.Command{INS: 0x88, Data: sent, Ne: 256})
	if err != nil {
		return nil, failed(err)
	}
	signed, err := ParseDynamic(b)
	if err != nil {
		return nil, failed(err)
	}
	n, err := oda.VerifyDynamic(key, signed, sent)
	return n, failed(err)
}

// VerifyCombined is CDA of an answer to GENERATE AC (Book 2, section 6.6.2); sent2
// are the values of CDOL2 where it was the second. It puts the cryptogram that was
// signed into c and returns the ICC dynamic number.
func (a *Application) VerifyCombined(key oda.PublicKey, c *Cryptogram, unpredictable, sent2 []byte) ([]byte, error) {
	if c.Signed == nil {
		return nil, fmt.Errorf("%w: the card did not sign its cryptogram", ErrAuthentication)
	}
	transaction := append(append(append(bytes.Clone(a.options), a.cdol1...), sent2...), c.hashed...)
	signed, err := oda.VerifyCombined(key, c.Signed, unpredictable, transaction)
	if err != nil {
		return nil, failed(err)
	}
	if signed.CID != c.CID || c.AC != nil && !bytes.Equal(c.AC, signed.Cryptogram[:]) {
		return nil, fmt.Errorf("%w: another cryptogram was signed", ErrAuthentication)
	}
	c.AC = bytes.Clone(signed.Cryptogram[:])
	return signed.DynamicNumber, nil
}
