import type { Reading } from "./target.ts";

/** Names of the built-in resources, as rules write them. */
export const BUILTIN_NAMES = ["@secrets", "@metadata", "@llm", "@loopback"] as const;

/** The record's name of the built-in resource that the target belongs to: `@secrets`, `llm:anthropic`, … */
export function builtinName(target: Reading): string | undefined {
  switch (target.kind) {
    case "file":
      return isSecret(target.loose) ? "@secrets" : undefined;
    case "http": {
      const host = hostOf(target);
      if (isMetadata(host)) {
        return "@metadata";
      }
      const provider = llmProvider(target, host);
      return provider === undefined ? loopbackName(host) : `llm:${provider}`;
    }
    case "socket": {
      const host = hostOf(target);
      return isMetadata(host) ? "@metadata" : loopbackName(host);
    }
    default:
      return undefined;
  }
}

/** Whether the target belongs to its built-in resource in every reading. */
export function isCertain(target: Reading): boolean {
  // Only secrets look at the path; hosts have one reading.
  return target.kind !== "file" || target.exact === target.loose || isSecret(target.exact);
}

/** Which of {@link BUILTIN_NAMES} a name of {@link builtinName} stands for. The four exclude each other. */
export function builtinIndex(name: string | undefined): number {
  if (name === undefined) {
    return -1;
  }
  return name.startsWith("llm:") ? BUILTIN_NAMES.indexOf("@llm") : BUILTIN_NAMES.findIndex((each) => each === name);
}

function loopbackName(host: string): string | undefined {
  return isLoopback(host) ? "@loopback" : undefined;
}

/** Without the port. */
function hostOf(target: Reading): string {
  const { exact } = target;
  const slash = exact.indexOf("/");
  const authority = slash === -1 ? exact : exact.slice(0, slash);
  const colon = authority.lastIndexOf(":");
  return colon > authority.lastIndexOf("]") ? authority.slice(0, colon) : authority;
}

// Credentials that lie in files. The lenient reading is in lower case, as some file systems make no difference.

const SECRET_DIRECTORIES = [".ssh", ".aws", ".gnupg", ".azure", ".kube", ".docker", ".password-store"];
const SECRET_DIRECTORY = new RegExp(
  String.raw`/(?:${SECRET_DIRECTORIES.map((name) => name.replaceAll(".", String.raw`\.`)).join("|")})(?:/|$)`,
);
const SECRET_PARTS = ["/.config/gcloud/", "/.config/gh/"];
const SECRET_NAMES: ReadonlySet<string> = new Set([
  ".env",
  ".netrc",
  "_netrc",
  ".npmrc",
  ".pypirc",
  ".pgpass",
  ".my.cnf",
  ".git-credentials",
  ".vault-token",
  ".htpasswd",
  "id_rsa",
  "id_dsa",
  "id_ecdsa",
  "id_ed25519",
  "key.pem",
  "privkey.pem",
]);
const SECRET_EXTENSIONS: ReadonlySet<string> = new Set([".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx"]);
const SYSTEM_SECRET =
  /^\/(?:(?:var\/)?run\/secrets\/.|etc\/(?:g?shadow-?$|sudoers$|ssl\/private\/.)|proc\/(?:[^/]+|[^/]+\/task\/[^/]+)\/(?:environ|mem|cmdline)$)/;

function isSecret(path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (SECRET_NAMES.has(name) || name.startsWith(".env.") || SYSTEM_SECRET.test(path)) {
    return true;
  }
  const dot = name.lastIndexOf(".");
  if (dot !== -1 && (SECRET_EXTENSIONS.has(name.slice(dot)) || /[-_]key\.pem$/.test(name))) {
    return true;
  }
  return path.includes("/.") && (SECRET_DIRECTORY.test(path) || SECRET_PARTS.some((part) => path.includes(part)));
}

// Where clouds hand out a machine's credentials: AWS, Azure, GCP, Oracle and others on 169.254.0.0/16 (RFC 3927).

const METADATA_HOSTS: ReadonlySet<string> = new Set([
  "metadata",
  "metadata.google.internal",
  "metadata.goog",
  "instance-data",
  "instance-data.ec2.internal",
  "100.100.100.200",
  "168.63.129.16",
  "192.0.0.192",
  "[fd00:ec2::254]",
  "[fd00:ec2::23]",
  "[fd20:ce::254]",
]);

function isMetadata(host: string): boolean {
  return host.startsWith("169.254.") || METADATA_HOSTS.has(host);
}

function isLoopback(host: string): boolean {
  return (
    host === "localhost" ||
    (host.startsWith("127.") && /^[0-9.]+$/.test(host)) ||
    host === "[::1]" ||
    // Linux connects these to the machine itself.
    host === "0.0.0.0" ||
    host === "[::]" ||
    host.endsWith(".localhost")
  );
}

// Hosts of model providers over https; names as in `gen_ai.provider.name` where that has one.

const LLM_HOSTS: ReadonlyMap<string, string> = new Map([
  ["api.openai.com", "openai"],
  ["eu.api.openai.com", "openai"],
  ["us.api.openai.com", "openai"],
  ["api.anthropic.com", "anthropic"],
  ["generativelanguage.googleapis.com", "gcp.gemini"],
  ["aiplatform.googleapis.com", "gcp.vertex_ai"],
  ["api.mistral.ai", "mistral_ai"],
  ["codestral.mistral.ai", "mistral_ai"],
  ["api.cohere.com", "cohere"],
  ["api.cohere.ai", "cohere"],
  ["api.groq.com", "groq"],
  ["api.deepseek.com", "deepseek"],
  ["api.perplexity.ai", "perplexity"],
  ["api.x.ai", "x_ai"],
  ["openrouter.ai", "openrouter"],
  ["api.together.xyz", "together"],
  ["api.together.ai", "together"],
  ["api.fireworks.ai", "fireworks"],
  ["api.replicate.com", "replicate"],
  ["api-inference.huggingface.co", "huggingface"],
  ["router.huggingface.co", "huggingface"],
  ["api.ai21.com", "ai21"],
  ["api.cerebras.ai", "cerebras"],
  ["api.sambanova.ai", "sambanova"],
  ["api.moonshot.ai", "moonshot_ai"],
  ["api.moonshot.cn", "moonshot_ai"],
  ["dashscope.aliyuncs.com", "alibaba_cloud"],
  ["dashscope-intl.aliyuncs.com", "alibaba_cloud"],
  ["integrate.api.nvidia.com", "nvidia"],
  ["api.voyageai.com", "voyage"],
  ["models.inference.ai.azure.com", "azure.ai.inference"],
  ["models.github.ai", "github"],
]);

const LLM_HOST_PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/^[a-z0-9-]+\.openai\.azure\.com$/, "azure.ai.openai"],
  [/^[a-z0-9-]+(?:\.[a-z0-9-]+)?\.(?:models|services)\.ai\.azure\.com$/, "azure.ai.inference"],
  [/^bedrock(?:-agent)?-runtime(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/, "aws.bedrock"],
  [/^[a-z0-9-]+-aiplatform\.googleapis\.com$/, "gcp.vertex_ai"],
  [/^[a-z0-9-]+\.ml\.cloud\.ibm\.com$/, "ibm.watsonx.ai"],
];

/** The ends of {@link LLM_HOST_PATTERNS}: one cheap look before five expressions. */
const LLM_DOMAINS = /(?:azure|amazonaws|googleapis|ibm)\.com(?:\.cn)?$/;

function llmProvider(target: Reading, host: string): string | undefined {
  // Another port, or no TLS, is not the provider.
  if (target.scheme !== "https" || target.exact.charCodeAt(host.length) === 58) {
    return undefined;
  }
  const provider = LLM_HOSTS.get(host);
  if (provider !== undefined || !LLM_DOMAINS.test(host)) {
    return provider;
  }
  return LLM_HOST_PATTERNS.find(([pattern]) => pattern.test(host))?.[1];
}
