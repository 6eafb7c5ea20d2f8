package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"cardbureau/personalization/store"
)

// Order is how an order stands. Nothing of it is about the person.
type Order struct {
	OrderID    string    `json:"orderId" format:"uuid"`
	RecordID   string    `json:"recordId" format:"uuid" doc:"The record that it came from"`
	Revision   int       `json:"revision" doc:"Of the record"`
	Product    string    `json:"product" doc:"Product profile that the card is made after" example:"identity"`
	State      string    `json:"state" enum:"accepted,conflict,awaiting-decision,awaiting-bank,prepared,released,in-progress,in-doubt,issued,failed,withdrawn,superseded"`
	Reason     string    `json:"reason,omitempty" doc:"Stable code of the last change"`
	CardNumber string    `json:"cardNumber,omitempty" doc:"Only once the card was issued" example:"B7K2M9X4T"`
	CreatedAt  time.Time `json:"createdAt"`
	ChangedAt  time.Time `json:"changedAt"`
}

type orderInput struct {
	ID string `path:"id" doc:"The order, as the answer to its record named it" format:"uuid"`
}

type orderOutput struct{ Body Order }

func (s *Server) orderRoutes() {
	register(s, huma.Operation{
		OperationID: "getOrder", Method: http.MethodGet, Path: "/v1/orders/{id}",
		Summary: "Say how an order stands",
		Tags:    []string{"orders"}, Security: needs(ScopeOrders),
		// An identifier that is none is answered like one that nothing has.
		SkipValidateParams: true,
		Responses: s.responses(map[int]*huma.Response{
			http.StatusOK: {Description: "The order.", Content: jsonContent(s.schemaOf(Order{}))},
		}, 401, 403, 404, 500, 503),
	}, s.getOrder)
}

func (s *Server) getOrder(ctx context.Context, in *orderInput) (*orderOutput, error) {
	const textLength = 36 // RFC 9562 section 4; uuid.Parse knows other forms, too
	id, err := uuid.Parse(in.ID)
	if err != nil || len(in.ID) != textLength {
		return nil, problem(OrderNotFound)
	}
	o, err := s.config.Store.Order(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &orderOutput{Body: Order{
		OrderID: o.ID.String(), RecordID: o.RecordID, Revision: o.Revision, Product: o.Product,
		State: string(o.State), Reason: o.Reason, CreatedAt: o.CreatedAt.UTC(), ChangedAt: o.ChangedAt.UTC(),
	}}
	if o.State == store.OrderIssued {
		out.Body.CardNumber = o.CardNumber
	}
	return out, nil
}
