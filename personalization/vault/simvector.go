package vault

import (
	"context"
	"errors"
	"fmt"

	"cardbureau/hsm/aka"
)

// kindExpected is what a sealed response is bound to beside ICCID and session.
const kindExpected = "sim-xres\x00"

func (s SIMScheme) scheme() (aka.Scheme, error) {
	out := aka.DefaultScheme()
	if s.INDBits != 0 {
		out.INDBits = s.INDBits
	}
	if s.Delta != 0 {
		out.Delta = s.Delta
	}
	return out, simError(out.Check())
}

// nextSQN is the number after last, in the highest IND: the bureau is an
// authentication centre beside the network's, and leaves it the others.
func nextSQN(s aka.Scheme, last uint64) (aka.SQN, error) {
	return s.NextIn(aka.SQN(last), 1<<s.INDBits-1)
}

// expectedAAD binds a response to a SIM and a session.
func expectedAAD(iccid string, session []byte) ([]byte, error) {
	if len(session) < 1 || len(session) > 64 || len(iccid) > 20 {
		return nil, fmt.Errorf("%w: a session is named by 1 to 64 bytes", ErrRequest)
	}
	return append(append([]byte{byte(len(iccid))}, iccid...), session...), nil
}

// centre opens a subscriber for one calculation.
func (s *Service) centre(ctx context.Context, keys SIMKeys, use func(aka.Algorithm) error) error {
	sub, err := s.subscriber(ctx, keys)
	if err != nil {
		return err
	}
	defer sub.Zero()
	a, err := sub.Algorithm()
	if err != nil {
		return simError(err)
	}
	defer a.Zero()
	return use(a)
}

func (s *Service) simVector(ctx context.Context, in *SIMVectorRequest) (*SIMVector, error) {
	scheme, err := in.Scheme.scheme()
	if err != nil {
		return nil, err
	}
	if len(in.RAND) != aka.RANDSize || in.Last >= 1<<48 {
		return nil, fmt.Errorf("%w: a challenge has 16 bytes and a sequence number 48 bits", ErrRequest)
	}
	aad, err := expectedAAD(in.Keys.ICCID, in.Session)
	if err != nil {
		return nil, err
	}
	next, err := nextSQN(scheme, in.Last)
	if err != nil {
		return nil, simError(err)
	}
	seal, err := s.sealingKey(ctx, RoleSIMSession)
	if err != nil {
		return nil, err
	}
	out := &SIMVector{RAND: in.RAND, SQN: uint64(next)}
	err = s.centre(ctx, in.Keys, func(a aka.Algorithm) error {
		v, err := aka.NewVector(a, [aka.RANDSize]byte(in.RAND), next, in.AMF)
		if err != nil {
			return simError(err)
		}
		defer v.Zero()
		out.AUTN = v.AUTN[:]
		out.Expected, err = sealWith(ctx, seal, kindExpected, aad, v.XRES)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type okReply struct{ OK bool }

func (s *Service) simCheckRES(ctx context.Context, in *SIMCheckRequest) (*okReply, error) {
	aad, err := expectedAAD(in.ICCID, in.Session)
	if err != nil {
		return nil, err
	}
	seal, err := s.sealingKey(ctx, RoleSIMSession)
	if err != nil {
		return nil, err
	}
	xres, err := openWith(ctx, seal, kindExpected, aad, in.Expected)
	if err != nil {
		return nil, err
	}
	defer clear(xres)
	return &okReply{OK: aka.CheckRES(xres, in.RES)}, nil
}

// Zero wipes a response once it is checked.
func (r *SIMCheckRequest) Zero() { clear(r.RES) }

type sqnReply struct{ SQN uint64 }

func (s *Service) simResync(ctx context.Context, in *SIMResyncRequest) (*sqnReply, error) {
	scheme, err := in.Scheme.scheme()
	if err != nil {
		return nil, err
	}
	if len(in.RAND) != aka.RANDSize || len(in.AUTS) != aka.AUTSSize || in.Last >= 1<<48 {
		return nil, fmt.Errorf("%w: a challenge has 16 bytes, AUTS 14 and a sequence number 48 bits", ErrRequest)
	}
	out := &sqnReply{SQN: in.Last}
	err = s.centre(ctx, in.Keys, func(a aka.Algorithm) error {
		ms, err := aka.OpenAUTS(a, [aka.RANDSize]byte(in.RAND), [aka.AUTSSize]byte(in.AUTS))
		if errors.Is(err, aka.ErrAUTS) {
			return ErrAUTS
		}
		if err != nil {
			return simError(err)
		}
		if next, err := nextSQN(scheme, in.Last); err != nil || !scheme.Acceptable(next, ms) {
			out.SQN = uint64(ms)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SIMVector makes a challenge to a SIM whose keys the bureau holds. XRES, CK and IK
// do not leave the agent but for XRES, sealed and bound to ICCID and session; CK
// and IK are discarded at once. ErrSealed for keys of another SIM or batch.
func (c *Client) SIMVector(ctx context.Context, req SIMVectorRequest) (SIMVector, error) {
	out, _, err := call[SIMVector](ctx, c, methodSIMVector, req)
	return out, err
}

// SIMCheckRES compares a SIM's response in constant time. ErrSealed when the
// expected one belongs to another SIM or session. The caller asks once a vector:
// the agent does not count.
func (c *Client) SIMCheckRES(ctx context.Context, req SIMCheckRequest) (bool, error) {
	out, _, err := call[okReply](ctx, c, methodSIMCheckRES, req)
	return out.OK, err
}

// SIMResync reads an AUTS (TS 33.102 clause 6.3.5) and gives the number to keep as
// the last one used: that of the caller where the SIM accepts the next one, and
// otherwise the SIM's own. ErrAUTS for an AUTS that the SIM's key did not make for
// this challenge.
func (c *Client) SIMResync(ctx context.Context, req SIMResyncRequest) (uint64, error) {
	out, _, err := call[sqnReply](ctx, c, methodSIMResync, req)
	return out.SQN, err
}
