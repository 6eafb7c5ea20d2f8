-- +goose Up

-- Who does something: audit rows name an actor by its identifier alone.
CREATE TABLE actor (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('operator', 'api-key', 'station', 'program')),
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, name)
);

-- What took two people.
CREATE TABLE approval (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action  text NOT NULL,
    subject text NOT NULL,
    first   uuid NOT NULL REFERENCES actor,
    second  uuid NOT NULL REFERENCES actor,
    reason  text NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (first <> second)
);

-- The audit: rows hold random identifiers and reason codes, never a name.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor   uuid NOT NULL,
    through text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    reason  text NOT NULL DEFAULT ''
);

-- The chain: hash = SHA-256(hash before || fields of the row). It is made at
-- commit by a deferred trigger, because the lock on its head must be the last
-- one that a transaction takes and be held for as short as possible.
CREATE TABLE audit_link (
    position bigint PRIMARY KEY,
    audit_id bigint NOT NULL UNIQUE REFERENCES audit,
    hash     bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE TABLE audit_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL,
    hash     bytea NOT NULL CHECK (octet_length(hash) = 32)
);
INSERT INTO audit_head (position, hash) VALUES (0, sha256('cardbureau audit 1'));

-- +goose StatementBegin
CREATE FUNCTION audit_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    h audit_head%ROWTYPE;
    t bytea;
    a bytea;
    s bytea;
    r bytea;
BEGIN
    SELECT * INTO h FROM audit_head FOR NO KEY UPDATE;
    h.position := h.position + 1;
    t := convert_to(NEW.through, 'UTF8');
    a := convert_to(NEW.action, 'UTF8');
    s := convert_to(NEW.subject, 'UTF8');
    r := convert_to(NEW.reason, 'UTF8');
    h.hash := sha256(h.hash || int8send(h.position) || int8send(NEW.id)
        || int8send((extract(epoch FROM NEW.at) * 1000000)::bigint) || uuid_send(NEW.actor)
        || int4send(octet_length(t)) || t || int4send(octet_length(a)) || a
        || int4send(octet_length(s)) || s || int4send(octet_length(r)) || r);
    INSERT INTO audit_link (position, audit_id, hash) VALUES (h.position, NEW.id, h.hash);
    UPDATE audit_head SET position = h.position, hash = h.hash;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE CONSTRAINT TRIGGER audit_chain AFTER INSERT ON audit
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_chain();

-- +goose StatementBegin
CREATE FUNCTION never_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_link
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON approval
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

-- +goose StatementBegin
CREATE FUNCTION audit_append(p_actor uuid, p_through text, p_action text, p_subject text, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    INSERT INTO audit (actor, through, action, subject, reason)
        VALUES (p_actor, p_through, p_action, p_subject, p_reason);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION actor_id(p_id uuid, p_kind text, p_name text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v uuid;
BEGIN
    INSERT INTO actor (id, kind, name) VALUES (p_id, p_kind, p_name) ON CONFLICT (kind, name) DO NOTHING;
    SELECT id INTO v FROM actor WHERE kind = p_kind AND name = p_name;
    RETURN v;
END
$$;
-- +goose StatementEnd

-- Bearer keys of the API: only their digests.
CREATE TABLE api_key (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    scopes     text[] NOT NULL,
    actor      uuid NOT NULL REFERENCES actor,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
