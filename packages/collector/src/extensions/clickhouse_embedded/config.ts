import { z } from "zod";
import { localAddress } from "../../config/address.ts";

export const clickhouseEmbeddedConfig = z.strictObject({
  /** ClickHouse's HTTP interface, read-only for everyone but the collector. */
  endpoint: localAddress.prefault("127.0.0.1:8123"),
  /** Password that readers send; none: everyone on this machine may read. */
  reader_token: z.string().min(16).optional(),
});
export type ClickhouseEmbeddedConfig = z.output<typeof clickhouseEmbeddedConfig>;
