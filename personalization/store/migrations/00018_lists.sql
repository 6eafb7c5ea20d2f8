-- +goose Up

-- A list for the bank is kept as it was enciphered to it, so that the same can be
-- written again: nobody but the bank can read it.
ALTER TABLE bank_file ADD COLUMN content bytea;

-- +goose StatementBegin
CREATE FUNCTION append_bank_list(p_kind text, p_seq bigint, p_day date, p_digest bytea, p_previous bytea, p_records integer, p_totals jsonb,
    p_content bytea, p_actor uuid, p_through text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_word text := append_bank_file(p_kind, p_seq, p_day, p_digest, p_previous, p_records, p_totals, p_actor, p_through);
BEGIN
    IF v_word = 'done' THEN
        UPDATE bank_file SET content = p_content WHERE kind = p_kind AND seq = p_seq;
    END IF;
    RETURN v_word;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION bank_list(p_kind text, p_day date) RETURNS TABLE (seq bigint, records integer, totals jsonb, content bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT seq, records, totals, content FROM bank_file WHERE kind = p_kind AND day = p_day AND content IS NOT NULL ORDER BY seq DESC LIMIT 1
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION append_bank_list, bank_list FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_bank_list, bank_list TO cb_bank;
