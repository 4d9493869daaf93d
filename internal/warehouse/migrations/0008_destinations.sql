-- How destinations are; the newest row of one stands.
CREATE TABLE IF NOT EXISTS destination_healths
(
    destination String,
    health      String, -- JSON
    version     UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY destination;
