-- +goose Up

-- The PANs of the cards that were issued on a day (UTC), sealed: what the bank gets
-- enciphered to its own key, since it has given out ranges and not numbers.
-- +goose StatementBegin
CREATE FUNCTION bank_day_pans(p_day date)
RETURNS TABLE (token bytea, sequence smallint, pan_id uuid, pan_sealed bytea, person_id uuid, epoch text, wrapped bytea, expires_on date, scheme text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT n.token, n.sequence, n.id, n.sealed, c.person_id, k.epoch, k.wrapped, b.expires_on, b.scheme
    FROM binding b JOIN card c ON c.id = b.card_id JOIN pan n ON n.id = b.pan_id JOIN person_key k ON k.person_id = c.person_id
    WHERE (c.made_at AT TIME ZONE 'UTC')::date = p_day ORDER BY c.id
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION bank_day_pans FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bank_day_pans TO cb_bank;
