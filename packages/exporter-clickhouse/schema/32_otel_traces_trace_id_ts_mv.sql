CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.otel_traces_trace_id_ts_mv{{on_cluster}}
TO {{database}}.otel_traces_trace_id_ts{{suffix}}
AS SELECT
    TraceId,
    min(Timestamp) as Start,
    max(Timestamp) as End
FROM {{database}}.otel_traces{{suffix}}
WHERE TraceId != ''
GROUP BY TraceId
