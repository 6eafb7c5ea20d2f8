-- +goose Up

-- An identity card and a SIM in one holder's hands. ICCID and number stand here as
-- keyed digests and sealed under the person's key; the IMSI is sealed and gone on
-- activation. There is no terminal, office or IMEI.
CREATE TABLE pairing (
    id           uuid PRIMARY KEY,
    person_id    uuid NOT NULL REFERENCES person,
    card_id      uuid NOT NULL REFERENCES card,
    operator     text NOT NULL CHECK (operator ~ '^[0-9]{5,6}$'),
    state        text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'personalized', 'proven', 'operator-pending', 'active', 'suspended',
        'swap-pending', 'revoked', 'expired')),
    reason       text NOT NULL DEFAULT '',
    iccid_ref    bytea NOT NULL CHECK (octet_length(iccid_ref) = 32),
    msisdn_ref   bytea NOT NULL CHECK (octet_length(msisdn_ref) = 32),
    sealed       bytea NOT NULL,
    imsi_sealed  bytea CHECK (imsi_sealed IS NULL OR state IN ('reserved', 'personalized', 'proven', 'operator-pending')),
    session_id   uuid NOT NULL UNIQUE,
    session_ends timestamptz NOT NULL,
    claims       bytea,
    evidence     bytea,
    record       bytea CHECK (octet_length(record) <= 1024),
    status_index bigint UNIQUE,
    until        date NOT NULL,
    callbacks    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((claims IS NOT NULL AND evidence IS NOT NULL) OR state IN ('reserved', 'personalized', 'revoked', 'expired')),
    CHECK ((record IS NOT NULL AND status_index IS NOT NULL) OR state NOT IN ('active', 'suspended', 'swap-pending'))
);
-- One live pairing a SIM, and one a number.
CREATE UNIQUE INDEX pairing_live_iccid ON pairing (iccid_ref) WHERE state NOT IN ('revoked', 'expired');
CREATE UNIQUE INDEX pairing_live_msisdn ON pairing (msisdn_ref) WHERE state NOT IN ('revoked', 'expired');
CREATE INDEX pairing_person ON pairing (person_id);

CREATE TABLE pairing_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pairing_id uuid NOT NULL REFERENCES pairing,
    was        text NOT NULL,
    state      text NOT NULL,
    reason     text NOT NULL,
    actor      uuid NOT NULL REFERENCES actor,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX pairing_event_pairing ON pairing_event (pairing_id, id);
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON pairing_event FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

-- What operators have told, so that a notice counts once and gets the same answer
-- again.
CREATE TABLE operator_callback (
    operator text NOT NULL,
    jti      text NOT NULL,
    digest   bytea NOT NULL CHECK (octet_length(digest) = 32),
    answer   text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operator, jti)
);
CREATE INDEX operator_callback_at ON operator_callback (at);

-- Which numbers are set aside: documents that custodians signed, whole, so that
-- whoever reads one checks it again.
CREATE TABLE number_plan (
    serial      bigint PRIMARY KEY CHECK (serial > 0),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    document    bytea NOT NULL,
    accepted_by uuid NOT NULL REFERENCES actor,
    accepted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON number_plan FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

-- Files of SIM vendors, each taken in once, and the SIMs whose key the bureau has.
CREATE TABLE sim_batch (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    sims        integer NOT NULL CHECK (sims > 0),
    accepted_by uuid NOT NULL REFERENCES actor,
    accepted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sim_subscriber (
    id        uuid PRIMARY KEY,
    iccid_ref bytea NOT NULL UNIQUE CHECK (octet_length(iccid_ref) = 32),
    batch_id  uuid NOT NULL REFERENCES sim_batch,
    sealed    bytea NOT NULL,
    sqn       bigint NOT NULL DEFAULT 0 CHECK (sqn >= 0 AND sqn < 281474976710656)
);

ALTER TABLE event_outbox DROP CONSTRAINT event_outbox_type_check;
ALTER TABLE event_outbox ADD CONSTRAINT event_outbox_type_check CHECK (type IN ('bound', 'issued', 'activated', 'suspended', 'resumed', 'replaced', 'revoked',
    'withdrawn', 'sim-swap-pending', 'sim-swap-ended'));

-- The table of package lifecycle.
-- +goose StatementBegin
CREATE FUNCTION pairing_may(p_from text, p_to text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (p_from, p_to) IN (('reserved', 'personalized'), ('personalized', 'proven'), ('proven', 'operator-pending'), ('operator-pending', 'active'),
        ('active', 'suspended'), ('active', 'swap-pending'), ('suspended', 'active'), ('suspended', 'swap-pending'), ('swap-pending', 'active'), ('swap-pending', 'suspended'))
        OR p_to IN ('revoked', 'expired') AND p_from IN ('reserved', 'personalized', 'proven', 'operator-pending', 'active', 'suspended', 'swap-pending')
$$;
-- +goose StatementEnd

-- One step. The bank hears that a number may be going to another SIM, by its own
-- references, and nothing else of a SIM.
-- +goose StatementBegin
CREATE FUNCTION step_pairing(p_id uuid, p_to text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v pairing%ROWTYPE;
    b record;
BEGIN
    SELECT * INTO v FROM pairing WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF NOT pairing_may(v.state, p_to) THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE pairing SET state = p_to, reason = p_reason, changed_at = now(),
        imsi_sealed = CASE WHEN p_to IN ('personalized', 'proven', 'operator-pending') THEN imsi_sealed END WHERE id = p_id;
    INSERT INTO pairing_event (pairing_id, was, state, reason, actor) VALUES (p_id, v.state, p_to, p_reason, p_actor);
    PERFORM audit_append(p_actor, p_through, 'pairing.' || p_to, p_id::text, p_reason);
    IF p_to = 'swap-pending' OR v.state = 'swap-pending' THEN
        FOR b IN SELECT n.ref, p.token, p.sequence, n.status_index FROM card c JOIN binding n ON n.card_id = c.id JOIN pan p ON p.id = n.pan_id
                 WHERE c.person_id = v.person_id AND c.state <> 'revoked' ORDER BY c.id LOOP
            PERFORM append_event(CASE WHEN p_to = 'swap-pending' THEN 'sim-swap-pending' ELSE 'sim-swap-ended' END, b.ref, b.token, b.sequence, b.status_index);
        END LOOP;
    END IF;
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- Sets a SIM and a number aside for a session. Sessions that died hold nothing back,
-- nor do those of the person's revoked cards: freed are the pairings that ended so.
-- The person's row is locked, so that the limit holds whoever else is at it.
-- +goose StatementBegin
CREATE FUNCTION reserve_pairing(p_id uuid, p_card uuid, p_operator text, p_iccid bytea, p_msisdn bytea, p_sealed bytea, p_imsi bytea, p_session uuid,
    p_ends timestamptz, p_until date, p_limit integer, p_actor uuid, p_through text, OUT outcome text, OUT freed uuid[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    c card%ROWTYPE;
    v record;
BEGIN
    freed := '{}';
    PERFORM FROM person p JOIN card k ON k.person_id = p.id WHERE k.id = p_card FOR NO KEY UPDATE OF p;
    SELECT * INTO c FROM card WHERE id = p_card;
    IF NOT FOUND THEN
        outcome := 'not-found';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pairing WHERE session_id = p_session) THEN
        outcome := CASE WHEN EXISTS (SELECT FROM pairing WHERE id = p_id AND session_id = p_session AND state = 'reserved') THEN 'done' ELSE 'session-used' END;
        RETURN;
    END IF;
    IF c.state <> 'active' THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    FOR v IN SELECT q.id, k.state, q.person_id, q.session_ends <= clock_timestamp() AND q.state IN ('reserved', 'personalized', 'proven') AS dead
             FROM pairing q JOIN card k ON k.id = q.card_id
             WHERE q.state NOT IN ('revoked', 'expired') AND (q.iccid_ref = p_iccid OR q.msisdn_ref = p_msisdn OR q.person_id = c.person_id) ORDER BY q.id FOR NO KEY UPDATE OF q LOOP
        IF v.dead THEN
            PERFORM step_pairing(v.id, 'expired', 'session-died', p_actor, p_through);
            freed := freed || v.id;
        ELSIF v.person_id = c.person_id AND v.state = 'revoked' THEN
            PERFORM step_pairing(v.id, 'revoked', 'card-replaced', p_actor, p_through);
            freed := freed || v.id;
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pairing WHERE iccid_ref = p_iccid AND state NOT IN ('revoked', 'expired')) THEN
        outcome := 'sim-taken';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pairing WHERE msisdn_ref = p_msisdn AND state NOT IN ('revoked', 'expired')) THEN
        outcome := 'msisdn-taken';
        RETURN;
    END IF;
    IF (SELECT count(*) FROM pairing WHERE person_id = c.person_id AND state NOT IN ('revoked', 'expired')) >= p_limit THEN
        outcome := 'sim-limit';
        RETURN;
    END IF;
    INSERT INTO pairing (id, person_id, card_id, operator, iccid_ref, msisdn_ref, sealed, imsi_sealed, session_id, session_ends, until)
    VALUES (p_id, c.person_id, p_card, p_operator, p_iccid, p_msisdn, p_sealed, p_imsi, p_session, p_ends, p_until);
    INSERT INTO pairing_event (pairing_id, was, state, reason, actor) VALUES (p_id, '', 'reserved', '', p_actor);
    PERFORM audit_append(p_actor, p_through, 'pairing.reserved', p_id::text, '');
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- Ends what sessions that died and days that are over have left.
-- +goose StatementBegin
CREATE FUNCTION expire_pairings(p_limit integer, p_actor uuid, p_through text) RETURNS TABLE (id uuid, operator text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT q.id, q.operator, q.until < (now() AT TIME ZONE 'UTC')::date AS late FROM pairing q
             WHERE q.state IN ('reserved', 'personalized', 'proven') AND q.session_ends <= clock_timestamp()
                OR q.state NOT IN ('revoked', 'expired') AND q.until < (now() AT TIME ZONE 'UTC')::date
             ORDER BY q.id LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED LOOP
        PERFORM step_pairing(v.id, 'expired', CASE WHEN v.late THEN 'validity-over' ELSE 'session-died' END, p_actor, p_through);
        id := v.id;
        operator := v.operator;
        RETURN NEXT;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- The SIM holds the subscription.
-- +goose StatementBegin
CREATE FUNCTION personalize_pairing(p_id uuid, p_session uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v pairing%ROWTYPE;
BEGIN
    SELECT * INTO v FROM pairing WHERE id = p_id FOR NO KEY UPDATE;
    IF v.session_id = p_session AND v.state = 'personalized' THEN
        RETURN 'done';
    END IF;
    IF v.session_id IS DISTINCT FROM p_session OR v.session_ends <= clock_timestamp() THEN
        RETURN 'session-over';
    END IF;
    RETURN step_pairing(p_id, 'personalized', '', p_actor, p_through);
END
$$;
-- +goose StatementEnd

-- Both chips have answered in the session, which is not over.
-- +goose StatementBegin
CREATE FUNCTION prove_pairing(p_id uuid, p_session uuid, p_claims bytea, p_evidence bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v pairing%ROWTYPE;
BEGIN
    SELECT * INTO v FROM pairing WHERE id = p_id FOR NO KEY UPDATE;
    IF v.session_id = p_session AND v.state = 'proven' AND v.claims = p_claims THEN
        RETURN 'done';
    END IF;
    IF v.session_id IS DISTINCT FROM p_session OR v.session_ends <= clock_timestamp() THEN
        RETURN 'session-over';
    END IF;
    IF v.state <> 'personalized' THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE pairing SET claims = p_claims, evidence = p_evidence WHERE id = p_id;
    RETURN step_pairing(p_id, 'proven', '', p_actor, p_through);
END
$$;
-- +goose StatementEnd

-- The operator is about to be asked.
-- +goose StatementBegin
CREATE FUNCTION ask_operator(p_id uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pairing WHERE id = p_id AND state = 'operator-pending') THEN
        RETURN 'done';
    END IF;
    IF EXISTS (SELECT FROM pairing WHERE id = p_id AND state = 'proven') THEN
        RETURN step_pairing(p_id, 'operator-pending', '', p_actor, p_through);
    END IF;
    RETURN CASE WHEN EXISTS (SELECT FROM pairing WHERE id = p_id) THEN 'wrong-state' ELSE 'not-found' END;
END
$$;
-- +goose StatementEnd

-- The operator has confirmed and the issuer has signed.
-- +goose StatementBegin
CREATE FUNCTION activate_pairing(p_id uuid, p_record bytea, p_index bigint, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v pairing%ROWTYPE;
BEGIN
    SELECT * INTO v FROM pairing WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF v.state = 'active' AND v.record IS NOT NULL THEN
        RETURN 'done';
    END IF;
    IF v.state <> 'operator-pending' OR p_record IS NULL THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE pairing SET record = p_record, status_index = p_index, imsi_sealed = NULL WHERE id = p_id;
    RETURN step_pairing(p_id, 'active', '', p_actor, p_through);
END
$$;
-- +goose StatementEnd

-- Whatever else becomes of a pairing. It cannot go live by this.
-- +goose StatementBegin
CREATE FUNCTION move_pairing(p_id uuid, p_to text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v pairing%ROWTYPE;
BEGIN
    SELECT * INTO v FROM pairing WHERE id = p_id FOR NO KEY UPDATE;
    IF v.state = p_to THEN
        RETURN 'done';
    END IF;
    IF p_to NOT IN ('active', 'suspended', 'swap-pending', 'revoked', 'expired') OR p_to = 'active' AND v.state = 'operator-pending' THEN
        RETURN 'wrong-state';
    END IF;
    RETURN step_pairing(p_id, p_to, p_reason, p_actor, p_through);
END
$$;
-- +goose StatementEnd

-- An operator's notice: taken once, in order for each pairing, in one transaction
-- with what it changes. outcome: done, again (the answer is the first one), altered,
-- or sign: a record must be signed first, and nothing was noted. What a holder has had
-- suspended no operator resumes, and a swap that is stopped leads back to where it
-- began.
-- +goose StatementBegin
CREATE FUNCTION take_callback(p_operator text, p_jti text, p_digest bytea, p_pairing uuid, p_sequence bigint, p_from text[], p_to text,
    p_reason text, p_record bytea, p_index bigint, p_actor uuid, p_through text, OUT outcome text, OUT answer text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    k operator_callback%ROWTYPE;
    v pairing%ROWTYPE;
    v_to text := p_to;
    v_reason text := p_reason;
BEGIN
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('callback ' || p_operator || ' ' || p_jti));
    SELECT * INTO k FROM operator_callback WHERE operator = p_operator AND jti = p_jti;
    IF FOUND THEN
        outcome := CASE WHEN k.digest = p_digest THEN 'again' ELSE 'altered' END;
        answer := CASE WHEN k.digest = p_digest THEN k.answer END;
        RETURN;
    END IF;
    SELECT * INTO v FROM pairing WHERE id = p_pairing AND operator = p_operator FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        answer := 'not-found';
    ELSIF p_sequence <= v.callbacks THEN
        answer := 'out-of-order';
    ELSIF v.state = p_to THEN
        answer := 'done';
    ELSIF v.state <> ALL (p_from) OR v.state = 'suspended' AND p_to = 'active' AND v.reason <> p_reason THEN
        answer := 'wrong-state';
    ELSIF v.state = 'operator-pending' AND p_to = 'active' THEN
        IF p_record IS NULL THEN
            outcome := 'sign';
            RETURN;
        END IF;
        answer := activate_pairing(p_pairing, p_record, p_index, p_actor, p_through);
    ELSE
        IF v.state = 'swap-pending' AND p_to = 'active' THEN
            SELECT e.was INTO v_to FROM pairing_event e WHERE e.pairing_id = p_pairing AND e.state = 'swap-pending' ORDER BY e.id DESC LIMIT 1;
            IF v_to = 'suspended' THEN
                SELECT e.reason INTO v_reason FROM pairing_event e WHERE e.pairing_id = p_pairing AND e.state = 'suspended' ORDER BY e.id DESC LIMIT 1;
            END IF;
        END IF;
        answer := move_pairing(p_pairing, v_to, v_reason, p_actor, p_through);
    END IF;
    IF answer = 'done' THEN
        UPDATE pairing SET callbacks = p_sequence WHERE id = p_pairing;
    END IF;
    DELETE FROM operator_callback WHERE at < now() - interval '7 days';
    INSERT INTO operator_callback (operator, jti, digest, answer) VALUES (p_operator, p_jti, p_digest, answer);
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION pairing_view(p_id uuid, p_index bigint)
RETURNS TABLE (id uuid, person_id uuid, epoch text, wrapped bytea, card_id uuid, card_state text, operator text, state text, reason text, iccid_ref bytea,
    sealed bytea, imsi_sealed bytea, claims bytea, evidence bytea, record bytea, status_index bigint, until date, created_at timestamptz, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT v.id, v.person_id, k.epoch, k.wrapped, v.card_id, c.state, v.operator, v.state, v.reason, v.iccid_ref, v.sealed, v.imsi_sealed, v.claims, v.evidence,
        v.record, v.status_index, v.until, v.created_at, v.changed_at
    FROM pairing v JOIN person_key k ON k.person_id = v.person_id JOIN card c ON c.id = v.card_id
    WHERE v.id = p_id OR p_id IS NULL AND v.status_index = p_index
$$;
-- +goose StatementEnd
-- The pairings of one card, which the holder has laid on the desk.
-- +goose StatementBegin
CREATE FUNCTION card_pairings(p_card uuid) RETURNS TABLE (id uuid, operator text, state text, reason text, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT id, operator, state, reason, changed_at FROM pairing WHERE card_id = p_card ORDER BY created_at, id
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION pairing_events(p_id uuid) RETURNS TABLE (was text, state text, reason text, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT was, state, reason, at FROM pairing_event WHERE pairing_id = p_id ORDER BY id
$$;
-- +goose StatementEnd

-- A newer document of numbers that are set aside. An older one never comes back.
-- +goose StatementBegin
CREATE FUNCTION add_number_plan(p_serial bigint, p_digest bytea, p_document bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v number_plan%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('number-plan'));
    SELECT * INTO v FROM number_plan ORDER BY serial DESC LIMIT 1;
    IF v.serial = p_serial AND v.digest = p_digest THEN
        RETURN 'done';
    END IF;
    IF v.serial >= p_serial THEN
        RETURN 'stale';
    END IF;
    INSERT INTO number_plan (serial, digest, document, accepted_by) VALUES (p_serial, p_digest, p_document, p_actor);
    PERFORM audit_append(p_actor, p_through, 'number-plan.accepted', p_serial::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION current_number_plan() RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT document FROM number_plan ORDER BY serial DESC LIMIT 1
$$;
-- +goose StatementEnd

-- A vendor's file: its SIMs follow in the same transaction.
-- +goose StatementBegin
CREATE FUNCTION add_sim_batch(p_id uuid, p_name text, p_digest bytea, p_sims integer, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v sim_batch%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(record_class(), hashtext('sim-batch ' || p_name));
    SELECT * INTO v FROM sim_batch WHERE name = p_name;
    IF FOUND THEN
        RETURN CASE WHEN v.digest = p_digest THEN 'already' ELSE 'differs' END;
    END IF;
    INSERT INTO sim_batch (id, name, digest, sims, accepted_by) VALUES (p_id, p_name, p_digest, p_sims, p_actor);
    PERFORM audit_append(p_actor, p_through, 'sim-batch.accepted', p_id::text, '');
    RETURN 'done';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION add_sims(p_batch uuid, p_ids uuid[], p_refs bytea[], p_sealed bytea[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO sim_subscriber (id, iccid_ref, batch_id, sealed) SELECT i, r, p_batch, s FROM unnest(p_ids, p_refs, p_sealed) AS t (i, r, s)
    ON CONFLICT (iccid_ref) DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION lock_sim(p_ref bytea) RETURNS TABLE (id uuid, batch text, sealed bytea, sqn bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT s.id, b.name, s.sealed, s.sqn FROM sim_subscriber s JOIN sim_batch b ON b.id = s.batch_id WHERE s.iccid_ref = p_ref FOR NO KEY UPDATE OF s
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION set_sqn(p_id uuid, p_sqn bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    UPDATE sim_subscriber SET sqn = p_sqn WHERE id = p_id
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cardbureau FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pairing_may, reserve_pairing, expire_pairings, personalize_pairing, prove_pairing, ask_operator, activate_pairing, move_pairing, take_callback, pairing_view,
    card_pairings, pairing_events, add_number_plan, current_number_plan, add_sim_batch, add_sims, lock_sim, set_sqn TO cb_desk;
