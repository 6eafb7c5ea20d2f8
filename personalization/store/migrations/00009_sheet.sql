-- +goose Up

-- What a schema grants by default can only be added to, not taken away from,
-- schema by schema: this is for whatever the owner makes from now on.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The attempts that began in a shift, by reader and by how they had ended when
-- it closed (p_end; null: now). One that was resumed counts as the one that
-- resumed it, one that two people gave up as what they made of it.
-- +goose StatementBegin
CREATE FUNCTION shift_readers(p_begin timestamptz, p_end timestamptz)
RETURNS TABLE (reader text, station text, attempts bigint, issued bigint, clean bigint, spoiled bigint, quarantined bigint,
    in_doubt bigint, running bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    WITH seen AS (
        SELECT a.reader, a.session_id,
            CASE WHEN a.settled_at <= coalesce(p_end, 'infinity') THEN a.settled END AS settled,
            CASE WHEN a.finished_at <= coalesce(p_end, 'infinity') THEN a.outcome END AS outcome
        FROM attempt a WHERE a.started_at >= p_begin AND a.started_at <= coalesce(p_end, 'infinity')
    ), ended AS (
        SELECT n.reader, n.session_id, coalesce(n.settled, n.outcome) AS how FROM seen n WHERE n.settled IS DISTINCT FROM 'resumed'
    )
    SELECT e.reader, s.station, count(*),
        count(*) FILTER (WHERE how = 'issued'), count(*) FILTER (WHERE how = 'clean'), count(*) FILTER (WHERE how = 'spoiled'),
        count(*) FILTER (WHERE how = 'quarantined'), count(*) FILTER (WHERE how = 'in-doubt'), count(*) FILTER (WHERE how IS NULL)
    FROM ended e JOIN station_session s ON s.id = e.session_id
    GROUP BY e.reader, s.station ORDER BY s.station, e.reader
$$;
-- +goose StatementEnd

-- The attempts of which nobody knew at that time how they ended.
-- +goose StatementBegin
CREATE FUNCTION shift_doubts(p_end timestamptz)
RETURNS TABLE (attempt_id uuid, card_number text, serial text, reader text, started_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
    SELECT a.id, i.card_number, b.serial, a.reader, a.started_at
    FROM attempt a JOIN image i ON i.id = a.image_id JOIN blank b ON b.id = a.blank_id
    WHERE a.outcome = 'in-doubt' AND a.finished_at <= coalesce(p_end, 'infinity')
      AND (a.settled_at IS NULL OR a.settled_at > p_end)
    ORDER BY a.started_at
$$;
-- +goose StatementEnd

-- Sheets look at the attempts of a time, and doubts are few among many.
CREATE INDEX attempt_started ON attempt (started_at);
CREATE INDEX attempt_doubt ON attempt (finished_at) WHERE outcome = 'in-doubt';

REVOKE EXECUTE ON FUNCTION shift_readers, shift_doubts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shift_readers, shift_doubts TO cb_desk;
