-- What was sent of a user beside the identifiers to a value-based audience; 0 in others.
ALTER TABLE deliveries ADD COLUMN IF NOT EXISTS value Float64 AFTER identifiers
