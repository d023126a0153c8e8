import { z } from "zod";

const pipelines = z.array(z.string()).default([]);

export const auditRouterConfig = z.strictObject({
  /** Pipelines that get the spans with `audit.action`; a request is acknowledged when all of them have taken theirs. */
  audit: z.array(z.string()).min(1),
  /** Pipelines that get all other spans; none: they are counted and dropped. */
  debug: pipelines,
});
export type AuditRouterConfig = z.output<typeof auditRouterConfig>;
