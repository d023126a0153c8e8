import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { startProcess, tempDir } from "../test/support/index.ts";

const here = import.meta.dirname;
const STALE = "packages/semantic-conventions/src/events.ts";
let project: string;

beforeEach(() => {
  project = tempDir("conventions");
  cpSync(here, join(project, "conventions"), { recursive: true });
  symlinkSync(join(dirname(here), "node_modules"), join(project, "node_modules"));
});

async function run(...args: string[]): Promise<{ code: number | null; stderr: string }> {
  await using child = await startProcess(process.execPath, [join(project, "conventions/generate.ts"), ...args]);
  const { code } = await child.exited;
  return { code, stderr: child.stderr };
}

it("writes the files, finds them current, names the stale one and writes it again", async () => {
  expect(await run()).toEqual({ code: 0, stderr: "" });
  expect(await run("--check")).toEqual({ code: 0, stderr: "" });
  const events = readFileSync(join(project, STALE), "utf8");
  writeFileSync(join(project, STALE), `${events}\n`);
  expect(await run("--check")).toEqual({ code: 1, stderr: `${STALE} is stale: run npm run generate\n` });
  expect(readFileSync(join(project, STALE), "utf8")).toBe(`${events}\n`);
  expect((await run()).code).toBe(0);
  expect(readFileSync(join(project, STALE), "utf8")).toBe(events);
});

it("exits with 1 and the problems for a broken registry, without a stack", async () => {
  const file = join(project, "conventions/registry/spans.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace("ref: url.full", "ref: url.fool"));
  const { code, stderr } = await run();
  expect(code).toBe(1);
  expect(stderr).toBe(
    "the registry has 1 problem(s):\n" +
      '  registry/spans.yaml: spans[0].attributes: ref "url.fool" is neither in registry/ nor in upstream/\n',
  );
});

it("exits with 2 for an argument that it does not know", async () => {
  const { code, stderr } = await run("--chek");
  expect(code).toBe(2);
  expect(stderr).toContain("unknown argument --chek");
});
