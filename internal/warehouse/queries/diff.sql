-- Users whose computed membership is not the one on record. The query yields user_id and segments of everybody; who is missing
-- on a side holds nothing there. Both sides come sorted, so the join holds neither in memory.
SELECT user_id, computed.segments, recorded.segments
FROM ({query}) AS computed
FULL JOIN (SELECT user_id, segments FROM members FINAL) AS recorded USING (user_id)
WHERE computed.segments != recorded.segments
ORDER BY user_id
SETTINGS join_algorithm = 'full_sorting_merge'
