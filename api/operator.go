package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
)

// ScopeOperator lets a SIM operator send its notices.
const ScopeOperator = "operator:callbacks"

// Operators takes operators' notices; *pairing.Service does.
type Operators interface {
	Take(ctx context.Context, operator string, compact []byte, by store.Actor) (pairing.NoticeAnswer, error)
}

type operatorInput struct {
	bankInput
	Operator string `path:"operator" doc:"MCC and MNC" example:"43211"`
}

type operatorOutput struct{ Body pairing.NoticeAnswer }

func (s *Server) operatorRoutes() {
	register(s, huma.Operation{
		OperationID: "operatorCallback", Method: http.MethodPost, Path: "/v1/operators/{operator}/callbacks", Tags: []string{"operators"},
		Summary: "Take an operator's notice about a subscription", Security: needs(ScopeOperator), SkipValidateParams: true,
		RequestBody: s.bodyOf("A compact JWS of the operator. The same one again gets the same answer.", "application/jose"),
		Responses: s.responses(map[int]*huma.Response{http.StatusOK: {Description: "What became of it.", Content: jsonContent(s.schemaOf(pairing.NoticeAnswer{}))}},
			400, 401, 403, 404, 408, 409, 413, 415, 500, 503),
	}, s.operatorCallback)
}

func (s *Server) operatorCallback(ctx context.Context, in *operatorInput) (*operatorOutput, error) {
	if s.config.Operators == nil {
		return nil, problem(Unavailable)
	}
	text, _, err := in.body("application/jose")
	if err != nil {
		return nil, err
	}
	answer, err := s.config.Operators.Take(ctx, in.Operator, text, actorOf(ctx))
	return &operatorOutput{answer}, noticeError(err)
}

// noticeError maps what is wrong with a notice.
func noticeError(err error) error {
	switch {
	case errors.Is(err, pairing.ErrNoOperator):
		return problem(OperatorUnknown)
	case errors.Is(err, pairing.ErrNoticeSignature):
		return problem(NoticeSignature)
	case errors.Is(err, pairing.ErrNoticeAge):
		return problem(MessageAge)
	case errors.Is(err, pairing.ErrNoticeDiffers):
		return problem(NoticeDiffers)
	case errors.Is(err, pairing.ErrNotice):
		return problem(NoticeInvalid)
	}
	return err
}
