import { z } from "zod";
import { anyAddress } from "../../config/address.ts";

export const healthCheckConfig = z.strictObject({
  /** Where it answers. Others than this machine learn only whether all is well. */
  endpoint: anyAddress.prefault("127.0.0.1:13133"),
  /** The only path that is answered. */
  path: z.string().startsWith("/", "must begin with /").default("/"),
});
export type HealthCheckConfig = z.output<typeof healthCheckConfig>;
