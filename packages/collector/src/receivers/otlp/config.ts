import { z } from "zod";
import { listenAddress } from "../../config/address.ts";

export const otlpConfig = z.strictObject({
  protocols: z.strictObject({
    http: z
      .strictObject({
        endpoint: listenAddress.prefault("127.0.0.1:4318"),
        /** Bytes of a request's body after decompression; 64 MiB as the OTLP specification recommends. */
        max_request_body_size: z
          .number()
          .int()
          .min(1_024)
          .max(256 * 1024 * 1024)
          .default(64 * 1024 * 1024),
        /** Bytes of all requests that are being received or handled at one time, inflated ones included; more is answered with 503. */
        max_in_flight_bytes: z
          .number()
          .int()
          .min(1_024)
          .default(512 * 1024 * 1024),
      })
      .prefault({}),
  }),
});
export type OtlpConfig = z.output<typeof otlpConfig>;
