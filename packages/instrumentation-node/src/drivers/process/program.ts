import { accessSync, closeSync, constants, openSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, delimiter, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { rethrowOverflow } from "../../intrinsics.ts";
import { ownWork } from "../../own-work.ts";

/** The program that a process is going to run. */
interface Program {
  /** Absolute if it was found; else as it was given. */
  readonly path: string;
  /** `process:/usr/bin/git`, percent-encoded as a file URL is; `process:name` for what is not found. */
  readonly id: string;
}

/**
 * The program behind the name of an executable, as the system looks for it: a name without a slash along the PATH of the
 * new process, another one from its working directory. Symbolic links are not followed.
 */
export function findProgram(file: string, cwd: string, path: string | undefined): Program {
  const found = ownWork(() => search(file, cwd, path ?? "/usr/local/bin:/bin:/usr/bin"));
  return found === undefined
    ? { path: file, id: `process:${encodeURIComponent(Buffer.from(file).toString())}` }
    : { path: found, id: `process:${pathToFileURL(found).href.slice("file://".length)}` };
}

function search(file: string, cwd: string, path: string): string | undefined {
  // Windows looks in more places and for more endings than are worth repeating here.
  if (file.includes("/") || isAbsolute(file)) return resolve(cwd, file);
  for (const directory of path.split(delimiter)) {
    const candidate = join(resolve(cwd, directory), file);
    if (isProgram(candidate)) return candidate;
  }
  return undefined;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch (error) {
    rethrowOverflow(error);
    return false;
  }
}

const NODE = /^node(?:js)?(?:\.exe)?$/i;
/** `#!/usr/bin/env node`, `#!/usr/local/bin/node --flag`, `#!/usr/bin/env -S node`. */
const NODE_SCRIPT = /^#!.*[/\s]node(?:js)?(?:\s|$)/;
const HEAD_BYTES = 128;

/** Whether a program is Node, or a script that Node runs. */
export function isNode({ path }: Program): boolean {
  if (NODE.test(basename(path)) || path === process.execPath) return true;
  if (!isAbsolute(path)) return false;
  return ownWork(() => {
    try {
      return realpathSync(path) === realpathSync(process.execPath) || NODE_SCRIPT.test(firstLine(path));
    } catch (error) {
      rethrowOverflow(error);
      return false;
    }
  });
}

function firstLine(path: string): string {
  const head = Buffer.alloc(HEAD_BYTES);
  const fd = openSync(path, "r");
  try {
    return head.toString("latin1", 0, readSync(fd, head)).split("\n", 1)[0] ?? "";
  } finally {
    closeSync(fd);
  }
}
