-- Erasing users: rows of one are deleted from every table that has a user_id, which tables with projections allow only when told to.
ALTER TABLE membership_changes MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';

-- Makes tombstones of this database unlike those of any other; the least one counts.
CREATE TABLE IF NOT EXISTS erasure_salts (salt String) ENGINE = MergeTree ORDER BY salt;

INSERT INTO erasure_salts SELECT lower(hex(randomString(16)));

-- Who is to be forgotten, and was. While an erasure is pending the row names the user; then only the tombstone is left.
CREATE TABLE IF NOT EXISTS erasures
(
    tombstone   FixedString(32), -- SHA-256 of salt and user id
    user_id     String,
    identifiers Array(Tuple(scheme LowCardinality(String), value String)),
    state       LowCardinality(String),
    time        DateTime64(3, 'UTC'),
    version     UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY tombstone;

-- Who did what.
CREATE TABLE IF NOT EXISTS audit
(
    id       String,
    time     DateTime64(3, 'UTC'),
    actor    LowCardinality(String),
    call     LowCardinality(String),
    resource String,
    run      String
)
ENGINE = MergeTree
ORDER BY id;
