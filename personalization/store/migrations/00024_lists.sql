-- +goose Up

-- A list for the bank is kept as long as it may be asked for again, 30 days, and not
-- for ever: its line in the chain stays.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION append_bank_list(p_kind text, p_seq bigint, p_day date, p_digest bytea, p_previous bytea, p_records integer, p_totals jsonb,
    p_content bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_word text := append_bank_file(p_kind, p_seq, p_day, p_digest, p_previous, p_records, p_totals, p_actor, p_through);
BEGIN
    IF v_word = 'done' THEN
        UPDATE bank_file SET content = p_content WHERE kind = p_kind AND seq = p_seq;
        UPDATE bank_file SET content = NULL WHERE kind = p_kind AND content IS NOT NULL AND made_at < now() - interval '30 days';
    END IF;
    RETURN v_word;
END
$$;
-- +goose StatementEnd
