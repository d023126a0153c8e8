import { expect, test } from "vitest";

import { makeApp } from "../../testing/run-app.ts";

/**
 * Calls every function of `fs` with arguments of every kind, most of them bad, and says what each came to. The same seed
 * makes the same calls, so that two processes can be compared.
 */
const APP = `
import fs from "node:fs";
import util from "node:util";
import vm from "node:vm";
import { pathToFileURL } from "node:url";

let seed = Number(process.env.SEED);
const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return Math.floor((seed / 2 ** 32) * n); };
const pick = (list) => list[random(list.length)];
const old = Number(process.versions.node.split(".")[0]) < 22;
const sandbox = process.env.SANDBOX;
const said = [];
const stop = (error) => { console.error(error); process.exit(1); };
let uncaught = stop;
// Nothing is left to do: what is waited for never comes.
let idle = () => {};
process.on("beforeExit", () => idle());
const orNever = (start) => new Promise((resolve, reject) => { idle = () => resolve("never"); start(resolve, reject); });
process.on("uncaughtException", (error) => uncaught(error));
const names = ["a", "b", "d", "d/e", "link", "loop", "none", "d/../a", "link/../a", "d/", "."];
const reset = () => {
  // Some calls remove even that.
  fs.mkdirSync(sandbox, { recursive: true }); process.chdir(sandbox); uncaught = stop; idle = () => {};
  for (const name of fs.readdirSync(".", { encoding: "buffer" })) fs.rmSync(name, { recursive: true, force: true });
  fs.mkdirSync("d"); for (const name of ["a", "b", "d/e"]) fs.writeFileSync(name, "text");
  fs.symlinkSync("d", "link"); fs.symlinkSync("loop", "loop");
};
const getters = (fields) => Object.defineProperties({}, Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, {
  enumerable: true, get() { if (value instanceof Error) throw value; return value; },
}])));
class Options { constructor(fields) { this.fields = fields; } get flag() { return this.fields.flag; } get recursive() { return this.fields.recursive; } get encoding() { return this.fields.encoding; } }
const paths = [
  () => pick(names), () => pick(names), () => pick(names), () => pick(names),
  () => Buffer.from(pick(names)), () => new TextEncoder().encode(pick(names)), () => pathToFileURL(pick(names)),
  () => vm.runInNewContext("Uint8Array.from(bytes)", { bytes: Buffer.from(pick(names)) }),
  () => "", () => "nul\\0", () => Buffer.from("nul\\0"), () => "x".repeat(300), () => "\\ud800", () => Buffer.from([0x61, 0xff]),
  () => new URL("http://host/a"), () => new URL("file://host/a"), () => new URL("file:///a%2fb"), () => new URL("file:///a%00b"),
  () => ({ href: "file:///x", protocol: "file:", hostname: "", pathname: sandbox + "/" + pick(names) }),
  () => getters({ href: "file:", protocol: "file:", auth: undefined, path: undefined, hostname: "", pathname: sandbox + "/a" }),
  () => getters({ href: new TypeError("no href") }), () => getters({ href: "x", protocol: new TypeError("no protocol") }),
  () => new Proxy(new URL("file:///x"), {}),
  () => 7777, () => -1, () => 1.5, () => null, () => undefined, () => true, () => Symbol("s"), () => 7n, () => [], () => ({}), () => () => {},
  // Node 20 itself aborts when it wants to say of what kind these are.
  () => (old ? {} : Object.create(null)), () => (old ? {} : new Proxy({}, { get() { throw new RangeError("trap"); } })), () => new String("a"), () => ["a"], () => new Date(0), () => new Uint16Array([97]), () => new DataView(new ArrayBuffer(1)),
];
const flags = ["r", "r+", "w", "wx", "a", "ax+", "", 0, 66, "bad", null, undefined, -1, 2 ** 40, {}];
const fields = () => ({ flag: pick(flags), recursive: pick([true, false, undefined, 1, "x"]), encoding: pick(["utf8", "buffer", "bad", null, undefined]), force: pick([true, undefined]) });
const others = [
  () => undefined, () => null, () => "utf8", () => "x", () => 0, () => 420, () => "777", () => "bad", () => Buffer.from("x"), () => pick(flags),
  () => fields(), () => fields(), () => Object.assign(Object.create(null), fields()), () => getters(fields()), () => new Options(fields()),
  () => new Proxy(fields(), {}), () => getters({ flag: new TypeError("no flag"), recursive: new TypeError("no recursive") }),
  () => Object.freeze(fields()), () => Object.defineProperty({}, "flag", { value: "w" }), () => ({ signal: AbortSignal.abort() }), () => ({ signal: 5 }),
  () => Object.create(fields()), () => pick(names), () => new Date(0), () => Infinity, () => NaN, () => Symbol("o"), () => [], () => 2n,
];
const skipped = /^(?:watch|watchFile|unwatchFile|fsync|fdatasync|read|write|readv|writev|close|fstat|mkdtemp|mkdtempDisposable|statfs|stat|lstat|utimes|futimes|lutimes|openAsBlob|_toUnixTimestamp|createReadStream|createWriteStream|.*chown)(?:Sync)?$/;
const functions = [
  ...Object.keys(fs).filter((name) => typeof fs[name] === "function" && /^[a-z]/.test(name) && !skipped.test(name)).map((name) => [name.endsWith("Sync") ? "sync" : "callback", name]),
  ...Object.keys(fs.promises).filter((name) => typeof fs.promises[name] === "function" && !skipped.test(name)).map((name) => ["promise", name]),
];
const show = (value) => {
  if (typeof value === "number") return "number";
  if (typeof value === "object" && value !== null && typeof value.close === "function") { try { value.closeSync ? value.closeSync() : void value.close(); } catch {} return value.constructor.name; }
  if (typeof value?.next === "function") return "iterator";
  return util.inspect(Buffer.isBuffer(value) ? value.toString() : value, { depth: 1 });
};
const left = () => { try { return fs.readdirSync(sandbox, { recursive: true }).sort().join(",") + fs.readFileSync(sandbox + "/b"); } catch (error) { return fault(error); } };
const fault = (error) => [error?.constructor?.name, error?.name, error?.code, error?.message, error?.path, error?.dest, error?.syscall].map(String).join("|");
for (const [kind, name] of functions) said.push(kind + " " + name + " " + (kind === "promise" ? fs.promises : fs)[name].name + " " + (kind === "promise" ? fs.promises : fs)[name].length);
for (let call = 0; call < Number(process.env.CALLS); call++) {
  reset();
  const [kind, name] = pick(functions);
  const makers = [pick(paths)];
  const count = random(4);
  for (let i = 0; i < count; i++) makers.push(pick(random(3) === 0 ? paths : others));
  const args = makers.map((make) => make());
  const line = [kind, name, makers.join(", ").replaceAll("() => ", "")];
  let order = "";
  try {
    if (kind === "sync") { const value = fs[name](...args); line.push(show(value)); }
    else if (kind === "promise") {
      const promise = fs.promises[name](...args);
      line.push(promise?.constructor?.name);
      line.push(show(await orNever((resolve, reject) => (typeof promise?.next === "function" ? promise.next().then((step) => step.done) : promise).then(resolve, reject))));
    } else line.push(await orNever((resolve) => {
      uncaught = (error) => resolve("uncaught " + fault(error));
      const callback = (...results) => resolve([order + "called back", results.length, results[0] ? fault(results[0]) : show(results[1])].join(" ; "));
      try { line.push(String(fs[name](...args, callback))); order += "returned, "; } catch (error) { resolve("thrown " + fault(error)); }
    }));
  } catch (error) { line.push(fault(error)); }
  line.push(left());
  said.push(line.join(" ; ").replaceAll(sandbox, "CWD"));
}
reset();
process.chdir("/");
console.log(JSON.stringify(said));
process.exitCode = 0;
`;

test("arguments of every kind have the results, errors and order that they have without audit", async () => {
  await using app = await makeApp({ "main.mjs": APP });
  const env = { CALLS: "1000", SEED: String(Math.floor(Math.random() * 2 ** 31)) };
  const run = async (sandbox: string, nodeArgs: readonly string[] | undefined): Promise<unknown> => {
    const further = nodeArgs === undefined ? {} : { nodeArgs };
    const { code, stdout, stderr } = await app.run({
      env: { ...env, SANDBOX: `${app.work}/${sandbox}`, NODE_NO_WARNINGS: "1" },
      ...further,
    });
    return stdout === "" ? { code, stderr } : JSON.parse(stdout);
  };
  const [without, audited] = await Promise.all([run("one", []), run("two", undefined)]);
  expect(audited, `seed ${env.SEED}`).toEqual(without);
}, 60_000);
