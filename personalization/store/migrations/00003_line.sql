-- +goose Up

CREATE TABLE blank (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial              text NOT NULL UNIQUE,
    chip                text NOT NULL,
    batch               text NOT NULL,
    state               text NOT NULL DEFAULT 'on-hand' CHECK (state IN ('on-hand', 'in-use', 'issued', 'spoiled',
                            'quarantined', 'in-doubt', 'test', 'returned')),
    fence               bigint NOT NULL DEFAULT 0,
    failed_key_versions integer[] NOT NULL DEFAULT '{}',
    received_at         timestamptz NOT NULL DEFAULT now(),
    changed_at          timestamptz NOT NULL DEFAULT now(),
    changed_by          uuid NOT NULL,
    change_reason       text NOT NULL DEFAULT '',
    attempt_id          uuid
);
CREATE INDEX blank_state ON blank (state);

-- The ledger: every change of a blank's state, written by a trigger so that
-- none goes unwritten. Sheets are counted from it and compared with the states.
CREATE TABLE blank_move (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    blank_id   bigint NOT NULL REFERENCES blank,
    from_state text,
    to_state   text NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    by         uuid NOT NULL,
    attempt_id uuid,
    reason     text NOT NULL
);
CREATE INDEX blank_move_received ON blank_move (seq) WHERE from_state IS NULL;
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON blank_move
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

-- +goose StatementBegin
CREATE FUNCTION blank_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO blank_move (blank_id, to_state, by, reason) VALUES (NEW.id, NEW.state, NEW.changed_by, NEW.change_reason);
        RETURN NULL;
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NULL;
    END IF;
    IF OLD.state IN ('issued', 'spoiled', 'test', 'returned') THEN
        RAISE EXCEPTION 'a blank never leaves state %', OLD.state;
    END IF;
    INSERT INTO blank_move (blank_id, from_state, to_state, by, attempt_id, reason)
    VALUES (NEW.id, OLD.state, NEW.state, NEW.changed_by, NEW.attempt_id, NEW.change_reason);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER blank_moved AFTER INSERT OR UPDATE OF state ON blank
    FOR EACH ROW EXECUTE FUNCTION blank_moved();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON blank
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

CREATE TABLE shift (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by uuid NOT NULL,
    after_seq bigint NOT NULL,       -- last ledger row before the shift
    carried   integer NOT NULL,      -- blanks present at its beginning
    closed_at timestamptz,
    closed_by uuid,
    closing   jsonb                  -- the sheet as signed
);
CREATE UNIQUE INDEX shift_one_open ON shift ((closed_at IS NULL)) WHERE closed_at IS NULL;

-- A process at work. It lives as long as it holds the advisory lock
-- (station_class(), id) in a database session of its own.
CREATE TABLE station_session (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station    text NOT NULL,
    machine    text NOT NULL,
    pid        integer NOT NULL,
    pid_start  bigint NOT NULL,
    actor      uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);

CREATE SEQUENCE fence;

-- An attempt to make a card, committed before the first command that changes
-- the card. Without outcome it is running, or its process died.
CREATE TABLE attempt (
    id              uuid PRIMARY KEY,
    order_id        uuid NOT NULL REFERENCES card_order,
    blank_id        bigint NOT NULL REFERENCES blank,
    image_id        uuid NOT NULL REFERENCES image,
    session_id      integer NOT NULL,
    reader          text NOT NULL,
    fence           bigint NOT NULL UNIQUE,
    resumes         uuid REFERENCES attempt,
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome         text CHECK (outcome IN ('issued', 'clean', 'in-doubt', 'spoiled', 'quarantined')),
    reason          text NOT NULL DEFAULT '',
    nothing_written boolean NOT NULL DEFAULT false,
    finished_at     timestamptz,
    settled         text CHECK (settled IN ('resumed', 'spoiled', 'quarantined')),
    settled_at      timestamptz,
    CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CHECK (settled IS NULL OR outcome = 'in-doubt')
);
CREATE INDEX attempt_order ON attempt (order_id);
CREATE UNIQUE INDEX attempt_one_running_order ON attempt (order_id) WHERE outcome IS NULL;
CREATE UNIQUE INDEX attempt_one_running_blank ON attempt (blank_id) WHERE outcome IS NULL;
CREATE UNIQUE INDEX attempt_one_doubt_blank ON attempt (blank_id) WHERE outcome = 'in-doubt' AND settled IS NULL;
CREATE INDEX attempt_running_session ON attempt (session_id) WHERE outcome IS NULL;

-- The journal only advises: what the card says outranks it.
CREATE TABLE attempt_step (
    attempt_id uuid NOT NULL REFERENCES attempt,
    seq        integer NOT NULL,
    name       text NOT NULL,
    event      text NOT NULL CHECK (event IN ('intent', 'done', 'failed')),
    status     integer NOT NULL DEFAULT 0,
    at         timestamptz NOT NULL,
    PRIMARY KEY (attempt_id, seq)
);

CREATE TABLE card (
    id         uuid PRIMARY KEY,
    number     text NOT NULL UNIQUE,
    person_id  uuid NOT NULL REFERENCES person,
    order_id   uuid NOT NULL UNIQUE REFERENCES card_order,
    blank_id   bigint NOT NULL UNIQUE REFERENCES blank,
    image_id   uuid NOT NULL UNIQUE REFERENCES image,
    attempt_id uuid NOT NULL UNIQUE REFERENCES attempt,
    state      text NOT NULL DEFAULT 'made' CHECK (state IN ('made', 'active', 'suspended', 'revoked')),
    evidence   bytea NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
-- One card a person that is active or suspended.
CREATE UNIQUE INDEX card_one_live ON card (person_id) WHERE state IN ('active', 'suspended');
