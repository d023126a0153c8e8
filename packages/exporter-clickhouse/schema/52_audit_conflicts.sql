CREATE OR REPLACE VIEW {{database}}.audit_conflicts{{on_cluster}}
AS
SELECT
    Principal,
    RecordId,
    uniqExact(ContentHash) AS Contents,
    arraySort(groupArray((ReceivedAt, StreamId, Sequence, hex(ContentHash), ActorId, Action, TargetId, Outcome))) AS Versions
FROM {{database}}.audit_events
WHERE sipHash64(Principal, RecordId) {{global}}IN (
    SELECT sipHash64(Principal, RecordId) AS key
    FROM {{database}}.audit_events
    GROUP BY key
    HAVING count() > 1
)
GROUP BY Principal, RecordId
HAVING Contents > 1
COMMENT 'Record ids that came with different contents'
