package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"

	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
	"cardbureau/personalization/store"
)

// problemType is what a problem's type begins with; its code follows.
const problemType = "urn:cardbureau:problem:"

// Codes of problems that the API itself raises. Refusals of records have the
// codes of package record.
const (
	Unauthorized     = "unauthorized"
	ScopeMissing     = "scope-missing"
	NotFound         = "not-found"
	OrderNotFound    = "order-not-found"
	MethodNotAllowed = "method-not-allowed"
	RequestTimeout   = "request-timeout"
	BodyIncomplete   = "body-incomplete"
	BodyType         = "unsupported-media-type"
	Busy             = "busy"
	ShuttingDown     = "shutting-down"
	Unavailable      = "unavailable"
	Internal         = "internal-error"
	BodyInvalid      = "body-invalid"
	BodyLarge        = "body-too-large"
	MessageInvalid   = "message-invalid"
	MessageSignature = "message-signature"
	MessageAge       = "message-age"
	CardNotFound     = "card-not-found"
	Quota            = "asked-too-often"
	NoticeInvalid    = "notice-invalid"
	NoticeSignature  = "notice-signature"
	NoticeDiffers    = "notice-differs"
	OperatorUnknown  = "operator-unknown"
)

// Classes is every problem that is not about a record, with its HTTP status.
var Classes = []record.CodeInfo{
	{Code: Unauthorized, Status: http.StatusUnauthorized, Sentence: "This needs a bearer key that the bureau knows."},
	{Code: ScopeMissing, Status: http.StatusForbidden, Sentence: "The key's scopes do not allow this."},
	{Code: NotFound, Status: http.StatusNotFound, Sentence: "There is nothing at this address."},
	{Code: OrderNotFound, Status: http.StatusNotFound, Sentence: "The bureau has no order with this identifier."},
	{Code: MethodNotAllowed, Status: http.StatusMethodNotAllowed, Sentence: "This address does not take this method; the header Allow names those that it takes."},
	{Code: RequestTimeout, Status: http.StatusRequestTimeout, Sentence: "The request's body came too slowly. Send it again."},
	{Code: BodyIncomplete, Status: http.StatusBadRequest, Sentence: "The request's body ended early or could not be read. Send it again."},
	{Code: BodyType, Status: http.StatusUnsupportedMediaType, Sentence: "The body's content type or coding is not one that this address takes."},
	{Code: Busy, Status: http.StatusServiceUnavailable, Sentence: "The bureau works on as many requests as it can. Send this one again later."},
	{Code: ShuttingDown, Status: http.StatusServiceUnavailable, Sentence: "The bureau is shutting down. Send what it did not answer again later."},
	{Code: Unavailable, Status: http.StatusServiceUnavailable, Sentence: "The bureau's database or keys cannot be reached. Send what it did not answer again later."},
	{Code: BodyInvalid, Status: http.StatusBadRequest, Sentence: "The request is not of the form that this address takes."},
	{Code: BodyLarge, Status: http.StatusRequestEntityTooLarge, Sentence: "The body is larger than this address takes: send it in parts."},
	{Code: MessageInvalid, Status: http.StatusBadRequest, Sentence: "The message cannot be read: it must be a JWE to the bureau's key for the bank, around what this address takes."},
	{Code: MessageSignature, Status: http.StatusForbidden, Sentence: "The message is not signed with a key of the bank that the bureau knows."},
	{Code: MessageAge, Status: http.StatusBadRequest, Sentence: "The message was issued more than a day ago, or in the future. Sign it anew."},
	{Code: CardNotFound, Status: http.StatusNotFound, Sentence: "The bureau has issued no card with this PAN token and sequence number."},
	{Code: Quota, Status: http.StatusTooManyRequests, Sentence: "This was asked too often. The header Retry-After says when it may be asked again."},
	{Code: NoticeInvalid, Status: http.StatusBadRequest, Sentence: "The notice cannot be read: it must be a compact JWS with ES256 and the type operator-notice+jws, of the operator in the address."},
	{Code: NoticeSignature, Status: http.StatusForbidden, Sentence: "The notice is not signed with a key of the operator that the bureau knows."},
	{Code: NoticeDiffers, Status: http.StatusConflict, Sentence: "Another notice was sent under this identifier before."},
	{Code: OperatorUnknown, Status: http.StatusNotFound, Sentence: "The bureau does not pair SIMs of this operator."},
	{Code: Internal, Status: http.StatusInternalServerError, Sentence: "The bureau failed to answer; its log says why. Sending the same again does no harm."},
}

// codes is every code that an answer can carry: refusals and Classes.
var codes = func() map[string]record.CodeInfo {
	m := map[string]record.CodeInfo{}
	for _, c := range slices.Concat(record.Codes, Classes) {
		m[c.Code] = c
	}
	return m
}()

// retryAfter is how many seconds a client should wait after a 503.
const retryAfter = "5"

// Problem is the body of every answer that is no success (RFC 9457).
type Problem struct {
	Type     string `json:"type" format:"uri" doc:"urn:cardbureau:problem: and the code" example:"urn:cardbureau:problem:record-expired"`
	Title    string `json:"title" doc:"What the code means; the same for every occurrence"`
	Status   int    `json:"status" doc:"HTTP status" example:"422"`
	Detail   string `json:"detail" doc:"One sentence about this occurrence; never holds a value of a record"`
	Code     string `json:"code" doc:"Stable code, see docs/api.md" example:"record-expired"`
	RecordID string `json:"recordId,omitempty" format:"uuid" doc:"The record, as far as it could be read"`
	Instance string `json:"instance,omitempty" format:"uri" doc:"Names this occurrence in the bureau's log; only where the bureau is at fault"`

	header http.Header
	cause  error // for the log
}

// Error is the problem's code and detail.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Unwrap is what the bureau's own log says of the cause, if anything.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType is the content type of RFC 9457.
func (p *Problem) ContentType(string) string { return problemJSON }

const problemJSON = "application/problem+json"

// problem makes the problem of a code.
func problem(code string) *Problem {
	c, ok := codes[code]
	if !ok {
		c = record.Describe(code)
	}
	p := &Problem{Type: problemType + code, Title: c.Sentence, Status: c.Status, Detail: c.Sentence, Code: code, header: http.Header{}}
	if p.Status == http.StatusServiceUnavailable {
		p.header.Set("Retry-After", retryAfter)
	}
	return p
}

func (p *Problem) because(err error) *Problem {
	p.cause = err
	return p
}

// refusal makes the problem of a record that was refused.
func refusal(a intake.Answer) *Problem {
	p := problem(a.Code)
	p.RecordID = a.RecordID
	if a.Detail != "" {
		p.Detail = a.Detail
	}
	if a.HTTPStatus != 0 {
		p.Status = a.HTTPStatus
	}
	return p
}

// problemOf maps an error to its problem. Whatever is not known to be the
// sender's fault is the bureau's, and says nothing of itself to the sender.
func problemOf(err error) *Problem {
	var (
		p   *Problem
		ref *record.Refusal
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ref):
		return refusal(intake.Answer{Code: ref.Code, RecordID: ref.RecordID, Detail: ref.Sentence()})
	case errors.Is(err, store.ErrNotFound):
		return problem(OrderNotFound)
	default:
		return problem(Unavailable).because(err)
	}
}

// bodyError maps a failure to read a request's body.
func bodyError(err error) *Problem {
	var (
		p        *Problem
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return problem(record.LineTooLong)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(RequestTimeout)
	default: // the connection broke, or the coding is wrong
		return problem(BodyIncomplete)
	}
}

// write sends the problem outside of huma.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	for k, v := range p.header {
		h[k] = v
	}
	h.Set("Content-Type", problemJSON)
	w.WriteHeader(p.Status)
	encode(w, p) // a client that is gone cannot be told
}

// encode writes one value as one line of JSON.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
