import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import {
  type HttpApi,
  type Postgres,
  type SinkSpan,
  startHttpApi,
  startPostgres,
} from "../../../../test/support/index.ts";
import { type App, makeApp, NODE_MAJOR, PACKAGES, REGISTER, type Run, summary, text } from "../testing/run-app.ts";
import { application, type CaseResult, fileName, RESULTS } from "./app.ts";
import type { CoverageCase, CoverageLibrary, ImportStyle } from "./library.ts";
import { officialSetup } from "./official.ts";

/** When the official instrumentations are installed, seen from ours. */
export const OFFICIAL = ["none", "before", "after"] as const;
type Official = (typeof OFFICIAL)[number];

/** What a process with the cases did. */
interface Proof {
  readonly cases: readonly CoverageCase[];
  readonly results: readonly CaseResult[];
  /** By case. */
  readonly records: readonly (readonly string[])[];
  /** Records that belong to no case, nor to the set-up. */
  readonly others: readonly string[];
}

/** The servers that cases talk to. */
export interface Servers {
  readonly api: HttpApi;
  readonly tls: HttpApi;
  readonly db: Postgres | undefined;
  close(): Promise<void>;
}

export async function startServers(library: CoverageLibrary): Promise<Servers> {
  const routes = {
    "GET /none": { status: 404 },
    "GET /cut": { destroy: true },
    "GET /slow": { delayMs: 5_000 },
    "GET /redirect": { status: 302, headers: { location: "/x" } },
  };
  const api = await startHttpApi({ routes });
  const tls = await startHttpApi({ routes, tls: true });
  const db = library.database === undefined ? undefined : await startPostgres({ sql: library.database });
  const close = async (): Promise<void> => {
    await Promise.all([api.close(), tls.close(), db?.close()]);
  };
  return { api, tls, db, close };
}

const DENY = `
policy: nothing-goes
mode: enforce
default: allow
rules:
  - { id: no-case, deny: { agent: "case-*" } }
`;

interface ProofOptions {
  readonly style: ImportStyle;
  readonly official: Official;
  /** `none`: the application without any audit. Default: `observe`. */
  readonly audit?: "none" | "observe" | "deny";
}

/** Runs the library's cases in one process. */
export async function prove(library: CoverageLibrary, servers: Servers, options: ProofOptions): Promise<Proof> {
  const { style, official, audit = "observe" } = options;
  const cases = library.cases.filter(
    ({ since = 0, styles, notDenied }) =>
      since <= NODE_MAJOR && (styles?.includes(style) ?? true) && !(audit === "deny" && notDenied),
  );
  const files = {
    [fileName(style)]: application(library, cases, style),
    "official.mjs": officialSetup(),
  };
  await using app = await makeApp({ ...files, "policy.yaml": DENY });
  linkPackages(app);
  const run = await app.run({
    nodeArgs: nodeArgs(app, official, audit !== "none"),
    env: environment(app, servers, audit),
  });
  const results = run.stdout.split("\n").find((line) => line.startsWith(RESULTS));
  if (results === undefined || run.code !== 0) throw new Error(`exit code ${run.code}\n${run.stdout}\n${run.stderr}`);
  return { cases, ...read(run, JSON.parse(neutral(results.slice(RESULTS.length), app, servers)), app, servers) };
}

/** The packages of this workspace, but those that applications of the matrix have in a version of their own. */
function linkPackages(app: App): void {
  const to = join(app.dir, "node_modules");
  mkdirSync(to);
  const folders = new Set([dirname(PACKAGES), process.cwd()].map((folder) => join(folder, "node_modules")));
  const linked = new Set<string>();
  for (const from of folders) {
    for (const name of readdirSync(from)) {
      if (!linked.has(name)) symlinkSync(join(from, name), join(to, name));
      linked.add(name);
    }
  }
}

function nodeArgs(app: App, official: Official, audited: boolean): string[] {
  const ours = audited ? ["--import", REGISTER] : [];
  const theirs = ["--import", join(app.dir, "official.mjs")];
  if (official === "none") return ours;
  return official === "before" ? [...theirs, ...ours] : [...ours, ...theirs];
}

function environment(app: App, { api, tls, db }: Servers, audit: string): Record<string, string> {
  const ca = join(app.dir, "ca.pem");
  writeFileSync(ca, tls.ca ?? "");
  const policy = audit === "deny" ? { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } : {};
  return { API: api.url, TLS: tls.url, DB: db?.url ?? "", WORK: app.work, NODE_EXTRA_CA_CERTS: ca, ...policy };
}

/** Without what differs from run to run. */
function neutral(said: string, app: App, { api, tls, db }: Servers): string {
  const known: [string, string][] = [
    [api.url, "$API"],
    [tls.url, "$TLS"],
    [String(api.port), "$API_PORT"],
    [String(tls.port), "$TLS_PORT"],
  ];
  if (db !== undefined) known.unshift([`postgresql://127.0.0.1:${db.port}`, "$DB"], [String(db.port), "$DB_PORT"]);
  let line = said.replace(new RegExp(`${app.work}/\\d+`, "g"), "$DIR");
  for (const [value, name] of known) line = line.replaceAll(value, name);
  return line;
}

function read(run: Run, results: readonly CaseResult[], app: App, servers: Servers): Omit<Proof, "cases"> {
  const records: string[][] = results.map(() => []);
  const others: string[] = [];
  for (const span of run.actions) {
    const actor = text(span, "audit.actor.id");
    // The official set-up's loader hook is a thing that the audit notices.
    const ofSetup = actor === "agent:setup" || text(span, "audit.bypass.kind") === "module_hooks";
    if (ofSetup) continue;
    const said = neutral(line(span), app, servers);
    const own = /^agent:case-(\d+)$/.exec(actor)?.[1];
    if (own === undefined) others.push(`${actor} ${said}`);
    else records[Number(own)]?.push(said);
  }
  return { results, records, others };
}

function line(span: SinkSpan): string {
  const side = (name: string): string => {
    const ids = span.attributes?.[`audit.target.${name}_ids`];
    return Array.isArray(ids) ? ` ${name}s ${ids.join(",")}` : "";
  };
  return summary(span) + side("read") + side("write");
}

/** A case in a comparison. */
export interface Outcome {
  readonly case: string;
  readonly records: readonly string[];
  readonly code?: string | undefined;
  readonly channel?: string | undefined;
}

/** What the cases made, to be equal to `expectedRecords`. */
export function madeRecords({ cases, records }: Proof): Outcome[] {
  return cases.map((each, at) => ({ case: title(each, at), records: records[at] ?? [] }));
}

export function expectedRecords(cases: readonly CoverageCase[]): Outcome[] {
  return cases.map((each, at) => ({ case: title(each, at), records: each.records }));
}

/** How the cases were stopped, to be equal to `expectedDenials`. */
export function madeDenials({ cases, records, results }: Proof): Outcome[] {
  return cases.map((each, at) => ({
    case: title(each, at),
    records: records[at] ?? [],
    code: results[at]?.code,
    channel: results[at]?.channel,
  }));
}

/** Each is stopped at its first action, with one record, and its caller hears of it in the API's own way. */
export function expectedDenials(cases: readonly CoverageCase[]): Outcome[] {
  return cases.map((each, at) => ({
    case: title(each, at),
    records: each.records.slice(0, 1).map(deniedRecord),
    code: "EAUDITDENIED",
    channel: each.denied ?? (each.form === "sync" ? "throw" : each.form),
  }));
}

function title({ code }: CoverageCase, at: number): string {
  return `${at}: ${code}`;
}

function deniedRecord(record: string): string {
  return record.replace(/ (?:success|failure \S+|unknown) /, " failure policy_denied ");
}
