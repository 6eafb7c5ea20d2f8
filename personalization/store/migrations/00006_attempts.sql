-- +goose Up

-- Locks are taken in the order blank, order, attempt.

-- +goose StatementBegin
CREATE FUNCTION session_dead(p_session integer) RETURNS boolean
LANGUAGE sql AS $$
    SELECT pg_try_advisory_xact_lock(station_class(), p_session)
$$;
-- +goose StatementEnd

-- The attempt that runs on a blank, of a session that is gone, becomes in
-- doubt. The caller holds the blank's row and knows that the session is dead.
-- +goose StatementBegin
CREATE FUNCTION abandon(p_attempt uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    a attempt%ROWTYPE;
    v_actor uuid;
BEGIN
    SELECT * INTO a FROM attempt WHERE id = p_attempt;
    PERFORM FROM card_order WHERE id = a.order_id FOR NO KEY UPDATE;
    SELECT * INTO a FROM attempt WHERE id = p_attempt FOR NO KEY UPDATE;
    IF a.outcome IS NOT NULL THEN
        RETURN false;
    END IF;
    SELECT actor INTO v_actor FROM station_session WHERE id = a.session_id;
    UPDATE attempt SET outcome = 'in-doubt', reason = 'abandoned', finished_at = clock_timestamp() WHERE id = a.id;
    UPDATE card_order SET state = 'in-doubt', reason = 'abandoned', changed_at = now() WHERE id = a.order_id;
    UPDATE blank SET state = 'in-doubt', changed_at = now(), changed_by = v_actor, change_reason = 'abandoned', attempt_id = a.id
    WHERE id = a.blank_id;
    PERFORM audit_append(v_actor, 'recovery', 'attempt.in-doubt', a.id::text, 'abandoned');
    RETURN true;
END
$$;
-- +goose StatementEnd

-- All running attempts of a session, if its process is gone. With p_wait the
-- caller knows that it is, and only the server has not noticed yet.
-- +goose StatementBegin
CREATE FUNCTION abandon_session(p_session integer, p_wait boolean) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    r       record;
    v_count integer := 0;
BEGIN
    IF p_wait THEN
        PERFORM pg_advisory_xact_lock(station_class(), p_session);
    ELSIF NOT session_dead(p_session) THEN
        RETURN 0;
    END IF;
    FOR r IN SELECT a.id, a.blank_id FROM attempt a WHERE a.session_id = p_session AND a.outcome IS NULL ORDER BY a.blank_id LOOP
        PERFORM FROM blank WHERE id = r.blank_id FOR NO KEY UPDATE;
        IF abandon(r.id) THEN
            v_count := v_count + 1;
        END IF;
    END LOOP;
    UPDATE station_session SET ended_at = now() WHERE id = p_session AND ended_at IS NULL;
    RETURN v_count;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION running_sessions() RETURNS TABLE (id integer, machine text, pid integer, pid_start bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT s.id, s.machine, s.pid, s.pid_start FROM station_session s
    WHERE EXISTS (SELECT FROM attempt a WHERE a.session_id = s.id AND a.outcome IS NULL)
$$;
-- +goose StatementEnd

-- A blank is presented: takes the next released order and commits an attempt.
-- Asking again with the same attempt answers the same: the first answer may
-- have been lost. The planner, which knows nothing of a new table, must walk the
-- queue's index and stop at the first order instead of sorting all that wait.
-- +goose StatementBegin
CREATE FUNCTION claim_order(p_attempt uuid, p_session integer, p_serial text, p_reader text, p_products text[],
    p_actor uuid, p_through text, OUT outcome text, OUT blank_state text, OUT attempt uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp
SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
    b       blank%ROWTYPE;
    o       card_order%ROWTYPE;
    a       attempt%ROWTYPE;
    v_fence bigint;
BEGIN
    SELECT * INTO b FROM blank WHERE serial = p_serial FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unlisted';
        RETURN;
    END IF;
    IF b.state = 'in-use' THEN
        SELECT * INTO a FROM attempt t WHERE t.blank_id = b.id AND t.outcome IS NULL;
        IF a.id = p_attempt THEN
            outcome := 'claimed';
            attempt := p_attempt;
            RETURN;
        END IF;
        IF session_dead(a.session_id) THEN
            IF abandon(a.id) THEN
                b.state := 'in-doubt';
            END IF;
        END IF;
    END IF;
    IF b.state <> 'on-hand' THEN
        outcome := 'not-on-hand';
        blank_state := b.state;
        SELECT t.id INTO attempt FROM attempt t WHERE t.blank_id = b.id AND t.outcome = 'in-doubt' AND t.settled IS NULL;
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM station_session s WHERE s.id = p_session AND s.ended_at IS NULL) THEN
        outcome := 'station-closed';
        RETURN;
    END IF;
    SELECT * INTO o FROM card_order c WHERE c.state = 'released' AND c.product = ANY (p_products)
    ORDER BY c.seq LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        outcome := 'no-order';
        RETURN;
    END IF;
    v_fence := nextval('fence');
    INSERT INTO attempt (id, order_id, blank_id, image_id, session_id, reader, fence)
    VALUES (p_attempt, o.id, b.id, o.image_id, p_session, p_reader, v_fence);
    UPDATE card_order SET state = 'in-progress', reason = '', fence = v_fence, changed_at = now() WHERE id = o.id;
    UPDATE blank SET state = 'in-use', fence = v_fence, changed_at = now(), changed_by = p_actor, change_reason = '',
        attempt_id = p_attempt WHERE id = b.id;
    PERFORM audit_append(p_actor, p_through, 'attempt.begun', p_attempt::text, '');
    outcome := 'claimed';
    attempt := p_attempt;
END
$$;
-- +goose StatementEnd

-- A blank in doubt is presented again: a new attempt for the same order and
-- image, which fences the one before off.
-- +goose StatementBegin
CREATE FUNCTION resume_blank(p_attempt uuid, p_session integer, p_serial text, p_reader text,
    p_actor uuid, p_through text, OUT outcome text, OUT blank_state text, OUT attempt uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    b       blank%ROWTYPE;
    a       attempt%ROWTYPE;
    v_fence bigint;
BEGIN
    SELECT * INTO b FROM blank WHERE serial = p_serial FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unlisted';
        RETURN;
    END IF;
    IF b.state = 'in-use' THEN
        SELECT * INTO a FROM attempt t WHERE t.blank_id = b.id AND t.outcome IS NULL;
        IF a.id = p_attempt THEN
            outcome := 'claimed';
            attempt := p_attempt;
            RETURN;
        END IF;
        IF session_dead(a.session_id) THEN
            IF abandon(a.id) THEN
                b.state := 'in-doubt';
            END IF;
        END IF;
    END IF;
    SELECT * INTO a FROM attempt t WHERE t.blank_id = b.id AND t.outcome = 'in-doubt' AND t.settled IS NULL;
    IF NOT FOUND OR b.state <> 'in-doubt' THEN
        outcome := 'not-on-hand';
        blank_state := b.state;
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM station_session s WHERE s.id = p_session AND s.ended_at IS NULL) THEN
        outcome := 'station-closed';
        RETURN;
    END IF;
    PERFORM FROM card_order WHERE id = a.order_id FOR NO KEY UPDATE;
    PERFORM FROM attempt t WHERE t.id = a.id FOR NO KEY UPDATE;
    v_fence := nextval('fence');
    UPDATE attempt t SET settled = 'resumed', settled_at = clock_timestamp() WHERE t.id = a.id;
    INSERT INTO attempt (id, order_id, blank_id, image_id, session_id, reader, fence, resumes)
    VALUES (p_attempt, a.order_id, b.id, a.image_id, p_session, p_reader, v_fence, a.id);
    UPDATE card_order SET state = 'in-progress', reason = '', fence = v_fence, changed_at = now() WHERE id = a.order_id;
    UPDATE blank SET state = 'in-use', fence = v_fence, changed_at = now(), changed_by = p_actor, change_reason = 'resumed',
        attempt_id = p_attempt WHERE id = b.id;
    PERFORM audit_append(p_actor, p_through, 'attempt.resumed', p_attempt::text, a.id::text);
    outcome := 'claimed';
    attempt := p_attempt;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION claim_view(p_attempt uuid)
RETURNS TABLE (fence bigint, resumed boolean, order_id uuid, record_id uuid, revision integer, product text,
    lot uuid, created_at timestamptz, changed_at timestamptz, person_id uuid, epoch text, wrapped bytea,
    image_id uuid, version integer, card_number text, profile text, content bytea, secrets bytea,
    serial text, chip text, batch text, failed_key_versions integer[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.fence, a.resumes IS NOT NULL, o.id, r.record_id, r.revision, o.product, o.lot_id, o.created_at, o.changed_at,
            o.person_id, k.epoch, k.wrapped, i.id, i.version, i.card_number, i.profile, i.content, i.secrets,
            b.serial, b.chip, b.batch, b.failed_key_versions
        FROM attempt a
        JOIN card_order o ON o.id = a.order_id
        JOIN record r ON r.id = o.record_row
        JOIN person_key k ON k.person_id = o.person_id
        JOIN image i ON i.id = a.image_id
        JOIN blank b ON b.id = a.blank_id
        WHERE a.id = p_attempt;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION attempt_steps(p_attempt uuid) RETURNS TABLE (seq integer, name text, event text, status integer, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT s.seq, s.name, s.event, s.status, s.at FROM attempt_step s JOIN attempt a ON s.attempt_id = a.resumes
    WHERE a.id = p_attempt ORDER BY s.seq
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION write_steps(p_attempt uuid, p_seq integer[], p_name text[], p_event text[], p_status integer[], p_at timestamptz[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    INSERT INTO attempt_step (attempt_id, seq, name, event, status, at)
        SELECT p_attempt, s.seq, s.name, s.event, s.status, s.at
        FROM unnest(p_seq, p_name, p_event, p_status, p_at) AS s (seq, name, event, status, at)
        ON CONFLICT DO NOTHING;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION journal_steps(p_attempt uuid, p_fence bigint, p_seq integer[], p_name text[], p_event text[],
    p_status integer[], p_at timestamptz[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    PERFORM FROM attempt WHERE id = p_attempt AND fence = p_fence AND outcome IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM write_steps(p_attempt, p_seq, p_name, p_event, p_status, p_at);
    RETURN true;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION approve(p_action text, p_subject text, p_first uuid, p_second uuid, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF p_first IS NULL OR p_second IS NULL OR p_first = p_second
       OR 2 <> (SELECT count(*) FROM actor WHERE id IN (p_first, p_second) AND kind = 'operator') THEN
        RETURN false;
    END IF;
    INSERT INTO approval (action, subject, first, second, reason) VALUES (p_action, p_subject, p_first, p_second, p_reason);
    RETURN true;
END
$$;
-- +goose StatementEnd

-- The end of an attempt with all that follows from it, or nothing at all.
-- +goose StatementBegin
CREATE FUNCTION finish_attempt(p_attempt uuid, p_fence bigint, p_outcome text, p_reason text, p_nothing boolean,
    p_card uuid, p_evidence bytea, p_first uuid, p_second uuid,
    p_seq integer[], p_name text[], p_event text[], p_status integer[], p_at timestamptz[],
    p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    a attempt%ROWTYPE;
    o card_order%ROWTYPE;
    b blank%ROWTYPE;
    v_blank text;
    v_nothing boolean := p_nothing OR p_outcome = 'clean';
BEGIN
    SELECT * INTO a FROM attempt WHERE id = p_attempt;
    IF NOT FOUND OR a.fence <> p_fence THEN
        RETURN 'fenced';
    END IF;
    SELECT * INTO b FROM blank WHERE id = a.blank_id FOR NO KEY UPDATE;
    SELECT * INTO o FROM card_order WHERE id = a.order_id FOR NO KEY UPDATE;
    SELECT * INTO a FROM attempt WHERE id = p_attempt FOR NO KEY UPDATE;
    IF a.outcome IS NOT NULL THEN
        IF a.outcome = p_outcome AND a.nothing_written = v_nothing THEN
            RETURN 'done'; -- the answer to the first time was lost
        END IF;
        RETURN 'fenced';
    END IF;
    IF o.fence <> a.fence OR b.fence <> a.fence THEN
        RETURN 'fenced';
    END IF;
    IF p_outcome = 'spoiled' AND NOT approve('blank.spoiled', a.id::text, p_first, p_second, p_reason) THEN
        RETURN 'two-people';
    END IF;
    PERFORM write_steps(p_attempt, p_seq, p_name, p_event, p_status, p_at);
    UPDATE attempt SET outcome = p_outcome, reason = p_reason, nothing_written = v_nothing, finished_at = clock_timestamp()
    WHERE id = a.id;

    CASE p_outcome
    WHEN 'issued' THEN
        v_blank := 'issued';
        INSERT INTO card (id, number, person_id, order_id, blank_id, image_id, attempt_id, evidence)
        SELECT p_card, i.card_number, o.person_id, o.id, b.id, i.id, a.id, p_evidence FROM image i WHERE i.id = a.image_id;
        UPDATE card_order SET state = 'issued', reason = '', changed_at = now() WHERE id = o.id;
    WHEN 'clean' THEN
        v_blank := 'on-hand';
        UPDATE card_order SET state = 'released', reason = p_reason, changed_at = now() WHERE id = o.id;
    WHEN 'in-doubt' THEN
        v_blank := 'in-doubt';
        UPDATE card_order SET state = 'in-doubt', reason = p_reason, changed_at = now() WHERE id = o.id;
    ELSE
        v_blank := p_outcome;
        IF v_nothing THEN
            UPDATE card_order SET state = 'released', reason = p_reason, changed_at = now() WHERE id = o.id;
        ELSIF p_outcome = 'spoiled' THEN
            PERFORM prepare_again(o.id, p_reason);
        ELSE
            UPDATE card_order SET state = 'awaiting-decision', reason = p_reason, changed_at = now() WHERE id = o.id;
        END IF;
    END CASE;
    UPDATE blank SET state = v_blank, changed_at = now(), changed_by = p_actor, change_reason = p_reason, attempt_id = a.id
    WHERE id = b.id;
    PERFORM audit_append(p_actor, p_through, 'attempt.' || p_outcome, a.id::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION doubts()
RETURNS TABLE (attempt_id uuid, order_id uuid, serial text, station text, reader text, reason text, started_at timestamptz, last_step text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT a.id, a.order_id, b.serial, s.station, a.reader, a.reason, a.started_at,
        coalesce((SELECT t.name || ' ' || t.event FROM attempt_step t WHERE t.attempt_id = a.id ORDER BY t.seq DESC LIMIT 1), '')
    FROM attempt a JOIN blank b ON b.id = a.blank_id JOIN station_session s ON s.id = a.session_id
    WHERE a.outcome = 'in-doubt' AND a.settled IS NULL
    ORDER BY a.started_at
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION settle_doubt(p_attempt uuid, p_to text, p_reason text, p_first uuid, p_second uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    a attempt%ROWTYPE;
BEGIN
    SELECT * INTO a FROM attempt WHERE id = p_attempt;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    PERFORM FROM blank WHERE id = a.blank_id FOR NO KEY UPDATE;
    PERFORM FROM card_order WHERE id = a.order_id FOR NO KEY UPDATE;
    SELECT * INTO a FROM attempt WHERE id = p_attempt FOR NO KEY UPDATE;
    IF a.outcome IS DISTINCT FROM 'in-doubt' OR a.settled IS NOT NULL OR p_to NOT IN ('spoiled', 'quarantined') THEN
        RETURN 'wrong-state';
    END IF;
    IF NOT approve('doubt.' || p_to, a.id::text, p_first, p_second, p_reason) THEN
        RETURN 'two-people';
    END IF;
    UPDATE attempt SET settled = p_to, settled_at = clock_timestamp() WHERE id = a.id;
    UPDATE blank SET state = p_to, changed_at = now(), changed_by = p_first, change_reason = p_reason, attempt_id = a.id
    WHERE id = a.blank_id;
    PERFORM prepare_again(a.order_id, p_reason);
    PERFORM audit_append(p_first, p_through, 'doubt.' || p_to, a.id::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd
