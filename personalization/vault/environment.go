package vault

import (
	"context"
	"errors"
	"fmt"
)

type environmentReply struct{ Provisioned, Development bool }

// environment tells from the country signing key what the token is for.
func (s *Service) environment(ctx context.Context, _ *nothing) (*environmentReply, error) {
	l, err := roleLabel(RoleCSCA, "1")
	if err != nil {
		return nil, err
	}
	out := &environmentReply{}
	out.Provisioned, out.Development, err = s.token.Exists(ctx, l)
	return out, err
}

// ErrEnvironment: the token's keys were made for the other environment.
var ErrEnvironment = errors.New("the token is for another environment than the configuration")

// CheckEnvironment returns ErrEnvironment when the token has keys that were made
// for the other environment: a configuration is a file that anyone may have
// changed, what a key was made for stands in the token. A token without keys is
// for either.
func (c *Client) CheckEnvironment(ctx context.Context, development bool) error {
	out, _, err := call[environmentReply](ctx, c, methodEnvironment, nothing{})
	if err != nil || !out.Provisioned || out.Development == development {
		return err
	}
	words := map[bool]string{true: "development", false: "production"}
	return fmt.Errorf("%w: its keys were made for %s, the configuration says %s", ErrEnvironment, words[out.Development], words[development])
}
