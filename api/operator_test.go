package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/api"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/store"
)

// noticeBoard stands in for the pairing service.
type noticeBoard struct {
	err      error
	answer   pairing.NoticeAnswer
	operator string
	text     string
}

func (n *noticeBoard) Take(_ context.Context, operator string, compact []byte, _ store.Actor) (pairing.NoticeAnswer, error) {
	n.operator, n.text = operator, string(compact)
	return n.answer, n.err
}

// TestOperatorCallbacks holds the operators' route to its answers, each against the
// document too.
func TestOperatorCallbacks(t *testing.T) {
	const path, notice = "/v1/operators/43211/callbacks", "a.b.c"
	done := pairing.NoticeAnswer{ID: "n-1", Status: "done"}
	for _, c := range []struct {
		name, kind, body string
		err              error
		answer           pairing.NoticeAnswer
		status           int
		has              string
	}{
		{"done", "application/jose", notice, nil, done, 200, `"done"`},
		{"refused", "application/jose", notice, nil, pairing.NoticeAnswer{ID: "n-1", Status: "refused", Code: "out-of-order"}, 200, `"out-of-order"`},
		{"JSON", "application/json", "{}", nil, done, 415, api.BodyType},
		{"large", "application/jose", strings.Repeat("a", 2<<20), nil, done, 413, api.BodyLarge},
		{"garbage", "application/jose", notice, fmt.Errorf("x: %w", pairing.ErrNotice), done, 400, api.NoticeInvalid},
		{"other key", "application/jose", notice, pairing.ErrNoticeSignature, done, 403, api.NoticeSignature},
		{"old", "application/jose", notice, pairing.ErrNoticeAge, done, 400, api.MessageAge},
		{"differs", "application/jose", notice, pairing.ErrNoticeDiffers, done, 409, api.NoticeDiffers},
		{"no operator", "application/jose", notice, pairing.ErrNoOperator, done, 404, api.OperatorUnknown},
		{"no plan", "application/jose", notice, pairing.ErrNoPlan, done, 503, api.Unavailable},
		{"broken", "application/jose", notice, errors.New("down"), done, 503, api.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			board := &noticeBoard{err: c.err, answer: c.answer}
			config := stub{key: func(string) (store.APIKey, error) {
				return store.APIKey{ID: allKeyID, Scopes: []string{api.ScopeOperator}}, nil
			}}.config()
			config.Operators = board
			s := serve(t, config)
			a := s.do(s.request("POST", path, allKey, c.kind, strings.NewReader(c.body)))
			if a.status != c.status || !strings.Contains(string(a.body), c.has) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if c.status == 200 && (board.operator != "43211" || board.text != notice) {
				t.Errorf("taken: %q %q", board.operator, board.text)
			}
			if strings.Contains(s.log.String(), notice) {
				t.Errorf("the notice is in the log: %s", s.log)
			}
		})
	}
	for _, scope := range []string{api.ScopeOperator, api.ScopeRecords, api.ScopeBankStatus} {
		s := serve(t, stub{key: func(string) (store.APIKey, error) {
			return store.APIKey{ID: allKeyID, Scopes: []string{scope}}, nil
		}}.config())
		want := 403
		if scope == api.ScopeOperator {
			want = 503 // there are no operators
		}
		if a := s.do(s.request("POST", path, allKey, "application/jose", strings.NewReader(notice))); a.status != want {
			t.Errorf("scope %s: %d %s", scope, a.status, a.body)
		}
	}
}
