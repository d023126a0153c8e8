import type { AuditAction, AuditActorType, AuditTargetType } from "@otel-audit/semantic-conventions";
import type { FileIo } from "./io.ts";

/** What the collector knows about a request, beside its bytes. */
export interface CollectorFacts {
  /** `asserted` becomes `unattributed` by itself for a span without `audit.actor.id`. */
  readonly provenance: "asserted" | "verified" | "unattributed";
  /** Who the credential belongs to; empty without a credential. At most 256 bytes. */
  readonly principal: string;
  /** Empty where there are no tenants. At most 256 bytes. */
  readonly tenantId: string;
  /** The collector's own policy. Undefined, or a result of undefined: the collector has no verdict. If it throws, the verdict is deny by `policy_error`. */
  readonly judge?: (event: JudgedEvent) => CollectorVerdict | undefined;
  /** Whether the sender may say that this actor did this. Undefined: `provenance` holds for every record. If it throws, the span is rejected. */
  readonly identify?: (identity: AssertedIdentity) => IdentityAnswer;
  /** Forced on every row; otherwise the producer's `effect` or `reported`, by default `reported`. */
  readonly origin?: "classified";
}

/** What a record says of who acted, in the very text that is stored; empty where it says nothing. */
export interface AssertedIdentity {
  readonly event: string;
  readonly actorId: string;
  readonly actorType: string;
  readonly onBehalfOf: string;
}

export interface IdentityAnswer {
  /** `verified` becomes `asserted` for an actor that the record itself calls a claim of another process. */
  readonly provenance: "asserted" | "verified";
  /** The span is rejected for this reason. */
  readonly refused?: string;
  /** It is the same for every record with this event, actor id and actor type, and asking has no other effect. */
  readonly remember: boolean;
}

/**
 * What a policy is asked, with the same field names as its `PolicyAction`, and made from the very text that is stored.
 * A producer may send any text where the vocabulary has a fixed list: it stands here as it came.
 */
export interface JudgedEvent {
  readonly event: string;
  readonly action: AuditAction;
  readonly targets: readonly { type: AuditTargetType; id: string; access?: "read" | "write"; recursive?: boolean }[];
  readonly actorId: string;
  readonly actorType: AuditActorType;
  readonly actorChain?: readonly string[];
  readonly onBehalfOf?: string;
  readonly workflow?: string;
  readonly tool?: string;
}

export interface CollectorVerdict {
  readonly decision: string;
  readonly policyId: string;
  readonly policyVersion: string;
  readonly ruleId: string;
  readonly reason: string;
}

export interface AppendResult {
  /** Rows stored, conflicts included. */
  readonly accepted: number;
  /** Records that were stored before with the same content: acknowledged, no row. */
  readonly duplicates: number;
  /** Rows stored with `RowFlag.Conflict`. */
  readonly conflicts: number;
  /** Spans that cannot become a row, by their index in the request. Never worth a retry. */
  readonly rejected: readonly { readonly span: number; readonly reason: string }[];
}

/** A finished segment file: one insert block, one partition, one hash. */
export interface ClosedSegment {
  readonly path: string;
  /** UUID text. */
  readonly streamId: string;
  /** Rises within a stream; not always by one. */
  readonly number: number;
  readonly firstSequence: bigint;
  /** Rows; their sequences are `firstSequence` to `firstSequence + count - 1`. */
  readonly count: number;
  /** `YYYYMM` of ReceivedAt, UTC; the same for every row. */
  readonly partition: string;
  readonly rowFormat: number;
  /** Bytes of the concatenated rows. */
  readonly bytes: number;
  /** SHA-256 over the concatenated rows, lower hex. */
  readonly hash: string;
}

/**
 * - `TORN_TAIL`: the end of a file was an interrupted write and was cut. Nothing of it had been acknowledged.
 * - `DAMAGED`: bytes that were on disk once are not intact. The file is kept in quarantine; the other rows were saved.
 * - `SYNC_FAILED`: the disk did not confirm a write; the rows went to a new file, or the caller was refused.
 * - `CONFLICT`: records of an append came again under their ids with other content. Stored and flagged; one alarm for all of them.
 * - `CLOCK`: the wall clock went back by more than a second; ReceivedAt of a stream follows it. One alarm for each time.
 * - `TABLE_LOST`: records that were counted in the table, and are nowhere else any more, are not there now.
 * - `CALLBACK_FAILED`: `onSegmentClosed` threw.
 */
export interface LedgerAlarm {
  readonly code: "TORN_TAIL" | "DAMAGED" | "SYNC_FAILED" | "CONFLICT" | "CLOCK" | "TABLE_LOST" | "CALLBACK_FAILED";
  readonly message: string;
  /** The file in question, if any. */
  readonly path?: string;
  readonly cause?: unknown;
}

export interface LedgerStats {
  /** Rows and row bytes in the segment that is being written, and waiting to be. */
  readonly openRows: number;
  readonly openBytes: number;
  /** Bytes of all files in the log, waiting rows included. */
  readonly logBytes: number;
  /** Closed segments not yet removed. */
  readonly segments: number;
  /** Age of the oldest row that is not removed yet, milliseconds; 0 when there is none. */
  readonly oldestUnexportedMs: number;
}

/** Options at which appends are refused. */
export type LedgerBound = "maxLogBytes" | "maxPendingBytes" | "minFreeBytes";

export interface LedgerOptions {
  /** Data directory; created when missing. Holds `log/`, `lock/` and, after damage, `quarantine/`. */
  readonly dir: string;
  /** The caller holds the directory's `DirectoryLock`, for longer than the ledger is open. Default false: the ledger takes it. */
  readonly locked?: boolean;
  /** Rows of a segment, 1 to 250,000. Default 250,000. */
  readonly maxSegmentRows?: number;
  /** Row bytes of a segment, 256 KiB to 64 MiB. Default 64 MiB. */
  readonly maxSegmentBytes?: number;
  /**
   * An open segment with rows is closed after this many milliseconds, 1 to 86,400,000. Default 1000. It lives longer while
   * closed segments wait for export: this many milliseconds more for each of them, up to 60,000 in all.
   */
  readonly maxSegmentAgeMs?: number;
  /** Bytes of files waiting for export above which appends are refused with LOG_FULL. Default 8 GiB. */
  readonly maxLogBytes?: number;
  /**
   * Bytes that stay free on the log's disk: with less, appends are refused with LOG_FULL, so that what is acknowledged can
   * still be inserted, by an engine on the same disk too, and removed. Default 256 MiB, or a twentieth of a disk where that is
   * less; 0: none.
   */
  readonly minFreeBytes?: number | undefined;
  /** Bytes of rows waiting for the disk above which appends are refused with OVERLOADED. Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** What errors call a bound that was reached, in the words of who has set it. Default its name here. */
  readonly nameOf?: (bound: LedgerBound) => string;
  /** Keys that the record window remembers, at least 1. Default 8,000,000 (about 264 MB when full). */
  readonly windowKeys?: number;
  /** The wall clock, nanoseconds since 1970. Default the system's. */
  readonly now?: () => bigint;
  /** Called once for each segment closed by this process; not for those found at open. */
  readonly onSegmentClosed?: (segment: ClosedSegment) => void;
  /** Called when less than `minFreeBytes` is free, with a text for people, and with undefined when there is enough again. */
  readonly onLowSpace?: (low: string | undefined) => void;
  readonly onAlarm?: (alarm: LedgerAlarm) => void;
  /** File operations, for tests that need a disk to fail. Default Node's. */
  readonly io?: FileIo;
}
