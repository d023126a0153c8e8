import * as fs from "node:fs";
import { dirname } from "node:path";

import { property } from "../unknown.ts";

/**
 * A directory that only this user can enter. In a shared temporary directory somebody else could have made it first,
 * and would read the records, or plant some.
 */
export function preparePrivateDirectory(directory: string): void {
  makeDirectory(directory);
  const stat = fs.lstatSync(directory);
  if (!stat.isDirectory()) throw new Error(`${directory} is not a directory`);
  const user = process.getuid?.();
  if (user === undefined) return;
  if (stat.uid !== user) throw new Error(`${directory} belongs to user ${stat.uid}, not to ${user}`);
  if ((stat.mode & 0o077) !== 0) fs.chmodSync(directory, 0o700);
}

/** Not by Node's recursive mkdir, which never returns below /proc. */
function makeDirectory(directory: string): void {
  if (fs.existsSync(directory)) return;
  makeDirectory(dirname(directory));
  try {
    fs.mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (property(error, "code") !== "EEXIST") throw error;
  }
}
