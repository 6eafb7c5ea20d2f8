package pairing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/custody"
	"cardbureau/personalization/store"
)

// Errors of the plan of operators.
var (
	ErrPlan   = errors.New("the plan of operators cannot be used")
	ErrNoPlan = errors.New("no plan of operators is in force: have two custodians sign one and take it in")
	ErrPrefix = errors.New("the number is not of a prefix that is set aside for the operator")
)

// Plan says which operators SIMs are paired with, which numbers are set aside for
// that, and by which keys operators sign their notices. It is a document that two
// custodians sign (package custody), with a serial number that grows: an older one
// never comes back.
type Plan struct {
	Serial    int64                   `json:"serial"`
	NotBefore time.Time               `json:"notBefore"`
	NotAfter  time.Time               `json:"notAfter"`
	Operators map[string]PlanOperator `json:"operators"` // by MCC and MNC
}

// PlanOperator is one operator's part of a plan.
type PlanOperator struct {
	Prefixes []string          `json:"prefixes"` // "+98910"; at least one
	Keys     []jose.JSONWebKey `json:"keys"`     // public, P-256, each with a kid; none: no notices are taken
}

// OpenPlan reads a plan. With custodians two of them must have signed it; without,
// in development, nobody signs and it is the bare JSON. Whether it is in force is
// asked of the plan.
func OpenPlan(document []byte, custodians []jose.JSONWebKey) (*Plan, error) {
	payload := document
	if len(custodians) > 0 {
		var err error
		if payload, err = custody.Open("plan of operators", document, custodians); err != nil {
			return nil, err
		}
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var p Plan
	if err := d.Decode(&p); err != nil || d.More() {
		return nil, fmt.Errorf("%w: it is not the JSON of one", ErrPlan)
	}
	return &p, p.check()
}

func (p *Plan) check() error {
	if p.Serial < 1 || p.NotBefore.IsZero() || !p.NotBefore.Before(p.NotAfter) || len(p.Operators) == 0 {
		return fmt.Errorf("%w: serial, notBefore, notAfter and operators must be given", ErrPlan)
	}
	for code, o := range p.Operators {
		if !IsOperator(code) || len(o.Prefixes) == 0 {
			return fmt.Errorf("%w: operator %q needs a code of MCC and MNC, and prefixes", ErrPlan, code)
		}
		for _, prefix := range o.Prefixes {
			if len(prefix) < 6 || len(prefix) > 13 || !strings.HasPrefix(prefix, "+989") || !decimal(prefix[1:]) {
				return fmt.Errorf("%w: %q is no prefix of numbers (+98910)", ErrPlan, prefix)
			}
		}
		for _, k := range o.Keys {
			key, ok := k.Key.(*ecdsa.PublicKey)
			if !ok || key.Curve != elliptic.P256() || k.KeyID == "" {
				return fmt.Errorf("%w: keys of operator %s must be public, on P-256, with a kid", ErrPlan, code)
			}
		}
	}
	return nil
}

// At reports whether the plan is in force.
func (p *Plan) At(now time.Time) error {
	if now.Before(p.NotBefore) || now.After(p.NotAfter) {
		return fmt.Errorf("%w: plan %d is valid from %s to %s", ErrNoPlan, p.Serial, p.NotBefore.Format(time.DateOnly), p.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// Allows checks that a number is set aside for an operator: ErrNoOperator, ErrPrefix.
func (p *Plan) Allows(operator string, n MSISDN) error {
	o, ok := p.Operators[operator]
	if !ok {
		return ErrNoOperator
	}
	for _, prefix := range o.Prefixes {
		if strings.HasPrefix(n.Digits(), prefix) {
			return nil
		}
	}
	return ErrPrefix
}

// TakePlan checks a plan and stores it, unless a newer one is there; store.ErrStale
// then.
func (s *Service) TakePlan(ctx context.Context, document []byte, by store.Actor) (*Plan, error) {
	p, err := OpenPlan(document, s.Custodians)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(document)
	return p, s.Store.AddNumberPlan(ctx, p.Serial, digest[:], document, by)
}

// plan is the one in force. Its signatures are checked each time: the database is
// not believed.
func (s *Service) plan(ctx context.Context) (*Plan, error) {
	document, err := s.Store.NumberPlan(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoPlan
	}
	if err != nil {
		return nil, err
	}
	p, err := OpenPlan(document, s.Custodians)
	if err != nil {
		return nil, err
	}
	return p, p.At(s.now())
}
