import { compileAgents } from "@otel-audit/policy";
import { z } from "zod";
import { ROLES } from "../../auth.ts";
import { duration } from "../../config/duration.ts";
import { CollectorError, errorMessage } from "../../errors.ts";
import { isDnsName, isSpiffePattern } from "./certificate.ts";

const DAY_MS = 86_400_000;
/** The collector's own principal begins so; nobody else may be called like it. */
const RESERVED = "otel-audit";
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/;
const NAME_RULE = "1 to 128 letters, digits and . _ : / @ -, beginning with a letter or digit";
const SHA256 = /^[0-9a-fA-F]{64}$/;
const HOW_TO_HASH =
  'a token itself never stands in a configuration, only its SHA-256: printf %s "$TOKEN" | sha256sum, or `otel-audit credential create`';
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const name = (what: string): z.ZodType<string> =>
  custom((text) => (NAME.test(text) ? undefined : `${JSON.stringify(text.slice(0, 80))} is not ${what}: ${NAME_RULE}`));

/** A string with an error of our own, which never repeats a secret. */
function custom(problem: (text: string) => string | undefined): z.ZodType<string> {
  return z.string().superRefine((text, context) => {
    const message = problem(text);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });
}

const tokenHash = custom((text) => {
  if (!SHA256.test(text)) return `is not a SHA-256 as 64 hex digits; ${HOW_TO_HASH}`;
  return text.toLowerCase() === EMPTY_SHA256 ? "is the SHA-256 of nothing: the token was empty" : undefined;
}).transform((text) => text.toLowerCase());

const agentPattern = custom((text) => {
  try {
    compileAgents([text]);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
});

const certificate = z
  .strictObject({
    /** The URI of the certificate's subject alternative name: exact, or `spiffe://domain/path/*` for all below. */
    spiffe_id: custom((text) =>
      isSpiffePattern(text)
        ? undefined
        : `${JSON.stringify(text.slice(0, 200))} is not a SPIFFE id (spiffe://domain/path) or one that ends in /*`,
    ).optional(),
    /** A DNS name of the certificate's subject alternative name, exact. */
    dns_name: custom((text) =>
      isDnsName(text) ? undefined : `${JSON.stringify(text.slice(0, 200))} is not a DNS name; wildcards are not taken`,
    )
      .transform((text) => text.toLowerCase())
      .optional(),
  })
  .superRefine(({ spiffe_id, dns_name }, context) => {
    if ((spiffe_id === undefined) === (dns_name === undefined))
      context.addIssue({ code: "custom", message: "needs one of spiffe_id and dns_name" });
  });

const rateLimit = z
  .strictObject({
    records_per_second: z.number().positive().max(1e9),
    /** Records at once; default what may come in a second. */
    burst: z.number().int().min(1).max(1e9).optional(),
  })
  .transform(({ records_per_second, burst }) => ({
    recordsPerSecond: records_per_second,
    burst: burst ?? Math.max(1, Math.ceil(records_per_second)),
  }));

const credential = z
  .strictObject({
    id: name("an id").superRefine((text, context) => {
      if (text.toLowerCase().startsWith(RESERVED))
        context.addIssue({
          code: "custom",
          message: `"${text}" begins with "${RESERVED}", which is the collector's own`,
        });
    }),
    token: z
      .unknown()
      .superRefine((value, context) => {
        if (value !== undefined)
          context.addIssue({ code: "custom", message: `has to be token_sha256: ${HOW_TO_HASH}` });
      })
      .optional(),
    /** Lower hex; several while a token is replaced by another. */
    token_sha256: z
      .preprocess((value) => (Array.isArray(value) ? value : [value]), z.array(tokenHash).min(1))
      .optional(),
    certificate: certificate.optional(),
    agents: z
      .array(agentPattern)
      .min(1, { error: "is empty: name the agents that it may speak for, as a policy does" }),
    tenant: name("a tenant").optional(),
    roles: z.array(z.enum(ROLES)).default([]),
    rate_limit: rateLimit.optional(),
  })
  .superRefine(({ token_sha256, certificate: one }, context) => {
    if ((token_sha256 === undefined) === (one === undefined))
      context.addIssue({ code: "custom", message: "needs one of token_sha256 and certificate" });
  });
export type CredentialConfig = z.output<typeof credential>;

/** Most credentials of one extension. */
export const MAX_CREDENTIALS = 10_000;

const credentialList = z
  .array(credential)
  .max(MAX_CREDENTIALS, { error: `are more than ${MAX_CREDENTIALS}` })
  .superRefine((list, context) => {
    const message = findRepetition(list);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });

/** Checks those of the configuration and of the file as one list. @throws CollectorError `INVALID_CONFIG` */
export function checkTogether(all: readonly CredentialConfig[]): void {
  const repetition = findRepetition(all);
  if (repetition !== undefined) throw new CollectorError("INVALID_CONFIG", repetition);
  if (all.length > MAX_CREDENTIALS) {
    const message = `there are ${all.length} credentials, at most ${MAX_CREDENTIALS} are taken`;
    throw new CollectorError("INVALID_CONFIG", message);
  }
}

/** What two credentials have in common and must not: who speaks could then be either. */
function findRepetition(list: readonly CredentialConfig[]): string | undefined {
  const owners = new Map<string, string>();
  for (const { id, token_sha256, certificate: one } of list) {
    const keys: [string, string][] = [
      [`id "${id}"`, `id ${id}`],
      ...(token_sha256 ?? []).map((hash): [string, string] => ["token", hash]),
      ...(one?.spiffe_id === undefined ? [] : [[`spiffe_id "${one.spiffe_id}"`, one.spiffe_id] as [string, string]]),
      ...(one?.dns_name === undefined
        ? []
        : [[`dns_name "${one.dns_name}"`, `dns ${one.dns_name}`] as [string, string]]),
    ];
    for (const [what, key] of keys) {
      const owner = owners.get(key);
      if (owner !== undefined)
        return what.startsWith("id ")
          ? `the ${what} stands there twice`
          : `"${owner}" and "${id}" have the same ${what}; a credential is one identity`;
      owners.set(key, id);
    }
  }
  return undefined;
}

export const auditCredentialsConfig = z
  .strictObject({
    credentials: credentialList.default([]),
    /** A YAML file with `credentials:`, read again when it changes. */
    file: z.string().min(1).optional(),
    /** Between two looks at the file. */
    reload_interval: duration({ min: 50, max: DAY_MS }).prefault("5s"),
  })
  .superRefine(({ credentials, file }, context) => {
    if (credentials.length === 0 && file === undefined)
      context.addIssue({ code: "custom", message: "has neither credentials nor a file with them: nobody could speak" });
  });
export type AuditCredentialsConfig = z.output<typeof auditCredentialsConfig>;

export const credentialsFile = z.strictObject({ credentials: credentialList });
