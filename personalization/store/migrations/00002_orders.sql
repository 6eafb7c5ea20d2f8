-- +goose Up

-- A person is a random identifier. What leads to one is a keyed digest of the
-- unique id, made in the token; what is known of one lies sealed in records.
CREATE TABLE person (
    id              uuid PRIMARY KEY,
    ref             bytea NOT NULL UNIQUE CHECK (octet_length(ref) = 32),
    identity_digest bytea NOT NULL CHECK (octet_length(identity_digest) = 32),
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- Wrapped data keys lie apart from the people, so that they can be rewrapped
-- and destroyed on their own.
CREATE TABLE person_key (
    person_id uuid PRIMARY KEY REFERENCES person ON DELETE CASCADE,
    epoch     text NOT NULL,
    wrapped   bytea NOT NULL
);

CREATE TABLE record (
    id              uuid PRIMARY KEY,
    record_id       uuid NOT NULL,
    revision        integer NOT NULL CHECK (revision BETWEEN 1 AND 65535),
    person_id       uuid NOT NULL REFERENCES person,
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    identity_digest bytea NOT NULL CHECK (octet_length(identity_digest) = 32),
    key_id          text NOT NULL,
    sealed          bytea,
    expires_at      timestamptz NOT NULL,
    accepted_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (record_id, revision)
);
ALTER TABLE record ALTER COLUMN sealed SET STORAGE EXTERNAL; -- ciphertext does not compress

CREATE TABLE intake_quota (
    key_id text NOT NULL,
    day    date NOT NULL,
    used   integer NOT NULL DEFAULT 0,
    PRIMARY KEY (key_id, day)
);

CREATE TABLE lot (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    released_by uuid NOT NULL
);

CREATE TABLE card_order (
    id         uuid PRIMARY KEY,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    record_row uuid NOT NULL UNIQUE REFERENCES record,
    person_id  uuid NOT NULL REFERENCES person,
    product    text NOT NULL,
    office     text NOT NULL,
    phase      text NOT NULL,
    purpose    text NOT NULL CHECK (purpose IN ('first', 'renewal', 'replacement', 'correction')),
    state      text NOT NULL CHECK (state IN ('accepted', 'conflict', 'awaiting-decision', 'prepared', 'released',
                   'in-progress', 'in-doubt', 'issued', 'failed', 'withdrawn', 'superseded')),
    reason     text NOT NULL DEFAULT '',
    generation integer NOT NULL DEFAULT 1,
    lot_id     uuid REFERENCES lot,
    image_id   uuid,
    fence      bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
-- One open order a person.
CREATE UNIQUE INDEX card_order_one_open ON card_order (person_id)
    WHERE state NOT IN ('issued', 'failed', 'withdrawn', 'superseded');
CREATE INDEX card_order_queue ON card_order (state, seq);
CREATE INDEX card_order_lot ON card_order (lot_id) WHERE lot_id IS NOT NULL;

-- Card images. A voided one keeps its number, which is never used again, and
-- nothing else.
CREATE TABLE image (
    id          uuid PRIMARY KEY,
    order_id    uuid NOT NULL REFERENCES card_order,
    version     integer NOT NULL CHECK (version > 0),
    card_number text NOT NULL UNIQUE CHECK (card_number ~ '^[0-9A-Z]{9}$'),
    profile     text NOT NULL,
    content     bytea,
    secrets     bytea,
    made_at     timestamptz NOT NULL DEFAULT now(),
    voided_at   timestamptz,
    UNIQUE (order_id, version),
    CHECK ((voided_at IS NULL) = (content IS NOT NULL) AND (voided_at IS NULL) = (secrets IS NOT NULL))
);
ALTER TABLE image ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE image ALTER COLUMN secrets SET STORAGE EXTERNAL;
ALTER TABLE card_order ADD FOREIGN KEY (image_id) REFERENCES image;
