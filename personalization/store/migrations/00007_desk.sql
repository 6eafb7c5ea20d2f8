-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION order_counts(p_lot uuid) RETURNS TABLE (state text, n bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT o.state, count(*) FROM card_order o WHERE p_lot IS NULL OR o.lot_id = p_lot GROUP BY o.state
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION orders_in(p_state text, p_limit integer)
RETURNS TABLE (id uuid, record_id uuid, revision integer, product text, state text, reason text, lot uuid,
    card_number text, created_at timestamptz, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT o.id, r.record_id, r.revision, o.product, o.state, o.reason, o.lot_id, c.number, o.created_at, o.changed_at
    FROM card_order o JOIN record r ON r.id = o.record_row LEFT JOIN card c ON c.order_id = o.id
    WHERE o.state = p_state ORDER BY o.seq LIMIT p_limit
$$;
-- +goose StatementEnd

-- Orders with an image are released at once; those still being prepared join
-- the lot and are released with their image.
-- +goose StatementBegin
CREATE FUNCTION release_lot(p_lot uuid, p_name text, p_orders uuid[], p_office text, p_phase text, p_products text[],
    p_actor uuid, p_through text, OUT orders bigint, OUT ready bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_ids uuid[];
BEGIN
    SELECT array_agg(c.id) INTO v_ids FROM (
        SELECT o.id FROM card_order o
        WHERE o.lot_id IS NULL AND o.state IN ('accepted', 'prepared')
          AND (p_orders IS NULL OR o.id = ANY (p_orders))
          AND (p_office = '' OR o.office = p_office)
          AND (p_phase = '' OR o.phase = p_phase)
          AND (p_products IS NULL OR o.product = ANY (p_products))
        ORDER BY o.seq FOR NO KEY UPDATE) c;
    orders := coalesce(array_length(v_ids, 1), 0);
    ready := 0;
    IF orders = 0 THEN
        RETURN;
    END IF;
    INSERT INTO lot (id, name, released_by) VALUES (p_lot, p_name, p_actor);
    SELECT count(*) INTO ready FROM card_order o WHERE o.id = ANY (v_ids) AND o.state = 'prepared';
    UPDATE card_order o SET lot_id = p_lot, changed_at = now(),
        state = CASE o.state WHEN 'prepared' THEN 'released' ELSE o.state END
    WHERE o.id = ANY (v_ids);
    PERFORM audit_append(p_actor, p_through, 'lot.released', p_lot::text, orders::text);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION withdraw_order(p_order uuid, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
BEGIN
    SELECT * INTO o FROM card_order WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF o.state NOT IN ('accepted', 'conflict', 'awaiting-decision', 'prepared', 'released') THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE card_order SET state = 'withdrawn', reason = p_reason, changed_at = now() WHERE id = p_order;
    PERFORM void_images(p_order);
    PERFORM audit_append(p_actor, p_through, 'order.withdrawn', p_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION decide_order(p_order uuid, p_proceed boolean, p_reason text, p_first uuid, p_second uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
BEGIN
    SELECT * INTO o FROM card_order WHERE id = p_order;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    PERFORM FROM person WHERE id = o.person_id FOR NO KEY UPDATE;
    SELECT * INTO o FROM card_order WHERE id = p_order FOR NO KEY UPDATE;
    IF o.state NOT IN ('conflict', 'awaiting-decision') THEN
        RETURN 'wrong-state';
    END IF;
    IF NOT approve('order.' || CASE WHEN p_proceed THEN 'proceed' ELSE 'withdraw' END, p_order::text, p_first, p_second, p_reason) THEN
        RETURN 'two-people';
    END IF;
    IF p_proceed THEN
        UPDATE person p SET identity_digest = r.identity_digest FROM record r
        WHERE p.id = o.person_id AND r.id = o.record_row AND p.identity_digest <> r.identity_digest;
        PERFORM prepare_again(p_order, p_reason);
    ELSE
        UPDATE card_order SET state = 'withdrawn', reason = p_reason, changed_at = now() WHERE id = p_order;
        PERFORM void_images(p_order);
    END IF;
    PERFORM audit_append(p_first, p_through, 'order.decided', p_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION import_blanks(p_serial text[], p_chip text[], p_batch text[], p_actor uuid, p_through text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_added bigint;
BEGIN
    INSERT INTO blank (serial, chip, batch, changed_by, change_reason)
    SELECT l.serial, l.chip, l.batch, p_actor, 'received'
    FROM (SELECT DISTINCT ON (u.serial) u.serial, u.chip, u.batch
          FROM unnest(p_serial, p_chip, p_batch) AS u (serial, chip, batch) ORDER BY u.serial) l
    ON CONFLICT (serial) DO NOTHING;
    GET DIAGNOSTICS v_added = ROW_COUNT;
    PERFORM audit_append(p_actor, p_through, 'stock.received', 'stock', v_added::text);
    RETURN v_added;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION blank_view(p_serial text)
RETURNS TABLE (serial text, chip text, batch text, state text, failed_key_versions integer[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT b.serial, b.chip, b.batch, b.state, b.failed_key_versions FROM blank b WHERE b.serial = p_serial
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION note_failed_key(p_serial text, p_version integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE blank SET failed_key_versions = array_append(failed_key_versions, p_version)
    WHERE serial = p_serial AND NOT p_version = ANY (failed_key_versions);
    RETURN FOUND OR EXISTS (SELECT FROM blank WHERE serial = p_serial);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION move_blank(p_serial text, p_to text, p_reason text, p_first uuid, p_second uuid, p_through text,
    OUT outcome text, OUT blank_state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    b blank%ROWTYPE;
BEGIN
    SELECT * INTO b FROM blank WHERE serial = p_serial FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unlisted';
        RETURN;
    END IF;
    blank_state := b.state;
    IF NOT (b.state = 'on-hand' AND p_to IN ('test', 'returned', 'quarantined', 'spoiled')
            OR b.state = 'quarantined' AND p_to IN ('test', 'returned', 'spoiled')) THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    IF b.state = 'quarantined' OR p_to = 'spoiled' THEN
        IF NOT approve('blank.' || p_to, p_serial, p_first, p_second, p_reason) THEN
            outcome := 'two-people';
            RETURN;
        END IF;
    END IF;
    UPDATE blank SET state = p_to, changed_at = now(), changed_by = p_first, change_reason = p_reason, attempt_id = NULL
    WHERE id = b.id;
    PERFORM audit_append(p_first, p_through, 'blank.' || p_to, p_serial, p_reason);
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- What was received comes from the ledger, where blanks are from the blanks:
-- two books that must agree.
-- +goose StatementBegin
CREATE FUNCTION blank_counts() RETURNS TABLE (what text, n bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT 'received', count(*) FROM blank_move WHERE from_state IS NULL
    UNION ALL
    SELECT b.state, count(*) FROM blank b GROUP BY b.state
$$;
-- +goose StatementEnd

-- The sheet of a shift: what was carried in and received, what left since, and
-- what is here.
-- +goose StatementBegin
CREATE FUNCTION shift_counts(p_shift bigint) RETURNS TABLE (what text, n bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT 'carried-in', carried::bigint FROM shift WHERE id = p_shift
    UNION ALL
    SELECT 'received', count(*) FROM blank_move m, shift s WHERE s.id = p_shift AND m.seq > s.after_seq AND m.from_state IS NULL
    UNION ALL
    SELECT m.to_state, count(*) FROM blank_move m, shift s
    WHERE s.id = p_shift AND m.seq > s.after_seq AND m.to_state IN ('issued', 'spoiled', 'test', 'returned') GROUP BY m.to_state
    UNION ALL
    SELECT b.state, count(*) FROM blank b WHERE b.state IN ('on-hand', 'in-use', 'in-doubt', 'quarantined') GROUP BY b.state
$$;
-- +goose StatementEnd

-- Opening and closing stop the ledger for a moment, so that every move belongs
-- to exactly one shift.
-- +goose StatementBegin
CREATE FUNCTION open_shift(p_actor uuid, p_through text, OUT outcome text, OUT shift_id bigint, OUT opened timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    LOCK TABLE blank_move IN SHARE MODE;
    IF EXISTS (SELECT FROM shift WHERE closed_at IS NULL) THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    INSERT INTO shift (opened_by, after_seq, carried)
    SELECT p_actor, (SELECT coalesce(max(seq), 0) FROM blank_move),
        (SELECT count(*) FROM blank WHERE state IN ('on-hand', 'in-use', 'in-doubt', 'quarantined'))
    RETURNING id, opened_at INTO shift_id, opened;
    PERFORM audit_append(p_actor, p_through, 'shift.opened', shift_id::text, '');
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION close_shift(p_actor uuid, p_through text, OUT outcome text, OUT shift_id bigint, OUT opened timestamptz, OUT closed timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    LOCK TABLE blank_move IN SHARE MODE;
    SELECT id, opened_at INTO shift_id, opened FROM shift WHERE closed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    UPDATE shift SET closed_at = clock_timestamp(), closed_by = p_actor,
        closing = (SELECT jsonb_object_agg(c.what, c.n) FROM shift_counts(shift_id) c)
    WHERE id = shift_id RETURNING closed_at INTO closed;
    PERFORM audit_append(p_actor, p_through, 'shift.closed', shift_id::text, '');
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- One card by an exact number or the serial of its blank, and why it was looked at.
-- +goose StatementBegin
CREATE FUNCTION find_card(p_number text, p_serial text, p_reason text, p_actor uuid, p_through text)
RETURNS TABLE (id uuid, number text, state text, serial text, chip text, order_id uuid, person_id uuid, epoch text, wrapped bytea,
    image_id uuid, version integer, profile text, content bytea, secrets bytea, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_card card%ROWTYPE;
BEGIN
    SELECT c.* INTO v_card FROM card c WHERE c.number = p_number
    UNION ALL
    SELECT c.* FROM card c JOIN blank b ON b.id = c.blank_id WHERE b.serial = p_serial;
    PERFORM audit_append(p_actor, p_through, 'card.looked-up', coalesce(v_card.id::text, 'none'), p_reason);
    RETURN QUERY SELECT v_card.id, v_card.number, v_card.state, b.serial, b.chip, v_card.order_id, v_card.person_id, k.epoch, k.wrapped,
        i.id, i.version, i.profile, i.content, i.secrets, v_card.made_at
    FROM blank b, image i, person_key k
    WHERE b.id = v_card.blank_id AND i.id = v_card.image_id AND k.person_id = v_card.person_id;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION create_api_key(p_id uuid, p_name text, p_hash bytea, p_scopes text[], p_key_actor uuid, p_actor uuid, p_through text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_actor uuid := actor_id(p_key_actor, 'api-key', p_name);
BEGIN
    INSERT INTO api_key (id, name, hash, scopes, actor) VALUES (p_id, p_name, p_hash, p_scopes, v_actor);
    PERFORM audit_append(p_actor, p_through, 'api-key.created', p_id::text, '');
    RETURN v_actor;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION authenticate_api_key(p_hash bytea) RETURNS TABLE (id uuid, name text, scopes text[], actor uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT k.id, k.name, k.scopes, k.actor FROM api_key k WHERE k.hash = p_hash AND k.revoked_at IS NULL
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION revoke_api_key(p_id uuid, p_actor uuid, p_through text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE api_key SET revoked_at = now() WHERE id = p_id AND revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit_append(p_actor, p_through, 'api-key.revoked', p_id::text, '');
    RETURN true;
END
$$;
-- +goose StatementEnd
