package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cardbureau/personalization/bank"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/store"
)

// Scopes of the bank's keys.
const (
	ScopeBankAccounts = "bank:accounts" // assign accounts and take them back
	ScopeBankVerify   = "bank:verify"   // verify bindings and cryptograms, match
	ScopeBankStatus   = "bank:status"   // how cards stand, and events
	ScopeBankPAN      = "bank:pan"      // see first six and last four digits of a PAN, beside bank:status
)

// Bank answers the bank; *bank.Service does.
type Bank interface {
	Open(ctx context.Context, compact string) (*bank.Message, error)
	OpenQuery(ctx context.Context, compact string) (bank.Query, error)
	Assign(ctx context.Context, list []bank.Assignment, source string, by store.Actor) ([]bank.Answer, error)
	Withdraw(ctx context.Context, list []bank.Withdrawal, by store.Actor) ([]bank.Answer, error)
	Awaiting(ctx context.Context, after string, limit int) ([]bank.Waiting, error)
	Authorize(ctx context.Context, q bank.Query) (bank.Verdict, error)
	VerifyBinding(ctx context.Context, cose []byte, jws string) (bank.Verified, error)
	Match(ctx context.Context, asker string, token []byte, sequence byte, iban string) (bool, error)
	Status(ctx context.Context, token []byte, sequence byte) (bank.Status, error)
	Masked(ctx context.Context, token []byte, sequence byte) (string, error)
	Binding(ctx context.Context, token []byte, sequence byte) (bank.Bound, error)
	Events(ctx context.Context, after int64, limit int) ([]bank.Event, error)
}

// maxBankBody is the largest body of the bank's, in bytes.
const maxBankBody = 1 << 20

func (s *Server) bankRoutes() {
	ok := func(v any) map[int]*huma.Response {
		return map[int]*huma.Response{http.StatusOK: {Description: "Done.", Content: jsonContent(s.schemaOf(v))}}
	}
	op := func(id, method, path, summary, scope string, body *huma.RequestBody, good any, bad ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"bank"}, Security: needs(scope),
			RequestBody: body, SkipValidateParams: true, Responses: s.responses(ok(good), append(bad, 401, 403, 500, 503)...),
		}
	}
	jwe := s.bodyOf("A compact JWE to the bureau's key for the bank around a compact JWS of the bank.", "application/jose")
	register(s, op("assignAccounts", http.MethodPost, "/v1/bank/assignments", "Give orders their accounts", ScopeBankAccounts, jwe, BankAnswers{}, 400, 408, 413, 415), s.assign)
	register(s, op("withdrawAccounts", http.MethodPost, "/v1/bank/withdrawals", "Take accounts back before their cards are begun", ScopeBankAccounts, jwe, BankAnswers{}, 400, 408, 413, 415), s.withdraw)
	register(s, op("listAwaiting", http.MethodGet, "/v1/bank/awaiting", "List orders that wait for an account", ScopeBankAccounts, nil, WaitingOrders{}, 400), s.awaiting)
	asJSON := func(b *huma.RequestBody, v any) *huma.RequestBody {
		b.Content["application/json"] = &huma.MediaType{Schema: s.schemaOf(v)}
		return b
	}
	register(s, op("verifyCryptogram", http.MethodPost, "/v1/bank/arqc", "Verify an application cryptogram and answer it", ScopeBankVerify,
		asJSON(s.bodyOf("JSON with the PAN's token, or a compact JWE to the bureau's key for the bank with the PAN.", "application/jose"), Cryptogram{}), CryptogramVerdict{}, 400, 408, 413, 415), s.arqc)
	register(s, op("verifyBinding", http.MethodPost, "/v1/bank/bindings:verify", "Verify a binding and say how its card stands", ScopeBankVerify,
		asJSON(s.bodyOf("One of the two forms of a binding."), BindingQuestion{}), bank.Verified{}, 400, 408, 413, 415), s.verifyBinding)
	register(s, op("match", http.MethodPost, "/v1/bank/match", "Say whether a PAN and an IBAN belong together", ScopeBankVerify,
		asJSON(s.bodyOf("A PAN's token and an IBAN."), MatchQuestion{}), MatchAnswer{}, 400, 408, 413, 415, 429), s.match)
	register(s, op("getBankCard", http.MethodGet, "/v1/bank/cards/{token}/{sequence}/status", "Say how a card stands", ScopeBankStatus, nil, bank.Status{}, 404), s.bankCard)
	register(s, op("getBinding", http.MethodGet, "/v1/bank/cards/{token}/{sequence}/binding", "Give a card's binding", ScopeBankVerify, nil, bank.Bound{}, 404), s.binding)
	register(s, op("listBankEvents", http.MethodGet, "/v1/bank/events", "List what became of cards, in order", ScopeBankStatus, nil, BankEvents{}, 400), s.events)
}

// theBank is the service, where this server has one.
func (s *Server) theBank() (Bank, error) {
	if s.config.Bank == nil {
		return nil, problem(Unavailable)
	}
	return s.config.Bank, nil
}

// body reads a bank's body of one of the types.
func (in *bankInput) body(types ...string) (text []byte, kind string, err error) {
	kind, _, err = mime.ParseMediaType(in.r.Header.Get("Content-Type"))
	known := false
	for _, t := range types {
		known = known || t == kind
	}
	if err != nil || !known || in.r.Header.Get("Content-Encoding") != "" {
		return nil, "", problem(BodyType)
	}
	b, err := io.ReadAll(http.MaxBytesReader(in.w, in.r.Body, maxBankBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, "", problem(BodyLarge)
	case err != nil:
		return nil, "", problem(BodyIncomplete)
	}
	return b, kind, nil
}

// decode reads JSON strictly.
func decode(b []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || d.More() {
		return problem(BodyInvalid)
	}
	return nil
}

// messageError maps what is wrong with a message. What the bank's side says of it
// repeats nothing of the message.
func messageError(err error) error {
	code := ""
	switch {
	case errors.Is(err, bank.ErrSignature):
		code = MessageSignature
	case errors.Is(err, bank.ErrAge):
		code = MessageAge
	case errors.Is(err, bank.ErrMessage):
		code = MessageInvalid
	default:
		return err
	}
	p := problem(code)
	if strings.Contains(err.Error(), ": ") {
		p.Detail = sentence(err)
	}
	return p
}

// sentence is an error that repeats nothing as one.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// bodyInvalid says what of a body is not of the form.
func bodyInvalid(detail string) error {
	p := problem(BodyInvalid)
	p.Detail = detail
	return p
}

var badCard = bodyInvalid("panToken has 32 hexadecimal digits, panSequence is a number from 1 to 99.")

func (s *Server) message(ctx context.Context, in *bankInput) (Bank, *bank.Message, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, nil, err
	}
	text, _, err := in.body("application/jose")
	if err != nil {
		return nil, nil, err
	}
	m, err := b.Open(ctx, string(text))
	return b, m, messageError(err)
}

func (s *Server) assign(ctx context.Context, in *bankInput) (*bankAnswers, error) {
	b, m, err := s.message(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(m.Withdrawals) > 0 || len(m.Assignments) == 0 {
		return nil, problem(MessageInvalid)
	}
	out := &bankAnswers{}
	out.Body.Answers, err = b.Assign(ctx, m.Assignments, "api", actorOf(ctx))
	return out, err
}

func (s *Server) withdraw(ctx context.Context, in *bankInput) (*bankAnswers, error) {
	b, m, err := s.message(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(m.Assignments) > 0 || len(m.Withdrawals) == 0 {
		return nil, problem(MessageInvalid)
	}
	out := &bankAnswers{}
	out.Body.Answers, err = b.Withdraw(ctx, m.Withdrawals, actorOf(ctx))
	return out, err
}

func (s *Server) awaiting(ctx context.Context, in *listInput) (*waitingOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	out := &waitingOutput{}
	out.Body.Orders, err = b.Awaiting(ctx, in.After, limit(in.Limit))
	if errors.Is(err, bank.ErrMessage) {
		return nil, problem(BodyInvalid)
	}
	return out, err
}

func limit(n int) int {
	if n < 1 || n > 1000 {
		return 1000
	}
	return n
}

func (s *Server) arqc(ctx context.Context, in *bankInput) (*verdictOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	text, kind, err := in.body("application/json", "application/jose")
	if err != nil {
		return nil, err
	}
	var q bank.Query
	if kind == "application/jose" {
		if q, err = b.OpenQuery(ctx, string(text)); err != nil {
			return nil, messageError(err)
		}
	} else if q, err = query(text); err != nil {
		return nil, err
	}
	v, err := b.Authorize(ctx, q)
	if err != nil {
		return nil, err
	}
	return &verdictOutput{CryptogramVerdict{
		Valid: v.Valid, ResponseCode: v.Code, Counter: v.ATC, Gap: v.Gap, CardState: v.State, IssuerData: strings.ToUpper(hex.EncodeToString(v.IssuerData)),
	}}, nil
}

func query(text []byte) (q bank.Query, err error) {
	var c Cryptogram
	if err := decode(text, &c); err != nil {
		return q, err
	}
	token, err1 := hex.DecodeString(c.PANToken)
	data, err2 := hex.DecodeString(c.Data)
	arqc, err3 := hex.DecodeString(c.ARQC)
	switch {
	case err1 != nil || len(token) != 16 || c.Sequence < 1 || c.Sequence > 99:
		return q, badCard
	case errors.Join(err2, err3) != nil || len(arqc) != 8 || len(data) == 0 || len(data) > 512:
		return q, bodyInvalid("arqc has 16 hexadecimal digits, data 2 to 1024.")
	case c.ATC < 1 || c.ATC > 0xFFFF:
		return q, bodyInvalid("atc is a number from 1 to 65535.")
	}
	return bank.Query{Token: token, Sequence: byte(c.Sequence), ATC: uint16(c.ATC), Data: data, ARQC: arqc}, nil
}

func (s *Server) verifyBinding(ctx context.Context, in *bankInput) (*bindingAnswer, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	text, _, err := in.body("application/json")
	if err != nil {
		return nil, err
	}
	var q BindingQuestion
	if err := decode(text, &q); err != nil {
		return nil, err
	}
	cose, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(q.COSE, "=")))
	if err != nil || (len(cose) == 0) == (q.JWS == "") {
		return nil, bodyInvalid("Give a binding in one form: cose in base64 or base64url, or jws.")
	}
	v, err := b.VerifyBinding(ctx, cose, q.JWS)
	return &bindingAnswer{v}, err
}

func (s *Server) match(ctx context.Context, in *bankInput) (*matchOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	text, _, err := in.body("application/json")
	if err != nil {
		return nil, err
	}
	var q MatchQuestion
	if err := decode(text, &q); err != nil {
		return nil, err
	}
	token, err := hex.DecodeString(q.PANToken)
	if err != nil || len(token) != 16 || q.Sequence < 1 || q.Sequence > 99 {
		return nil, badCard
	}
	if err := payment.CheckIBAN(q.IBAN, ""); err != nil {
		return nil, bodyInvalid(sentence(err))
	}
	out := &matchOutput{}
	out.Body.Match, err = b.Match(ctx, actorOf(ctx).ID.String(), token, byte(q.Sequence), q.IBAN)
	var quota *store.ErrQuota
	if errors.As(err, &quota) {
		p := problem(Quota)
		p.header.Set("Retry-After", strconv.Itoa(max(1, int(time.Until(quota.Free).Seconds()))))
		return nil, p
	}
	return out, err
}

// card reads what a path names.
func (in *cardInput) card() (token []byte, sequence byte, err error) {
	token, err = hex.DecodeString(in.Token)
	n, nerr := strconv.Atoi(in.Sequence)
	if err != nil || nerr != nil || len(token) != 16 || n < 1 || n > 99 {
		return nil, 0, problem(CardNotFound)
	}
	return token, byte(n), nil
}

func cardError(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return problem(CardNotFound)
	}
	return err
}

func (s *Server) bankCard(ctx context.Context, in *cardInput) (*statusOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	token, sequence, err := in.card()
	if err != nil {
		return nil, err
	}
	v, err := b.Status(ctx, token, sequence)
	if err == nil && mayAlso(ctx, ScopeBankPAN) {
		v.PAN, err = b.Masked(ctx, token, sequence)
	}
	return &statusOutput{v}, cardError(err)
}

func (s *Server) binding(ctx context.Context, in *cardInput) (*boundOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	token, sequence, err := in.card()
	if err != nil {
		return nil, err
	}
	v, err := b.Binding(ctx, token, sequence)
	return &boundOutput{v}, cardError(err)
}

func (s *Server) events(ctx context.Context, in *listInput) (*eventsOutput, error) {
	b, err := s.theBank()
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if in.After != "" {
		if after, err = strconv.ParseInt(in.After, 10, 64); err != nil || after < 0 {
			return nil, problem(BodyInvalid)
		}
	}
	out := &eventsOutput{}
	out.Body.Events, err = b.Events(ctx, after, limit(in.Limit))
	return out, err
}
