-- +goose Up

-- The journal has a row for each time that steps are written down, and no longer
-- one for each step: a card writes some fifty steps down in four batches, and each
-- row costs its index entry and its look at the attempt.
CREATE TABLE attempt_journal (
    attempt_id uuid NOT NULL REFERENCES attempt,
    first      integer NOT NULL, -- of seq
    seq        integer[] NOT NULL,
    name       text[] NOT NULL,
    event      text[] NOT NULL CHECK (event <@ ARRAY['intent', 'done', 'failed']),
    status     integer[] NOT NULL,
    at         timestamptz[] NOT NULL,
    PRIMARY KEY (attempt_id, first),
    CHECK (first = seq[1]),
    CHECK (cardinality(seq) = cardinality(name) AND cardinality(seq) = cardinality(event)
       AND cardinality(seq) = cardinality(status) AND cardinality(seq) = cardinality(at))
);
INSERT INTO attempt_journal (attempt_id, first, seq, name, event, status, at)
    SELECT attempt_id, min(seq), array_agg(seq ORDER BY seq), array_agg(name ORDER BY seq), array_agg(event ORDER BY seq),
        array_agg(status ORDER BY seq), array_agg(at ORDER BY seq)
    FROM attempt_step GROUP BY attempt_id;
DROP TABLE attempt_step;

-- A number written before is not written again.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION write_steps(p_attempt uuid, p_seq integer[], p_name text[], p_event text[], p_status integer[], p_at timestamptz[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM attempt_journal j WHERE j.attempt_id = p_attempt AND j.seq && p_seq) THEN
        SELECT array_agg(s.seq ORDER BY s.n), array_agg(s.name ORDER BY s.n), array_agg(s.event ORDER BY s.n),
            array_agg(s.status ORDER BY s.n), array_agg(s.at ORDER BY s.n)
        INTO p_seq, p_name, p_event, p_status, p_at
        FROM unnest(p_seq, p_name, p_event, p_status, p_at) WITH ORDINALITY AS s (seq, name, event, status, at, n)
        WHERE NOT EXISTS (SELECT FROM attempt_journal j WHERE j.attempt_id = p_attempt AND s.seq = ANY (j.seq));
    END IF;
    IF cardinality(p_seq) > 0 THEN
        INSERT INTO attempt_journal (attempt_id, first, seq, name, event, status, at)
        VALUES (p_attempt, p_seq[1], p_seq, p_name, p_event, p_status, p_at)
        ON CONFLICT DO NOTHING;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION attempt_steps(p_attempt uuid) RETURNS TABLE (seq integer, name text, event text, status integer, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT s.seq, s.name, s.event, s.status, s.at
    FROM attempt a JOIN attempt_journal j ON j.attempt_id = a.resumes,
        unnest(j.seq, j.name, j.event, j.status, j.at) AS s (seq, name, event, status, at)
    WHERE a.id = p_attempt ORDER BY s.seq
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION doubts()
RETURNS TABLE (attempt_id uuid, order_id uuid, serial text, station text, reader text, reason text, started_at timestamptz, last_step text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT a.id, a.order_id, b.serial, s.station, a.reader, a.reason, a.started_at,
        coalesce((SELECT t.name || ' ' || t.event FROM attempt_journal j, unnest(j.seq, j.name, j.event) AS t (seq, name, event)
            WHERE j.attempt_id = a.id ORDER BY t.seq DESC LIMIT 1), '')
    FROM attempt a JOIN blank b ON b.id = a.blank_id JOIN station_session s ON s.id = a.session_id
    WHERE a.outcome = 'in-doubt' AND a.settled IS NULL
    ORDER BY a.started_at
$$;
-- +goose StatementEnd

-- A function of language sql that the planner cannot put into the statement that
-- calls it, as one that acts for its owner, is parsed and planned anew with each
-- call; one of plpgsql once a connection. These are called with each card.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION bank_part(p_order uuid)
RETURNS TABLE (assignment uuid, sealed bytea, iban_ref bytea, withdrawn boolean, pan_id uuid, pan_token bytea, pan_sequence smallint, pan_last4 text, pan_sealed bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.id, a.sealed, a.iban_ref,
        EXISTS (SELECT FROM account_assignment w WHERE w.order_id = p_order AND w.state = 'withdrawn'),
        n.id, n.token, n.sequence, n.last4, n.sealed
    FROM (SELECT) one LEFT JOIN account_assignment a ON a.order_id = p_order AND a.state = 'assigned'
    LEFT JOIN pan n ON n.order_id = p_order AND n.state = 'allocated';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION lock_range(p_name text) RETURNS TABLE (prefix text, length integer, next bigint, size bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT r.prefix, r.length, r.next, r.size FROM pan_range r WHERE r.name = p_name FOR NO KEY UPDATE;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION take_icc_key(p_bits integer) RETURNS TABLE (id uuid, sealed bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY DELETE FROM icc_key k WHERE k.id = (SELECT c.id FROM icc_key c WHERE c.bits = p_bits LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING k.id, k.sealed;
END
$$;
-- +goose StatementEnd

-- Volatile, so that it sees the image of an order that the same statement has just
-- claimed: it may have been stored after the statement began.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION payment_part(p_image uuid) RETURNS TABLE (content bytea, secrets bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT p.content, p.secrets FROM payment_image p WHERE p.image_id = p_image;
END
$$;
-- +goose StatementEnd
