// Calls of the file system that do their work by others that are patched too; each as an agent named after it.
import { withAgent } from "@otel-audit/instrumentation-node";
import fs from "node:fs";
import fsp from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const { DIR } = process.env;
if (DIR === undefined) throw new Error("DIR is required");
const at = (name: string): string => join(DIR, name);
const heard = (start: (done: () => void) => void): Promise<void> => new Promise(start);

const actions: Readonly<Record<string, () => unknown>> = {
  writeFileSync: () => fs.writeFileSync(at("f"), "hello"),
  "writeFile callback": () => heard((done) => fs.writeFile(at("f"), "hello", done)),
  "writeFile promise": () => fsp.writeFile(at("f"), "hello"),
  appendFileSync: () => fs.appendFileSync(at("f"), "!"),
  readFileSync: () => fs.readFileSync(at("f")),
  "readFile promise": () => fsp.readFile(at("f")),
  "file handle": async () => {
    await using file = await fsp.open(at("f"), "r+");
    await file.write("H");
    await file.readFile();
  },
  descriptor: () => {
    const descriptor = fs.openSync(at("f"), "a");
    fs.writeSync(descriptor, "?");
    fs.closeSync(descriptor);
  },
  "write stream": () => pipeline("hello", fs.createWriteStream(at("s"))),
  "read stream": () => pipeline(fs.createReadStream(at("s")), async (chunks) => void (await Array.fromAsync(chunks))),
  copyFileSync: () => fs.copyFileSync(at("f"), at("copy")),
  "copyFile callback": () => heard((done) => fs.copyFile(at("f"), at("copy"), done)),
  "copyFile promise": () => fsp.copyFile(at("f"), at("copy")),
  "mkdir recursive": () => fsp.mkdir(at("tree/deep/deeper"), { recursive: true }),
  "write below": () => fsp.writeFile(at("tree/deep/deeper/f"), "x"),
  "cp recursive": () => fsp.cp(at("tree"), at("forest"), { recursive: true }),
  renameSync: () => fs.renameSync(at("copy"), at("moved")),
  "rename promise": () => fsp.rename(at("moved"), at("copy")),
  "rm recursive": () => fsp.rm(at("forest"), { recursive: true }),
  rmSync: () => fs.rmSync(at("tree"), { recursive: true }),
  "module loading": () => createRequire(import.meta.url)("pg"),
};

for (const [name, action] of Object.entries(actions)) await withAgent({ id: name }, action);
process.stdout.write(`${JSON.stringify(Object.keys(actions))}\n`);
