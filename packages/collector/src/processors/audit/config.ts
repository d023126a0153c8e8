import { z } from "zod";

const serviceNames = z.array(z.string().min(1));

export const auditConfig = z.strictObject({
  /** Policy file by which the collector judges every audit span again; the producer's verdict is kept beside its own. */
  policy: z.string().min(1).optional(),
  /** What becomes of a record in the name of an agent that its sender's credential does not belong to. */
  mismatch: z.enum(["refuse", "store"]).default("refuse"),
  /** Derive audit records from spans of other instrumentations; off unless services are named. */
  classify: z
    .strictObject({
      /** `service.name` values whose tool, HTTP client, database and file spans become records too; `"*"` is every service. */
      services: serviceNames.min(1),
    })
    .optional(),
});
export type AuditConfig = z.output<typeof auditConfig>;
