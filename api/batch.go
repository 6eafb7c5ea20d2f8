package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cardbureau/personalization/intake"
)

// Line is the answer to one line of a stream of records.
type Line struct {
	Line     int    `json:"line" minimum:"1" doc:"Number of the line, from 1, empty lines counted"`
	RecordID string `json:"recordId,omitempty" format:"uuid" doc:"The record, as far as it could be read"`
	Status   string `json:"status" enum:"accepted,already-known,replaced,conflict,refused,failed" doc:"failed ends the answer: this line and all after it may not be in and should be sent again"`
	Code     string `json:"code,omitempty" doc:"Stable code of a refusal or failure, see docs/api.md"`
	Detail   string `json:"detail,omitempty" doc:"One sentence of a refusal or failure"`
	OrderID  string `json:"orderId,omitempty" format:"uuid"`
	State    string `json:"state,omitempty" doc:"Where the order stands"`
}

func lineOf(a intake.Answer) Line {
	return Line{Line: a.Line, RecordID: a.RecordID, Status: a.Status, Code: a.Code, Detail: a.Detail, OrderID: a.OrderID, State: a.State}
}

func (s *Server) batchRoute() {
	register(s, huma.Operation{
		OperationID: "postRecords", Method: http.MethodPost, Path: "/v1/records:batch",
		Summary: "Take a stream of signed records in",
		Description: "One compact JWS or JWE a line, without quotes; one line of JSON for each comes back, in order, while the rest is still being sent. " +
			"Read the answers while sending: a client that does not will be waited for, and then cut off. Empty lines get no answer. " +
			"An over-long line is refused and the next one is read as if nothing had been. When the bureau cannot go on, the last answer has the status failed and names the first line that was not taken in; " +
			"when it cannot begin, the answer is a problem.",
		Tags: []string{"records"}, Security: needs(ScopeRecords),
		RequestBody: s.bodyOf("Lines, each one compact JWS or JWE.", typeNDJSON, typeJOSESeq, typeText),
		Responses: s.responses(map[int]*huma.Response{
			http.StatusOK: {Description: "One line a record; the schema is that of a line.", Content: map[string]*huma.MediaType{typeNDJSON: {Schema: s.schemaOf(Line{})}}},
		}, 400, 401, 403, 408, 415, 500, 503),
	}, s.postRecords)
}

type batchInput struct{ exchange }

func (s *Server) postRecords(ctx context.Context, in *batchInput) (*huma.StreamResponse, error) {
	if err := checkMedia(in.r, typeNDJSON, typeJOSESeq, typeText); err != nil {
		return nil, err
	}
	select {
	case s.batches <- struct{}{}:
	default:
		return nil, problem(Busy)
	}
	return &huma.StreamResponse{Body: func(huma.Context) {
		defer func() { <-s.batches }()
		s.stream(ctx, in.w, in.r)
	}}, nil
}

// stream answers lines while they come in.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	// net/http cancels a request's context when reading its body fails. What was
	// read by then is taken in and answered all the same; the body's error ends it.
	working, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	rc := http.NewResponseController(w)
	// Without these the body would have to be complete before the first answer,
	// and all of it within the time for one record. A writer that knows none of
	// them (a test's recorder) needs none.
	_ = rc.EnableFullDuplex()
	_ = rc.SetWriteDeadline(time.Time{})
	if r.ProtoMajor == 1 {
		// net/http would take what is left of a body that was given up for the
		// next request.
		w.Header().Set("Connection", "close")
	}
	stalled := time.AfterFunc(s.limits.StallTime, func() { cancel(errStalled) })
	defer stalled.Stop()
	moved := func() { stalled.Reset(s.limits.StallTime) }

	body := &pacedBody{r: r.Body, rc: rc, each: s.limits.LineTime, most: s.limits.MaxLine, moved: moved}
	body.refill()
	defer body.stop(errAnswered)
	undrain := context.AfterFunc(s.draining, func() { body.stop(problem(ShuttingDown)) })
	defer undrain()

	out := &lineWriter{w: w, rc: rc, timeout: s.limits.WriteTimeout}
	err := s.config.Intake.AcceptAll(working, body, s.limits.MaxLine, actorOf(ctx), func(a intake.Answer) error {
		moved()
		s.metrics.record(a.Status, a.Code)
		return out.write(lineOf(a))
	})
	if err == nil {
		if out.last == 0 {
			out.begin() // nothing to answer is an answer, too
		}
		return
	}
	if cause := context.Cause(working); errors.Is(cause, errStalled) {
		err = cause
	}
	s.fail(ctx, out, body, err)
	closeGently(w)
}

var errStalled = errors.New("api: nothing moved for too long while records were taken in")

// fail ends a stream that could not be taken in to its end.
func (s *Server) fail(ctx context.Context, out *lineWriter, body *pacedBody, err error) {
	if out.err != nil {
		panic(http.ErrAbortHandler) // the client no longer listens
	}
	p := body.problem()
	if p == nil {
		p = problemOf(err)
	}
	s.explain(ctx, p)
	s.metrics.record(intake.Failed, p.Code)
	if out.last == 0 {
		p.write(out.w)
		return
	}
	next := out.last + 1
	_ = out.write(Line{Line: next, Status: intake.Failed, Code: p.Code,
		Detail: fmt.Sprintf("%s Line %d is the first that is not known to be in.", p.Title, next)})
}

// lineWriter writes answers and remembers how far it came.
type lineWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	begun   bool
	last    int   // line answered last
	err     error // of writing
}

func (o *lineWriter) begin() {
	if !o.begun {
		o.begun = true
		o.w.Header().Set("Content-Type", typeNDJSON)
		o.w.WriteHeader(http.StatusOK)
	}
}

func (o *lineWriter) write(l Line) error {
	_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout))
	o.begin()
	o.err = encode(o.w, l)
	if o.err == nil {
		if o.err = o.rc.Flush(); errors.Is(o.err, http.ErrNotSupported) {
			o.err = nil
		}
	}
	_ = o.rc.SetWriteDeadline(time.Time{})
	if o.err == nil {
		o.last = l.Line
	}
	return o.err
}
