package api

// What goes over the wire between the bank and the bureau.

import (
	"cardbureau/personalization/bank"
)

// bankInput is a body that the handler reads by itself.
type bankInput struct{ exchange }

// BankAnswers is what became of each assignment or withdrawal.
type BankAnswers struct {
	Answers []bank.Answer `json:"answers" nullable:"false"`
}

type bankAnswers struct{ Body BankAnswers }

// Cryptogram asks about an application cryptogram by the PAN's token. A question by
// the PAN itself travels as a JWE.
type Cryptogram struct {
	PANToken string `json:"panToken" doc:"32 hexadecimal digits"`
	Sequence int    `json:"panSequence"`
	ATC      int    `json:"atc"`
	Data     string `json:"data" doc:"Hexadecimal: the values of CDOL1, AIP, ATC, issuer application data"`
	ARQC     string `json:"arqc" doc:"16 hexadecimal digits"`
}

// CryptogramVerdict is the answer.
type CryptogramVerdict struct {
	Valid        bool   `json:"valid" doc:"The cryptogram is the card's, and was not used in another transaction"`
	ResponseCode string `json:"responseCode" doc:"ISO 8583 field 39, as far as the card goes: the money is the bank's" example:"00"`
	Counter      string `json:"counter,omitempty" enum:"fresh,repeat,replay" doc:"What the transaction counter says"`
	Gap          int    `json:"gap,omitempty" doc:"How far the counter is above the highest one seen"`
	CardState    string `json:"cardState,omitempty" enum:"made,active,suspended,revoked"`
	IssuerData   string `json:"issuerAuthenticationData,omitempty" doc:"Hexadecimal, tag 91: ARPC and card status update or response code"`
}

type verdictOutput struct{ Body CryptogramVerdict }

// MatchQuestion asks whether a PAN and an IBAN belong together.
type MatchQuestion struct {
	PANToken string `json:"panToken"`
	Sequence int    `json:"panSequence"`
	IBAN     string `json:"iban"`
}

// MatchAnswer says yes or no.
type MatchAnswer struct {
	Match bool `json:"match"`
}

type matchOutput struct{ Body MatchAnswer }

// BindingQuestion holds a binding in one of its forms.
type BindingQuestion struct {
	COSE string `json:"cose,omitempty" doc:"base64url"`
	JWS  string `json:"jws,omitempty"`
}

type bindingAnswer struct{ Body bank.Verified }

type cardInput struct {
	Token    string `path:"token" doc:"PAN token, 32 hexadecimal digits"`
	Sequence string `path:"sequence" doc:"PAN sequence number"`
}

type statusOutput struct{ Body bank.Status }

type boundOutput struct{ Body bank.Bound }

type listInput struct {
	After string `query:"after" doc:"Where the last answer ended"`
	Limit int    `query:"limit" doc:"At most 1000"`
}

// WaitingOrders are orders without an account.
type WaitingOrders struct {
	Orders []bank.Waiting `json:"orders" nullable:"false"`
}

type waitingOutput struct{ Body WaitingOrders }

// BankEvents are what became of cards, oldest first.
type BankEvents struct {
	Events []bank.Event `json:"events" nullable:"false"`
}

type eventsOutput struct{ Body BankEvents }
