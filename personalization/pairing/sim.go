package pairing

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"cardbureau/personalization/vault"
)

// Errors of the SIM's side.
var (
	ErrWrongSIM  = errors.New("this is not the SIM that belongs to the order")
	ErrChallenge = errors.New("the authentication centre's challenge is not of this session")
	ErrResponse  = errors.New("the SIM's response is wrong: its key is not the subscription's")
	ErrResync    = errors.New("the SIM wants a second resynchronization: its counter and the centre's do not meet")
	ErrNoAnswer  = errors.New("the SIM gave neither a response nor a resynchronization token")
)

// SIM is the SIM in its reader.
type SIM interface {
	ICCID(ctx context.Context) (ICCID, error)
	IMSI(ctx context.Context) (IMSI, error)
	// Authenticate runs AUTHENTICATE in 3G context (TS 31.102 clause 7.1.2). CK and IK
	// are overwritten before it returns; Answer has no room for them.
	Authenticate(ctx context.Context, rand, autn [16]byte) (Answer, error)
}

// Answer is a SIM's answer to a challenge: RES, or AUTS where the sequence number is
// out of its window.
type Answer struct {
	RES  vault.Secret // 4 to 16 bytes
	AUTS []byte       // 14 bytes
}

// Zero overwrites the answer.
func (a Answer) Zero() {
	a.RES.Zero()
	clear(a.AUTS)
}

// AuthenticationCentre is who holds the SIM's key: the operator, or the bureau's
// own token for SIMs that it programs. Implementations are safe for concurrent use.
type AuthenticationCentre interface {
	// Challenge gives RAND and AUTN for a session. RAND is Rand of the session and of
	// a seed that the centre draws and reveals. With Resync the sequence number is
	// first brought in line with what the SIM's AUTS says.
	Challenge(ctx context.Context, r ChallengeRequest) (Challenge, error)
	// Check says whether a response is the right one to a challenge of Challenge.
	// ErrResponse when it is not.
	Check(ctx context.Context, r ChallengeRequest, c Challenge, res vault.Secret) error
}

// ChallengeRequest names SIM and session.
type ChallengeRequest struct {
	ICCID   ICCID
	IMSI    IMSI
	Session uuid.UUID
	Nonce   [32]byte
	Resync  *Resync
}

// Resync is an AUTS and the challenge that it answers.
type Resync struct {
	RAND [16]byte
	AUTS []byte // 14 bytes
}

// Challenge is what the SIM is asked. None of it is secret.
type Challenge struct {
	RAND [16]byte
	AUTN [16]byte
	Seed [16]byte
	// Expected is what a centre needs for Check beside its key, sealed. It goes nowhere
	// else.
	Expected []byte
}

// proveSIM has the SIM answer a challenge of the session. At most one
// resynchronization is made.
func proveSIM(ctx context.Context, s *Session, sim SIM, centre AuthenticationCentre, r ChallengeRequest) (c Challenge, resynced bool, err error) {
	for {
		if c, err = centre.Challenge(ctx, r); err != nil {
			return c, resynced, fmt.Errorf("the authentication centre gave no challenge: %w", err)
		}
		if c.RAND != Rand(s.ID, s.Nonce, c.Seed) {
			return c, resynced, ErrChallenge
		}
		a, err := sim.Authenticate(ctx, c.RAND, c.AUTN)
		if err != nil {
			return c, resynced, fmt.Errorf("the SIM refuses the challenge: %w", err)
		}
		switch {
		case len(a.RES) >= 4 && len(a.RES) <= 16 && len(a.AUTS) == 0:
			err := centre.Check(ctx, r, c, a.RES)
			a.Zero()
			return c, resynced, err
		case len(a.RES) > 0 || len(a.AUTS) != 14:
			a.Zero()
			return c, resynced, ErrNoAnswer
		case resynced:
			return c, resynced, ErrResync
		}
		resynced = true
		r.Resync = &Resync{RAND: c.RAND, AUTS: a.AUTS}
	}
}
