-- By which request a call asked, as the caller named it.
ALTER TABLE audit ADD COLUMN IF NOT EXISTS request_id String;

-- What a person can do when a receiver takes nothing.
ALTER TABLE webhook_states ADD COLUMN IF NOT EXISTS remedy String;
