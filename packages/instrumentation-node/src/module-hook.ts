import { createRequire, Module } from "node:module";
import { readFileSync } from "node:fs";
import { sep } from "node:path";

import { ownWork } from "./own-work.ts";
import { replace } from "./patch.ts";
import { property } from "./unknown.ts";

/** The loaded copy of a package. */
interface LoadedPackage {
  readonly name: string;
  /** From its package.json; undefined when that cannot be read. */
  readonly version: string | undefined;
  /** Absolute path of the loaded file. */
  readonly filename: string;
}

/**
 * Called once for each loaded copy, with its exports, before the one who asked for it gets them. May throw: the
 * package then stays as it is and `onHookError` hears of it.
 */
type PackageHook = (exports: unknown, loaded: LoadedPackage) => void;

interface LoadedModule {
  readonly filename: string;
  readonly exports: unknown;
}

const NODE_MODULES = `${sep}node_modules${sep}`;

/** By package name. */
const hooks = new Map<string, Set<PackageHook>>();
const offered = new WeakMap<PackageHook, Set<string>>();
let reportError: (error: unknown, loaded: LoadedPackage) => void = () => {};
let installed = false;
/** The file that the CommonJS loader is about to read, until it has read it. */
let pendingRead: string | undefined;

/**
 * Runs `hook` with the exports of a CommonJS package when a copy of it is loaded, and at once for copies that already
 * are. It sees `require`, and also `import` of a CommonJS package, because the ESM loader evaluates those through
 * `Module.prototype.load` too (Node 20 to 24): no loader hook is needed. A package that is an ES module itself or is
 * bundled into the application is not seen.
 *
 * A package that is installed under another name is seen where its main file is index.js, or by a file in it.
 *
 * Patch prototypes, or properties of the exports object in place: ES modules copy named exports when they are linked.
 *
 * @param name a package's name (`pg`); the hook sees its main file. Or a file in it, with its extension
 *   (`pg/lib/query.js`).
 * @returns stops calling the hook; what it has patched stays patched.
 */
export function onPackage(name: string, hook: PackageHook): () => void {
  watchModuleLoading();
  const registered = hooks.get(name) ?? new Set();
  hooks.set(name, registered.add(hook));
  for (const module of Object.values(createRequire(import.meta.url).cache)) {
    if (isLoadedModule(module)) offer(module);
  }
  return () => {
    registered.delete(hook);
    if (registered.size === 0) hooks.delete(name);
  };
}

/** Who hears of a hook that threw; the default is nobody. */
export function onHookError(report: typeof reportError): void {
  reportError = report;
}

/** Starts to watch the CommonJS loader; safe to call again. */
export function watchModuleLoading(): void {
  if (installed) return;
  installed = true;
  // In place of Module._load: `load` runs once for a file instead of once for every require of it.
  replace(
    Module.prototype,
    "load",
    (load) =>
      function (this: unknown, ...args: unknown[]): unknown {
        const before = pendingRead;
        pendingRead = typeof args[0] === "string" ? args[0] : undefined;
        try {
          return Reflect.apply(load, this, args);
        } finally {
          pendingRead = before;
          if (isLoadedModule(this)) offer(this);
        }
      },
  );
  // The source is there, maybe from the ESM loader: from here on the module's own code runs.
  replace(
    Module.prototype,
    "_compile",
    (compile) =>
      function (this: unknown, ...args: unknown[]): unknown {
        pendingRead = undefined;
        return Reflect.apply(compile, this, args);
      },
  );
}

/**
 * Whether reading `path` now is the CommonJS loader reading the module it was asked for. True once for each loaded
 * file: what the module's own code reads while it is evaluated, be it itself, is the application's action.
 */
export function isModuleRead(path: unknown): boolean {
  if (pendingRead === undefined || path !== pendingRead) return false;
  pendingRead = undefined;
  return true;
}

function isLoadedModule(module: unknown): module is LoadedModule {
  return property(module, "loaded") === true && typeof property(module, "filename") === "string";
}

function offer(module: LoadedModule): void {
  if (hooks.size === 0) return;
  const at = module.filename.lastIndexOf(NODE_MODULES);
  if (at === -1) return;
  const inside = module.filename.slice(at + NODE_MODULES.length).replaceAll(sep, "/");
  const slash = inside.indexOf("/", inside.startsWith("@") ? inside.indexOf("/") + 1 : 0);
  const folder = slash === -1 ? inside : inside.slice(0, slash);
  const file = slash === -1 ? "" : inside.slice(slash);
  const directory = module.filename.slice(0, at + NODE_MODULES.length + folder.length);
  const name = nameOf(folder, file, directory);
  const byName = hooks.get(name);
  const byFile = hooks.get(`${name}${file}`);
  if (byName !== undefined && isMain(folder, module.filename)) call(byName, name, directory, module);
  if (byFile !== undefined) call(byFile, name, directory, module);
}

/** What a package is called in its package.json, by directory: of those that may be installed under another name. */
const names = new Map<string, string>();

/**
 * A package's name: of its folder, or where it is installed under an alias (`npm:undici@7`) its own. To have it read for
 * each package of an application would cost its start; the file that was loaded says which ones may be meant.
 */
function nameOf(folder: string, file: string, directory: string): string {
  if (hooks.has(folder) || hooks.has(`${folder}${file}`)) return folder;
  if (file !== MAIN && ![...hooks.keys()].some((hooked) => hooked.endsWith(file))) return folder;
  let name = names.get(directory);
  if (name === undefined) {
    name = manifestOf(directory, "name") ?? folder;
    names.set(directory, name);
  }
  return name;
}

/** Of the packages that are hooked by their name, undici's. */
const MAIN = "/index.js";

function isMain(name: string, filename: string): boolean {
  try {
    return createRequire(filename).resolve(name) === filename;
  } catch {
    return false;
  }
}

function call(registered: Iterable<PackageHook>, name: string, directory: string, module: LoadedModule): void {
  for (const hook of registered) {
    const files = offered.get(hook) ?? new Set();
    offered.set(hook, files);
    if (files.has(module.filename)) continue;
    files.add(module.filename);
    const loaded: LoadedPackage = { name, version: manifestOf(directory, "version"), filename: module.filename };
    try {
      hook(module.exports, loaded);
    } catch (error) {
      reportError(error, loaded);
    }
  }
}

function manifestOf(directory: string, key: "name" | "version"): string | undefined {
  try {
    const text = ownWork(() => readFileSync(`${directory}${sep}package.json`, "utf8"));
    const value = property(JSON.parse(text), key);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
