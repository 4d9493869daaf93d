-- What several processes on one database share: leases, and which process and which occasion a run is of.

-- Who has a name, and had it before; the newest fence of a name has it. A claim is a row that says whom it succeeds, and of
-- several with one predecessor only the first is kept: its INSERT bears the predecessor as deduplication token.
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

-- The fences of audiences go on above the versions their ledgers have.
INSERT INTO leases (name, fence, holder) SELECT concat('audience/', toString(audience)), max(version), '' FROM deliveries GROUP BY audience;

-- Whom requests concerned during which their lease ended, until a later holder has made it good.
CREATE TABLE IF NOT EXISTS doubts
(
    audience    UInt32,
    user_id     String,
    version     UInt64, -- of the lease that ended
    identifiers Array(Tuple(scheme LowCardinality(String), value String)), -- exactly what was sent
    run         String,
    time        DateTime64(3, 'UTC'),
    settled     Bool,
    written     DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(settled)
ORDER BY (audience, user_id, version)
TTL written + INTERVAL 30 DAY DELETE WHERE settled;

ALTER TABLE runs ADD COLUMN IF NOT EXISTS occasion LowCardinality(String);

ALTER TABLE runs ADD COLUMN IF NOT EXISTS due DateTime64(3, 'UTC');

ALTER TABLE runs ADD COLUMN IF NOT EXISTS resumes String;

ALTER TABLE runs ADD COLUMN IF NOT EXISTS holder String;

-- Runs that one process has ordered another to stop.
CREATE TABLE IF NOT EXISTS run_cancels (id String, time DateTime DEFAULT now())
ENGINE = MergeTree
ORDER BY id
TTL time + INTERVAL 1 DAY;
