-- Who has a name, and had it before; the newest fence of a name has it. A claim is a row that says whom it succeeds, and of
-- several with one predecessor only the first is kept: its INSERT bears the predecessor as deduplication token. These tables
-- are there before all others, for only one process may bring the schema up to date.
CREATE TABLE IF NOT EXISTS leases
(
    name   String,
    fence  UInt64,                                -- rises from holder to holder; begins the versions of what is written under it
    holder String,
    time   DateTime64(3, 'UTC') DEFAULT now64(3)  -- by ClickHouse's clock, as are all times of leases
)
ENGINE = ReplacingMergeTree(fence)
ORDER BY name
SETTINGS non_replicated_deduplication_window = 10000;

-- The last sign of life of a holder.
CREATE TABLE IF NOT EXISTS lease_beats
(
    name     String,
    fence    UInt64,
    released Bool,
    time     DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (name, fence)
TTL toDateTime(time) + INTERVAL 1 DAY;
