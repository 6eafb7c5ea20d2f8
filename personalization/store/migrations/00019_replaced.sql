-- +goose Up

-- An operator is told once that the card of a live pairing was replaced or revoked: the
-- subscription goes on, and its holder pairs it again with the new card.
ALTER TABLE pairing ADD COLUMN replaced_told_at timestamptz;

-- +goose StatementBegin
CREATE FUNCTION replaced_pairings(p_limit integer) RETURNS TABLE (id uuid, operator text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT p.id, p.operator FROM pairing p JOIN card c ON c.id = p.card_id
    WHERE p.state IN ('active', 'suspended', 'swap-pending') AND c.state = 'revoked' AND p.replaced_told_at IS NULL ORDER BY p.id LIMIT p_limit
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION pairing_told(p_id uuid, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE pairing SET replaced_told_at = now() WHERE id = p_id AND replaced_told_at IS NULL;
    IF FOUND THEN
        PERFORM audit_append(p_actor, p_through, 'pairing.card-replaced-told', p_id::text, '');
    END IF;
    RETURN 'done';
END
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION replaced_pairings, pairing_told FROM PUBLIC;
GRANT EXECUTE ON FUNCTION replaced_pairings, pairing_told TO cb_desk;
