-- +goose Up

-- A variable of type record%ROWTYPE is looked up again by its name once the table
-- was analyzed in a session's lifetime, and then the name alone means PostgreSQL's own
-- pseudo-type: the session could take no record in any more. With its schema the name
-- means the table.
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('cardbureau.take_record'::regproc), ' record%ROWTYPE', ' cardbureau.record%ROWTYPE');
END
$$;
-- +goose StatementEnd
