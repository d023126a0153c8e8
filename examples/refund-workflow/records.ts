/** One line of `otel-audit query --format jsonl`. */
export interface AuditRow {
  readonly ActorId: string;
  readonly OnBehalfOf: string;
  readonly EventName: string;
  readonly Action: string;
  readonly TargetId: string;
  readonly Outcome: string;
  readonly ErrorType: string;
  readonly Decision: string;
  readonly Rule: string;
  readonly Blocked: boolean;
}
