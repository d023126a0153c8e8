import { z } from "zod";
import { queueShape } from "../queue-config.ts";
import { ONE_DESTINATION, destinationShape, oneDestination } from "../destination.ts";

export const clickhouseTracesConfig = z
  .strictObject({
    ...destinationShape,
    sending_queue: z.strictObject(queueShape).prefault({}),
  })
  .refine(oneDestination, ONE_DESTINATION);
export type ClickhouseTracesConfig = z.output<typeof clickhouseTracesConfig>;
