-- +goose Up

-- What became of accounts on a day (UTC): cards that were made, with whether the
-- account had one before, and accounts that were taken back.
DROP FUNCTION bank_day(date);
-- +goose StatementBegin
CREATE FUNCTION bank_day(p_day date)
RETURNS TABLE (status text, token bytea, sequence smallint, last4 text, iban_sealed bytea, assignment uuid, person_id uuid, epoch text, wrapped bytea,
    expires_on date, at timestamptz, scheme text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM binding e JOIN card x ON x.id = e.card_id
               WHERE e.iban_ref = b.iban_ref AND e.card_id <> b.card_id AND x.made_at < c.made_at) THEN 'replaced' ELSE 'issued' END,
        n.token, n.sequence, n.last4, a.sealed, a.id, c.person_id, k.epoch, k.wrapped, b.expires_on, c.made_at, b.scheme
    FROM binding b JOIN card c ON c.id = b.card_id JOIN pan n ON n.id = b.pan_id
    JOIN account_assignment a ON a.order_id = c.order_id AND a.state = 'assigned' JOIN person_key k ON k.person_id = c.person_id
    WHERE (c.made_at AT TIME ZONE 'UTC')::date = p_day
    UNION ALL
    SELECT 'withdrawn', NULL, 0::smallint, '', a.sealed, a.id, o.person_id, k.epoch, k.wrapped, NULL, a.changed_at, ''
    FROM account_assignment a JOIN card_order o ON o.id = a.order_id JOIN person_key k ON k.person_id = o.person_id
    WHERE a.state = 'withdrawn' AND (a.changed_at AT TIME ZONE 'UTC')::date = p_day
    ORDER BY 6
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION bank_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bank_day TO cb_bank;
CREATE INDEX binding_iban ON binding (iban_ref);
