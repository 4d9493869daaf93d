-- What several processes on one database share, beside their leases (queries/leases.sql).

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

-- The audience of a platform that an audience has; written by whoever holds the audience, which need not be the writer of
-- resources.
CREATE TABLE IF NOT EXISTS platform_audiences
(
    audience    UInt32,
    platform_id String, -- '': it has none
    files       Bool,   -- it is made of files, for life
    version     UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY audience;

INSERT INTO platform_audiences (audience, platform_id, files, version)
SELECT number, JSONExtractString(spec, 'PlatformID') AS id, JSONExtractBool(spec, 'PlatformFiles'), version
FROM resources FINAL WHERE kind = 'audiences' AND NOT deleted AND id != '';
