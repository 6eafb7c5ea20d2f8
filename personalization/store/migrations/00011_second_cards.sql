-- +goose Up

-- A card without a proof is none, and an attempt that took up another may not
-- say that nothing was written: the one before may have.
ALTER TABLE card ADD CONSTRAINT card_proven CHECK (octet_length(evidence) = 32);
ALTER TABLE attempt ADD CONSTRAINT attempt_resumed_wrote CHECK (resumes IS NULL OR NOT nothing_written);
CREATE INDEX card_person ON card (person_id);

-- A first card for a person who has one is a mistake somewhere: the same
-- decision sent under a new recordId. Two people look at it before it is made.
-- +goose StatementBegin
ALTER FUNCTION accept_record RENAME TO take_record;
REVOKE EXECUTE ON FUNCTION take_record FROM cb_intake;
CREATE FUNCTION accept_record(
    p_person uuid, p_ref bytea, p_epoch text, p_wrapped bytea, p_identity bytea,
    p_row uuid, p_record uuid, p_revision integer, p_digest bytea, p_kid text, p_sealed bytea, p_expires timestamptz,
    p_order uuid, p_product text, p_office text, p_phase text, p_purpose text, p_state text,
    p_cap integer, p_actor uuid, p_through text,
    OUT outcome text, OUT order_id uuid, OUT order_state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    SELECT t.outcome, t.order_id, t.order_state INTO outcome, order_id, order_state
    FROM take_record(p_person, p_ref, p_epoch, p_wrapped, p_identity, p_row, p_record, p_revision, p_digest, p_kid, p_sealed,
        p_expires, p_order, p_product, p_office, p_phase, p_purpose, p_state, p_cap, p_actor, p_through) t;
    -- No order of the person is open any more once this one is: a card that
    -- was being made meanwhile is seen here.
    IF outcome IN ('accepted', 'replaced') AND order_state = 'accepted' AND p_purpose = 'first'
       AND EXISTS (SELECT FROM card c JOIN card_order o ON o.person_id = c.person_id WHERE o.id = p_order AND c.state <> 'revoked') THEN
        order_state := 'awaiting-decision';
        UPDATE card_order SET state = order_state, reason = 'has-card', changed_at = now() WHERE id = p_order;
        PERFORM audit_append(p_actor, p_through, 'order.awaiting-decision', p_order::text, 'has-card');
    END IF;
END
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION accept_record FROM PUBLIC;
GRANT EXECUTE ON FUNCTION accept_record TO cb_intake;

-- An order whose blank was written and put aside may yet have a card: one
-- person may not clear the way for another.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION withdraw_order(p_order uuid, p_reason text, p_actor uuid, p_through text) RETURNS text
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
    IF o.state = 'awaiting-decision' AND EXISTS (SELECT FROM attempt a WHERE a.order_id = p_order AND NOT a.nothing_written) THEN
        RETURN 'two-people';
    END IF;
    UPDATE card_order SET state = 'withdrawn', reason = p_reason, changed_at = now() WHERE id = p_order;
    PERFORM void_images(p_order);
    PERFORM audit_append(p_actor, p_through, 'order.withdrawn', p_order::text, p_reason);
    RETURN 'done';
END
$$;
-- +goose StatementEnd
