-- The trunk: events, users, profiles, models, members, the ledger. One statement ends with ";" at a line's end.
-- Times are UTC milliseconds; money is 1e-6 of the service's one currency.

-- The type leads the key, so a query for purchases reads purchases only (12 % of a usual history). (user_id, event_id) is
-- unique because the writer refuses a repeat; ReplacingMergeTree is the second line of defence against a repeated insert.
CREATE TABLE IF NOT EXISTS events
(
    user_id      String CODEC(ZSTD(1)),
    event_id     String CODEC(ZSTD(1)),
    type         LowCardinality(String),
    time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value_micros Int64 CODEC(ZSTD(1)),
    texts        Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    numbers      Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
    -- the order an event belongs to; an event without the property is an order of its own
    order_hash   UInt64 MATERIALIZED sipHash64(if(texts['order_id'] = '', event_id, texts['order_id']))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (type, user_id, time, event_id);

-- Everybody there is: an expression such as !did("visit", "7d") is true for users without any event, too. The writer puts
-- users here before their events and profiles, so that a crash in between never leaves an event of nobody.
CREATE TABLE IF NOT EXISTS users (user_id String CODEC(ZSTD(1)))
ENGINE = ReplacingMergeTree
ORDER BY user_id;

CREATE TABLE IF NOT EXISTS profiles
(
    user_id     String,
    version     UInt64,
    country     LowCardinality(String),
    texts       Map(LowCardinality(String), String),
    numbers     Map(LowCardinality(String), Float64),
    identifiers Array(Tuple(scheme LowCardinality(String), value String)),
    update_time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY user_id;

CREATE TABLE IF NOT EXISTS consents
(
    user_id     String,
    purpose     LowCardinality(String),
    destination LowCardinality(String), -- '' is every destination
    granted     Bool,
    time        DateTime64(3, 'UTC')     -- when the user said so: the latest word stands, in whatever order words arrive
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (user_id, purpose, destination);

-- One partition a version: dropped whole, and invisible until models.version points at it.
CREATE TABLE IF NOT EXISTS scores
(
    model           UInt32,
    version         UInt32,
    user_id         String CODEC(ZSTD(1)),
    r               UInt8,
    f               UInt8,
    m               UInt8,
    segment         LowCardinality(String),
    recency_days    Int32,
    frequency       UInt32,
    monetary_micros Int64,
    label           UInt16,
    distance        Float32
)
ENGINE = MergeTree
PARTITION BY (model, version)
ORDER BY user_id;

CREATE TABLE IF NOT EXISTS model_versions
(
    model      UInt32,
    version    UInt32,
    train_time DateTime64(3, 'UTC'),
    as_of      DateTime64(3, 'UTC'),
    run        String,
    users      Int64,
    fitted     String -- JSON of cut points or centroids
)
ENGINE = ReplacingMergeTree
ORDER BY (model, version);

-- The log of membership: one row is one user's step to a new membership, with the whole membership after it, so that
-- both projections (members here, Redis) are written from the log alone, in any state they may be in.
CREATE TABLE IF NOT EXISTS membership_changes
(
    version  UInt64,
    user_id  String,
    segments Array(UInt32), -- after the change, ascending
    entered  Array(UInt32),
    left     Array(UInt32),
    time     DateTime64(3, 'UTC'),
    cause    LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (version, user_id);

CREATE TABLE IF NOT EXISTS members
(
    user_id  String,
    segments Array(UInt32),
    version  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY user_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS members_of_changes TO members AS SELECT user_id, segments, version FROM membership_changes;

-- The ledger: what each platform holds or may hold of whom. The newest row of (audience, user_id) stands. The key repeats
-- the audience because FINAL compares keys across partitions: without it one ledger would hide another's rows.
CREATE TABLE IF NOT EXISTS deliveries
(
    audience    UInt32,
    user_id     String,
    state       Enum8('sending' = 1, 'delivered' = 2, 'removing' = 3, 'removed' = 4, 'rejected' = 5),
    identifiers Array(Tuple(scheme LowCardinality(String), value String)), -- exactly what was sent
    reason      LowCardinality(String),
    run         String,
    time        DateTime64(3, 'UTC'),
    version     UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY audience
ORDER BY (audience, user_id);

-- Small: segments, models, destinations, audiences as JSON documents; runs; remembered answers.
CREATE TABLE IF NOT EXISTS resources
(
    kind        LowCardinality(String),
    id          String,
    number      UInt32,
    version     UInt64,
    deleted     Bool,
    spec        String,
    create_time DateTime64(3, 'UTC'),
    update_time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, id, number);

CREATE TABLE IF NOT EXISTS runs
(
    id          String,
    version     UInt64,
    kind        LowCardinality(String),
    subject     String,
    state       LowCardinality(String),
    stage       String,
    done_units  Int64,
    total_units Int64,
    counts      Map(String, Int64),
    notes       Array(String),
    error       String,
    create_time DateTime64(3, 'UTC'),
    end_time    DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id;

CREATE TABLE IF NOT EXISTS answers
(
    call       LowCardinality(String),
    request_id String,
    answer     String, -- the serialised response
    time       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (call, request_id)
TTL toDateTime(time) + INTERVAL 1 DAY;
