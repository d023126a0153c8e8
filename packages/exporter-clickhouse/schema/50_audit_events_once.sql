CREATE OR REPLACE VIEW {{database}}.audit_events_once{{on_cluster}}
AS
-- Every record once: the first copy of each (Principal, RecordId). Repeated keys are few, so they are found by a 64-bit
-- hash and only those are compared in full; the rest of the table is read as if the view were not there.
SELECT *, EffectiveDecision, Blocked, Violation, AllAttributes
FROM {{database}}.audit_events
WHERE (StreamId, Sequence) {{global}}NOT IN (
    SELECT StreamId, Sequence
    FROM (
        SELECT
            StreamId,
            Sequence,
            row_number() OVER (PARTITION BY Principal, RecordId ORDER BY ReceivedAt, StreamId, Sequence) AS copy
        FROM {{database}}.audit_events
        WHERE sipHash64(Principal, RecordId) {{global}}IN (
            SELECT sipHash64(Principal, RecordId) AS key
            FROM {{database}}.audit_events
            GROUP BY key
            HAVING count() > 1
        )
    )
    WHERE copy > 1
)
COMMENT 'audit_events with every record once: count with this view'
