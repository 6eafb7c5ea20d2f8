package pairing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/store"
)

// Errors of operators' notices. Their sentences repeat nothing of a notice.
var (
	ErrNotice          = errors.New("the notice cannot be read")
	ErrNoticeSignature = errors.New("the notice is not signed with a key of the operator")
	ErrNoticeAge       = errors.New("the notice is too old, or from the future")
	ErrNoticeDiffers   = errors.New("another notice was sent under this identifier")
)

// NoticeType is the typ header of an operator's notice.
const NoticeType = "operator-notice+jws"

// How old a notice may be, how far ahead its clock, and how long it may be in bytes.
// Notices are remembered for seven days, longer than they are taken.
const (
	noticeAge  = 24 * time.Hour
	noticeSkew = 5 * time.Minute
	MaxNotice  = 8 << 10
)

// Notice is what an operator signs: a compact JWS with ES256, of type NoticeType,
// with a key of the plan. The same notice may be sent again and gets the same answer.
type Notice struct {
	ID       string    `json:"jti"` // 1 to 64 printable ASCII characters, unique for the operator
	IssuedAt int64     `json:"iat"` // seconds since 1970
	Operator string    `json:"iss"` // MCC and MNC
	Pairing  uuid.UUID `json:"sub"`
	Sequence int64     `json:"seq"` // above that of every earlier notice of the pairing; gaps are good
	Event    string    `json:"event"`
}

// Events of notices.
const (
	EventActivated   = "activated"    // the subscription is in service
	EventRefused     = "refused"      // it will not be
	EventSuspended   = "suspended"    // out of service for a time
	EventResumed     = "resumed"      // in service again
	EventSwap        = "swap"         // the number is about to go to another SIM
	EventSwapStopped = "swap-stopped" // it is not
	EventClosed      = "closed"       // the subscription ended
)

// events say what a notice does, and out of which states. A pairing that is where the
// notice leads stays, and the answer is done.
var events = map[string]struct {
	from   []lifecycle.State
	to     lifecycle.State
	reason string
}{
	EventActivated:   {[]lifecycle.State{lifecycle.OperatorPending}, lifecycle.Active, ""},
	EventRefused:     {[]lifecycle.State{lifecycle.OperatorPending}, lifecycle.Revoked, "operator-refused"},
	EventSuspended:   {[]lifecycle.State{lifecycle.Active}, lifecycle.Suspended, "operator"},
	EventResumed:     {[]lifecycle.State{lifecycle.Suspended}, lifecycle.Active, "operator"},
	EventSwap:        {[]lifecycle.State{lifecycle.Active, lifecycle.Suspended}, lifecycle.SwapPending, "operator"},
	EventSwapStopped: {[]lifecycle.State{lifecycle.SwapPending}, lifecycle.Active, "operator"},
	EventClosed:      {[]lifecycle.State{lifecycle.OperatorPending, lifecycle.Active, lifecycle.Suspended, lifecycle.SwapPending}, lifecycle.Revoked, "operator-closed"},
}

// Events lists the events of notices, sorted.
func Events() []string { return slices.Sorted(maps.Keys(events)) }

// IsEvent reports whether a notice can have an event.
func IsEvent(event string) bool {
	_, known := events[event]
	return known
}

// NoticeAnswer is what became of a notice.
type NoticeAnswer struct {
	ID     string `json:"jti"`
	Status string `json:"status" enum:"done,refused"`
	Code   string `json:"code,omitempty" enum:"not-found,out-of-order,wrong-state"`
}

// ParseNotice reads a notice that a key of keys signed: ErrNotice,
// ErrNoticeSignature. Its age and its operator are another question.
func ParseNotice(compact []byte, keys []jose.JSONWebKey) (*Notice, error) {
	if len(compact) > MaxNotice {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrNotice, MaxNotice)
	}
	object, err := jose.ParseSignedCompact(string(bytes.TrimSpace(compact)), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(object.Signatures) != 1 || object.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != NoticeType {
		return nil, fmt.Errorf("%w: it is no JWS with ES256 and the type %s", ErrNotice, NoticeType)
	}
	i := slices.IndexFunc(keys, func(k jose.JSONWebKey) bool { return k.KeyID == object.Signatures[0].Protected.KeyID })
	if i < 0 {
		return nil, ErrNoticeSignature
	}
	body, err := object.Verify(keys[i].Key)
	if err != nil {
		return nil, ErrNoticeSignature
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var n Notice
	if err := d.Decode(&n); err != nil || d.More() || !n.good() {
		return nil, fmt.Errorf("%w: its JSON is not that of a notice", ErrNotice)
	}
	return &n, nil
}

func (n *Notice) good() bool {
	_, known := events[n.Event]
	for _, c := range []byte(n.ID) {
		known = known && c > ' ' && c < 0x7F
	}
	return known && n.ID != "" && len(n.ID) <= 64 && n.Sequence > 0 && n.Pairing != uuid.Nil && IsOperator(n.Operator)
}

// Take takes an operator's notice, once. ErrNotice, ErrNoticeSignature, ErrNoticeAge,
// ErrNoticeDiffers, ErrNoPlan, ErrNoOperator; another error is the bureau's own fault, and the same
// may be sent again. A notice of a swap marks the pairing and tells the bank that the
// number is not to be relied on; it moves nothing to another SIM.
func (s *Service) Take(ctx context.Context, operator string, compact []byte, by store.Actor) (NoticeAnswer, error) {
	plan, err := s.plan(ctx)
	if err != nil {
		return NoticeAnswer{}, err
	}
	o, ok := plan.Operators[operator]
	if !ok {
		return NoticeAnswer{}, ErrNoOperator
	}
	n, err := ParseNotice(compact, o.Keys)
	if err != nil {
		return NoticeAnswer{}, err
	}
	if n.Operator != operator {
		return NoticeAnswer{}, fmt.Errorf("%w: it is another operator's", ErrNotice)
	}
	if age := s.now().Sub(time.Unix(n.IssuedAt, 0)); age > noticeAge || age < -noticeSkew {
		return NoticeAnswer{}, ErrNoticeAge
	}
	// The digest is of what is signed: another signature over the same is the same.
	signed := compact[:bytes.LastIndexByte(compact, '.')]
	digest := sha256.Sum256(bytes.TrimSpace(signed))
	e := events[n.Event]
	in := store.OperatorNotice{Operator: operator, JTI: n.ID, Digest: digest[:], Pairing: n.Pairing, Sequence: n.Sequence, From: e.from, To: e.to, Reason: e.reason}
	answer, err := s.take(ctx, in, by)
	if err != nil {
		return NoticeAnswer{}, err
	}
	if answer != "done" {
		return NoticeAnswer{ID: n.ID, Status: "refused", Code: answer}, nil
	}
	return NoticeAnswer{ID: n.ID, Status: "done"}, nil
}

// take carries a notice out, and signs the record where it activates.
func (s *Service) take(ctx context.Context, in store.OperatorNotice, by store.Actor) (string, error) {
	answer, _, err := s.Store.TakeNotice(ctx, in, by)
	if errors.Is(err, store.ErrUnsigned) {
		p, perr := s.Store.PairingByID(ctx, in.Pairing)
		if perr != nil {
			return "", perr
		}
		if in.Record, in.Index, err = s.record(ctx, &p); err != nil {
			return "", err
		}
		answer, _, err = s.Store.TakeNotice(ctx, in, by)
	}
	if errors.Is(err, store.ErrCallbackDiffer) {
		return "", ErrNoticeDiffers
	}
	return answer, err
}
