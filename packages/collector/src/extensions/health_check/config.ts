import { z } from "zod";
import { listenAddress } from "../../config/address.ts";

export const healthCheckConfig = z.strictObject({
  /** Where `GET /` answers 200 or 503. */
  endpoint: listenAddress.prefault("127.0.0.1:13133"),
});
export type HealthCheckConfig = z.output<typeof healthCheckConfig>;
