CREATE OR REPLACE VIEW {{database}}.audit_events_once{{on_cluster}}
AS
-- Every record once: the first copy of each (Principal, RecordId, ContentHash). The content belongs to the key: whoever
-- claims an id first must not hide another's record from those who count. Repeated keys are few, so they are found by a 64-bit
-- hash, and only they are sorted; the rest of the table is read as if the view were not there.
--
-- An intent whose process was taken for dead has the outcome unknown; when the process did finish, a later record supersedes it.
-- It counts only from who made the intent (same principal, producer, actor and span) and for the same action (start, event,
-- action and targets): it may say how that ended, and nothing else. Nothing but an unknown outcome gives way.
WITH
    superseded AS (
        SELECT sipHash64(Principal, RecordId, ContentHash) AS key
        FROM {{database}}.audit_events
        PREWHERE Outcome = 'unknown'
        WHERE sipHash64(
            RecordId, Principal, ResourceAttributes['audit.producer.id'], ActorId, TraceId, SpanId,
            Timestamp, EventName, Action, TargetId, ReadTargets, WriteTargets
        ) {{global}}IN (
            SELECT sipHash64(
                SpanAttributes['audit.record.supersedes'], Principal, ResourceAttributes['audit.producer.id'], ActorId, TraceId, SpanId,
                Timestamp, EventName, Action, TargetId, ReadTargets, WriteTargets
            )
            FROM {{database}}.audit_events
            PREWHERE mapContains(SpanAttributes, 'audit.record.supersedes')
            WHERE Outcome != 'unknown' AND ResourceAttributes['audit.producer.id'] != ''
        )
    ),
    repeated AS (
        SELECT sipHash64(Principal, RecordId, ContentHash) AS key
        FROM {{database}}.audit_events
        GROUP BY key
        HAVING count() > 1
    )
SELECT *, EffectiveDecision, Blocked, Violation, AllAttributes
FROM {{database}}.audit_events
WHERE sipHash64(Principal, RecordId, ContentHash) {{global}}NOT IN (
    SELECT key FROM repeated
    UNION ALL
    SELECT key FROM superseded
)
UNION ALL
SELECT *
FROM (
    SELECT *, EffectiveDecision, Blocked, Violation, AllAttributes
    FROM {{database}}.audit_events
    WHERE sipHash64(Principal, RecordId, ContentHash) {{global}}IN (SELECT key FROM repeated)
        AND sipHash64(Principal, RecordId, ContentHash) {{global}}NOT IN (SELECT key FROM superseded)
    ORDER BY ReceivedAt, StreamId, Sequence
    LIMIT 1 BY Principal, RecordId, ContentHash
)
COMMENT 'audit_events with every record once: count with this view'
