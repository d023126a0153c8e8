// An optional dependency that the lock file lacks is a platform that cannot install: npm leaves out what a registry did
// not have on the day, and every other machine then misses it in silence.
import { readFileSync } from "node:fs";

interface LockedPackage {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly resolved?: string;
}

const lock = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")) as {
  packages: Readonly<Record<string, LockedPackage>>;
};

/** Node's resolution over the keys of the lock file: the nearest node_modules upwards. */
function isLocked(from: string, name: string): boolean {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    const prefix = folder === "" ? "" : `${folder}/`;
    if (`${prefix}node_modules/${name}` in lock.packages) return true;
    if (!folder.includes("/node_modules/")) return `node_modules/${name}` in lock.packages;
  }
}

const problems: string[] = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (!isLocked(path, name)) problems.push(`${path}: optional dependency ${name} is not in the lock file`);
  }
  if (entry.resolved?.startsWith("http")) problems.push(`${path}: names the registry it came from (${entry.resolved})`);
}
for (const problem of problems) process.stderr.write(`package-lock.json: ${problem}\n`);
process.exit(problems.length === 0 ? 0 : 1);
