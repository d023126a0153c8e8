CREATE TABLE IF NOT EXISTS {{database}}.audit_seals{{suffix}}{{on_cluster}}
(
    FormatVersion UInt16 COMMENT 'Version of the seal format' CODEC(ZSTD(1)),
    RowFormat UInt16 COMMENT 'Row format of the sealed rows' CODEC(ZSTD(1)),
    StreamId UUID COMMENT 'Stream of the sealed rows' CODEC(ZSTD(1)),
    Segment UInt64 COMMENT 'Number of the segment in its stream' CODEC(Delta(8), ZSTD(1)),
    FirstSequence UInt64 COMMENT 'Sequence of the first sealed row' CODEC(Delta(8), ZSTD(1)),
    Count UInt64 COMMENT 'Sealed rows; 0 for a heartbeat' CODEC(T64, ZSTD(1)),
    Partition String COMMENT 'Partition of the sealed rows, YYYYMM' CODEC(ZSTD(1)),
    MinTime DateTime64(9) COMMENT 'Earliest ReceivedAt of the sealed rows' CODEC(Delta(8), ZSTD(1)),
    MaxTime DateTime64(9) COMMENT 'Latest ReceivedAt of the sealed rows' CODEC(Delta(8), ZSTD(1)),
    SealedAt DateTime64(9) COMMENT 'When the segment was sealed' CODEC(Delta(8), ZSTD(1)),
    ConfirmedThrough UInt64 COMMENT 'Highest sequence of the stream known to be in audit_events' CODEC(Delta(8), ZSTD(1)),
    MerkleRoot FixedString(32) COMMENT 'Root of the Merkle tree over the row hashes' CODEC(NONE),
    SegmentHash FixedString(32) COMMENT 'SHA-256 of the bytes of the rows' CODEC(NONE),
    PreviousSealHash FixedString(32) COMMENT 'SHA-256 of the seal before this one in the stream' CODEC(NONE),
    LinkedStreamId UUID COMMENT 'Stream that this data directory had before; set in a stream''s first seal only' CODEC(ZSTD(1)),
    LinkedHead FixedString(32) COMMENT 'Hash of the last seal of the linked stream' CODEC(ZSTD(1)),
    KeyId String COMMENT 'Fingerprint of the public key' CODEC(ZSTD(1)),
    Signature FixedString(64) COMMENT 'Ed25519 over the bytes in Seal' CODEC(NONE),
    Seal String COMMENT 'The signed bytes' CODEC(ZSTD(1))
) ENGINE = {{engine}}
PARTITION BY toYYYYMM(SealedAt, 'UTC')
ORDER BY (StreamId, Segment)
SETTINGS
    index_granularity = 8192,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    {{deduplication_window}} = 10000
COMMENT 'Seals over the segments of audit_events'
