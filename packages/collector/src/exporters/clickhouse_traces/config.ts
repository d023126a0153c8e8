import { z } from "zod";
import { ONE_DESTINATION, destinationShape, oneDestination } from "../destination.ts";

export const clickhouseTracesConfig = z
  .strictObject({
    ...destinationShape,
    sending_queue: z
      .strictObject({
        /** Requests that wait; when full the oldest is dropped and counted. */
        queue_size: z.number().int().min(1).max(1_000_000).default(1_000),
        /** Bytes that wait; when full the oldest is dropped and counted. */
        max_bytes: z
          .number()
          .int()
          .min(1_024)
          .default(64 * 1024 * 1024),
      })
      .prefault({}),
  })
  .refine(oneDestination, ONE_DESTINATION);
export type ClickhouseTracesConfig = z.output<typeof clickhouseTracesConfig>;
