-- +goose Up

-- Where a card lies that is not yet handed over. It is the one place that is kept,
-- and it is gone when the card is activated.
CREATE TABLE office_receipt (
    card_id     uuid PRIMARY KEY REFERENCES card,
    office      text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    received_by uuid NOT NULL
);

-- One attended visit of a holder to a desk. It names no office.
CREATE TABLE visit (
    id          uuid PRIMARY KEY,
    card_id     uuid NOT NULL REFERENCES card,
    kind        text NOT NULL CHECK (kind IN ('activate', 'unblock-pin', 'unblock', 'pair')),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'checked', 'released', 'done', 'refused', 'abandoned')),
    checks      jsonb NOT NULL DEFAULT '{}',  -- codes only
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by   uuid NOT NULL,
    second_by   uuid,
    released_at timestamptz,
    ended_at    timestamptz,
    reason      text NOT NULL DEFAULT '',
    CHECK ((state IN ('done', 'refused', 'abandoned')) = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX visit_one_open ON visit (card_id) WHERE ended_at IS NULL;
CREATE INDEX visit_card ON visit (card_id, opened_at);

-- What the holder's chip has signed: the receipt of a visit.
CREATE TABLE holder_receipt (
    visit_id  uuid PRIMARY KEY REFERENCES visit,
    content   bytea NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    key       bytea NOT NULL CHECK (octet_length(key) = 65)
);
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON holder_receipt
    FOR EACH STATEMENT EXECUTE FUNCTION never_changed();

-- A card that its own holder has had blocked: a clerk may lift that again.
CREATE TABLE holder_block (
    card_id uuid PRIMARY KEY REFERENCES card,
    reason  text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);

-- +goose StatementBegin
CREATE FUNCTION receive_card(p_number text, p_office text, p_moved boolean, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    c card%ROWTYPE;
    r office_receipt%ROWTYPE;
    v_office text;
BEGIN
    SELECT * INTO c FROM card WHERE number = p_number FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF c.state <> 'made' THEN
        RETURN 'wrong-state';
    END IF;
    SELECT * INTO r FROM office_receipt WHERE card_id = c.id;
    IF r.office = p_office THEN
        RETURN 'already';
    END IF;
    SELECT o.office INTO v_office FROM card_order o WHERE o.id = c.order_id;
    IF coalesce(r.office, v_office) <> p_office AND NOT p_moved THEN
        RETURN 'other-office';
    END IF;
    INSERT INTO office_receipt (card_id, office, received_by) VALUES (c.id, p_office, p_actor)
    ON CONFLICT (card_id) DO UPDATE SET office = p_office, received_by = p_actor, received_at = now();
    PERFORM audit_append(p_actor, p_through, 'card.received', c.id::text, CASE WHEN p_moved THEN 'moved' ELSE '' END);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION office_stock(p_office text) RETURNS TABLE (number text, received_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT c.number, r.received_at FROM office_receipt r JOIN card c ON c.id = r.card_id WHERE r.office = p_office ORDER BY c.number
$$;
-- +goose StatementEnd

-- Opens a visit. An open one of the same card is abandoned: its card was taken out,
-- or the program died. Too many refusals within a day need another day; a
-- wrong PIN is none where the holder comes because it is forgotten, nor after that.
-- +goose StatementBegin
CREATE FUNCTION open_visit(p_visit uuid, p_number text, p_kind text, p_limit integer, p_actor uuid, p_through text, OUT outcome text,
    OUT released_before boolean, OUT sealed bytea, OUT record_row uuid, OUT digest bytea, OUT product text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    c card%ROWTYPE;
BEGIN
    SELECT * INTO c FROM card WHERE number = p_number FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'not-found';
        RETURN;
    END IF;
    -- A holder who blocked the card may have forgotten the PIN as well.
    IF c.state <> (CASE p_kind WHEN 'activate' THEN 'made' WHEN 'unblock' THEN 'suspended' ELSE 'active' END)
       AND NOT (p_kind = 'unblock-pin' AND c.state = 'suspended' AND EXISTS (SELECT FROM holder_block WHERE card_id = c.id)) THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    IF p_kind = 'activate' AND NOT EXISTS (SELECT FROM office_receipt WHERE card_id = c.id) THEN
        outcome := 'not-received';
        RETURN;
    END IF;
    IF p_kind = 'unblock' AND NOT EXISTS (SELECT FROM holder_block WHERE card_id = c.id) THEN
        outcome := 'not-by-holder';
        RETURN;
    END IF;
    IF (SELECT count(*) FROM visit v WHERE v.card_id = c.id AND v.state = 'refused' AND v.ended_at > now() - interval '1 day'
        AND NOT (v.reason = 'pin' AND (p_kind = 'unblock-pin' OR EXISTS (SELECT FROM visit u WHERE u.card_id = c.id AND u.kind = 'unblock-pin'
            AND u.state = 'done' AND u.ended_at > v.ended_at)))) >= p_limit THEN
        PERFORM audit_append(p_actor, p_through, 'visit.too-many-tries', c.id::text, p_kind);
        outcome := 'too-many-tries';
        RETURN;
    END IF;
    UPDATE visit SET state = 'abandoned', ended_at = clock_timestamp() WHERE card_id = c.id AND ended_at IS NULL;
    released_before := EXISTS (SELECT FROM visit v WHERE v.card_id = c.id AND v.kind = p_kind AND v.state <> 'done' AND v.released_at IS NOT NULL);
    INSERT INTO visit (id, card_id, kind, opened_by) VALUES (p_visit, c.id, p_kind, p_actor);
    PERFORM audit_append(p_actor, p_through, 'visit.opened', p_visit::text, p_kind);
    SELECT r.sealed, r.id, r.digest, o.product INTO sealed, record_row, digest, product
    FROM card_order o JOIN record r ON r.id = o.record_row WHERE o.id = c.order_id;
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- Notes what was checked of card and holder. An override takes a second person.
-- +goose StatementBegin
CREATE FUNCTION check_visit(p_visit uuid, p_checks jsonb, p_override boolean, p_second uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v visit%ROWTYPE;
BEGIN
    SELECT * INTO v FROM visit WHERE id = p_visit FOR NO KEY UPDATE;
    IF v.state IS DISTINCT FROM 'open' THEN
        RETURN 'wrong-state';
    END IF;
    IF p_override AND (p_second IS NULL OR p_second = v.opened_by OR p_second = p_actor) THEN
        RETURN 'two-people';
    END IF;
    UPDATE visit SET state = 'checked', checks = p_checks, second_by = p_second WHERE id = p_visit;
    PERFORM audit_append(p_actor, p_through, 'visit.checked', p_visit::text, CASE WHEN p_override THEN 'override' ELSE '' END);
    IF p_override THEN
        INSERT INTO approval (action, subject, first, second, reason)
        VALUES ('visit.override', p_visit::text, v.opened_by, p_second, coalesce(p_checks->>'override', ''));
    END IF;
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- Releases what the card's secrets are sealed in, after the check and for a quarter
-- of an hour, once a visit.
-- +goose StatementBegin
CREATE FUNCTION release_secrets(p_visit uuid, p_actor uuid, p_through text, OUT outcome text, OUT secrets bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v visit%ROWTYPE;
BEGIN
    SELECT * INTO v FROM visit WHERE id = p_visit FOR NO KEY UPDATE;
    IF v.state IS DISTINCT FROM 'checked' OR v.kind NOT IN ('activate', 'unblock-pin') OR v.opened_at < clock_timestamp() - interval '15 minutes' THEN
        outcome := 'wrong-state';
        RETURN;
    END IF;
    UPDATE visit SET state = 'released', released_at = clock_timestamp() WHERE id = p_visit;
    PERFORM audit_append(p_actor, p_through, 'visit.secret-released', p_visit::text, v.kind);
    SELECT i.secrets INTO secrets FROM card c JOIN image i ON i.id = c.image_id WHERE c.id = v.card_id;
    outcome := 'done';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION end_visit(p_visit uuid, p_state text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE visit SET state = p_state, reason = p_reason, ended_at = clock_timestamp() WHERE id = p_visit AND ended_at IS NULL AND p_state IN ('refused', 'abandoned');
    IF NOT FOUND THEN
        RETURN 'wrong-state';
    END IF;
    PERFORM audit_append(p_actor, p_through, 'visit.' || p_state, p_visit::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- The end of a visit that did what it was for. Activation revokes the person's card
-- before, makes this one active, forgets the office and the signed record, and has
-- the bank told, all in one. Asking again answers the same.
-- +goose StatementBegin
CREATE FUNCTION finish_visit(p_visit uuid, p_content bytea, p_signature bytea, p_key bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v visit%ROWTYPE;
    c card%ROWTYPE;
    v_old uuid;
BEGIN
    SELECT * INTO v FROM visit WHERE id = p_visit;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    PERFORM FROM person p JOIN card k ON k.person_id = p.id WHERE k.id = v.card_id FOR NO KEY UPDATE OF p;
    SELECT * INTO c FROM card WHERE id = v.card_id FOR NO KEY UPDATE;
    SELECT * INTO v FROM visit WHERE id = p_visit FOR NO KEY UPDATE;
    IF v.state = 'done' THEN
        RETURN 'done';
    END IF;
    IF v.state NOT IN ('checked', 'released') OR v.kind = 'unblock-pin' AND v.state <> 'released' THEN
        RETURN 'wrong-state';
    END IF;
    IF v.kind = 'activate' THEN
        IF c.state <> 'made' THEN
            RETURN 'wrong-state';
        END IF;
        FOR v_old IN UPDATE card SET state = 'revoked', changed_at = now() WHERE person_id = c.person_id AND state IN ('active', 'suspended') RETURNING id LOOP
            DELETE FROM holder_block WHERE card_id = v_old;
            PERFORM audit_append(p_actor, p_through, 'card.revoked', v_old::text, 'replaced');
        END LOOP;
        UPDATE card SET state = 'active', changed_at = now() WHERE id = c.id;
        DELETE FROM office_receipt WHERE card_id = c.id;
        UPDATE card_order SET office = '' WHERE person_id = c.person_id AND state = 'issued'
            AND NOT EXISTS (SELECT FROM card k WHERE k.order_id = card_order.id AND k.state = 'made');
        UPDATE record SET sealed = NULL FROM card_order o WHERE o.record_row = record.id AND o.id = c.order_id;
        PERFORM audit_append(p_actor, p_through, 'card.active', c.id::text, '');
    ELSIF v.kind = 'unblock' THEN
        IF c.state <> 'suspended' THEN
            RETURN 'wrong-state';
        END IF;
        UPDATE card SET state = 'active', changed_at = now() WHERE id = c.id;
        DELETE FROM holder_block WHERE card_id = c.id;
        PERFORM audit_append(p_actor, p_through, 'card.active', c.id::text, 'unblocked');
    END IF;
    IF p_signature IS NOT NULL THEN
        INSERT INTO holder_receipt (visit_id, content, signature, key) VALUES (p_visit, p_content, p_signature, p_key);
    END IF;
    UPDATE visit SET state = 'done', ended_at = clock_timestamp() WHERE id = p_visit;
    PERFORM audit_append(p_actor, p_through, 'visit.done', p_visit::text, v.kind);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- The holder reports a card as lost, or wants it blocked: one clerk, at once.
-- +goose StatementBegin
CREATE FUNCTION block_card(p_number text, p_reason text, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    c card%ROWTYPE;
BEGIN
    SELECT * INTO c FROM card WHERE number = p_number FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF c.state = 'suspended' THEN
        RETURN 'already';
    END IF;
    IF c.state <> 'active' THEN
        RETURN 'wrong-state';
    END IF;
    UPDATE card SET state = 'suspended', changed_at = now() WHERE id = c.id;
    INSERT INTO holder_block (card_id, reason) VALUES (c.id, p_reason);
    PERFORM audit_append(p_actor, p_through, 'card.suspended', c.id::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

-- A card will be replaced: it is blocked now and revoked when the new one is
-- activated. One that was never handed over is revoked at once, by two people: a
-- card that was lost on its way is a serious matter.
-- +goose StatementBegin
CREATE FUNCTION replace_card(p_number text, p_reason text, p_second uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    c card%ROWTYPE;
    v_word text;
BEGIN
    SELECT * INTO c FROM card WHERE number = p_number FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    IF c.state = 'made' THEN
        IF p_second IS NULL OR p_second = p_actor THEN
            RETURN 'two-people';
        END IF;
        UPDATE card SET state = 'revoked', changed_at = now() WHERE id = c.id;
        DELETE FROM office_receipt WHERE card_id = c.id;
        UPDATE visit SET state = 'abandoned', ended_at = clock_timestamp() WHERE card_id = c.id AND ended_at IS NULL;
        PERFORM audit_append(p_actor, p_through, 'card.revoked', c.id::text, p_reason);
        INSERT INTO approval (action, subject, first, second, reason) VALUES ('card.revoked', c.id::text, p_actor, p_second, p_reason);
        RETURN 'done';
    END IF;
    IF c.state = 'active' THEN
        v_word := block_card(p_number, p_reason, p_actor, p_through);
        IF v_word <> 'done' THEN
            RETURN v_word;
        END IF;
    ELSIF c.state <> 'suspended' THEN
        RETURN 'wrong-state';
    END IF;
    PERFORM audit_append(p_actor, p_through, 'card.replacement-asked', c.id::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON FUNCTION receive_card, office_stock, open_visit, check_visit, release_secrets, end_visit, finish_visit, block_card, replace_card FROM PUBLIC;
GRANT EXECUTE ON FUNCTION receive_card, office_stock, open_visit, check_visit, release_secrets, end_visit, finish_visit, block_card, replace_card TO cb_desk;

-- Looking a card up gives nobody its secrets: a visit releases them.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION find_card(p_number text, p_serial text, p_reason text, p_actor uuid, p_through text)
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
        i.id, i.version, i.profile, i.content, NULL::bytea, v_card.made_at
    FROM blank b, image i, person_key k
    WHERE b.id = v_card.blank_id AND i.id = v_card.image_id AND k.person_id = v_card.person_id;
END
$$;
-- +goose StatementEnd
