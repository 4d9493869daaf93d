-- Users who must leave platforms at once, and stay away; the newest row of (user, audience) stands.
CREATE TABLE IF NOT EXISTS stops
(
    user_id  String,
    audience UInt32,                 -- 0 is every audience
    reason   LowCardinality(String), -- '' lifts the stop
    until    DateTime64(3, 'UTC'),   -- 0 is without end
    time     DateTime64(3, 'UTC'),
    version  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (user_id, audience);

-- The newest plan of an audience that waits, or waited, for a person.
CREATE TABLE IF NOT EXISTS held_plans
(
    audience UInt32,
    run      String,
    state    LowCardinality(String),
    plan     String, -- JSON
    time     DateTime64(3, 'UTC'),
    expires  DateTime64(3, 'UTC'),
    version  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY audience;

-- What syncs went by that were not held: a plan is compared with those of the weeks before.
CREATE TABLE IF NOT EXISTS sync_records
(
    audience       UInt32,
    time           DateTime64(3, 'UTC'),
    run            String,
    expression     String,
    members        Int64,
    unidentifiable Int64,
    evaluated      DateTime64(3, 'UTC'),
    newest         DateTime64(3, 'UTC'),
    events         Int64,
    distinct       Int64,
    users          Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (audience, time)
TTL toDateTime(time) + INTERVAL 400 DAY;
