-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION preparation(p_order uuid)
RETURNS TABLE (generation integer, person_id uuid, epoch text, wrapped bytea, record_row uuid, sealed bytea,
    digest bytea, key_id text, version integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT o.generation, o.person_id, k.epoch, k.wrapped, r.id, r.sealed, r.digest, r.key_id,
            (SELECT coalesce(max(i.version), 0) + 1 FROM image i WHERE i.order_id = o.id)
        FROM card_order o JOIN record r ON r.id = o.record_row JOIN person_key k ON k.person_id = o.person_id
        WHERE o.id = p_order AND o.state = 'accepted';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION save_image(p_order uuid, p_generation integer, p_image uuid, p_version integer, p_number text,
    p_profile text, p_content bytea, p_secrets bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    o card_order%ROWTYPE;
BEGIN
    SELECT * INTO o FROM card_order WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF o.image_id = p_image THEN
        RETURN 'done'; -- the answer to the first time was lost
    END IF;
    IF o.state <> 'accepted' OR o.generation <> p_generation
       OR p_version <> (SELECT coalesce(max(i.version), 0) + 1 FROM image i WHERE i.order_id = p_order) THEN
        RETURN 'stale';
    END IF;
    PERFORM void_images(p_order);
    INSERT INTO image (id, order_id, version, card_number, profile, content, secrets)
    VALUES (p_image, p_order, p_version, p_number, p_profile, p_content, p_secrets)
    ON CONFLICT (card_number) DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'number-taken'; -- what was voided before has no use any more either
    END IF;
    UPDATE card_order SET image_id = p_image, reason = '', changed_at = now(),
        state = CASE WHEN lot_id IS NULL THEN 'prepared' ELSE 'released' END
    WHERE id = p_order;
    PERFORM audit_append(p_actor, p_through, 'order.prepared', p_order::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION fail_preparation(p_order uuid, p_generation integer, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE card_order SET state = 'failed', reason = p_reason, changed_at = now()
    WHERE id = p_order AND state = 'accepted' AND generation = p_generation;
    IF NOT FOUND THEN
        RETURN 'stale';
    END IF;
    PERFORM void_images(p_order);
    PERFORM audit_append(p_actor, p_through, 'order.failed', p_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- Back to preparation: a new image is needed, the one there was is void.
-- +goose StatementBegin
CREATE FUNCTION prepare_again(p_order uuid, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_generation integer;
BEGIN
    PERFORM void_images(p_order);
    UPDATE card_order SET state = 'accepted', reason = p_reason, generation = generation + 1, changed_at = now()
    WHERE id = p_order RETURNING generation INTO v_generation;
    PERFORM enqueue_preparation(p_order, v_generation);
END
$$;
-- +goose StatementEnd

-- Jobs that a dead process had taken are made available again. Clients are
-- named after sessions, so the lock of the session tells.
-- +goose StatementBegin
CREATE FUNCTION rescue_jobs() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_count  integer;
    v_total  integer := 0;
    v_client text;
BEGIN
    FOR v_client IN
        SELECT DISTINCT attempted_by[array_length(attempted_by, 1)] FROM river_job WHERE state = 'running'
    LOOP
        CONTINUE WHEN v_client !~ '^session-[0-9]{1,9}$';
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(station_class(), substr(v_client, 9)::integer);
        UPDATE river_job SET state = 'available', scheduled_at = now(), attempt = greatest(attempt - 1, 0)
        WHERE state = 'running' AND attempted_by[array_length(attempted_by, 1)] = v_client;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_total := v_total + v_count;
    END LOOP;
    IF v_total > 0 THEN
        PERFORM pg_notify('cardbureau.river_insert', '{"queue":"default"}');
    END IF;
    RETURN v_total;
END
$$;
-- +goose StatementEnd
