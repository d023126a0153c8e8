import type { CoverageCase, CoverageLibrary, ImportStyle } from "./library.ts";

/** What a case came to, as the application saw it. */
export interface CaseResult {
  /** Texts, numbers, arrays of them; of other values the kind. */
  readonly value?: unknown;
  /** Name, code and message. */
  readonly error?: string;
  readonly code?: string;
  /** How the error came. */
  readonly channel?: string;
}

/** Before the line with the results, an array in the order of the cases. */
export const RESULTS = "RESULTS ";

const HANG_MS = 20_000;

/** Runs a case and says how its outcome came; in the application, so that it is its view. */
const RUN = `
const kind = (value) => {
  if (value === undefined || value === null) return null;
  if (Buffer.isBuffer(value)) return value.toString();
  if (typeof value !== "object" && typeof value !== "function") return value;
  return Array.isArray(value) ? value.map(kind) : (value.constructor?.name ?? "object");
};
const failed = (channel) => (error) => ({
  error: [error?.name, error?.code, error?.message].join(" | "), code: error?.code, channel,
});
const succeeded = (value) => ({ value: kind(value) });
const FORMS = {
  sync: (start) => succeeded(start()),
  promise: (start) => start().then(succeeded, failed("promise")),
  callback: (start) => new Promise((over, thrown) => {
    try {
      start((error, value) => over(error ? failed("callback")(error) : succeeded(value)));
    } catch (error) { thrown(error); }
  }),
  event: (start) => new Promise((over, thrown) => {
    let emitter;
    try { emitter = start(); } catch (error) { return thrown(error); }
    emitter.on("error", (error) => over(failed("event")(error)));
    emitter.on("response", (response) => response.on?.("error", () => {}).resume());
    for (const last of ["close", "end"]) emitter.once(last, () => over({}));
    emitter.resume?.();
  }),
};
const patience = () => {
  let timer;
  const over = new Promise((_, no) => { timer = setTimeout(() => no(new Error("did not end")), ${HANG_MS}); });
  return { over, stop: () => clearTimeout(timer) };
};
const runCase = async (number, form, start) => {
  const late = patience();
  try {
    return await Promise.race([
      withAgent({ id: "agent:case-" + number }, async () => FORMS[form](start)).catch(failed("throw")),
      late.over,
    ]);
  } finally { late.stop(); }
};`;

/**
 * An application that runs the cases one after the other, each as an agent of its own (`agent:case-0`, …) in a directory
 * of its own.
 */
export function application(library: CoverageLibrary, cases: readonly CoverageCase[], style: ImportStyle): string {
  const { setup = "", fixture = "", teardown = "" } = library;
  const body = `
const { API, TLS, DB, WORK } = process.env;
const asSetup = (fn) => withAgent({ id: "agent:setup" }, fn);
${RUN}
const results = [];
const caseDirectory = async (number) => asSetup(async () => {
  const { mkdirSync } = process.getBuiltinModule("node:fs");
  mkdirSync(WORK + "/" + number);
  process.chdir(WORK + "/" + number);
  ${fixture}
});
${setup}
let DIR;
${cases.map((each, number) => runCase(each, number)).join("\n")}
await asSetup(async () => { ${teardown} });
console.log("${RESULTS}" + JSON.stringify(results));`;
  return withImports(library.imports, body, style);
}

function runCase({ form, code }: CoverageCase, number: number): string {
  return `await caseDirectory(${number});
DIR = process.cwd();
results.push(await runCase(${number}, "${form}", (done) => ${code}));`;
}

/** The file's name: what is CommonJS and what is not, Node tells by it. */
export function fileName(style: ImportStyle): string {
  return style === "CommonJS" ? "main.cjs" : "main.mjs";
}

function withImports(imports: CoverageLibrary["imports"], body: string, style: ImportStyle): string {
  let text = body;
  const lines = Object.entries(imports).map(([name, module]) => {
    if (typeof module === "object") return importCallable(name, module.callable, style);
    if (style === "CommonJS") return `const ${name} = require("${module}");`;
    if (style === "default") return `import ${name} from "${module}";`;
    if (style === "namespace") return `import * as ${name} from "${module}";`;
    const names = new Set<string>();
    text = text.replace(new RegExp(`(?<![\\w.$])${name}\\.(\\w+)`, "g"), (_, member: string) => {
      names.add(member);
      return `${name}_${member}`;
    });
    return `import { ${[...names].map((member) => `${member} as ${name}_${member}`).join(", ")} } from "${module}";`;
  });
  // Our own module is taken dynamically: an application may not have it at all.
  const main = `(async () => { const { withAgent } = await import("$INDEX"); ${text} })();`;
  return `${lines.join("\n")}\n${main}\n`;
}

function importCallable(name: string, module: string, style: ImportStyle): string {
  if (style === "CommonJS") return `const ${name} = ((m) => m.default ?? m)(require("${module}"));`;
  if (style === "namespace") return `import * as ${name}_all from "${module}"; const ${name} = ${name}_all.default;`;
  return style === "named" ? `import { default as ${name} } from "${module}";` : `import ${name} from "${module}";`;
}
