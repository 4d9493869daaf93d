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
