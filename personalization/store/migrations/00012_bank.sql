-- +goose Up

-- An order whose product has a bank account waits until the bank has opened it.
ALTER TABLE card_order DROP CONSTRAINT card_order_state_check;
ALTER TABLE card_order ADD CONSTRAINT card_order_state_check CHECK (state IN ('accepted', 'conflict', 'awaiting-decision',
    'awaiting-bank', 'prepared', 'released', 'in-progress', 'in-doubt', 'issued', 'failed', 'withdrawn', 'superseded'));

-- Wherever an order may still be taken back, it may be while it waits for the bank.
-- +goose StatementBegin
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname = 'cardbureau' AND p.prosrc LIKE '%''awaiting-decision'', ''prepared''%' LOOP
        EXECUTE replace(pg_get_functiondef(f.oid), '''awaiting-decision'', ''prepared''', '''awaiting-decision'', ''awaiting-bank'', ''prepared''');
    END LOOP;
END
$$;
-- +goose StatementEnd

-- What the bank has said of an order's account. IBAN, account, name and given PAN
-- are sealed under the person's key.
CREATE TABLE account_assignment (
    id         uuid PRIMARY KEY,
    order_id   uuid NOT NULL REFERENCES card_order,
    source     text NOT NULL CHECK (source IN ('record', 'api', 'file')),
    reference  text UNIQUE CHECK (reference <> ''),
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    iban_ref   bytea NOT NULL CHECK (octet_length(iban_ref) = 32),
    sealed     bytea NOT NULL,
    state      text NOT NULL DEFAULT 'assigned' CHECK (state IN ('assigned', 'withdrawn')),
    reason     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX account_live ON account_assignment (order_id) WHERE state = 'assigned';

CREATE TABLE pan_range (
    name     text PRIMARY KEY,
    prefix   text NOT NULL CHECK (prefix ~ '^[0-9]{6,17}$'),
    length   integer NOT NULL CHECK (length BETWEEN 16 AND 19 AND length >= octet_length(prefix) + 2),
    next     bigint NOT NULL DEFAULT 0,
    size     bigint NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    CHECK (next BETWEEN 0 AND size)
);

-- A PAN with its sequence number stands here once, for ever. The row has no number
-- of its range: with the prefix it would be the PAN.
CREATE TABLE pan (
    id         uuid PRIMARY KEY,
    token      bytea NOT NULL CHECK (octet_length(token) = 16),
    sequence   smallint NOT NULL CHECK (sequence BETWEEN 1 AND 99),
    last4      text NOT NULL CHECK (last4 ~ '^[0-9]{4}$'),
    order_id   uuid NOT NULL REFERENCES card_order,
    person_id  uuid NOT NULL REFERENCES person,
    range      text REFERENCES pan_range,
    sealed     bytea NOT NULL,
    state      text NOT NULL DEFAULT 'allocated' CHECK (state IN ('allocated', 'bound', 'retired')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (token, sequence)
);
CREATE UNIQUE INDEX pan_live ON pan (order_id) WHERE state <> 'retired';

-- RSA keys of cards that are not made yet.
CREATE TABLE icc_key (
    id      uuid PRIMARY KEY,
    bits    integer NOT NULL,
    sealed  bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX icc_key_bits ON icc_key (bits);

-- What an image has of the bank's: gone with the image, and gone when the card is
-- issued.
CREATE TABLE payment_image (
    image_id     uuid PRIMARY KEY REFERENCES image,
    content      bytea NOT NULL,
    secrets      bytea NOT NULL,
    pan_id       uuid NOT NULL REFERENCES pan,
    status_index bigint NOT NULL UNIQUE,
    binding      bytea NOT NULL,
    iban_ref     bytea NOT NULL,
    scheme       text NOT NULL,
    expires_on   date NOT NULL
);

CREATE TABLE pin_mailer_batch (
    id          uuid PRIMARY KEY,
    opened_by   uuid NOT NULL REFERENCES actor,
    opened_at   timestamptz NOT NULL DEFAULT now(),
    released_by uuid REFERENCES actor,
    released_at timestamptz,
    printed_at  timestamptz
);
CREATE TABLE pin_mailer (
    id       uuid PRIMARY KEY,
    image_id uuid NOT NULL UNIQUE REFERENCES image,
    sealed   bytea,
    batch_id uuid REFERENCES pin_mailer_batch
);

-- One card's tie to one account.
CREATE TABLE binding (
    card_id      uuid PRIMARY KEY REFERENCES card,
    ref          uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    pan_id       uuid NOT NULL UNIQUE REFERENCES pan,
    iban_ref     bytea NOT NULL,
    status_index bigint NOT NULL UNIQUE,
    binding      bytea NOT NULL,
    scheme       text NOT NULL,
    expires_on   date NOT NULL,
    highest_atc  integer NOT NULL DEFAULT 0
);

-- Cryptograms that were answered, so that one counts once.
CREATE TABLE arqc_seen (
    card_id uuid NOT NULL REFERENCES card,
    atc     integer NOT NULL CHECK (atc BETWEEN 1 AND 65535),
    digest  bytea NOT NULL CHECK (octet_length(digest) = 32),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (card_id, atc)
);

-- What the bank is told, in the order in which it became true: seq has no gap.
CREATE TABLE event_outbox (
    seq          bigint PRIMARY KEY,
    type         text NOT NULL CHECK (type IN ('bound', 'issued', 'activated', 'suspended', 'resumed', 'replaced', 'revoked', 'withdrawn')),
    ref          uuid NOT NULL,
    pan_token    bytea,
    pan_sequence smallint,
    status_index bigint,
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE event_head (one boolean PRIMARY KEY DEFAULT true CHECK (one), last bigint NOT NULL DEFAULT 0);
INSERT INTO event_head DEFAULT VALUES;

CREATE TABLE bank_file (
    kind     text NOT NULL,
    seq      bigint NOT NULL CHECK (seq > 0),
    day      date NOT NULL,
    digest   bytea NOT NULL CHECK (octet_length(digest) = 32),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    records  integer NOT NULL,
    totals   jsonb NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, seq)
);
CREATE TABLE bank_answer (
    kind text NOT NULL,
    seq  bigint NOT NULL,
    line bigint NOT NULL,
    code text NOT NULL,
    PRIMARY KEY (kind, seq, line),
    FOREIGN KEY (kind, seq) REFERENCES bank_file
);

CREATE TABLE quota_use (
    name    text PRIMARY KEY,
    since   timestamptz NOT NULL,
    used    integer NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION append_event(p_type text, p_ref uuid, p_token bytea, p_sequence smallint, p_index bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_seq bigint;
BEGIN
    UPDATE event_head SET last = last + 1 RETURNING last INTO v_seq;
    INSERT INTO event_outbox (seq, type, ref, pan_token, pan_sequence, status_index) VALUES (v_seq, p_type, p_ref, p_token, p_sequence, p_index);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION forget_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    DELETE FROM payment_image WHERE image_id = NEW.id;
    DELETE FROM pin_mailer WHERE image_id = NEW.id;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER image_voided AFTER UPDATE OF voided_at ON image FOR EACH ROW WHEN (NEW.voided_at IS NOT NULL) EXECUTE FUNCTION forget_payment();

-- A card is issued: its tracks, keys and PIN are gone with the same commit, the
-- binding stays, and the bank will hear of it.
-- +goose StatementBegin
CREATE FUNCTION bind_card() RETURNS trigger
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
    INSERT INTO binding (card_id, pan_id, iban_ref, status_index, binding, scheme, expires_on)
    VALUES (NEW.id, p.pan_id, p.iban_ref, p.status_index, p.binding, p.scheme, p.expires_on) RETURNING ref INTO v_ref;
    PERFORM append_event('bound', v_ref, n.token, n.sequence, p.status_index);
    PERFORM append_event('issued', v_ref, n.token, n.sequence, p.status_index);
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER card_made AFTER INSERT ON card FOR EACH ROW EXECUTE FUNCTION bind_card();

-- Whatever changes a card's state tells the bank.
-- +goose StatementBegin
CREATE FUNCTION tell_card_state() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v record;
    v_type text;
BEGIN
    SELECT b.ref, b.status_index, n.token, n.sequence INTO v FROM binding b JOIN pan n ON n.id = b.pan_id WHERE b.card_id = NEW.id;
    IF FOUND AND NEW.state <> OLD.state THEN
        v_type := CASE NEW.state WHEN 'active' THEN CASE OLD.state WHEN 'suspended' THEN 'resumed' ELSE 'activated' END
            WHEN 'suspended' THEN 'suspended' ELSE CASE WHEN EXISTS (SELECT FROM card c WHERE c.person_id = NEW.person_id AND c.id <> NEW.id AND c.state <> 'revoked')
            THEN 'replaced' ELSE 'revoked' END END;
        PERFORM append_event(v_type, v.ref, v.token, v.sequence, v.status_index);
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER card_state AFTER UPDATE OF state ON card FOR EACH ROW EXECUTE FUNCTION tell_card_state();

-- +goose StatementBegin
CREATE FUNCTION set_card_state(p_number text, p_from text, p_to text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_id uuid;
BEGIN
    UPDATE card SET state = p_to, changed_at = now() WHERE number = p_number AND state = p_from RETURNING id INTO v_id;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM card WHERE number = p_number) THEN 'wrong-state' ELSE 'not-found' END;
    END IF;
    PERFORM audit_append(p_actor, p_through, 'card.' || p_to, v_id::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- Preparation finds that the account is missing.
-- +goose StatementBegin
CREATE FUNCTION await_bank(p_order uuid, p_generation integer, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE card_order SET state = 'awaiting-bank', reason = p_reason, changed_at = now()
    WHERE id = p_order AND state = 'accepted' AND generation = p_generation;
    IF NOT FOUND THEN
        RETURN 'stale';
    END IF;
    PERFORM audit_append(p_actor, p_through, 'order.awaiting-bank', p_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION assign_account(p_order uuid, p_id uuid, p_source text, p_reference text, p_digest bytea, p_iban bytea, p_sealed bytea,
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
    INSERT INTO account_assignment (id, order_id, source, reference, digest, iban_ref, sealed)
    VALUES (p_id, p_order, p_source, p_reference, p_digest, p_iban, p_sealed);
    PERFORM audit_append(p_actor, p_through, 'account.assigned', p_order::text, '');
    PERFORM prepare_again(p_order, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- The bank takes an account back before a card is begun: its PAN is retired for
-- ever, and the order waits again.
-- +goose StatementBegin
CREATE FUNCTION withdraw_account(p_order uuid, p_reference text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
    v_order uuid := p_order;
    n pan%ROWTYPE;
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
    IF o.state NOT IN ('accepted', 'prepared', 'released', 'awaiting-decision')
       OR EXISTS (SELECT FROM attempt a WHERE a.order_id = v_order AND NOT a.nothing_written) THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE account_assignment SET state = 'withdrawn', reason = p_reason, changed_at = now() WHERE order_id = v_order AND state = 'assigned';
    PERFORM void_images(v_order);
    UPDATE pan SET state = 'retired' WHERE order_id = v_order AND state = 'allocated' RETURNING * INTO n;
    UPDATE card_order SET state = 'awaiting-bank', reason = 'account-withdrawn', generation = generation + 1, changed_at = now() WHERE id = v_order;
    PERFORM append_event('withdrawn', gen_random_uuid(), n.token, n.sequence, NULL);
    PERFORM audit_append(p_actor, p_through, 'account.withdrawn', v_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION awaiting_bank(p_after uuid, p_limit integer)
RETURNS TABLE (order_id uuid, record_id uuid, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT o.id, r.record_id, o.changed_at FROM card_order o JOIN record r ON r.id = o.record_row
    WHERE o.state = 'awaiting-bank' AND (p_after IS NULL OR o.id > p_after) ORDER BY o.id LIMIT least(p_limit, 1000)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION bank_order(p_order uuid, p_record uuid)
RETURNS TABLE (order_id uuid, person_id uuid, epoch text, wrapped bytea, state text, product text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT o.id, o.person_id, k.epoch, k.wrapped, o.state, o.product
    FROM card_order o JOIN record r ON r.id = o.record_row JOIN person_key k ON k.person_id = o.person_id
    WHERE (o.id = p_order OR p_order IS NULL AND r.record_id = p_record)
    ORDER BY r.revision DESC LIMIT 1
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION bank_part(p_order uuid)
RETURNS TABLE (assignment uuid, sealed bytea, iban_ref bytea, withdrawn boolean, pan_id uuid, pan_token bytea, pan_sequence smallint, pan_last4 text, pan_sealed bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT a.id, a.sealed, a.iban_ref,
        EXISTS (SELECT FROM account_assignment w WHERE w.order_id = p_order AND w.state = 'withdrawn'),
        n.id, n.token, n.sequence, n.last4, n.sealed
    FROM (SELECT) one LEFT JOIN account_assignment a ON a.order_id = p_order AND a.state = 'assigned'
    LEFT JOIN pan n ON n.order_id = p_order AND n.state = 'allocated'
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION lock_range(p_name text) RETURNS TABLE (prefix text, length integer, next bigint, size bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT prefix, length, next, size FROM pan_range WHERE name = p_name FOR NO KEY UPDATE
$$;
-- +goose StatementEnd

-- A PAN of an order: the next one of a range, or one that the bank has given (no
-- range). A given one that the person has already gets the next sequence number.
-- +goose StatementBegin
CREATE FUNCTION put_pan(p_order uuid, p_id uuid, p_token bytea, p_last4 text, p_sealed bytea, p_range text,
    OUT outcome text, OUT sequence smallint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
BEGIN
    SELECT * INTO o FROM card_order WHERE id = p_order;
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('pan ' || encode(p_token, 'hex')));
    IF EXISTS (SELECT FROM pan n WHERE n.token = p_token AND (p_range IS NOT NULL OR n.person_id <> o.person_id)) THEN
        outcome := 'pan-taken';
        RETURN;
    END IF;
    SELECT coalesce(max(n.sequence), 0) + 1 INTO sequence FROM pan n WHERE n.token = p_token;
    INSERT INTO pan (id, token, sequence, last4, order_id, person_id, range, sealed)
    VALUES (p_id, p_token, sequence, p_last4, p_order, o.person_id, p_range, p_sealed);
    IF p_range IS NOT NULL THEN
        UPDATE pan_range SET next = next + 1 WHERE name = p_range;
    END IF;
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION add_pan_range(p_name text, p_prefix text, p_length integer, p_size bigint, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pan_range r WHERE r.name = p_name) THEN
        RETURN CASE WHEN EXISTS (SELECT FROM pan_range r WHERE r.name = p_name AND r.prefix = p_prefix AND r.length = p_length) THEN 'done' ELSE 'exists' END;
    END IF;
    IF EXISTS (SELECT FROM pan_range r WHERE r.length = p_length AND (r.prefix LIKE p_prefix || '%' OR p_prefix LIKE r.prefix || '%')) THEN
        RETURN 'exists';
    END IF;
    INSERT INTO pan_range (name, prefix, length, size) VALUES (p_name, p_prefix, p_length, p_size);
    PERFORM audit_append(p_actor, p_through, 'pan-range.added', p_name, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION pan_ranges() RETURNS TABLE (name text, prefix text, length integer, next bigint, size bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT name, prefix, length, next, size FROM pan_range ORDER BY name
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION add_icc_keys(p_id uuid[], p_bits integer, p_sealed bytea[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    INSERT INTO icc_key (id, bits, sealed) SELECT i, p_bits, s FROM unnest(p_id, p_sealed) AS t (i, s)
$$;
-- +goose StatementEnd
-- Taken is gone: a key that a dead process had taken is never given again.
-- +goose StatementBegin
CREATE FUNCTION take_icc_key(p_bits integer) RETURNS TABLE (id uuid, sealed bytea)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    DELETE FROM icc_key k WHERE k.id = (SELECT c.id FROM icc_key c WHERE c.bits = p_bits LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING k.id, k.sealed
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION icc_key_counts() RETURNS TABLE (bits integer, keys bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT bits, count(*) FROM icc_key GROUP BY bits ORDER BY bits
$$;
-- +goose StatementEnd

-- save_image with the bank's part.
-- +goose StatementBegin
CREATE FUNCTION save_bank_image(p_order uuid, p_generation integer, p_image uuid, p_version integer, p_number text,
    p_profile text, p_content bytea, p_secrets bytea, p_actor uuid, p_through text,
    p_bank_content bytea, p_bank_secrets bytea, p_pan uuid, p_index bigint, p_binding bytea, p_scheme text, p_expires date,
    p_mailer uuid, p_mailer_sealed bytea,
    p_assignment uuid, p_digest bytea, p_iban bytea, p_assignment_sealed bytea) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_word text;
BEGIN
    IF EXISTS (SELECT FROM card_order WHERE id = p_order AND image_id = p_image) THEN
        RETURN 'done';
    END IF;
    PERFORM FROM card_order WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM pan WHERE id = p_pan AND order_id = p_order AND state = 'allocated') THEN
        RETURN 'stale'; -- withdrawn meanwhile
    END IF;
    v_word := save_image(p_order, p_generation, p_image, p_version, p_number, p_profile, p_content, p_secrets, p_actor, p_through);
    IF v_word <> 'done' THEN
        RETURN v_word;
    END IF;
    INSERT INTO payment_image (image_id, content, secrets, pan_id, status_index, binding, iban_ref, scheme, expires_on)
    VALUES (p_image, p_bank_content, p_bank_secrets, p_pan, p_index, p_binding, p_iban, p_scheme, p_expires);
    INSERT INTO pin_mailer (id, image_id, sealed) VALUES (p_mailer, p_image, p_mailer_sealed);
    INSERT INTO account_assignment (id, order_id, source, digest, iban_ref, sealed)
    SELECT p_assignment, p_order, 'record', p_digest, p_iban, p_assignment_sealed
    WHERE NOT EXISTS (SELECT FROM account_assignment a WHERE a.order_id = p_order AND a.state = 'assigned');
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION payment_part(p_image uuid) RETURNS TABLE (content bytea, secrets bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT content, secrets FROM payment_image WHERE image_id = p_image
$$;
-- +goose StatementEnd

-- PIN mailers: apart from the card by batch, person and time.
-- +goose StatementBegin
CREATE FUNCTION open_mailer_batch(p_batch uuid, p_before timestamptz, p_limit integer, p_actor uuid, p_through text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO pin_mailer_batch (id, opened_by) VALUES (p_batch, p_actor);
    UPDATE pin_mailer m SET batch_id = p_batch WHERE m.id IN (
        SELECT q.id FROM pin_mailer q JOIN card c ON c.image_id = q.image_id
        WHERE q.batch_id IS NULL AND q.sealed IS NOT NULL AND c.made_at <= p_before AND c.state <> 'revoked'
        ORDER BY q.id LIMIT p_limit FOR UPDATE OF q SKIP LOCKED);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count = 0 THEN
        DELETE FROM pin_mailer_batch WHERE id = p_batch;
    ELSE
        PERFORM audit_append(p_actor, p_through, 'mailers.opened', p_batch::text, '');
    END IF;
    RETURN v_count;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION release_mailer_batch(p_batch uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    b pin_mailer_batch%ROWTYPE;
BEGIN
    SELECT * INTO b FROM pin_mailer_batch WHERE id = p_batch FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF b.released_by IS NOT NULL THEN
        RETURN CASE WHEN b.released_by = p_actor AND b.printed_at IS NULL THEN 'done' ELSE 'wrong-state' END;
    END IF;
    IF b.opened_by = p_actor OR EXISTS (SELECT FROM pin_mailer m JOIN card c ON c.image_id = m.image_id JOIN card_order o ON o.id = c.order_id
            JOIN lot l ON l.id = o.lot_id WHERE m.batch_id = p_batch AND l.released_by = p_actor) THEN
        RETURN 'same-person';
    END IF;
    UPDATE pin_mailer_batch SET released_by = p_actor, released_at = now() WHERE id = p_batch;
    PERFORM audit_append(p_actor, p_through, 'mailers.released', p_batch::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION mailer_batch(p_batch uuid) RETURNS TABLE (id uuid, sealed bytea, label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT m.id, m.sealed, n.last4 FROM pin_mailer m JOIN pin_mailer_batch b ON b.id = m.batch_id
    JOIN card c ON c.image_id = m.image_id JOIN binding d ON d.card_id = c.id JOIN pan n ON n.id = d.pan_id
    WHERE m.batch_id = p_batch AND b.released_at IS NOT NULL AND b.printed_at IS NULL AND m.sealed IS NOT NULL ORDER BY m.id
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION mailers_printed(p_batch uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE pin_mailer_batch SET printed_at = now() WHERE id = p_batch AND released_at IS NOT NULL AND printed_at IS NULL;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM pin_mailer_batch WHERE id = p_batch) THEN 'wrong-state' ELSE 'not-found' END;
    END IF;
    UPDATE pin_mailer SET sealed = NULL WHERE batch_id = p_batch;
    PERFORM audit_append(p_actor, p_through, 'mailers.printed', p_batch::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- The bank's questions.
-- +goose StatementBegin
CREATE FUNCTION bank_card(p_token bytea, p_sequence smallint, p_index bigint)
RETURNS TABLE (card_id uuid, ref uuid, state text, status_index bigint, token bytea, sequence smallint, last4 text, iban_ref bytea, binding bytea,
    scheme text, expires_on date, pan_sealed bytea, person_id uuid, epoch text, wrapped bytea, pan_id uuid, order_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT c.id, b.ref, c.state, b.status_index, n.token, n.sequence, n.last4, b.iban_ref, b.binding, b.scheme, b.expires_on, n.sealed,
        c.person_id, k.epoch, k.wrapped, n.id, n.order_id
    FROM binding b JOIN card c ON c.id = b.card_id JOIN pan n ON n.id = b.pan_id JOIN person_key k ON k.person_id = c.person_id
    WHERE (p_index IS NOT NULL AND b.status_index = p_index) OR (p_index IS NULL AND n.token = p_token AND n.sequence = p_sequence)
$$;
-- +goose StatementEnd

-- The transaction counter of a right cryptogram: fresh, the same question again,
-- or a replay. Numbers that were skipped stay good for a while.
-- +goose StatementBegin
CREATE FUNCTION record_arqc(p_card uuid, p_atc integer, p_digest bytea, p_window integer, OUT verdict text, OUT gap integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    b binding%ROWTYPE;
    v_digest bytea;
BEGIN
    SELECT * INTO b FROM binding WHERE card_id = p_card FOR NO KEY UPDATE;
    gap := p_atc - b.highest_atc;
    SELECT digest INTO v_digest FROM arqc_seen WHERE card_id = p_card AND atc = p_atc;
    IF FOUND THEN
        verdict := CASE WHEN v_digest = p_digest THEN 'repeat' ELSE 'replay' END;
        RETURN;
    END IF;
    IF gap <= -p_window THEN
        verdict := 'replay';
        RETURN;
    END IF;
    INSERT INTO arqc_seen (card_id, atc, digest) VALUES (p_card, p_atc, p_digest);
    UPDATE binding SET highest_atc = greatest(highest_atc, p_atc) WHERE card_id = p_card;
    DELETE FROM arqc_seen WHERE card_id = p_card AND atc <= greatest(b.highest_atc, p_atc) - p_window;
    verdict := 'fresh';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION use_quota(p_name text, p_limit integer, p_seconds integer) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    q quota_use%ROWTYPE;
BEGIN
    INSERT INTO quota_use (name, since, used) VALUES (p_name, now(), 0) ON CONFLICT DO NOTHING;
    SELECT * INTO q FROM quota_use WHERE name = p_name FOR NO KEY UPDATE;
    IF q.since + make_interval(secs => p_seconds) <= now() THEN
        UPDATE quota_use SET since = now(), used = 1 WHERE name = p_name;
        RETURN NULL;
    END IF;
    IF q.used >= p_limit THEN
        RETURN q.since + make_interval(secs => p_seconds);
    END IF;
    UPDATE quota_use SET used = used + 1 WHERE name = p_name;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION outbox(p_after bigint, p_limit integer)
RETURNS TABLE (seq bigint, type text, ref uuid, pan_token bytea, pan_sequence smallint, status_index bigint, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, type, ref, pan_token, pan_sequence, status_index, at FROM event_outbox WHERE seq > p_after ORDER BY seq LIMIT least(p_limit, 1000)
$$;
-- +goose StatementEnd

-- What was issued on a day (UTC).
-- +goose StatementBegin
CREATE FUNCTION bank_day(p_day date)
RETURNS TABLE (token bytea, sequence smallint, last4 text, iban_sealed bytea, assignment uuid, person_id uuid, epoch text, wrapped bytea,
    expires_on date, made_at timestamptz, scheme text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT n.token, n.sequence, n.last4, a.sealed, a.id, c.person_id, k.epoch, k.wrapped, b.expires_on, c.made_at, b.scheme
    FROM binding b JOIN card c ON c.id = b.card_id JOIN pan n ON n.id = b.pan_id
    JOIN account_assignment a ON a.order_id = c.order_id AND a.state = 'assigned' JOIN person_key k ON k.person_id = c.person_id
    WHERE (c.made_at AT TIME ZONE 'UTC')::date = p_day ORDER BY c.id
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION bank_balance() RETURNS TABLE (class text, n bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT CASE WHEN a.state = 'withdrawn' THEN 'withdrawn' WHEN o.state = 'issued' THEN 'issued' WHEN o.state = 'in-doubt' THEN 'in-doubt'
        WHEN o.state = 'in-progress' THEN 'in-progress' WHEN o.state IN ('withdrawn', 'superseded', 'failed') THEN 'withdrawn' ELSE 'waiting' END, count(*)
    FROM account_assignment a JOIN card_order o ON o.id = a.order_id GROUP BY 1
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION append_bank_file(p_kind text, p_seq bigint, p_day date, p_digest bytea, p_previous bytea, p_records integer, p_totals jsonb,
    p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v bank_file%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('bank-file ' || p_kind));
    SELECT * INTO v FROM bank_file WHERE kind = p_kind ORDER BY seq DESC LIMIT 1;
    IF p_seq <> coalesce(v.seq, 0) + 1 OR p_previous <> coalesce(v.digest, decode(repeat('00', 32), 'hex')) THEN
        RETURN 'stale';
    END IF;
    INSERT INTO bank_file (kind, seq, day, digest, previous, records, totals) VALUES (p_kind, p_seq, p_day, p_digest, p_previous, p_records, p_totals);
    PERFORM audit_append(p_actor, p_through, 'bank-file.' || lower(p_kind), p_seq::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION bank_files(p_kind text) RETURNS TABLE (seq bigint, day date, digest bytea, previous bytea, records integer, totals jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, day, digest, previous, records, totals FROM bank_file WHERE kind = p_kind ORDER BY seq
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION answer_bank_file(p_kind text, p_seq bigint, p_line bigint[], p_code text[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO bank_answer (kind, seq, line, code) SELECT p_kind, p_seq, l, c FROM unnest(p_line, p_code) AS t (l, c) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION bank_answers(p_kind text) RETURNS TABLE (seq bigint, line bigint, code text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, line, code FROM bank_answer WHERE kind = p_kind ORDER BY seq, line
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION bank_rejects(p_kind text) RETURNS TABLE (seq bigint, line bigint, code text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, line, code FROM bank_answer WHERE kind = p_kind AND code <> '00' ORDER BY seq, line
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cardbureau FROM PUBLIC;
GRANT EXECUTE ON FUNCTION await_bank, bank_part, lock_range, put_pan, take_icc_key, add_icc_keys, icc_key_counts, save_bank_image, payment_part TO cb_line;
GRANT EXECUTE ON FUNCTION assign_account, withdraw_account, awaiting_bank, bank_order, bank_card, record_arqc, use_quota, outbox, bank_day, bank_balance,
    append_bank_file, bank_files, answer_bank_file, bank_answers, bank_rejects, pan_ranges TO cb_bank;
GRANT EXECUTE ON FUNCTION add_pan_range, pan_ranges, open_mailer_batch, release_mailer_batch, mailer_batch, mailers_printed, set_card_state, add_icc_keys, icc_key_counts TO cb_desk;
