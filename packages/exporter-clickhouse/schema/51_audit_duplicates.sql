CREATE OR REPLACE VIEW {{database}}.audit_duplicates{{on_cluster}}
AS
SELECT
    Principal,
    RecordId,
    count() AS Copies,
    uniqExact(ContentHash) AS Contents,
    min(ReceivedAt) AS FirstReceivedAt,
    max(ReceivedAt) AS LastReceivedAt,
    arraySort(groupArray((ReceivedAt, StreamId, Sequence))) AS Rows
FROM {{database}}.audit_events
WHERE sipHash64(Principal, RecordId) {{global}}IN (
    SELECT sipHash64(Principal, RecordId) AS key
    FROM {{database}}.audit_events
    GROUP BY key
    HAVING count() > 1
)
GROUP BY Principal, RecordId
HAVING Copies > 1
COMMENT 'Records that stand in audit_events more than once'
