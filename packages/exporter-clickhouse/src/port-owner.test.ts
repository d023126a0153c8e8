import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freePort, startProcess, tempDir } from "../../../test/support/index.ts";
import { findPortOwner } from "./port-owner.ts";

const LISTEN = `import { createServer } from "node:net";
createServer().listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));`;

it.runIf(process.platform === "linux")("names a process by what it was started as, without its options", async () => {
  const script = join(tempDir("port"), "agent.mjs");
  writeFileSync(script, LISTEN);
  const port = await freePort();
  await using owner = await startProcess(process.execPath, [script, String(port), "--set", "password=s3cret"]);
  await owner.waitForLine("listening");
  expect(await findPortOwner(port)).toBe(`process ${owner.pid} (${process.execPath} ${script} ${port})`);
  expect(await findPortOwner(await freePort())).toBeUndefined();
});
