-- +goose Up

-- A PIN whose card is revoked is printed no more: it is gone, also from a batch that
-- was opened before.
-- +goose StatementBegin
CREATE FUNCTION forget_mailer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = cardbureau, pg_temp AS $$
BEGIN
    UPDATE pin_mailer SET sealed = NULL WHERE image_id = NEW.image_id;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION forget_mailer FROM PUBLIC;
CREATE TRIGGER card_revoked AFTER UPDATE OF state ON card FOR EACH ROW WHEN (NEW.state = 'revoked') EXECUTE FUNCTION forget_mailer();
UPDATE pin_mailer m SET sealed = NULL FROM card c WHERE c.image_id = m.image_id AND c.state = 'revoked';
