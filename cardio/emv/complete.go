package emv

import (
	"context"
	"crypto/sha1" //nolint:gosec // TC hash value, Book 2 section 5.4's algorithm 01
	"errors"
	"fmt"
	"log/slog"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Request is what the issuer is asked. It is personal data and prints as nothing.
type Request struct {
	PAN      string
	Sequence byte // PAN sequence number
	AIP      AIP
	ATC      []byte
	ARQC     []byte // 8 bytes
	IAD      []byte // issuer application data
	Sent     []byte // the values of CDOL1
	Data     Data   // all data objects of terminal and card, for field 55
}

// Input is what the ARQC of a CCD card is over (Book 3, annex C): the values of
// CDOL1, AIP, transaction counter, issuer application data.
func (r Request) Input() []byte {
	out := append([]byte{}, r.Sent...)
	return append(append(append(out, r.AIP[:]...), r.ATC...), r.IAD...)
}

// String shows nothing.
func (Request) String() string { return "[authorization request]" }

// GoString shows nothing.
func (Request) GoString() string { return "[authorization request]" }

// Format shows nothing, whatever the verb.
func (Request) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[authorization request]")) }

// LogValue shows nothing.
func (Request) LogValue() slog.Value { return slog.StringValue("[authorization request]") }

// Response is what the issuer answers.
type Response struct {
	ARC                      string // 8A, two characters: 00 approved
	IssuerAuthenticationData []byte // 91, 8 to 16 bytes; nil: none
	Scripts71, Scripts72     [][]byte
}

// Online asks the issuer. ErrOffline, and any other error, is taken for a line
// that is down.
type Online func(ctx context.Context, r Request) (Response, error)

// firstCryptogram is terminal action analysis and the first GENERATE AC.
func (r *run) firstCryptogram(ctx context.Context) error {
	res := r.result
	r.sync()
	want := r.analyze()
	res.note(CheckAnalysis, Passed, "%s", KindName(want))
	switch want {
	case AAC:
		r.arc("Z1")
	case TC:
		r.arc("Y1")
	}
	r.hashTC(TagCDOL1)
	how := r.signed
	if how == SignCDA && want == AAC {
		how = SignNothing
	}
	c, sent, err := r.app.GenerateSigned(ctx, want, how, TagCDOL1, r.term)
	if err != nil {
		return err
	}
	res.TSI.Set(DidCardRisk)
	res.note(CheckFirst, Passed, "%s for %s", KindName(c.Kind()), KindName(want))
	switch how {
	case SignCDA:
		r.checkCombined(&c, nil)
	case SignXDA:
		r.checkExtended(c)
	case SignNothing:
	}
	res.First = c
	r.merge(c)
	r.sent = sent
	return nil
}

// checkCombined verifies CDA and notes what came of it. A card that declines
// need not sign.
func (r *run) checkCombined(c *Cryptogram, sent2 []byte) {
	res := r.result
	if c.Kind() == AAC && c.Signed == nil {
		res.note(CheckCDA, NotDone, "the card declined")
		return
	}
	number, err := r.app.VerifyCombined(*r.key.icc, c, r.term[TagUnpredictable], sent2)
	res.TSI.Set(DidDataAuthentication)
	res.passed(CheckCDA, err, "")
	if err != nil {
		res.TVR.Set(CDAFailed)
		return
	}
	r.term[TagDynamicNumber] = number
}

// merge keeps the cryptogram's data objects for the issuer.
func (r *run) merge(c Cryptogram) {
	r.term[TagCID], r.term[TagATC], r.term[TagCryptogram] = []byte{c.CID}, c.ATC, c.AC
	if c.IAD != nil {
		r.term[TagIAD] = c.IAD
	}
}

func (r *run) arc(code string) {
	r.result.ARC = code
	r.term[TagARC] = []byte(code)
}

// hashTC makes the TC hash value where the list asks for it (Book 3, section
// 9.2.2).
func (r *run) hashTC(dol tlv.Tag) {
	list, err := ParseDOL(r.app.Data[dol])
	if err != nil || !list.Wants(TagTCHash) {
		return
	}
	raw := r.app.Data[TagTDOL]
	if raw == nil {
		raw = r.set.TDOL
		r.result.TVR.Set(DefaultTDOLUsed)
		r.sync()
	}
	if t, err := ParseDOL(raw); err == nil {
		sum := sha1.Sum(t.Fill(r.term, r.app.Data)) //nolint:gosec // as above
		r.term[TagTCHash] = sum[:]
	}
}

// complete is what follows an ARQC: the issuer, its authentication, its scripts,
// and the second GENERATE AC (Book 3, sections 10.9 to 10.11).
func (r *run) complete(ctx context.Context) error {
	res := r.result
	if res.TVR.Has(CDAFailed) && r.signed == SignCDA { // Book 4, section 6.3.2.1: decline at once
		r.arc("Z1")
		return r.second(ctx, AAC, nil)
	}
	response, err := r.ask(ctx, r.sent)
	if err != nil {
		res.note(CheckOnline, Failed, "%s", err.Error())
		want := r.unable()
		if want == TC {
			r.arc("Y3")
		} else {
			r.arc("Z3")
		}
		return r.second(ctx, want, nil)
	}
	return r.answered(ctx, response)
}

// approves: Book 4, annex A6.
func approves(arc string) bool { return arc == "00" || arc == "10" || arc == "11" }

// answered is what follows the issuer's answer to an ARQC.
func (r *run) answered(ctx context.Context, response Response) error {
	res := r.result
	res.Online = true
	r.arc(response.ARC)
	res.note(CheckOnline, Passed, "response code %s", response.ARC)
	if err := r.authenticateIssuer(ctx, response.IssuerAuthenticationData); err != nil {
		return err
	}
	if err := r.scripts(ctx, TagScript1, response.Scripts71, CheckScriptBefore, ScriptFailedBefore); err != nil {
		return err
	}
	want := AAC
	if approves(response.ARC) {
		want = TC
	}
	return r.second(ctx, want, response.Scripts72)
}

func (r *run) ask(ctx context.Context, sent []byte) (Response, error) {
	if r.Terminal.Online == nil {
		return Response{}, ErrOffline
	}
	all := Data{}
	for _, d := range []Data{r.app.Data, r.term} {
		for t, v := range d {
			all[t] = v
		}
	}
	c := r.result.First
	answer, err := r.Terminal.Online(ctx, Request{PAN: r.app.PAN(), Sequence: first(r.app.Data[TagPANSequence]), AIP: r.app.AIP, ATC: c.ATC,
		ARQC: c.AC, IAD: c.IAD, Sent: sent, Data: all})
	if err == nil && len(answer.ARC) != 2 {
		return answer, fmt.Errorf("%w: its response code has %d characters", ErrOffline, len(answer.ARC))
	}
	return answer, err
}

// authenticateIssuer gives the card the issuer's answer: by EXTERNAL AUTHENTICATE
// where the AIP says so, and otherwise in the second GENERATE AC, if CDOL2 asks
// for it (Book 3, section 10.9).
func (r *run) authenticateIssuer(ctx context.Context, data []byte) error {
	res := r.result
	if data == nil {
		res.note(CheckIssuer, NotDone, "the issuer sent nothing for it")
		return nil
	}
	r.term[TagIssuerAuth] = data
	if !r.app.AIP.Has(AIPIssuerAuth) {
		res.note(CheckIssuer, NotDone, "in the second GENERATE AC, if the card asks for it")
		return nil
	}
	err := r.app.ExternalAuthenticate(ctx, data)
	var sw *apdu.StatusError
	if err != nil && !errors.As(err, &sw) {
		return err
	}
	res.TSI.Set(DidIssuerAuth)
	res.passed(CheckIssuer, err, "")
	if err != nil {
		res.TVR.Set(IssuerAuthFailed)
	}
	return nil
}

// second is the second GENERATE AC, and the scripts after it.
func (r *run) second(ctx context.Context, want byte, after [][]byte) error {
	res := r.result
	r.sync()
	r.hashTC(TagCDOL2)
	how := r.signed
	if how == SignCDA && want != TC {
		how = SignNothing
	}
	c, sent, err := r.app.GenerateSigned(ctx, want, how, TagCDOL2, r.term)
	if err != nil {
		return err
	}
	failed := false
	switch how {
	case SignCDA:
		r.checkCombined(&c, sent)
		failed = res.TVR.Has(CDAFailed)
	case SignXDA:
		failed = !r.checkExtendedAgain(c, sent)
	case SignNothing:
	}
	res.Second = &c
	r.merge(c)
	res.Approved = c.Kind() == TC && !failed
	res.note(CheckSecond, Passed, "%s for %s", KindName(c.Kind()), KindName(want))
	return r.scripts(ctx, TagScript2, after, CheckScriptAfter, ScriptFailedAfter)
}
