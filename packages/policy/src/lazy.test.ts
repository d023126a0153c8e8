import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

/** What a fresh process has loaded of libraries after running `code` with this package as `policy`. */
function loadedAfter(code: string): string[] {
  const index = new URL("../dist/index.js", import.meta.url).href;
  const source = `
    import { registerHooks } from "node:module";
    const loaded = new Set();
    registerHooks({ load(url, context, next) {
      const library = /node_modules\\/(zod|yaml)\\//.exec(url)?.[1];
      if (library !== undefined) loaded.add(library);
      return next(url, context);
    } });
    const policy = await import(${JSON.stringify(index)});
    ${code}
    console.log(JSON.stringify([...loaded].sort()));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", source], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as string[];
}

test("the library that reads documents is loaded by the first document, not by the import", () => {
  const action = `{ event: "file.read", action: "READ", targets: [], actorId: "", actorType: "agent" }`;
  expect(loadedAfter(`policy.NO_POLICY.evaluate(${action});`)).toEqual([]);
  expect(loadedAfter(`policy.Policy.parse("policy: p\\nmode: observe\\ndefault: allow\\n");`)).toEqual(["yaml"]);
});
