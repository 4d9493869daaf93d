-- How far the receiver of each webhook has been told; the newest row stands.
CREATE TABLE IF NOT EXISTS webhook_states
(
    webhook   UInt32,
    cursor    String,
    delivered DateTime64(3, 'UTC'),
    failed    DateTime64(3, 'UTC'),
    error     String,
    attempts  UInt32,
    version   UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY webhook;

-- Changes that a receiver did not accept, in the order of the log. One that dies again replaces itself.
CREATE TABLE IF NOT EXISTS dead_letters
(
    webhook UInt32,
    version UInt64, -- of the log
    user_id String,
    id      String,
    change  String, -- JSON, as it was sent
    reason  String,
    time    DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (webhook, version, user_id);
