-- What membership is computed from, over the seven days before {at}. Events that differ in nothing but their id are one
-- distinct event: an import done twice under other ids halves distinct / events.
SELECT
    greatest(
        (SELECT max(end_time) FROM runs FINAL WHERE kind = 'evaluate' AND state = 'succeeded'),
        (SELECT max(time) FROM membership_changes WHERE time > {at:DateTime64(3)} - INTERVAL 60 DAY)
    ) AS evaluated,
    -- relative to {at}: a digest keeps 32-bit floats
    if(count() = 0, toDateTime64(0, 3, 'UTC'),
        toTimeZone({at:DateTime64(3)} - toIntervalMillisecond(toInt64(quantileTDigest(0.001)(dateDiff('millisecond', time, {at:DateTime64(3)})))), 'UTC')) AS newest,
    toInt64(count()) AS events,
    toInt64(uniq(cityHash64(user_id, type, time, value_micros))) AS distinct_events,
    toInt64(uniq(user_id)) AS users
FROM events
WHERE time > {at:DateTime64(3)} - INTERVAL 7 DAY
