-- Target and ledger of one audience side by side, one row for each user of either: what is wanted at the platform, why a
-- member is not wanted there, and what the platform holds. The joins merge sides sorted by user.
SELECT
    user_id,
    target.member AS member,
    if(target.granted, target.identifiers, []) AS wanted,
    multiIf(NOT target.member, '', NOT target.granted, 'no_consent', empty(target.identifiers), 'unidentifiable', '') AS suppressed,
    ledger.state AS state,
    ledger.identifiers AS held,
    ledger.reason AS reason,
    ledger.run AS run,
    ledger.time AS time,
    multiIf(
        state = 'delivered', notEmpty(wanted) AND wanted = held,
        state = 'rejected', suppressed = '' AND (empty(wanted) OR wanted = held),
        state IN ('', 'removed'), empty(wanted) AND suppressed = '',
        false -- sending, removing: the platform may or may not hold the user
    ) AS agree
FROM
(
    SELECT user_id, true AS member, consent.granted AS granted, profile.identifiers AS identifiers
    FROM (SELECT user_id FROM members FINAL WHERE has(segments, {segment:UInt32})) AS member
    LEFT JOIN
    (
        -- the word on this destination outranks the one on all
        SELECT user_id, argMax(granted, destination != '') AS granted
        FROM consents FINAL
        WHERE purpose = {purpose:String} AND destination IN ('', {destination:String})
        GROUP BY user_id
    ) AS consent USING (user_id)
    LEFT JOIN
    (
        SELECT user_id, arrayFilter(i -> has({schemes:Array(String)}, i.scheme), identifiers) AS identifiers
        FROM profiles FINAL
    ) AS profile USING (user_id)
) AS target
FULL JOIN
(
    SELECT user_id, toString(state) AS state, identifiers, reason, run, time
    FROM deliveries FINAL
    WHERE audience = {audience:UInt32}
) AS ledger USING (user_id)
