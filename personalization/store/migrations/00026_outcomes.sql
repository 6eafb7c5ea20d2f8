-- +goose Up

-- What became of each account and PAN, once: the lines of the issuing results, in
-- order. Each goes into exactly one file, by which the same file can be made again. No
-- IBAN and no PAN is here, but where they are sealed.
CREATE TABLE bank_outcome (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    status     text NOT NULL CHECK (status IN ('issued', 'replaced', 'spoiled', 'voided', 'withdrawn')),
    assignment uuid NOT NULL REFERENCES account_assignment,
    pan_id     uuid REFERENCES pan, -- null: the account had none yet
    scheme     text NOT NULL DEFAULT '',
    expires_on date,                -- null: no card's data was made
    at         timestamptz NOT NULL DEFAULT now(),
    file_seq   bigint,
    CHECK (status NOT IN ('issued', 'replaced', 'spoiled') OR pan_id IS NOT NULL AND expires_on IS NOT NULL)
);
-- A PAN with its sequence number comes to one end.
CREATE UNIQUE INDEX bank_outcome_pan ON bank_outcome (pan_id) WHERE pan_id IS NOT NULL;
CREATE INDEX bank_outcome_open ON bank_outcome (at) WHERE file_seq IS NULL;
CREATE INDEX bank_outcome_file ON bank_outcome (file_seq) WHERE file_seq IS NOT NULL;

ALTER TABLE event_outbox DROP CONSTRAINT event_outbox_type_check;
ALTER TABLE event_outbox ADD CONSTRAINT event_outbox_type_check CHECK (type IN ('bound', 'issued', 'activated', 'suspended', 'resumed', 'replaced', 'revoked',
    'withdrawn', 'sim-swap-pending', 'sim-swap-ended', 'spoiled', 'voided'));

-- What no file has told yet: a file had all of its day (UTC) up to when it was made.
INSERT INTO bank_outcome (status, assignment, pan_id, scheme, expires_on, at)
SELECT CASE WHEN EXISTS (SELECT FROM binding e JOIN card x ON x.id = e.card_id WHERE e.iban_ref = b.iban_ref AND e.card_id <> b.card_id AND x.made_at < c.made_at)
    THEN 'replaced' ELSE 'issued' END, a.id, b.pan_id, b.scheme, b.expires_on, c.made_at
FROM binding b JOIN card c ON c.id = b.card_id JOIN account_assignment a ON a.order_id = c.order_id AND a.state = 'assigned'
WHERE NOT EXISTS (SELECT FROM bank_file f WHERE f.kind = 'ISSUE' AND f.day = (c.made_at AT TIME ZONE 'UTC')::date AND f.made_at >= c.made_at) ORDER BY c.made_at;
INSERT INTO bank_outcome (status, assignment, at)
SELECT 'withdrawn', a.id, a.changed_at FROM account_assignment a WHERE a.state = 'withdrawn'
AND NOT EXISTS (SELECT FROM bank_file f WHERE f.kind = 'ISSUE' AND f.day = (a.changed_at AT TIME ZONE 'UTC')::date AND f.made_at >= a.changed_at) ORDER BY a.changed_at;
-- Orders that have ended without a card were told in no file.
INSERT INTO bank_outcome (status, assignment, pan_id, at)
SELECT 'voided', a.id, n.id, o.changed_at FROM card_order o JOIN account_assignment a ON a.order_id = o.id AND a.state = 'assigned'
LEFT JOIN pan n ON n.order_id = o.id AND n.state = 'allocated' WHERE o.state IN ('withdrawn', 'superseded', 'failed') ORDER BY o.changed_at;
UPDATE pan SET state = 'retired' WHERE state = 'allocated' AND order_id IN (SELECT id FROM card_order WHERE state IN ('withdrawn', 'superseded', 'failed'));
DROP FUNCTION bank_day(date);
DROP FUNCTION bank_day_pans(date);
DROP FUNCTION bank_balance();

-- The PAN of an order whose card was begun and came to nothing, or that ends without a
-- card, is never used again, and the bank hears of it. p_image is the image that it is
-- about; it may be null.
-- +goose StatementBegin
CREATE FUNCTION retire_pan(p_order uuid, p_image uuid, p_ends boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    p payment_image%ROWTYPE;
    n pan%ROWTYPE;
    v_account uuid;
    v_status  text := 'voided';
BEGIN
    SELECT id INTO v_account FROM account_assignment WHERE order_id = p_order AND state = 'assigned';
    SELECT * INTO p FROM payment_image WHERE image_id = p_image;
    SELECT * INTO n FROM pan WHERE order_id = p_order AND state = 'allocated';
    IF p.pan_id = n.id AND EXISTS (SELECT FROM attempt a WHERE a.image_id = p_image AND NOT a.nothing_written) THEN
        v_status := 'spoiled';
    ELSIF NOT p_ends THEN
        RETURN; -- the next image takes the same PAN
    END IF;
    UPDATE pan SET state = 'retired' WHERE id = n.id;
    IF v_account IS NOT NULL THEN
        INSERT INTO bank_outcome (status, assignment, pan_id, scheme, expires_on) VALUES (v_status, v_account, n.id, coalesce(p.scheme, ''), p.expires_on);
    END IF;
    IF n.id IS NOT NULL THEN
        PERFORM append_event(v_status, gen_random_uuid(), n.token, n.sequence, NULL);
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION order_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    -- An order whose card was spoiled has ended what it was with: an outcome of its own
    -- is due only where account or PAN are there still.
    IF EXISTS (SELECT FROM pan WHERE order_id = NEW.id AND state = 'allocated')
       OR EXISTS (SELECT FROM account_assignment WHERE order_id = NEW.id AND state = 'assigned') THEN
        PERFORM retire_pan(NEW.id, NEW.image_id, true);
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER order_ended AFTER UPDATE OF state ON card_order FOR EACH ROW
    WHEN (NEW.state IN ('withdrawn', 'superseded', 'failed') AND OLD.state <> NEW.state) EXECUTE FUNCTION order_ended();

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION forget_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM payment_image p JOIN pan n ON n.id = p.pan_id WHERE p.image_id = NEW.id AND n.state = 'allocated') THEN
        PERFORM retire_pan(NEW.order_id, NEW.id, false);
    END IF;
    DELETE FROM payment_image WHERE image_id = NEW.id;
    DELETE FROM pin_mailer WHERE image_id = NEW.id;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION bind_card() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    p payment_image%ROWTYPE;
    n pan%ROWTYPE;
    v_ref uuid;
BEGIN
    DELETE FROM payment_image WHERE image_id = NEW.image_id RETURNING * INTO p;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    UPDATE pan SET state = 'bound' WHERE id = p.pan_id RETURNING * INTO n;
    INSERT INTO bank_outcome (status, assignment, pan_id, scheme, expires_on)
    SELECT CASE WHEN EXISTS (SELECT FROM binding e WHERE e.iban_ref = p.iban_ref) THEN 'replaced' ELSE 'issued' END, a.id, p.pan_id, p.scheme, p.expires_on
    FROM account_assignment a WHERE a.order_id = NEW.order_id AND a.state = 'assigned';
    INSERT INTO binding (card_id, pan_id, iban_ref, status_index, binding, scheme, expires_on)
    VALUES (NEW.id, p.pan_id, p.iban_ref, p.status_index, p.binding, p.scheme, p.expires_on) RETURNING ref INTO v_ref;
    PERFORM append_event('bound', v_ref, n.token, n.sequence, p.status_index);
    PERFORM append_event('issued', v_ref, n.token, n.sequence, p.status_index);
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- A card that was spoiled is behind an order: until the next is begun the bank may
-- still take the account back. So it may where preparation could not use the account,
-- and the order waits for another.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION withdraw_account(p_order uuid, p_reference text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
    v_order uuid := p_order;
    n pan%ROWTYPE;
    p payment_image%ROWTYPE;
    v_account uuid;
BEGIN
    IF v_order IS NULL THEN
        SELECT order_id INTO v_order FROM account_assignment WHERE reference = p_reference;
    END IF;
    SELECT * INTO o FROM card_order WHERE id = v_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF NOT EXISTS (SELECT FROM account_assignment a WHERE a.order_id = v_order AND a.state = 'assigned' AND (p_reference IS NULL OR a.reference = p_reference)) THEN
        RETURN CASE WHEN EXISTS (SELECT FROM account_assignment a WHERE a.order_id = v_order AND a.state = 'withdrawn' AND (p_reference IS NULL OR a.reference = p_reference))
            THEN 'already' ELSE 'not-found' END;
    END IF;
    IF o.state NOT IN ('accepted', 'awaiting-bank', 'prepared', 'released', 'awaiting-decision')
       OR EXISTS (SELECT FROM attempt a JOIN image i ON i.id = a.image_id WHERE a.order_id = v_order AND NOT a.nothing_written AND i.voided_at IS NULL) THEN
        RETURN 'wrong-state';
    END IF;
    SELECT x.* INTO p FROM payment_image x JOIN image i ON i.id = x.image_id WHERE i.order_id = v_order AND i.voided_at IS NULL;
    UPDATE pan SET state = 'retired' WHERE order_id = v_order AND state = 'allocated' RETURNING * INTO n;
    UPDATE account_assignment SET state = 'withdrawn', reason = p_reason, changed_at = now() WHERE order_id = v_order AND state = 'assigned' RETURNING id INTO v_account;
    PERFORM void_images(v_order);
    UPDATE card_order SET state = 'awaiting-bank', reason = 'account-withdrawn', generation = generation + 1, changed_at = now() WHERE id = v_order;
    INSERT INTO bank_outcome (status, assignment, pan_id, scheme, expires_on) VALUES ('withdrawn', v_account, n.id, coalesce(p.scheme, ''), p.expires_on);
    PERFORM append_event('withdrawn', gen_random_uuid(), n.token, n.sequence, NULL);
    PERFORM audit_append(p_actor, p_through, 'account.withdrawn', v_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION assign_account(p_order uuid, p_id uuid, p_source text, p_reference text, p_digest bytea, p_iban bytea, p_sealed bytea,
    p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
    k account_assignment%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('account ' || p_reference));
    SELECT * INTO k FROM account_assignment WHERE reference = p_reference;
    IF FOUND THEN
        RETURN CASE WHEN k.digest <> p_digest OR k.order_id <> p_order THEN 'assignment-differs' WHEN k.state = 'withdrawn' THEN 'wrong-state' ELSE 'already' END;
    END IF;
    SELECT * INTO o FROM card_order WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF o.state <> 'awaiting-bank' THEN
        RETURN 'wrong-state';
    END IF;
    -- One that preparation could not use is taken back before another comes.
    IF EXISTS (SELECT FROM account_assignment WHERE order_id = p_order AND state = 'assigned') THEN
        RETURN 'has-account';
    END IF;
    INSERT INTO account_assignment (id, order_id, source, reference, digest, iban_ref, sealed)
    VALUES (p_id, p_order, p_source, p_reference, p_digest, p_iban, p_sealed);
    PERFORM audit_append(p_actor, p_through, 'account.assigned', p_order::text, '');
    PERFORM prepare_again(p_order, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- A number of a range that the bank has given as its own is passed over: it is used.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION put_pan(p_order uuid, p_id uuid, p_token bytea, p_last4 text, p_sealed bytea, p_range text,
    OUT outcome text, OUT sequence smallint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
BEGIN
    SELECT * INTO o FROM card_order WHERE id = p_order;
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('pan ' || encode(p_token, 'hex')));
    IF p_range IS NOT NULL THEN
        UPDATE pan_range SET next = next + 1 WHERE name = p_range;
    END IF;
    IF EXISTS (SELECT FROM pan n WHERE n.token = p_token AND (p_range IS NOT NULL OR n.person_id <> o.person_id)) THEN
        outcome := 'pan-taken';
        RETURN;
    END IF;
    SELECT coalesce(max(n.sequence), 0) + 1 INTO sequence FROM pan n WHERE n.token = p_token;
    INSERT INTO pan (id, token, sequence, last4, order_id, person_id, range, sealed)
    VALUES (p_id, p_token, sequence, p_last4, p_order, o.person_id, p_range, p_sealed);
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- Whether a PAN is another person's.
-- +goose StatementBegin
CREATE FUNCTION pan_taken(p_order uuid, p_token bytea) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pan n JOIN card_order o ON o.id = p_order WHERE n.token = p_token AND n.person_id <> o.person_id)
$$;
-- +goose StatementEnd

DROP FUNCTION awaiting_bank(uuid, integer);
-- +goose StatementBegin
CREATE FUNCTION awaiting_bank(p_after uuid, p_limit integer)
RETURNS TABLE (order_id uuid, record_id uuid, since timestamptz, reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT o.id, r.record_id, o.changed_at, o.reason FROM card_order o JOIN record r ON r.id = o.record_row
    WHERE o.state = 'awaiting-bank' AND (p_after IS NULL OR o.id > p_after) ORDER BY o.id LIMIT least(p_limit, 1000)
$$;
-- +goose StatementEnd

-- What is in a file, or in none yet and became true before a moment.
-- +goose StatementBegin
CREATE FUNCTION bank_outcomes(p_file bigint, p_before timestamptz, p_limit integer)
RETURNS TABLE (id bigint, status text, token bytea, sequence smallint, last4 text, iban_sealed bytea, assignment uuid, person_id uuid, epoch text, wrapped bytea,
    expires_on date, at timestamptz, scheme text, product text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT b.id, b.status, n.token, coalesce(n.sequence, 0::smallint), coalesce(n.last4, ''), a.sealed, a.id, o.person_id, k.epoch, k.wrapped, b.expires_on, b.at, b.scheme, o.product
    FROM bank_outcome b JOIN account_assignment a ON a.id = b.assignment JOIN card_order o ON o.id = a.order_id JOIN person_key k ON k.person_id = o.person_id
    LEFT JOIN pan n ON n.id = b.pan_id
    WHERE CASE WHEN p_file IS NULL THEN b.file_seq IS NULL AND b.at < p_before ELSE b.file_seq = p_file END
    ORDER BY b.id LIMIT p_limit
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION append_issuing_file(p_seq bigint, p_day date, p_digest bytea, p_previous bytea, p_records integer, p_totals jsonb,
    p_outcomes bigint[], p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_word text := append_bank_file('ISSUE', p_seq, p_day, p_digest, p_previous, p_records, p_totals, p_actor, p_through);
    v_count integer;
BEGIN
    IF v_word = 'done' THEN
        UPDATE bank_outcome SET file_seq = p_seq WHERE id = ANY (p_outcomes) AND file_seq IS NULL;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count <> p_records THEN
            RAISE EXCEPTION 'an outcome is in another file already';
        END IF;
    END IF;
    RETURN v_word;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION bank_content(p_kind text, p_seq bigint) RETURNS TABLE (seq bigint, records integer, totals jsonb, content bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, records, totals, content FROM bank_file WHERE kind = p_kind AND seq = p_seq AND content IS NOT NULL
$$;
-- +goose StatementEnd

-- Where every account stood at a moment.
-- +goose StatementBegin
CREATE FUNCTION bank_balance(p_at timestamptz) RETURNS TABLE (class text, n bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT CASE WHEN a.state = 'withdrawn' AND a.changed_at < p_at THEN 'withdrawn'
        WHEN EXISTS (SELECT FROM card c WHERE c.order_id = o.id AND c.made_at < p_at) THEN 'issued'
        WHEN o.state IN ('withdrawn', 'superseded', 'failed') AND o.changed_at < p_at THEN 'spoiled'
        WHEN EXISTS (SELECT FROM attempt t WHERE t.order_id = o.id AND t.outcome = 'in-doubt' AND t.finished_at < p_at AND (t.settled_at IS NULL OR t.settled_at >= p_at))
            THEN 'in-doubt'
        WHEN EXISTS (SELECT FROM attempt t WHERE t.order_id = o.id AND t.started_at < p_at AND (t.finished_at IS NULL OR t.finished_at >= p_at)) THEN 'in-progress'
        ELSE 'waiting' END, count(*)
    FROM account_assignment a JOIN card_order o ON o.id = a.order_id WHERE a.created_at < p_at GROUP BY 1
$$;
-- +goose StatementEnd

-- How far the ranges of PANs were used at a moment.
-- +goose StatementBegin
CREATE FUNCTION pan_ranges_at(p_at timestamptz) RETURNS TABLE (name text, prefix text, length integer, next bigint, size bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT r.name, r.prefix, r.length, r.next - (SELECT count(*) FROM pan n WHERE n.range = r.name AND n.created_at >= p_at), r.size
    FROM pan_range r WHERE r.added_at < p_at ORDER BY r.name
$$;
-- +goose StatementEnd
CREATE INDEX pan_range_time ON pan (range, created_at);

-- The sealed PANs of the cards that were issued between two moments.
-- +goose StatementBegin
CREATE FUNCTION bank_pans(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (token bytea, sequence smallint, pan_id uuid, pan_sealed bytea, person_id uuid, epoch text, wrapped bytea, expires_on date, scheme text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT n.token, n.sequence, n.id, n.sealed, c.person_id, k.epoch, k.wrapped, b.expires_on, b.scheme
    FROM binding b JOIN card c ON c.id = b.card_id JOIN pan n ON n.id = b.pan_id JOIN person_key k ON k.person_id = c.person_id
    WHERE c.made_at >= p_from AND c.made_at < p_to ORDER BY c.id
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON FUNCTION retire_pan, order_ended, bank_outcomes, append_issuing_file, bank_content, bank_balance, pan_ranges_at, bank_pans, pan_taken,
    awaiting_bank FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bank_outcomes, append_issuing_file, bank_content, bank_balance, pan_ranges_at, bank_pans, pan_taken, awaiting_bank TO cb_bank;
