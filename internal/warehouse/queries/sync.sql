-- Target and ledger of one audience side by side, one row for each user of either: what is wanted at the platform, why a
-- member is not wanted there, and what the platform holds. Each table is narrowed to a {range} of users.
WITH permission AS
(
    -- the word on this destination outranks the one on all, and a stop outranks both
    SELECT user_id, argMax(granted, rank) AS granted, max(stop) AS stop
    FROM
    (
        SELECT user_id, granted, if(destination = '', 0, 1) AS rank, '' AS stop
        FROM consents FINAL
        WHERE purpose = {purpose:String} AND destination IN ('', {destination:String}) AND {range}
        UNION ALL
        SELECT user_id, false, 2, toString(reason)
        FROM stops FINAL
        WHERE audience IN (0, {audience:UInt32}) AND reason != '' AND (until = 0 OR until > now64(3)) AND {range}
    )
    GROUP BY user_id
)
SELECT
    user_id,
    target.member AS member,
    ledger.state IN ('sending', 'delivered', 'removing') AS may_hold,
    may_hold AND (ledger.refused OR target.member AND NOT target.granted) AS stop,
    NOT may_hold AND {elsewhere} AS elsewhere,
    if(target.granted AND NOT elsewhere, target.identifiers, []) AS wanted,
    multiIf(
        NOT target.member, '',
        NOT target.granted, if(target.stop = '', 'no_consent', target.stop),
        empty(target.identifiers), 'unidentifiable',
        elsewhere, 'held_elsewhere',
        '') AS suppressed,
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
    SELECT user_id, true AS member, permission.granted AS granted, permission.stop AS stop, profile.identifiers AS identifiers
    FROM (SELECT user_id FROM members FINAL WHERE has(segments, {segment:UInt32}) AND {range}) AS member
    LEFT JOIN permission USING (user_id)
    LEFT JOIN
    (
        SELECT user_id, arrayFilter(i -> has({schemes:Array(String)}, i.scheme), identifiers) AS identifiers
        FROM profiles FINAL
        WHERE {range}
    ) AS profile USING (user_id)
) AS target
FULL JOIN
(
    SELECT user_id, state, identifiers, reason, run, time, refusal.refused AS refused
    FROM
    (
        SELECT user_id, toString(state) AS state, identifiers, reason, run, time
        FROM deliveries FINAL
        WHERE audience = {audience:UInt32} AND {range}
    ) AS held
    LEFT JOIN (SELECT user_id, true AS refused FROM permission WHERE NOT granted) AS refusal USING (user_id)
) AS ledger USING (user_id)
