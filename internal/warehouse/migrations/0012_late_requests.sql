-- A process that dies or is paused may leave a request to a platform under way. Whom it may concern is in doubt until no such
-- request can be carried out any more, and is settled then: when a doubt is due by ClickHouse's clock; 1970 is at once. Its
-- state is that of the intent in the ledger; '' is not known.
ALTER TABLE doubts ADD COLUMN IF NOT EXISTS due DateTime;

ALTER TABLE doubts ADD COLUMN IF NOT EXISTS state LowCardinality(String);
