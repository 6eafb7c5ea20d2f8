package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cardbureau/personalization/intake"
)

// Content types that carry records.
const (
	typeJOSE    = "application/jose"     // RFC 7515 section 9.2.1: one compact serialization
	typeText    = "text/plain"           // the same, or lines of them
	typeNDJSON  = "application/x-ndjson" // lines
	typeJOSESeq = "application/jose-seq" // lines
)

// Receipt is the answer to a record that is in.
type Receipt struct {
	RecordID string `json:"recordId" format:"uuid"`
	Status   string `json:"status" enum:"accepted,already-known,replaced,conflict" doc:"accepted; already-known: the same record came before; replaced: in place of a lower revision; conflict: kept until people have compared it with what is known of the person"`
	OrderID  string `json:"orderId,omitempty" format:"uuid" doc:"The order for the card"`
	State    string `json:"state,omitempty" doc:"Where the order stands" example:"accepted"`
}

type recordInput struct{ exchange }

type recordOutput struct {
	Status   int
	Location string `header:"Location" doc:"Address of the order"`
	Body     Receipt
}

func (s *Server) recordRoutes() {
	receipt := s.schemaOf(Receipt{})
	register(s, huma.Operation{
		OperationID: "postRecord", Method: http.MethodPost, Path: "/v1/records",
		Summary:     "Take one signed record in",
		Description: "Idempotent: the same record again is answered with 200 and already-known.",
		Tags:        []string{"records"}, Security: needs(ScopeRecords),
		RequestBody: s.bodyOf("One compact JWS, or one compact JWE around it.", typeJOSE, typeText),
		Responses: s.responses(map[int]*huma.Response{
			http.StatusCreated: {Description: "The record is in.", Content: jsonContent(receipt),
				Headers: map[string]*huma.Param{"Location": {Description: "Address of the order.", Schema: &huma.Schema{Type: huma.TypeString, Format: "uri-reference"}}}},
			http.StatusOK: {Description: "The record was in before.", Content: jsonContent(receipt),
				Headers: map[string]*huma.Param{"Location": {Description: "Address of the order.", Schema: &huma.Schema{Type: huma.TypeString, Format: "uri-reference"}}}},
		}, 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503),
		DefaultStatus: http.StatusCreated,
	}, s.postRecord)
	s.batchRoute()
}

func (s *Server) postRecord(ctx context.Context, in *recordInput) (*recordOutput, error) {
	if err := checkMedia(in.r, typeJOSE, typeText); err != nil {
		return nil, err
	}
	signed, err := s.readRecord(in.w, in.r)
	if err != nil {
		return nil, err
	}
	a, err := s.config.Intake.AcceptOne(ctx, signed, actorOf(ctx))
	if err != nil {
		s.metrics.record(intake.Failed, Unavailable)
		return nil, err
	}
	s.metrics.record(a.Status, a.Code)
	if !a.OK() {
		return nil, refusal(a)
	}
	out := &recordOutput{Status: a.HTTPStatus, Body: Receipt{RecordID: a.RecordID, Status: a.Status, OrderID: a.OrderID, State: a.State}}
	if a.OrderID != "" {
		out.Location = "/v1/orders/" + a.OrderID
	}
	return out, nil
}

// readRecord reads a body of one record. The server's ReadTimeout bounds how
// long that takes.
func (s *Server) readRecord(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	const lineEnd = 2
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.limits.MaxLine+lineEnd)))
	if err != nil {
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // what is left of the body must not be read as a request
		}
		closeGently(w)
		return nil, bodyError(err)
	}
	// The deadline is for the body: net/http goes on reading to notice a client
	// that leaves.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// checkMedia refuses a body that is of none of the types, or compressed.
func checkMedia(r *http.Request, types ...string) error {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	coding := r.Header.Get("Content-Encoding")
	if err == nil && slices.Contains(types, t) && (coding == "" || strings.EqualFold(coding, "identity")) {
		return nil
	}
	p := problem(BodyType)
	p.Detail = "Send the body as " + strings.Join(types, " or ") + ", without content coding."
	p.header.Set("Accept", strings.Join(types, ", "))
	return p
}
