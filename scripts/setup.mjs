// Plain JavaScript for any Node from 20 on: it runs before anything is installed.
// Installs the dependencies once; a second call finds the stamp of the same lock file and returns at once.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stampFile = new URL("../node_modules/.otel-audit-setup", import.meta.url);

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`otel-audit needs Node 20.19 or newer to set itself up; this is ${process.version}\n`);
  process.exit(2);
}

/** What an install depends on; a native module belongs to one platform. */
function stamp() {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  for (const file of ["../package-lock.json", "../package.json"]) {
    hash.update(readFileSync(new URL(file, import.meta.url)));
  }
  return hash.digest("hex");
}

function installed() {
  return existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp();
}

if (!installed()) {
  process.stderr.write("setup: installing dependencies (about 1.1 GB, half of it the embedded ClickHouse)\n");
  // `npm ci` would refuse where the registry lacks a platform's optional package; `--no-save` keeps the lock file as it is.
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const result = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ["ignore", "inherit", "inherit"] })
    : spawnSync("npm", args, {
        cwd: root,
        stdio: ["ignore", "inherit", "inherit"],
        shell: process.platform === "win32",
      });
  if (result.status !== 0) {
    process.stderr.write(`setup: npm install failed (exit code ${result.status ?? result.signal})\n`);
    process.exit(2);
  }
  writeFileSync(stampFile, stamp());
}
