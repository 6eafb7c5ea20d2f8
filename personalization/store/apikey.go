package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// APIKey is a bearer key of the API without its secret.
type APIKey struct {
	ID     uuid.UUID
	Name   string
	Scopes []string
	Actor  uuid.UUID // who acts when the key is used
}

// keyPrefix makes a key recognizable to people and to scanners for secrets.
const keyPrefix = "cbk_"

// CreateAPIKey makes a key of 32 random bytes and returns it with its text,
// which is never stored: the database holds its SHA-256. The name must be new.
func (s *Store) CreateAPIKey(ctx context.Context, name string, scopes []string, a Actor) (APIKey, string, error) {
	random := make([]byte, 32)
	rand.Read(random) // never fails (crypto/rand, Go 1.24)
	token := keyPrefix + base64.RawURLEncoding.EncodeToString(random)
	k := APIKey{ID: NewID(), Name: name, Scopes: scopes}
	hash := sha256.Sum256([]byte(token))
	err := s.desk.QueryRow(ctx, "SELECT create_api_key($1, $2, $3, $4, $5, $6, $7)",
		k.ID, name, hash[:], scopes, NewID(), a.ID, a.Through).Scan(&k.Actor)
	if err != nil {
		return APIKey{}, "", dbError("storing an API key (is the name new?)", err)
	}
	return k, token, nil
}

// AuthenticateAPIKey finds the key of a bearer token; [ErrNotFound] when it is
// unknown or revoked.
func (s *Store) AuthenticateAPIKey(ctx context.Context, token string) (APIKey, error) {
	hash := sha256.Sum256([]byte(token))
	return one(ctx, s.intake, "finding an API key", pgx.RowToStructByPos[APIKey],
		"SELECT id, name, scopes, actor FROM authenticate_api_key($1)", hash[:])
}

// RevokeAPIKey ends a key for good; [ErrNotFound] when it is unknown or ended.
func (s *Store) RevokeAPIKey(ctx context.Context, id uuid.UUID, a Actor) error {
	var found bool
	if err := s.desk.QueryRow(ctx, "SELECT revoke_api_key($1, $2, $3)", id, a.ID, a.Through).Scan(&found); err != nil {
		return dbError("revoking an API key", err)
	}
	if !found {
		return ErrNotFound
	}
	return nil
}
