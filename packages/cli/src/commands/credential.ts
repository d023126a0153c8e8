import { Command } from "commander";
import { createHash, randomBytes } from "node:crypto";
import { CliError } from "../errors.ts";
import { print } from "../output/stdout.ts";
import { printable, safeJson } from "../output/text.ts";

interface CreateOptions {
  readonly id?: string;
  readonly agent: readonly string[];
  readonly tenant?: string;
  readonly role: readonly string[];
  readonly rateLimit?: number;
  readonly json?: true;
}

/** One entry of audit_credentials. */
interface Entry {
  readonly id: string;
  readonly token_sha256: string;
  readonly agents: readonly string[];
  readonly tenant?: string;
  readonly roles?: readonly string[];
  readonly rate_limit?: { readonly records_per_second: number };
}

/** So that a scanner for leaked secrets can know a token by its beginning. */
const TOKEN_PREFIX = "oat_";
const TOKEN_BYTES = 32;

const HELP = `
The token is shown once, and stored nowhere. The agent's process gets it by its environment; the collector's configuration
gets only its SHA-256. To replace a token, list the old and the new hash under token_sha256 until every process has the
new one.

Examples:
  otel-audit credential create --agent refunds
  otel-audit credential create --id support --agent "support-*" --tenant acme
  otel-audit credential create --agent guard --role policy --role review --json`;

export function credentialCommand(): Command {
  const create = new Command("create")
    .description("Make a token, and the piece of configuration that knows it")
    .option(
      "--id <name>",
      "name of the credential, the Principal of its records; default: the agent's, or a random one",
    )
    .option("--agent <pattern>", "agent that it may speak for, as in a policy; repeat it for more", collect, [])
    .option("--tenant <name>", "tenant of its records")
    .option(
      "--role <name>",
      "policy, review, keys or retention: control records that it may send; repeat it for more",
      collect,
      [],
    )
    .option("--rate-limit <n>", "records a second that it may send", Number)
    .option("--json", "for machines")
    .addHelpText("after", HELP)
    .action((options: CreateOptions) => createCredential(options));
  return new Command("credential").description("Who may send records to the collector").addCommand(create);
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}

async function createCredential(options: CreateOptions): Promise<void> {
  const token = TOKEN_PREFIX + randomBytes(TOKEN_BYTES).toString("base64url");
  const entry = entryOf(options, createHash("sha256").update(token).digest("hex"));
  const yaml = entryYaml(entry);
  await check(yaml);
  const headers = `authorization=Bearer%20${token}`;
  if (options.json) {
    await print(`${safeJson({ id: entry.id, token, headers, credential: entry, yaml }, 2)}\n`);
    return;
  }
  const lines = [
    `token of ${printable(entry.id)}, shown this once:`,
    `  ${token}`,
    "",
    "in the environment of its agents:",
    `  OTEL_AUDIT_EXPORTER_OTLP_HEADERS="${headers}"`,
    "",
    "in the collector's configuration, under extensions::audit_credentials::credentials, or in its file:",
    yaml.replaceAll(/^/gm, "  "),
  ];
  await print(`${lines.join("\n")}\n`);
}

function entryOf({ id, agent, tenant, role, rateLimit }: CreateOptions, hash: string): Entry {
  const [only, second] = agent;
  const isName = only !== undefined && second === undefined && /^[\w.:-]+$/.test(only);
  const name = id ?? (isName ? only : `credential-${randomBytes(4).toString("hex")}`);
  return {
    id: name,
    token_sha256: hash,
    agents: agent.length > 0 ? agent : [name],
    ...(tenant !== undefined && { tenant }),
    ...(role.length > 0 && { roles: role }),
    ...(rateLimit !== undefined && { rate_limit: { records_per_second: rateLimit } }),
  };
}

/** JSON is YAML, and leaves no text to be taken for something else; a dollar sign would begin a reference. */
function entryYaml(entry: Entry): string {
  const [first, ...others] = Object.entries(entry).map(
    ([key, value]) => `${key}: ${JSON.stringify(value).replaceAll("$", "$$$$")}`,
  );
  return [`- ${first}`, ...others.map((line) => `  ${line}`)].join("\n");
}

const OPTIONS: Readonly<Record<string, string>> = {
  id: "--id",
  agents: "--agent",
  tenant: "--tenant",
  roles: "--role",
  rate_limit: "--rate-limit",
};

/** Nobody should find out at the collector's next start that a pattern is wrong. */
async function check(yaml: string): Promise<void> {
  const { CollectorError, parseCredentials } = await import("@otel-audit/collector");
  try {
    parseCredentials(`credentials:\n${yaml}\n`, "");
  } catch (cause) {
    if (!(cause instanceof CollectorError)) throw cause;
    const [, key = "", message = cause.message] = /credentials::0::(\w+)\S*: (.*)/s.exec(cause.message) ?? [];
    throw new CliError("USAGE", `${OPTIONS[key] ?? "credential"}: ${message}`, { cause });
  }
}
