package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"cardbureau/cardio/gp"
	"cardbureau/hsm/agent"
)

// Times that a call may take when its context sets none.
const (
	callTimeout      = 20 * time.Second
	provisionTimeout = 2 * time.Minute // RSA-free, but a slow network token makes keys slowly
)

// Options say how the agent is started.
type Options struct {
	// Command is the agent's program and arguments: what runs [Main].
	Command []string
	// Env is added to its environment.
	Env []string
	// Log is told what the agent writes on standard error, and of restarts.
	// Nothing secret is in it.
	Log func(string)
	// StartTimeout bounds the time until the agent is ready: 30 s when zero.
	StartTimeout time.Duration
}

// Client asks the agent. It is safe for concurrent use; each method is one
// call, except HostChallenge, which is none. A call whose context has no
// deadline gets one of 20 seconds.
//
// Every method can return ErrAgentGone, ErrAgentUnavailable, ErrToken, ErrPIN
// and the context's error.
type Client struct {
	process *agent.Process
}

// Start starts the agent and waits until it has opened its token. The agent
// ends with this process, and a fresh one is started when it dies.
func Start(ctx context.Context, opt Options) (*Client, error) {
	p, err := agent.Start(ctx, agent.Options{
		Command:      opt.Command,
		Env:          opt.Env,
		Log:          opt.Log,
		StartTimeout: opt.StartTimeout,
		Permanent:    func(code string) bool { return code == "pin" },
	})
	if err != nil {
		return nil, localError(ctx, err)
	}
	return &Client{process: p}, nil
}

// Close ends the agent; all channels are gone with it.
func (c *Client) Close() error { return c.process.Close() }

// PID is the agent's process id, 0 while there is none.
func (c *Client) PID() int { return c.process.PID() }

func deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

func call[Out any](ctx context.Context, c *Client, method string, in any) (Out, uint64, error) {
	ctx, cancel := deadline(ctx, callTimeout)
	defer cancel()
	var out Out
	generation, err := c.process.Call(ctx, method, in, &out)
	return out, generation, localError(ctx, err)
}

// Keys lists the token's keys of this program, by label.
func (c *Client) Keys(ctx context.Context) ([]KeyInfo, error) {
	out, _, err := call[keysReply](ctx, c, methodKeys, nothing{})
	return out.Keys, err
}

// Provision makes the keys and certificates that are missing and returns the
// public ones. It is idempotent. Keys that are there are never replaced.
func (c *Client) Provision(ctx context.Context, req ProvisionRequest) (Provisioned, error) {
	ctx, cancel := deadline(ctx, provisionTimeout)
	defer cancel()
	out, _, err := call[Provisioned](ctx, c, methodProvision, req)
	return out, err
}

// SignTestRecord signs a record's payload as the test registry: a compact JWS
// with ES256. ErrDevelopment where the token has no such development key.
func (c *Client) SignTestRecord(ctx context.Context, payload []byte) (string, error) {
	out, _, err := call[textReply](ctx, c, methodSignTestRecord, bytesRequest{payload})
	return out.Text, err
}

// OpenJWE decrypts a record that was encrypted to the intake key
// (ECDH-ES+A256KW with A256GCM or A128CBC-HS256, P-256, no compression).
// ErrJWE when the input is at fault.
func (c *Client) OpenJWE(ctx context.Context, compact string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodOpenJWE, textReply{compact})
	return out.Data, err
}

// PersonRef is the 32-byte pseudonym of a person's unique id: its HMAC-SHA256
// under a key of the token.
func (c *Client) PersonRef(ctx context.Context, uniqueID string) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodPersonRef, textReply{uniqueID})
	return out.Data, err
}

// IdentityDigest is the 32-byte keyed digest of what identifies a person
// (canonical bytes of name, birth date, photo), by which a change is noticed.
func (c *Client) IdentityDigest(ctx context.Context, canonical []byte) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodIdentityDigest, bytesRequest{canonical})
	return out.Data, err
}

// NewDataKey makes a person's data key, wrapped under this month's KEK.
func (c *Client) NewDataKey(ctx context.Context) (DataKey, error) {
	out, _, err := call[DataKey](ctx, c, methodNewDataKey, nothing{})
	return out, err
}

// Seal enciphers plain with AES-256-GCM under a person's data key, bound to
// aad. The result is 29 bytes longer.
func (c *Client) Seal(ctx context.Context, key DataKey, aad, plain []byte) ([]byte, error) {
	return only(c.SealAll(ctx, []SealItem{{key, aad, plain}}))
}

// SealAll seals several pieces in one call; all or none.
func (c *Client) SealAll(ctx context.Context, items []SealItem) ([][]byte, error) {
	out, _, err := call[piecesReply](ctx, c, methodSeal, sealRequest{items})
	return pieces(out, err, len(items))
}

// Open reverses Seal. ErrSealed when data or aad are not those of Seal.
func (c *Client) Open(ctx context.Context, key DataKey, aad, sealed []byte) ([]byte, error) {
	return only(c.OpenAll(ctx, []SealItem{{key, aad, sealed}}))
}

// OpenAll opens several pieces in one call; all or none.
func (c *Client) OpenAll(ctx context.Context, items []SealItem) ([][]byte, error) {
	out, _, err := call[piecesReply](ctx, c, methodOpen, sealRequest{items})
	return pieces(out, err, len(items))
}

func pieces(out piecesReply, err error, n int) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(out.Pieces) != n {
		return nil, fmt.Errorf("the HSM agent returned %d pieces for %d", len(out.Pieces), n)
	}
	return out.Pieces, nil
}

func only(out [][]byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// NewCardSecrets draws a card's secrets from the token's random numbers and
// returns them sealed, with the public keys of chip authentication and, where
// asked for, of active authentication.
func (c *Client) NewCardSecrets(ctx context.Context, req CardSecretsRequest) (CardSecrets, error) {
	out, _, err := call[CardSecrets](ctx, c, methodNewCardSecrets, req)
	return out, err
}

// TransportPIN opens the transport PIN (6 ASCII digits) for the proof, and for the
// hand-over of the card. Zero it after use.
func (c *Client) TransportPIN(ctx context.Context, key DataKey, aad, sealed []byte) (Secret, error) {
	out, _, err := call[bytesReply](ctx, c, methodTransportPIN, SealItem{key, aad, sealed})
	return Secret(out.Data), err
}

// UnblockingKey opens the key (8 ASCII digits) that sets a blocked PIN anew, for a
// holder who was checked. Zero it after use.
func (c *Client) UnblockingKey(ctx context.Context, key DataKey, aad, sealed []byte) (Secret, error) {
	out, _, err := call[bytesReply](ctx, c, methodUnblockingKey, SealItem{key, aad, sealed})
	return Secret(out.Data), err
}

// PlainSecrets releases named elements of a card's secrets in the clear. It is
// for applets that know no secure channel and take their keys in plain, such as
// the open-source JMRTD passport applet: whoever stands between this program
// and the chip reads what they are sent, so there is nothing to gain by
// enciphering it up to there. A profile that sends such elements must say
// "plaintext", and whoever runs it is told what is exposed.
//
// Only what such an applet needs is released (the MRZ's elements, the key of
// active authentication, the digits of CAN, PIN and PUK); any other name, and
// one that the secrets lack, is ErrRequest, and then nothing is. Elements of
// cards that get them through a secure channel go by EncipherSecrets. The
// values are bare bytes, which commands are built of: print none of them, and
// zero them after use.
func (c *Client) PlainSecrets(ctx context.Context, key DataKey, aad, sealed []byte, names []string) (map[string][]byte, error) {
	out, _, err := call[plainSecretsReply](ctx, c, methodPlainSecrets, plainSecretsRequest{SealItem{key, aad, sealed}, names})
	if err != nil {
		return nil, err
	}
	return out.Values, nil
}

// SignSOD makes an EF.SOD (with its tag 77) signed by the newest document
// signer.
func (c *Client) SignSOD(ctx context.Context, req SODRequest) ([]byte, error) {
	out, _, err := call[bytesReply](ctx, c, methodSignSOD, req)
	return out.Data, err
}

// BlankKeys returns the transport keys of a software blank, which must hold
// them like any card. ErrDevelopment with any other than development keys.
// Zero them after use.
func (c *Client) BlankKeys(ctx context.Context, req BlankKeysRequest) (*BlankKeys, error) {
	out, _, err := call[wireBlankKeys](ctx, c, methodBlankKeys, req)
	if err != nil {
		return nil, err
	}
	return &BlankKeys{ENC: out.ENC, MAC: out.MAC, DEK: out.DEK}, nil
}

// HostChallenge makes the random bytes, 8 or 16 as the mode says, that
// INITIALIZE UPDATE carries and OpenChannel is given back. It needs no call: a challenge is no secret.
func (c *Client) HostChallenge(_ context.Context, mode gp.Mode) ([]byte, error) {
	b := make([]byte, mode)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("host challenge: %w", err)
	}
	return b, nil
}

// Stats returns the agent's counts, for the benchmark and for operators.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	out, _, err := call[Stats](ctx, c, methodStats, nothing{})
	return out, err
}
