-- What segments' definitions were before they were changed. The newest definition of a segment is in resources.
CREATE TABLE IF NOT EXISTS segment_versions
(
    segment     UInt32,
    version     UInt32,
    definition  String, -- JSON
    define_time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (segment, version);

-- Which definitions readers saw from a version of the log on: one row is the whole of them, so that they change at once.
CREATE TABLE IF NOT EXISTS editions
(
    version     UInt64,
    time        DateTime64(3, 'UTC'),
    cause       String,
    definitions String -- JSON
)
ENGINE = ReplacingMergeTree
ORDER BY version;
