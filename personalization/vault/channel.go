package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Channel is one session of SCP02 or SCP03 whose keys are in the token and whose chaining
// values are in the agent. It has the methods of gp.Channel and is not safe
// for concurrent use. Once a method has returned ErrChannelGone, all do.
type Channel struct {
	client     *Client
	generation uint64 // of the agent that holds the session
	id         uint64
	level      gp.Level
	once       sync.Once
	// abandoned: a call was given up, so nobody here knows how far the agent's
	// half of the session went.
	abandoned bool
}

var _ gp.Channel = (*Channel)(nil)

// OpenChannel checks what the card proved in INITIALIZE UPDATE and returns
// the channel with the EXTERNAL AUTHENTICATE command to send, already wrapped.
//
// gp.ErrCardCryptogram and gp.ErrCardChallenge say that the card does not hold
// the keys: EXTERNAL AUTHENTICATE is then never sent, as the card counts
// failures.
func (c *Client) OpenChannel(ctx context.Context, req ChannelRequest) (*Channel, []byte, error) {
	out, generation, err := call[openChannelReply](ctx, c, methodOpenChannel, req)
	if err != nil {
		return nil, nil, err
	}
	return &Channel{client: c, generation: generation, id: out.ID, level: req.Level}, out.ExternalAuthenticate, nil
}

// Level is the channel's security level.
func (ch *Channel) Level() gp.Level { return ch.level }

// onChannel calls the very agent that holds the channel.
func onChannel[Out any](ctx context.Context, ch *Channel, method string, in any) (Out, error) {
	ctx, cancel := deadline(ctx, callTimeout)
	defer cancel()
	var out Out
	p := ch.client.process
	switch {
	case p.Generation() != ch.generation:
		return out, fmt.Errorf("%w: another agent runs now", ErrChannelGone)
	case ch.abandoned && method != methodCloseChannel:
		return out, fmt.Errorf("%w: a call was given up before", ErrChannelGone)
	}
	err := p.CallIn(ctx, ch.generation, method, in, &out)
	if errors.Is(err, ErrAgentGone) {
		return out, fmt.Errorf("%w: %w", ErrChannelGone, err)
	}
	if err = localError(ctx, err); ctx.Err() != nil && err != nil {
		ch.abandoned = true
	}
	return out, err
}

// Wrap protects a batch of commands, ready to send in this order.
func (ch *Channel) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	raw := make([]wireCommand, len(commands))
	for i, c := range commands {
		raw[i] = toWire(c)
	}
	out, err := onChannel[piecesReply](ctx, ch, methodWrap, wrapRequest{ch.id, raw})
	return pieces(out, err, len(commands))
}

// Unwrap checks and opens responses, in the order in which their commands were
// wrapped. As with gp.SCP03, a response that fails the check ends the channel:
// the good ones before it are returned with an *apdu.ExchangeError.
func (ch *Channel) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	out, err := onChannel[unwrapReply](ctx, ch, methodUnwrap, unwrapRequest{ch.id, responses})
	if err != nil {
		return nil, err
	}
	good := make([]apdu.Response, len(out.Responses))
	for i, r := range out.Responses {
		good[i] = apdu.Response{Data: r.Data, SW: apdu.StatusWord(r.SW)}
	}
	if out.Code != "" {
		return good, &apdu.ExchangeError{Index: out.Index, Err: errorOf(out.Code, out.Text)}
	}
	return good, nil
}

// EncipherSecrets opens a card's sealed secrets in the agent and returns the
// named elements enciphered under the card's DEK, ready for STORE DATA: with
// SCP03 80-padded to 16 bytes, AES-CBC, zero initial vector; with SCP02 80-padded
// to 8 bytes, triple DES ECB under S-DEK.
func (ch *Channel) EncipherSecrets(ctx context.Context, key DataKey, aad, sealed []byte, names []string) (map[string][]byte, error) {
	return ch.EncipherSets(ctx, []SecretSet{{SealItem{key, aad, sealed}, names}})
}

// SecretSet names elements of sealed secrets.
type SecretSet struct {
	Sealed SealItem
	Names  []string
}

// EncipherSets is EncipherSecrets of several sealed secrets, whose names differ.
func (ch *Channel) EncipherSets(ctx context.Context, sets []SecretSet) (map[string][]byte, error) {
	out, err := onChannel[encipherReply](ctx, ch, methodEncipherSecrets, encipherRequest{ch.id, sets})
	return out.Values, err
}

// PutKey makes the command that replaces the card's keys, the new ones
// enciphered under the card's present DEK. It is not wrapped yet.
func (ch *Channel) PutKey(ctx context.Context, req PutKeyRequest) (PutKey, error) {
	out, err := onChannel[putKeyReply](ctx, ch, methodPutKey, putKeyRequest{ch.id, req})
	if err != nil {
		return PutKey{}, err
	}
	return PutKey{Command: out.Command.command(), KeyVersion: req.KeyVersion, KCVs: out.KCVs}, nil
}

// Close forgets the session: its keys are destroyed in the token. It waits
// for that two seconds at most, and an agent that is gone has done it already.
func (ch *Channel) Close() {
	ch.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, _ = onChannel[nothing](ctx, ch, methodCloseChannel, channelRequest{ch.id})
	})
}
