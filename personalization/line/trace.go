package line

import (
	"context"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/trace"
	"cardbureau/personalization/profile"
)

// Traced is a reader whose cards are written to a trace, one after another.
// What its sessions do is otherwise the same.
func Traced(r Reader, w *trace.Writer) Reader { return &tracedReader{Reader: r, trace: w} }

type tracedReader struct {
	Reader
	trace *trace.Writer
}

func (r *tracedReader) Present(ctx context.Context) (Session, error) {
	s, err := r.Reader.Present(ctx)
	if err != nil {
		return nil, err
	}
	return TracedSession(s, r.trace), nil
}

// TracedSession is a session whose card is the next in a trace.
func TracedSession(s Session, w *trace.Writer) Session {
	return &tracedSession{Session: s, card: w.Card(s, s.ATR())}
}

type tracedSession struct {
	Session
	card *trace.Card
}

func (s *tracedSession) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return s.card.Transmit(ctx, command)
}

func (s *tracedSession) Reset(ctx context.Context) error {
	err := s.Session.Reset(ctx)
	if err == nil {
		s.card.NoteReset(s.ATR(), true)
	}
	return err
}

// resetContactless is ResetContactless of the session that is traced.
func (s *tracedSession) resetContactless(ctx context.Context, air Antenna) error {
	err := air.ResetContactless(ctx)
	if err == nil {
		s.card.NoteReset(s.ATR(), true)
	}
	return err
}

func (s *tracedSession) watch(ch gp.Channel) gp.Channel { return s.card.Watch(ch) }

// watched has the session's trace told what is inside the secure channels that
// keys opens; where there is no trace, it is keys.
func watched(s Session, keys profile.ChannelOpener) profile.ChannelOpener {
	if t, ok := s.(*tracedSession); ok {
		return &watchedKeys{ChannelOpener: keys, session: t}
	}
	return keys
}

type watchedKeys struct {
	profile.ChannelOpener
	session *tracedSession
}

func (k *watchedKeys) Open(ctx context.Context, req profile.OpenRequest) (profile.Channel, []byte, error) {
	ch, authenticate, err := k.ChannelOpener.Open(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return &watchedChannel{Channel: ch, seen: k.session.watch(ch)}, authenticate, nil
}

// watchedChannel is a profile's channel that wraps and unwraps under watch.
type watchedChannel struct {
	profile.Channel
	seen gp.Channel
}

func (c *watchedChannel) Wrap(ctx context.Context, commands []apdu.Command) ([][]byte, error) {
	return c.seen.Wrap(ctx, commands)
}

func (c *watchedChannel) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	return c.seen.Unwrap(ctx, responses)
}
