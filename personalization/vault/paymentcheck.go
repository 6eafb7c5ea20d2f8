package vault

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"cardbureau/personalization/payment/pinblock"
)

// transactionKey is a session key of one card and role: R is 8 bytes. The caller
// zeroes it.
func (s *Service) transactionKey(ctx context.Context, role, version, option, pan string, sequence byte, r []byte) (emvSuite, []byte, error) {
	suite := emvSuite{aes: option == "C"}
	account, err := accountBlock(option, pan, sequence)
	if err != nil {
		return suite, nil, err
	}
	master, err := s.iccMasterKey(ctx, role, version, option, account)
	if err != nil {
		return suite, nil, err
	}
	defer clear(master)
	key, err := suite.sessionKey(master, r)
	return suite, key, err
}

func (s *Service) verifyARQC(ctx context.Context, in *ARQCRequest) (*ARQCResult, error) {
	switch {
	case len(in.ARQC) != 8:
		return nil, fmt.Errorf("%w: a cryptogram has 8 bytes", ErrRequest)
	case in.Method == 1 && len(in.ARC) != 2, in.Method == 2 && (len(in.CSU) != 4 || len(in.Proprietary) > 8), in.Method < 0 || in.Method > 2:
		return nil, fmt.Errorf("%w: an ARPC is made by method 1 with a response code of 2 bytes, or 2 with a card status update of 4", ErrRequest)
	case in.Method == 1 && in.Option == "C":
		return nil, fmt.Errorf("%w: method 1 is not for AES", ErrRequest)
	}
	r := append(binary.BigEndian.AppendUint16(nil, in.ATC), 0, 0, 0, 0, 0, 0)
	suite, key, err := s.transactionKey(ctx, RoleIMKAC, in.MasterKey, in.Option, in.PAN, in.Sequence, r)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	want, err := suite.mac(ctx, key, in.Data)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(want, in.ARQC) != 1 {
		return &ARQCResult{}, nil
	}
	out := &ARQCResult{OK: true}
	switch in.Method {
	case 1:
		c, err := suite.cipher(key)
		if err != nil {
			return nil, err
		}
		out.ARPC = append([]byte{}, in.ARQC...)
		out.ARPC[0] ^= in.ARC[0]
		out.ARPC[1] ^= in.ARC[1]
		c.Encrypt(out.ARPC, out.ARPC)
	case 2:
		sum, err := suite.mac(ctx, key, append(append(append([]byte{}, in.ARQC...), in.CSU...), in.Proprietary...))
		if err != nil {
			return nil, err
		}
		out.ARPC = sum[:4]
	}
	return out, nil
}

func (s *Service) protectScript(ctx context.Context, in *ScriptRequest) (*ScriptResult, error) {
	if len(in.ARQC) != 8 {
		return nil, fmt.Errorf("%w: script keys come of a cryptogram of 8 bytes", ErrRequest)
	}
	out := &ScriptResult{}
	if len(in.Plain) > 0 {
		suite, key, err := s.transactionKey(ctx, RoleIMKSMC, in.MasterKey, in.Option, in.PAN, in.Sequence, in.ARQC)
		if err != nil {
			return nil, err
		}
		out.Enciphered, err = suite.encipher(key, in.Plain)
		clear(key)
		if err != nil {
			return nil, err
		}
	}
	if len(in.Message) == 0 {
		return out, nil
	}
	suite, key, err := s.transactionKey(ctx, RoleIMKSMI, in.MasterKey, in.Option, in.PAN, in.Sequence, in.ARQC)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if in.Padded {
		out.MAC, err = suite.macPadded(ctx, key, in.Message)
	} else {
		out.MAC, err = suite.mac(ctx, key, in.Message)
	}
	return out, err
}

// Zero wipes what was to be enciphered.
func (r *ScriptRequest) Zero() { clear(r.Plain) }

func (s *Service) translatePIN(ctx context.Context, in *TranslatePINRequest) (*bytesReply, error) {
	for _, f := range []int{in.From, in.To} {
		if f != 0 && f != 1 && f != 3 {
			return nil, fmt.Errorf("%w: PIN blocks between hosts are of format 0, 1 or 3", ErrRequest)
		}
	}
	l, err := roleLabel(RoleZPK, cmp.Or(in.ZPK, firstVersion))
	if err != nil {
		return nil, err
	}
	zpk, err := s.token.DES3(ctx, l)
	if err != nil {
		return nil, err
	}
	if len(in.Block) != pinblock.Size {
		return nil, fmt.Errorf("%w: a PIN block has 8 bytes", ErrRequest)
	}
	block, err := zpk.DecryptCBC(ctx, make([]byte, 8), in.Block)
	if err != nil {
		return nil, err
	}
	defer clear(block)
	pin, err := pinblock.Decode(in.From, block, in.PAN)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	defer clear(pin)
	next, err := pinblock.Encode(in.To, pin, in.PAN, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	defer clear(next)
	out, err := zpk.EncryptECB(ctx, next)
	return &bytesReply{Data: out}, err
}

// VerifyARQC checks an application cryptogram (Book 2, section 8.1) under keys that
// follow from the issuer's master key, and makes the ARPC of a right one (8.2).
func (c *Client) VerifyARQC(ctx context.Context, req ARQCRequest) (ARQCResult, error) {
	out, _, err := call[ARQCResult](ctx, c, methodVerifyARQC, req)
	return out, err
}

// ProtectScript makes the MAC of an issuer script command, and enciphers its data
// (Book 2, section 9).
func (c *Client) ProtectScript(ctx context.Context, req ScriptRequest) (ScriptResult, error) {
	out, _, err := call[ScriptResult](ctx, c, methodProtectScript, req)
	return out, err
}

// TranslatePIN changes the format of a PIN block under the zone key. No PIN leaves
// the agent.
func (c *Client) TranslatePIN(ctx context.Context, req TranslatePINRequest) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodTranslatePIN, req)
	return out.Data, err
}
