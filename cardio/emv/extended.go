package emv

import (
	"context"
	"fmt"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/xda"
	"cardbureau/cardio/tlv"
)

// ECCCAKeys finds a certification authority's key of elliptic curves by the
// application's RID, 5 bytes, and the card's index (tag 8F). Keys of RSA and of
// elliptic curves have their indexes apart.
type ECCCAKeys func(rid []byte, index byte) (ecsdsa.PublicKey, bool)

// CertifiedCardData is the issuer certified card data, which XDA authenticates
// (EMV 4.4 Book 3, section 10.3): the signed records in the AFL's order, then as
// data objects the AIP, the application identifier of the terminal, which is the
// name that was selected (Book 1, section 12.4), and the PDOL if the card has one.
func (a *Application) CertifiedCardData() ([]byte, error) {
	out, err := a.signedRecords()
	if err != nil {
		return nil, err
	}
	out = tlv.Append(out, TagAIP, a.AIP[:])
	out = tlv.Append(out, TagTerminalAID, a.FCI.Name)
	if a.FCI.PDOL != nil {
		out = tlv.Append(out, TagPDOL, a.FCI.PDOL)
	}
	return out, nil
}

// authority finds the certification authority that the card names (EMV 4.4 Book 2,
// section 12.2). ErrAuthority, or ErrMissing where the card names none.
func (a *Application) authority(ca ECCCAKeys) (xda.Authority, error) {
	if err := a.need(TagCAIndex); err != nil {
		return xda.Authority{}, err
	}
	out := xda.Authority{RID: a.FCI.Name[:5], Index: a.Data[TagCAIndex][0]}
	ok := ca != nil
	if ok {
		out.Key, ok = ca(out.RID, out.Index)
	}
	if !ok {
		return out, unknownAuthority(out.RID, out.Index)
	}
	return out, nil
}

// recoverECC recovers the card's key under an authority's (sections 12.3 and 12.4).
func (a *Application) recoverECC(ca xda.Authority, at time.Time) (ecsdsa.PublicKey, error) {
	var none ecsdsa.PublicKey
	if err := a.need(TagIssuerCert, TagICCCert); err != nil {
		return none, err
	}
	issuer, err := xda.RecoverIssuer(ca, a.PAN(), a.Data[TagIssuerCert], at)
	if err != nil {
		return none, failed(err)
	}
	data, err := a.CertifiedCardData()
	if err != nil {
		return none, err
	}
	key, err := xda.RecoverICC(issuer, data, a.Data[TagICCCert], at)
	return key, failed(err)
}

// ECCKey recovers the card's public key of elliptic curves (EMV 4.4 Book 2,
// sections 12.2 to 12.4). With it, VerifyExtended checks what the card signs.
func (a *Application) ECCKey(ca ECCCAKeys, at time.Time) (ecsdsa.PublicKey, error) {
	authority, err := a.authority(ca)
	if err != nil {
		return ecsdsa.PublicKey{}, err
	}
	return a.recoverECC(authority, at)
}

// VerifyExtended is XDA of an answer to GENERATE AC (EMV 4.4 Book 2, section
// 12.5.3); sent2 are the values of CDOL2 where it was the second, nil where it was
// the first.
func (a *Application) VerifyExtended(key ecsdsa.PublicKey, c Cryptogram, sent2 []byte) error {
	if c.Signed == nil {
		return fmt.Errorf("%w: the card did not sign its cryptogram", ErrAuthentication)
	}
	data := [][]byte{a.options, a.cdol1, c.hashed}
	if sent2 != nil {
		data = [][]byte{sent2, c.hashed}
	}
	return failed(xda.VerifyDynamic(key, c.Signed, data...))
}

// extended is how XDA stands in a transaction.
type extended struct {
	key ecsdsa.PublicKey
	err error // why it has failed
}

// beginExtended selects XDA, finds the authority's key and recovers the card's.
// That the recovery failed is not to be seen in the TVR before the first GENERATE
// AC, a missing key of the authority is (Book 4, section 6.3.2.2).
func (r *run) beginExtended() {
	res, x := r.result, &r.extended
	r.signed = SignXDA
	res.TVR.Set(XDASelected)
	authority, err := r.app.authority(r.ECCKeys)
	if err != nil {
		x.err = err
		res.TVR.Set(ECCKeyMissing)
	} else {
		x.key, x.err = r.app.recoverECC(authority, r.at)
	}
	r.missing(r.app.need(TagCAIndex, TagIssuerCert, TagICCCert)) // whatever else failed (Book 3, table 35)
	if x.err != nil {
		res.note(CheckXDA, Failed, "%s", x.err.Error())
	}
}

// checkExtended verifies XDA of the first cryptogram and notes what came of it. A
// card that declines signs too, and nobody verifies it (Book 2, section 12.5.1).
func (r *run) checkExtended(c Cryptogram) {
	res, x := r.result, &r.extended
	res.TSI.Set(DidDataAuthentication)
	switch {
	case res.TVR.Has(ECCKeyMissing):
	case x.err != nil:
		res.TVR.Set(ECCRecoveryFailed)
	case c.Kind() == AAC:
		res.note(CheckXDA, NotDone, "the card declined")
	default:
		if x.err = r.app.VerifyExtended(x.key, c, nil); x.err != nil {
			res.TVR.Set(XDAFailed)
		}
		res.passed(CheckXDA, x.err, "")
	}
}

// checkExtendedAgain verifies XDA of the second cryptogram, unless it has failed at
// the first: the issuer has then approved knowing it (Book 4, section 6.3.2.2.4).
func (r *run) checkExtendedAgain(c Cryptogram, sent []byte) bool {
	if r.extended.err != nil || c.Kind() == AAC {
		return true
	}
	err := r.app.VerifyExtended(r.extended.key, c, sent)
	if err != nil {
		r.result.TVR.Set(XDAFailed)
	}
	r.result.passed(CheckXDA, err, "")
	return err == nil
}

// completeUnproven ends a transaction whose XDA failed and in which the card did
// not decline (Book 4, section 6.3.2.2.4): the denial codes decide again, now that
// the TVR says what failed; where they let it pass, the issuer alone can approve.
func (r *run) completeUnproven(ctx context.Context) error {
	kind := r.result.First.Kind()
	decline := func(arc string) error {
		r.arc(arc)
		if kind == TC { // there is no second GENERATE AC after a TC
			return nil
		}
		return r.second(ctx, AAC, nil)
	}
	if r.denied() {
		return decline("Z1")
	}
	if !r.onlineCapable() {
		return decline("Z3")
	}
	response, err := r.ask(ctx, r.sent)
	if err != nil {
		r.result.note(CheckOnline, Failed, "%s", err.Error())
		return decline("Z3")
	}
	if kind == ARQC {
		return r.answered(ctx, response)
	}
	r.result.Online = true
	r.arc(response.ARC)
	r.result.note(CheckOnline, Passed, "response code %s", response.ARC)
	r.result.Approved = approves(response.ARC)
	return nil
}
