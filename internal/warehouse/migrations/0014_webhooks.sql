-- By which request a call asked, as the caller named it.
ALTER TABLE audit ADD COLUMN IF NOT EXISTS request_id String;
