-- +goose Up

-- Roles reach the tables through functions alone, each through its own.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cardbureau FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA cardbureau REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA cardbureau TO cb_intake, cb_line, cb_desk, cb_bank, cb_audit, cb_auditor;

GRANT EXECUTE ON FUNCTION actor_id, audit_append TO cb_intake, cb_line, cb_desk, cb_bank, cb_audit;

GRANT EXECUTE ON FUNCTION person_keys, accept_record, order_view, authenticate_api_key TO cb_intake;

GRANT EXECUTE ON FUNCTION preparation, save_image, fail_preparation, rescue_jobs, order_view, order_counts,
    blank_view, note_failed_key, station_class, session_dead, abandon_session, running_sessions,
    claim_order, resume_blank, claim_view, attempt_steps, journal_steps, finish_attempt, doubts TO cb_line;
GRANT SELECT, INSERT, UPDATE, DELETE ON river_job, river_leader, river_queue, river_notification, river_migration TO cb_line;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA cardbureau TO cb_line;
GRANT EXECUTE ON FUNCTION river_job_state_in_bitmask TO cb_line;
GRANT INSERT, SELECT, UPDATE ON station_session TO cb_line;

GRANT EXECUTE ON FUNCTION order_view, order_counts, orders_in, release_lot, withdraw_order, decide_order, import_blanks,
    blank_view, move_blank, blank_counts, shift_counts, open_shift, close_shift, find_card, settle_doubt, doubts,
    create_api_key, revoke_api_key TO cb_desk;
GRANT SELECT ON shift TO cb_desk;

GRANT SELECT ON audit, audit_link, audit_head, approval, blank_move, shift TO cb_auditor;
GRANT EXECUTE ON FUNCTION order_counts, blank_counts, doubts TO cb_auditor;
GRANT SELECT ON goose_db_version TO cb_intake, cb_line, cb_desk, cb_bank, cb_audit, cb_auditor;
