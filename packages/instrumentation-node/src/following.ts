import type { AuditConfig } from "./config.ts";
import { auditEnvironment } from "./environment.ts";
import { currentActor, currentScope } from "./identity.ts";
import {
  callerEnvironment,
  causeEnvironment,
  type Environment,
  environmentOf,
  IDENTITY_VARIABLES,
} from "./identity-environment.ts";

/**
 * How the audit follows into the processes and threads that this one starts: they get the register, this process's
 * configuration and the identity of who started them, wherever the application did not say otherwise.
 */

/** The module that starts the audit. */
export const REGISTER = new URL("./register.js", import.meta.url).href;

/** The register for where Node has only `--require`. */
export const REGISTER_SYNC = new URL("./register-sync.js", import.meta.url);

/** The flag of any copy of the register, by its name or by its path. */
const REGISTER_FLAG = /instrumentation-node\/(?:dist\/)?register(?:\.js)?(?=["'\s]|$)/;
const OWN_VARIABLE = /^OTEL_(?:AUDIT_|SERVICE_NAME$|RESOURCE_ATTRIBUTES$|EXPORTER_OTLP_ENDPOINT$)/;
/** Says to a process that its start line would be a line in somebody else's output. */
const STARTED_BY = "OTEL_AUDIT_STARTED_BY";
/** Not handed to a process whose environment the application made from nothing: maybe to keep secrets out of it. */
const SECRET = /_HEADERS$/;

/** What would lead the audit of a child elsewhere, or end it. */
const TELLING: readonly string[] = [
  "OTEL_AUDIT_DISABLED",
  "OTEL_AUDIT_POLICY",
  "OTEL_AUDIT_MODE",
  "OTEL_AUDIT_UNATTRIBUTED",
  "OTEL_AUDIT_SPOOL_DIR",
  "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT",
  "OTEL_AUDIT_APPROVER",
];

interface Settings {
  /** Variables as they were when the audit started: the application may change `process.env` since. */
  readonly raw: Environment;
  /** What a child is to have: relative paths made absolute. */
  readonly effective: Environment;
}

let settings: Settings | undefined;

/** Starts to follow, or stops it. */
export function follow(config: AuditConfig | undefined, env: Environment = auditEnvironment()): void {
  settings = config === undefined ? undefined : settingsOf(config, env);
}

function settingsOf(config: AuditConfig, env: Environment): Settings {
  const names = Object.keys(env).filter((name) => OWN_VARIABLE.test(name) && !IDENTITY_VARIABLES.includes(name));
  const raw = Object.fromEntries(names.map((name) => [name, env[name]]));
  const identity = Object.fromEntries(IDENTITY_VARIABLES.map((name) => [name, env[name]]));
  const rest = Object.fromEntries(Object.entries(raw).filter(([name]) => !SECRET.test(name)));
  return {
    raw: { ...raw, ...identity },
    effective: {
      ...rest,
      OTEL_AUDIT_SPOOL_DIR: config.spoolDir,
      ...(config.policyFile !== undefined && { OTEL_AUDIT_POLICY: config.policyFile }),
      [STARTED_BY]: String(process.pid),
    },
  };
}

/** What a process is to get beside the environment that it was given. */
export interface Addition {
  /** Variables to set; undefined: to take out. */
  readonly variables: Environment;
  /** Whether a Node with this environment is audited. */
  readonly audited: boolean;
  /** Names of variables by which the application changes or ends the audit of the child. */
  readonly changed: readonly string[];
}

const NOTHING: Addition = { variables: {}, audited: false, changed: [] };

/**
 * What is to be added to the environment of a process that is about to start.
 * @param get a variable of the environment that it was given
 * @param cause id of the record of starting it
 */
export function addition(get: (name: string) => string | undefined, cause: string | undefined): Addition {
  const ours = settings;
  if (ours === undefined) return NOTHING;
  const variables: Record<string, string | undefined> = { ...identityFor(get, ours, cause) };
  const changed = TELLING.filter((name) => isChanged(name, get(name), ours));
  for (const [name, value] of Object.entries(ours.effective)) {
    const given = get(name);
    // As it was inherited: a relative path means another file in another directory.
    if (given !== value && (given === undefined || given === ours.raw[name])) variables[name] = value;
  }
  const options = get("NODE_OPTIONS") ?? "";
  // Before what is there: the audit has to patch before others load what it patches.
  if (!REGISTER_FLAG.test(options)) variables["NODE_OPTIONS"] = `--import=${REGISTER} ${options}`.trim();
  return { variables, audited: !/^(?:1|true)$/i.test(get("OTEL_AUDIT_DISABLED")?.trim() ?? ""), changed };
}

function isChanged(name: string, given: string | undefined, { raw, effective }: Settings): boolean {
  return given !== undefined && given.trim() !== "" && given !== raw[name] && given !== effective[name];
}

/** Who the child is: who starts it, unless the application gives it an identity of its own. */
function identityFor(
  get: (name: string) => string | undefined,
  { raw }: Settings,
  cause: string | undefined,
): Environment {
  const actor = currentActor();
  if (actor === undefined) return causeEnvironment(cause);
  const own = get("OTEL_AUDIT_AGENT_ID");
  const isOwn = own !== undefined && own.trim() !== "" && own !== raw["OTEL_AUDIT_AGENT_ID"] && own !== actor.id;
  return isOwn ? callerEnvironment(actor, cause) : environmentOf(actor, cause);
}

/** What a thread that starts now is audited by; undefined while nothing is. */
export function threadEnvironment(): Environment | undefined {
  if (settings === undefined) return undefined;
  const { actor, cause } = currentScope();
  const identity = actor === undefined ? causeEnvironment(cause?.recordId) : environmentOf(actor, cause?.recordId);
  return { OTEL_AUDIT_DISABLED: undefined, ...settings.raw, ...settings.effective, ...identity };
}

/** Whether an audited process started this one. */
export function isFollowed(env: Environment = process.env): boolean {
  return env[STARTED_BY] !== undefined;
}

/** Whether the arguments of a Node name a register already. */
export function namesRegister(nodeArguments: readonly unknown[]): boolean {
  return nodeArguments.some((argument) => typeof argument === "string" && REGISTER_FLAG.test(argument));
}
