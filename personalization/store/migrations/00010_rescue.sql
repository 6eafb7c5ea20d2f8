-- +goose Up

-- Preparation that failed too often is begun anew with the next process: its
-- order waits for nothing else, and what was wrong (a token, a profile) may be
-- mended. Jobs that dead processes had taken are freed as before.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION rescue_jobs() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
DECLARE
    v_count  integer;
    v_total  integer := 0;
    v_client text;
BEGIN
    FOR v_client IN
        SELECT DISTINCT attempted_by[array_length(attempted_by, 1)] FROM river_job WHERE state = 'running'
    LOOP
        CONTINUE WHEN v_client !~ '^session-[0-9]{1,9}$';
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(station_class(), substr(v_client, 9)::integer);
        UPDATE river_job SET state = 'available', scheduled_at = now(), attempt = greatest(attempt - 1, 0)
        WHERE state = 'running' AND attempted_by[array_length(attempted_by, 1)] = v_client;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_total := v_total + v_count;
    END LOOP;
    UPDATE river_job j SET state = 'available', scheduled_at = now(), finalized_at = NULL, attempt = 0
    FROM card_order o
    WHERE j.state = 'discarded' AND j.kind = 'prepare-image'
      AND o.id = (j.args->>'order')::uuid AND o.generation = (j.args->>'generation')::integer AND o.state = 'accepted';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_total := v_total + v_count;
    IF v_total > 0 THEN
        PERFORM pg_notify('cardbureau.river_insert', '{"queue":"default"}');
    END IF;
    RETURN v_total;
END
$$;
-- +goose StatementEnd
