-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION person_keys(p_refs bytea[])
RETURNS TABLE (person_id uuid, epoch text, wrapped bytea, identity_digest bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT p.id, k.epoch, k.wrapped, p.identity_digest
        FROM unnest(p_refs) WITH ORDINALITY AS r (ref, n)
        LEFT JOIN person p ON p.ref = r.ref
        LEFT JOIN person_key k ON k.person_id = p.id
        ORDER BY r.n;
END
$$;
-- +goose StatementEnd

-- Preparation is a River job; its arguments are identifiers. River's own
-- client notifies in the same way (topic river_insert of the schema).
-- +goose StatementBegin
CREATE FUNCTION enqueue_preparation(p_order uuid, p_generation integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    INSERT INTO river_job (kind, args, max_attempts)
    VALUES ('prepare-image', jsonb_build_object('order', p_order, 'generation', p_generation), 25);
    PERFORM pg_notify('cardbureau.river_insert', '{"queue":"default"}');
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION void_images(p_order uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE image SET voided_at = now(), content = NULL, secrets = NULL
        WHERE order_id = p_order AND voided_at IS NULL;
END
$$;
-- +goose StatementEnd

-- One verified record on its way in. Refusals change nothing. Locks: the key's
-- quota, the record's id (so that one record is decided on at a time), the
-- person, an order to be superseded.
-- +goose StatementBegin
CREATE FUNCTION accept_record(
    p_person uuid, p_ref bytea, p_epoch text, p_wrapped bytea, p_identity bytea,
    p_row uuid, p_record uuid, p_revision integer, p_digest bytea, p_kid text, p_sealed bytea, p_expires timestamptz,
    p_order uuid, p_product text, p_office text, p_phase text, p_purpose text, p_state text,
    p_cap integer, p_actor uuid, p_through text,
    OUT outcome text, OUT order_id uuid, OUT order_state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_today   date := (now() AT TIME ZONE 'UTC')::date;
    v_used    integer;
    v_known   record%ROWTYPE;
    v_newest  record%ROWTYPE;
    v_person  person%ROWTYPE;
    v_old     card_order%ROWTYPE;
    v_open    uuid;
    v_reason  text := '';
    v_lot     uuid;
BEGIN
    IF p_cap > 0 THEN
        INSERT INTO intake_quota (key_id, day) VALUES (p_kid, v_today) ON CONFLICT DO NOTHING;
        SELECT used INTO v_used FROM intake_quota WHERE key_id = p_kid AND day = v_today FOR NO KEY UPDATE;
    END IF;
    PERFORM pg_advisory_xact_lock(record_class(), hashtext(p_record::text));

    SELECT * INTO v_known FROM record r WHERE r.record_id = p_record AND r.revision = p_revision;
    IF FOUND THEN
        IF v_known.digest <> p_digest THEN
            outcome := 'content-differs';
            RETURN;
        END IF;
        SELECT 'already-known', o.id, o.state INTO outcome, order_id, order_state
        FROM card_order o WHERE o.record_row = v_known.id;
        RETURN;
    END IF;
    SELECT * INTO v_newest FROM record r WHERE r.record_id = p_record ORDER BY r.revision DESC LIMIT 1;
    IF FOUND THEN
        IF v_newest.revision > p_revision THEN
            outcome := 'old-revision';
            RETURN;
        END IF;
        IF NOT EXISTS (SELECT FROM person p WHERE p.id = v_newest.person_id AND p.ref = p_ref) THEN
            outcome := 'content-differs';
            RETURN;
        END IF;
    END IF;
    IF p_cap > 0 AND v_used >= p_cap THEN
        outcome := 'daily-cap';
        RETURN;
    END IF;

    INSERT INTO person (id, ref, identity_digest) VALUES (p_person, p_ref, p_identity) ON CONFLICT (ref) DO NOTHING;
    IF FOUND THEN
        INSERT INTO person_key (person_id, epoch, wrapped) VALUES (p_person, p_epoch, p_wrapped);
    END IF;
    SELECT * INTO v_person FROM person p WHERE p.ref = p_ref FOR NO KEY UPDATE;

    IF v_newest.id IS NOT NULL THEN
        SELECT * INTO v_old FROM card_order o WHERE o.record_row = v_newest.id FOR NO KEY UPDATE;
        IF v_old.state NOT IN ('accepted', 'conflict', 'awaiting-decision', 'prepared', 'released', 'withdrawn')
           OR EXISTS (SELECT FROM attempt a WHERE a.order_id = v_old.id AND NOT a.nothing_written) THEN
            outcome := 'too-late';
            RETURN;
        END IF;
    END IF;
    SELECT o.id INTO v_open FROM card_order o
    WHERE o.person_id = v_person.id AND o.state NOT IN ('issued', 'failed', 'withdrawn', 'superseded')
      AND o.id IS DISTINCT FROM v_old.id;
    IF FOUND THEN
        outcome := 'open-order';
        RETURN;
    END IF;
    IF v_person.id <> p_person THEN
        outcome := 'person-key-differs';
        RETURN;
    END IF;

    outcome := 'accepted';
    order_state := p_state;
    IF v_person.identity_digest <> p_identity THEN
        outcome := 'conflict';
        order_state := 'conflict';
        v_reason := 'identity-differs';
    END IF;
    IF v_old.id IS NOT NULL AND v_old.state <> 'withdrawn' THEN
        UPDATE card_order SET state = 'superseded', reason = 'higher-revision', changed_at = now() WHERE id = v_old.id;
        PERFORM void_images(v_old.id);
        PERFORM audit_append(p_actor, p_through, 'order.superseded', v_old.id::text, 'higher-revision');
        v_lot := v_old.lot_id;
        IF outcome = 'accepted' THEN
            outcome := 'replaced';
        END IF;
    END IF;
    INSERT INTO record (id, record_id, revision, person_id, digest, identity_digest, key_id, sealed, expires_at)
    VALUES (p_row, p_record, p_revision, p_person, p_digest, p_identity, p_kid, p_sealed, p_expires);
    INSERT INTO card_order (id, record_row, person_id, product, office, phase, purpose, state, reason, lot_id)
    VALUES (p_order, p_row, p_person, p_product, p_office, p_phase, p_purpose, order_state, v_reason, v_lot);
    order_id := p_order;
    IF order_state = 'accepted' THEN
        PERFORM enqueue_preparation(p_order, 1);
    END IF;
    IF p_cap > 0 THEN
        UPDATE intake_quota SET used = used + 1 WHERE key_id = p_kid AND day = v_today;
    END IF;
    PERFORM audit_append(p_actor, p_through, 'order.' || order_state, p_order::text, v_reason);
END
$$;
-- +goose StatementEnd

-- First keys of the advisory locks (second keys: a hash of the record's id, the
-- session's number).
-- +goose StatementBegin
CREATE FUNCTION record_class() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 1667393075 $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION station_class() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 1667393076 $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION order_view(p_order uuid)
RETURNS TABLE (id uuid, record_id uuid, revision integer, product text, state text, reason text, lot uuid,
    card_number text, created_at timestamptz, changed_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT o.id, r.record_id, r.revision, o.product, o.state, o.reason, o.lot_id, c.number, o.created_at, o.changed_at
        FROM card_order o JOIN record r ON r.id = o.record_row LEFT JOIN card c ON c.order_id = o.id
        WHERE o.id = p_order;
END
$$;
-- +goose StatementEnd
