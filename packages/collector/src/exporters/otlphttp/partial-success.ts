import { decodePartialSuccess } from "@otel-audit/otlp";
import { z } from "zod";
import type { PartialSuccess } from "../debug-queue.ts";
import type { Answer } from "./client.ts";

/** Characters of a message in a log line. */
const MAX_SHOWN = 200;

const count = z.coerce.number().int().min(0).default(0);
const jsonAnswer = z.object({
  partialSuccess: z
    .object({
      rejectedSpans: count,
      rejectedLogRecords: count,
      rejectedDataPoints: count,
      errorMessage: z.string().default(""),
    })
    .nullish(),
});

/** What an Export…ServiceResponse says beside "taken"; undefined: nothing, or it is none. */
export function partialSuccess({
  contentType,
  body,
}: Pick<Answer, "contentType" | "body">): PartialSuccess | undefined {
  const partial = contentType?.startsWith("application/json") ? fromJson(body) : decodePartialSuccess(body);
  if (!partial || (partial.rejected === 0 && partial.message === "")) return undefined;
  return { rejected: partial.rejected, message: partial.message.slice(0, MAX_SHOWN) };
}

function fromJson(body: Buffer): PartialSuccess | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
  const partial = jsonAnswer.safeParse(parsed).data?.partialSuccess;
  if (!partial) return undefined;
  const { rejectedSpans, rejectedLogRecords, rejectedDataPoints, errorMessage } = partial;
  return { rejected: rejectedSpans + rejectedLogRecords + rejectedDataPoints, message: errorMessage };
}
