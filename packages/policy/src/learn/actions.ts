import { AUDIT_ACTIONS_BY_DANGER, type AuditAction } from "@otel-audit/semantic-conventions";

/** An action as a bit, by danger. */
export function actionBit(action: AuditAction): number {
  return 1 << AUDIT_ACTIONS_BY_DANGER.indexOf(action);
}

/** The actions of some bits, the least dangerous first. */
export function actionNames(bits: number): AuditAction[] {
  return AUDIT_ACTIONS_BY_DANGER.filter((action) => (bits & actionBit(action)) !== 0);
}
