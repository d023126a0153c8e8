import { basename, extname } from "node:path";

interface AuditedCommand {
  /** Address of the module that starts the audit. */
  readonly register: string;
  readonly endpoint: string;
  readonly spoolDir: string;
  /** Of the collector: the command may not touch it. */
  readonly dataDir: string;
  readonly agent: string;
  /** Absolute path of the policy. */
  readonly policy: string | undefined;
  readonly mode: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The environment under which a command and every Node process that it starts are audited. */
export function auditEnvironment(parent: Environment, audited: AuditedCommand): Environment {
  return {
    ...parent,
    // Before what is there already: the audit has to patch before others load what it patches.
    NODE_OPTIONS: [`--import=${audited.register}`, parent.NODE_OPTIONS ?? ""].join(" ").trim(),
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: audited.endpoint,
    OTEL_AUDIT_SPOOL_DIR: audited.spoolDir,
    OTEL_AUDIT_DATA_DIR: audited.dataDir,
    OTEL_AUDIT_AGENT_ID: audited.agent,
    // Who types `otel-audit run` wants the audit.
    OTEL_AUDIT_DISABLED: undefined,
    ...(audited.policy !== undefined && { OTEL_AUDIT_POLICY: audited.policy }),
    ...(audited.mode !== undefined && { OTEL_AUDIT_MODE: audited.mode }),
  };
}

/** Programs that run what their argument names. */
const LAUNCHERS: ReadonlySet<string> = new Set(["node", "npx", "npm", "pnpm", "yarn", "tsx", "bun", "bunx"]);
/** Words of package managers that say "run" and are not the name. */
const VERBS: ReadonlySet<string> = new Set(["run", "run-script", "exec", "dlx"]);
/** Their options with a value of its own, that would be taken for the script's name. */
const WITH_VALUE: ReadonlySet<string> = new Set([
  "-r",
  "--require",
  "--import",
  "--loader",
  "--env-file",
  "-C",
  "--conditions",
  "-p",
  "--package",
]);
const INLINE: ReadonlySet<string> = new Set(["-e", "--eval", "-p", "--print", "-c", "--call", "-pe"]);

/** `node agent.js` is the agent `agent`, `npx @scope/some-agent@1.2` is `some-agent`, `sh -c …` is `sh`. */
export function agentName(command: string, args: readonly string[]): string {
  const program = withoutExtension(basename(command));
  const script = LAUNCHERS.has(program) ? scriptOf(program, args) : undefined;
  if (script === undefined) return program;
  const name = basename(script).replace(/(?<=.)@.*$/, "");
  return withoutExtension(name) || program;
}

function scriptOf(program: string, args: readonly string[]): string | undefined {
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (program === "node" ? INLINE.has(arg) : arg === "-c" || arg === "--call") return undefined;
    if (WITH_VALUE.has(arg)) i++;
    else if (arg !== "--" && !arg.startsWith("-") && !(program !== "node" && VERBS.has(arg))) return arg;
  }
  return undefined;
}

function withoutExtension(name: string): string {
  return /^\.(?:[cm]?[jt]sx?|sh|exe|cmd|py)$/.test(extname(name)) ? name.slice(0, -extname(name).length) : name;
}
