-- Target and ledger of one audience side by side, one row for each user of either: what is wanted at the platform, why a
-- member is not wanted there, and what the platform holds. Each table is narrowed to a {range} of users. Of a value-based audience
-- {valued} says whether a user has a {value}; in others everybody has one, 0.
SELECT
    user_id,
    either.member AS member,
    either.state AS state,
    either.identifiers AS held,
    either.sent AS sent,
    either.reason AS reason,
    either.run AS run,
    either.time AS time,
    state IN ('sending', 'delivered', 'removing') AS may_hold,
    may_hold AND if(member, NOT permission.granted, permission.refused) AS stop,
    NOT may_hold AND {elsewhere} AS elsewhere,
    if(member AND permission.granted AND NOT elsewhere AND {valued}, profile.identifiers, []) AS wanted,
    if(notEmpty(wanted), {value}, toFloat64(0)) AS value,
    multiIf(
        NOT member, '',
        NOT permission.granted, if(permission.stop = '', 'no_consent', permission.stop),
        empty(profile.identifiers), 'unidentifiable',
        NOT {valued}, 'no_value',
        elsewhere, 'held_elsewhere',
        '') AS suppressed,
    notEmpty(wanted) AND wanted = held AND abs(value - sent) > {tolerance:Float64} * sent AS moved,
    multiIf(
        state = 'delivered', notEmpty(wanted) AND wanted = held AND NOT moved,
        state = 'rejected', suppressed = '' AND (empty(wanted) OR wanted = held),
        state IN ('', 'removed'), empty(wanted) AND suppressed = '',
        false -- sending, removing: the platform may or may not hold the user
    ) AS agree
FROM
(
    SELECT user_id, target.member AS member, ledger.state AS state, ledger.identifiers AS identifiers, ledger.value AS sent,
        ledger.reason AS reason, ledger.run AS run, ledger.time AS time
    FROM (SELECT user_id, true AS member FROM members FINAL WHERE has(segments, {segment:UInt32}) AND {range}) AS target
    FULL JOIN
    (
        SELECT user_id, toString(state) AS state, identifiers, value, reason, run, time
        FROM deliveries FINAL
        WHERE audience = {audience:UInt32} AND {range}
    ) AS ledger USING (user_id)
) AS either
LEFT JOIN
(
    -- the word on this destination outranks the one on all, and a stop outranks both
    SELECT user_id, argMax(granted, rank) AS granted, NOT granted AS refused, max(stop) AS stop
    FROM
    (
        SELECT user_id, granted, if(destination = '', 0, 1) AS rank, '' AS stop
        FROM consents FINAL
        WHERE purpose = {purpose:String} AND destination IN ('', {destination:String}) AND {range}
        UNION ALL
        SELECT user_id, false, 2, toString(reason)
        FROM stops FINAL
        WHERE audience IN (0, {audience:UInt32}) AND reason != '' AND (until = 0 OR until > {at:DateTime64(3)}) AND {range}
        UNION ALL
        -- a person's word that the user is out of the segment is a stop, too
        SELECT user_id, false, 2, 'moved_out'
        FROM pins FINAL
        WHERE segment = {segment:UInt32} AND held = -1 AND (expires = 0 OR expires > {at:DateTime64(3)}) AND {range}
    )
    GROUP BY user_id
) AS permission USING (user_id)
LEFT JOIN
(
    SELECT user_id, arrayFilter(i -> has({schemes:Array(String)}, i.scheme), identifiers) AS identifiers
    FROM profiles FINAL
    WHERE {range}
) AS profile USING (user_id)
{worth}
