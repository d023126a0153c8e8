import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freePort, startProcess, tempDir } from "../../../test/support/index.ts";
import { findPortOwner } from "./port-owner.ts";

const LISTEN = `import { createServer } from "node:net";
const server = createServer().listen(0, "127.0.0.1", () => console.log("listening " + server.address().port));`;

it.runIf(process.platform === "linux")("names a process by what it was started as, without its options", async () => {
  const script = join(tempDir("port"), "agent.mjs");
  writeFileSync(script, LISTEN);
  await using owner = await startProcess(process.execPath, [script, "agent", "--set", "password=s3cret"]);
  const port = Number((await owner.waitForLine("listening")).split(" ")[1]);
  expect(await findPortOwner(port)).toBe(`process ${owner.pid} (${process.execPath} ${script} agent)`);
  expect(await findPortOwner(await freePort())).toBeUndefined();
});
