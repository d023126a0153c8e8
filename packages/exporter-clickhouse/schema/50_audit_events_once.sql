CREATE OR REPLACE VIEW {{database}}.audit_events_once{{on_cluster}}
AS
-- Every record once: the first copy of each (Principal, RecordId, ContentHash). The content belongs to the key: whoever
-- claims an id first must not hide another's record from those who count. Repeated keys are few, so they are found by a 64-bit
-- hash, and only they are sorted; the rest of the table is read as if the view were not there.
SELECT *, EffectiveDecision, Blocked, Violation, AllAttributes
FROM {{database}}.audit_events
WHERE sipHash64(Principal, RecordId, ContentHash) {{global}}NOT IN (
    SELECT sipHash64(Principal, RecordId, ContentHash) AS key
    FROM {{database}}.audit_events
    GROUP BY key
    HAVING count() > 1
)
UNION ALL
SELECT *
FROM (
    SELECT *, EffectiveDecision, Blocked, Violation, AllAttributes
    FROM {{database}}.audit_events
    WHERE sipHash64(Principal, RecordId, ContentHash) {{global}}IN (
        SELECT sipHash64(Principal, RecordId, ContentHash) AS key
        FROM {{database}}.audit_events
        GROUP BY key
        HAVING count() > 1
    )
    ORDER BY ReceivedAt, StreamId, Sequence
    LIMIT 1 BY Principal, RecordId, ContentHash
)
COMMENT 'audit_events with every record once: count with this view'
