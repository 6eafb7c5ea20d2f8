package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cardbureau/hsm"
	"cardbureau/hsm/agent"
	"cardbureau/personalization/identity"
)

// Service is the agent's half: it does with the token what clients ask for.
// It is safe for concurrent use.
type Service struct {
	token *hsm.Token
	now   func() time.Time
	// lockPath is a file that processes which share the token lock while they
	// make keys that belong to all; empty: there is one process only.
	lockPath string

	making   sync.Mutex // of keys, inside this process
	channels channelTable
	openKeys keyCache
	calls    sync.Map // method → *atomic.Uint64

	signerMu sync.Mutex
	signer   *identity.SODSigner
	signerAt time.Time // when it was looked up
}

// NewService serves a token. lockPath names a file that is locked while keys
// are made, common to all agents of the token; it may be empty.
func NewService(token *hsm.Token, lockPath string) *Service {
	return &Service{token: token, now: time.Now, lockPath: lockPath}
}

// Server returns the methods for an agent to serve.
func (s *Service) Server() *agent.Server {
	srv := &agent.Server{Code: codeOf}
	register(s, srv, methodKeys, s.keys)
	register(s, srv, methodProvision, s.provision)
	register(s, srv, methodSignTestRecord, s.signTestRecord)
	register(s, srv, methodOpenJWE, s.openJWE)
	register(s, srv, methodPersonRef, s.personRef)
	register(s, srv, methodIdentityDigest, s.identityDigest)
	register(s, srv, methodNewDataKey, s.newDataKey)
	register(s, srv, methodSeal, s.seal)
	register(s, srv, methodOpen, s.open)
	register(s, srv, methodNewCardSecrets, s.newCardSecrets)
	register(s, srv, methodTransportPIN, s.transportPIN)
	register(s, srv, methodUnblockingKey, s.unblockingKey)
	register(s, srv, methodPlainSecrets, s.plainSecrets)
	register(s, srv, methodSignSOD, s.signSOD)
	register(s, srv, methodBlankKeys, s.blankKeys)
	register(s, srv, methodOpenChannel, s.openChannel)
	register(s, srv, methodWrap, s.wrap)
	register(s, srv, methodUnwrap, s.unwrap)
	register(s, srv, methodEncipherSecrets, s.encipherSecrets)
	register(s, srv, methodSecretKCVs, s.secretKCVs)
	register(s, srv, methodPutKey, s.putKey)
	register(s, srv, methodCloseChannel, s.closeChannel)
	register(s, srv, methodStats, s.stats)
	register(s, srv, methodEnvironment, s.environment)
	register(s, srv, methodImportComponents, s.importComponents)
	register(s, srv, methodIssuerKey, s.issuerKey)
	register(s, srv, methodRevealPANs, s.revealPANs)
	register(s, srv, methodKeyBlock, s.keyBlock)
	register(s, srv, methodNewICCKeys, s.newICCKeys)
	register(s, srv, methodNewPaymentSecrets, s.newPaymentSecrets)
	register(s, srv, methodVerifyARQC, s.verifyARQC)
	register(s, srv, methodProtectScript, s.protectScript)
	register(s, srv, methodTranslatePIN, s.translatePIN)
	register(s, srv, methodTestIssuer, s.issuerInfo)
	register(s, srv, methodIssuerECC, s.issuerECC)
	register(s, srv, methodBankDigest, s.bankDigest)
	register(s, srv, methodSignBinding, s.signBinding)
	register(s, srv, methodBankJWK, s.bankJWK)
	register(s, srv, methodOpenBankJWE, s.openBankJWE)
	register(s, srv, methodSignTestBank, s.signTestBank)
	register(s, srv, methodRevealMailers, s.revealMailers)
	register(s, srv, methodSIMKeysIn, s.simKeysIn)
	register(s, srv, methodNewSIMKeys, s.newSIMKeys)
	register(s, srv, methodSIMProgram, s.simProgram)
	register(s, srv, methodSIMVector, s.simVector)
	register(s, srv, methodSIMCheckRES, s.simCheckRES)
	register(s, srv, methodSIMResync, s.simResync)
	register(s, srv, methodSealTestSIM, s.sealTestSIM)
	register(s, srv, methodSignPairing, s.signPairing)
	register(s, srv, methodPairingRef, s.pairingRef)
	register(s, srv, methodPairingJWK, s.pairingJWK)
	return srv
}

func register[In, Out any](s *Service, srv *agent.Server, method string, fn func(context.Context, *In) (*Out, error)) {
	n := new(atomic.Uint64)
	s.calls.Store(method, n)
	agent.Register(srv, method, func(ctx context.Context, in *In) (*Out, error) {
		n.Add(1)
		return fn(ctx, in)
	})
}

func (s *Service) keys(ctx context.Context, _ *nothing) (*keysReply, error) {
	all, err := s.token.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]KeyInfo, len(all))
	for i, k := range all {
		out[i] = KeyInfo(k)
	}
	return &keysReply{Keys: out}, nil
}

func (s *Service) stats(context.Context, *nothing) (*Stats, error) {
	out := &Stats{Operations: s.token.Operations(), Calls: make(map[string]uint64), OpenChannels: s.channels.count(),
		DeriveInToken: s.token.Capabilities().DeriveInToken, DeriveDES3InToken: s.token.Capabilities().DeriveDES3InToken}
	s.calls.Range(func(method, n any) bool {
		if v := n.(*atomic.Uint64).Load(); v > 0 {
			out.Calls[method.(string)] = v
		}
		return true
	})
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return nil, fmt.Errorf("resource usage: %w", err)
	}
	out.CPU = u.Utime.Nano() + u.Stime.Nano()
	out.Resident = u.Maxrss * 1024
	return out, nil
}

// label turns "role/version" into a key label.
func label(name string) (string, error) {
	role, version, ok := strings.Cut(name, "/")
	if !ok {
		return "", fmt.Errorf("%w: %q names no key (role/version)", ErrRequest, name)
	}
	return roleLabel(role, version)
}

func roleLabel(role, version string) (string, error) {
	l, err := hsm.Label(role, version)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return l, nil
}

func (s *Service) personRef(ctx context.Context, in *textReply) (*bytesReply, error) {
	if in.Text == "" {
		return nil, fmt.Errorf("%w: an empty unique id", ErrRequest)
	}
	return s.keyedDigest(ctx, "person\x00", []byte(in.Text))
}

func (s *Service) identityDigest(ctx context.Context, in *bytesRequest) (*bytesReply, error) {
	return s.keyedDigest(ctx, "identity\x00", in.Data)
}

// keyedDigest keeps apart by a prefix what the one HMAC key is used for.
func (s *Service) keyedDigest(ctx context.Context, purpose string, data []byte) (*bytesReply, error) {
	l, err := roleLabel(RolePersonRef, "1")
	if err != nil {
		return nil, err
	}
	input := append([]byte(purpose), data...)
	defer clear(input)
	mac, err := s.token.HMAC(ctx, l, input)
	if err != nil {
		return nil, notProvisioned(err)
	}
	return &bytesReply{Data: mac}, nil
}

// notProvisioned tells what to do about a missing key of the basic set.
func notProvisioned(err error) error {
	if errors.Is(err, hsm.ErrNoKey) {
		return fmt.Errorf("%w; the token's keys are made by setting it up", err)
	}
	return err
}

// tokenReader reads the token's random numbers in portions.
type tokenReader struct {
	ctx   context.Context
	token *hsm.Token
	// portion is what is asked for at once in bytes: 128 when zero.
	portion int
	buf     []byte
}

func (r *tokenReader) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		n := r.portion
		if n == 0 {
			n = 128
		}
		b, err := r.token.Random(r.ctx, n)
		if err != nil {
			return 0, err
		}
		r.buf = b
	}
	n := copy(p, r.buf)
	clear(r.buf[:n])
	r.buf = r.buf[n:]
	return n, nil
}

// forget wipes what was not used.
func (r *tokenReader) forget() { clear(r.buf) }
