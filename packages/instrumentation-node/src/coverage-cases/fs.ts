import type { CoverageCase, CoverageLibrary } from "./library.ts";

/** A call in its three forms: `fs.promises.name`, `fs.name` with a callback, `fs.nameSync`. */
interface Family {
  readonly name: string;
  readonly args: string;
  /** `event ACTION [error] target…`: further targets as in `CoverageCase.records`. A leading `/` stands for `file://$DIR/`. */
  readonly record?: string;
  readonly note?: string;
  /** What makes results of different runs the same, or gives back what was opened. */
  readonly after?: string;
  readonly since?: number;
  /** Forms that there are; all by default. */
  readonly forms?: readonly ("promise" | "callback" | "sync")[];
  readonly notDenied?: true;
}

const FAMILIES: readonly Family[] = [
  { name: "readFile", args: `"a", "utf8"`, record: "file.read READ /a" },
  { name: "readFile", args: `"none"`, record: "file.read READ ENOENT /none" },
  { name: "readFile", args: `"d"`, record: "file.read READ EISDIR /d", note: "a directory" },
  {
    name: "readFile",
    args: `"n", { flag: "w+" }`,
    record: "file.write WRITE /n",
    note: "flags that write",
  },
  { name: "readFile", args: `"link"`, record: "file.read READ /link reads /link,/a", note: "a symbolic link" },
  { name: "readFile", args: `Buffer.from("a")`, record: "file.read READ /a", note: "a Buffer" },
  { name: "readFile", args: `new URL("a", dir())`, record: "file.read READ /a", note: "a URL" },
  {
    name: "readFile",
    args: `Buffer.from([0x61, 0xff])`,
    record: "file.read READ ENOENT /a%FF",
    note: "not UTF-8",
  },
  { name: "readFile", args: `"x\\ud800"`, record: "file.read READ ENOENT /x%EF%BF%BD", note: "a lone surrogate" },
  { name: "writeFile", args: `"n", "x"`, record: "file.write WRITE /n" },
  { name: "writeFile", args: `"n", "x", { flag: "wx" }`, record: "file.create CREATE /n" },
  { name: "writeFile", args: `"a", "x", { flag: "wx" }`, record: "file.create CREATE EEXIST /a" },
  { name: "writeFile", args: `"no/n", "x"`, record: "file.write WRITE ENOENT /no/n" },
  { name: "writeFile", args: `"n", "x", { flag: 0 }`, record: "file.write WRITE /n", note: "no flags" },
  { name: "appendFile", args: `"a", "x"`, record: "file.write WRITE /a" },
  { name: "appendFile", args: `"no/n", "x"`, record: "file.write WRITE ENOENT /no/n" },
  { name: "open", args: `"a"`, record: "file.read READ /a", after: "close" },
  { name: "open", args: `"a", "r+"`, record: "file.write WRITE /a", after: "close" },
  { name: "open", args: `"n", "wx"`, record: "file.create CREATE /n", after: "close" },
  {
    name: "open",
    args: `"n", fs.constants.O_WRONLY | fs.constants.O_CREAT`,
    record: "file.write WRITE /n",
    after: "close",
  },
  { name: "open", args: `"none"`, record: "file.read READ ENOENT /none", after: "close" },
  { name: "truncate", args: `"a", 1`, record: "file.change UPDATE /a" },
  { name: "truncate", args: `"none"`, record: "file.change UPDATE ENOENT /none" },
  { name: "copyFile", args: `"a", "n"`, record: "file.copy WRITE /n reads /a writes /n" },
  {
    name: "copyFile",
    args: `"a", "b", fs.constants.COPYFILE_EXCL`,
    record: "file.copy CREATE EEXIST /b reads /a writes /b",
  },
  { name: "cp", args: `"d", "n", { recursive: true }`, record: "file.copy WRITE /n reads /d writes /n" },
  {
    name: "cp",
    args: `"d", "n", { recursive: true, filter: (from) => fs.existsSync(from) }`,
    record: "file.copy WRITE /n reads /d writes /n",
    note: "with a filter",
  },
  { name: "cp", args: `"d", "n"`, record: "file.copy WRITE ERR_FS_EISDIR /n reads /d writes /n" },
  { name: "rename", args: `"a", "n"`, record: "file.rename UPDATE /a reads /a writes /a,/n" },
  { name: "rename", args: `"d", "n"`, record: "file.rename UPDATE /d reads /d writes /d,/n", note: "a directory" },
  { name: "rename", args: `"none", "n"`, record: "file.rename UPDATE ENOENT /none reads /none writes /none,/n" },
  { name: "link", args: `"a", "n"`, record: "file.link CREATE /n reads /a writes /n" },
  { name: "link", args: `"a", "b"`, record: "file.link CREATE EEXIST /b reads /a writes /b" },
  { name: "symlink", args: `"../a", "d/n"`, record: "file.link CREATE /d/n reads /a writes /d/n" },
  { name: "symlink", args: `"a", "b"`, record: "file.link CREATE EEXIST /b reads /a writes /b" },
  { name: "unlink", args: `"a"`, record: "file.delete DELETE /a" },
  { name: "unlink", args: `"link"`, record: "file.delete DELETE /link", note: "a symbolic link" },
  { name: "unlink", args: `"none"`, record: "file.delete DELETE ENOENT /none" },
  { name: "rm", args: `"a"`, record: "file.delete DELETE /a" },
  { name: "rm", args: `"d", { recursive: true }`, record: "file.delete DELETE /d", note: "recursive" },
  { name: "rm", args: `"none"`, record: "file.delete DELETE ENOENT /none" },
  { name: "rm", args: `"none", { force: true }`, record: "file.delete DELETE /none" },
  { name: "rmdir", args: `"empty"`, record: "file.delete DELETE /empty" },
  { name: "rmdir", args: `"d"`, record: "file.delete DELETE ENOTEMPTY /d" },
  { name: "mkdir", args: `"n"`, record: "file.create CREATE /n" },
  { name: "mkdir", args: `"n/m", { recursive: true }`, record: "file.create CREATE /n/m" },
  { name: "mkdir", args: `"d"`, record: "file.create CREATE EEXIST /d" },
  { name: "mkdtemp", args: `"t-"`, record: "file.create CREATE /t-", after: "length", note: "its prefix" },
  { name: "chmod", args: `"a", 0o600`, record: "file.change UPDATE /a" },
  { name: "chmod", args: `"none", 0o600`, record: "file.change UPDATE ENOENT /none" },
  { name: "chown", args: `"a", uid, gid`, record: "file.change UPDATE /a" },
  { name: "lchown", args: `"link", uid, gid`, record: "file.change UPDATE /link" },
  { name: "utimes", args: `"a", 1, 1`, record: "file.change UPDATE /a" },
  { name: "lutimes", args: `"link", 1, 1`, record: "file.change UPDATE /link" },
  { name: "readdir", args: `"d"`, record: "file.list READ /d" },
  { name: "readdir", args: `".", { recursive: true }`, record: "file.list READ " },
  { name: "readdir", args: `"none"`, record: "file.list READ ENOENT /none" },
  { name: "opendir", args: `"d"`, record: "file.list READ /d", after: "close" },
  { name: "opendir", args: `"none"`, record: "file.list READ ENOENT /none", after: "close" },
  { name: "glob", args: `"d/*"`, record: "file.list READ /d", forms: ["callback", "sync"], since: 22 },
  { name: "stat", args: `"none"`, notDenied: true, note: "counted in `process.summary`" },
  { name: "lstat", args: `"none"`, notDenied: true, note: "counted in `process.summary`" },
  { name: "access", args: `"a"`, notDenied: true, note: "counted in `process.summary`" },
  { name: "realpath", args: `"link"`, notDenied: true, note: "counted in `process.summary`" },
  { name: "readlink", args: `"link"`, notDenied: true, note: "counted in `process.summary`" },
];

const AFTER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  close: {
    promise: `.then((opened) => opened.close())`,
    callback: `(error, opened) => (error ? done(error) : typeof opened === "number" ? fs.close(opened, done) : opened.close(done))`,
  },
  length: {
    promise: `.then((name) => name.length)`,
    callback: `(error, name) => done(error, name?.length)`,
  },
};

function casesOf(family: Family): CoverageCase[] {
  const { name, args, note, since, notDenied, forms = ["promise", "callback", "sync"] } = family;
  const further = { ...(note && { note }), ...(since && { since }), ...(notDenied && { notDenied }) };
  const records = family.record === undefined ? [] : [recordOf(family.record)];
  const end = AFTER[family.after ?? ""];
  const sync = family.after === "close" ? `shut(fs.${name}Sync(${args}))` : `fs.${name}Sync(${args})`;
  const all: readonly CoverageCase[] = [
    { api: `fs.promises.${name}`, form: "promise", code: `fsp.${name}(${args})${end?.["promise"] ?? ""}`, records },
    { api: `fs.${name}`, form: "callback", code: `fs.${name}(${args}, ${end?.["callback"] ?? "done"})`, records },
    {
      api: `fs.${name}Sync`,
      form: "sync",
      code: family.after === "length" ? `${sync}.length` : sync,
      records,
    },
  ];
  return all.filter(({ form }) => forms.some((each) => each === form)).map((each) => ({ ...each, ...further }));
}

function recordOf(text: string): string {
  const [, head, error, targets] = /^(\S+ [A-Z]+) (E\w+ )?(.*)$/.exec(text) ?? [];
  const outcome = error === undefined ? "success" : `failure ${error.trim()}`;
  const ids = (targets === "" ? "/" : (targets ?? "")).replaceAll(/(?<=^|[ ,])\//g, "file://$$DIR/").replace(/\/$/, "");
  return `${head} ${outcome} ${ids}`;
}

function single(
  api: string,
  form: CoverageCase["form"],
  code: string,
  record?: string,
  further?: Partial<CoverageCase>,
): CoverageCase {
  return { api, form, code, records: record === undefined ? [] : [recordOf(record)], ...further };
}

const SINGLES: readonly CoverageCase[] = [
  single("fs.openAsBlob", "promise", `fs.openAsBlob("a").then((blob) => blob.text())`, "file.read READ /a"),
  single("fs.promises.glob", "promise", `Array.fromAsync(fsp.glob("d/*"))`, "file.list READ /d", { since: 22 }),
  single("util.promisify(fs.readFile)", "promise", `util.promisify(fs.readFile)("a", "utf8")`, "file.read READ /a"),
  single("util.promisify(fs.exists)", "promise", `util.promisify(fs.exists)("a")`, undefined, { notDenied: true }),
  single("fs.createReadStream", "event", `fs.createReadStream("a")`, "file.read READ /a"),
  single("fs.createReadStream", "event", `fs.createReadStream("none")`, "file.read READ ENOENT /none"),
  single("fs.createWriteStream", "event", `fs.createWriteStream("n").end("x")`, "file.write WRITE /n"),
  single("fs.createWriteStream", "event", `fs.createWriteStream("a", { flags: "wx" })`, "file.create CREATE EEXIST /a"),
  single("new fs.ReadStream", "event", `new fs.ReadStream("a")`, "file.read READ /a"),
  single("new fs.WriteStream", "event", `new fs.WriteStream("n").end("x")`, "file.write WRITE /n"),
  single("FileHandle", "promise", `withFile("a", "r", (file) => file.readFile("utf8"))`, "file.read READ /a"),
  single("FileHandle", "promise", `withFile("n", "w", (file) => file.chmod(0o600))`, "file.write WRITE /n"),
  single("fs.watch", "sync", `shut(fs.watch("a"))`, "file.read READ /a"),
  single("fs.watchFile", "sync", `fs.watchFile("a", noop) && fs.unwatchFile("a")`, "file.read READ /a"),
  single("node:sqlite DatabaseSync", "sync", `new (sqlite().DatabaseSync)("n").close()`, "file.write WRITE /n", {
    since: 22,
  }),
  single(
    "node:sqlite DatabaseSync",
    "sync",
    `new (sqlite().DatabaseSync)("a", { readOnly: true }).close()`,
    "file.read READ /a",
    {
      since: 22,
      note: "read only",
    },
  ),
  single("node:sqlite DatabaseSync", "sync", `new (sqlite().DatabaseSync)(":memory:").close()`, undefined, {
    since: 22,
    note: "in memory",
    notDenied: true,
  }),
  single("process.loadEnvFile", "sync", `process.loadEnvFile("b")`, "file.read READ /b"),
  single("process.report.writeReport", "sync", `process.report.writeReport("report")`, "file.write WRITE /report"),
];

/** A change by a handle of a file that was opened to be read is a record of its own. */
const BY_HANDLE: readonly CoverageCase[] = [
  single("fs.fchmodSync", "sync", `shut(fs.openSync("a"), (fd) => fs.fchmodSync(fd, 0o600))`),
  single("fs.fchownSync", "sync", `shut(fs.openSync("a"), (fd) => fs.fchownSync(fd, uid, gid))`),
  single("fs.futimesSync", "sync", `shut(fs.openSync("a"), (fd) => fs.futimesSync(fd, 1, 1))`),
  single("FileHandle.chmod", "promise", `withFile("a", "r", (file) => file.chmod(0o600))`),
  single("FileHandle.chown", "promise", `withFile("a", "r", (file) => file.chown(uid, gid))`),
  single("FileHandle.utimes", "promise", `withFile("a", "r", (file) => file.utimes(1, 1))`),
].map((each) => ({
  ...each,
  note: "of a file that was opened to be read",
  records: [recordOf("file.read READ /a"), recordOf("file.change UPDATE /a")],
}));

export const fsLibrary: CoverageLibrary = {
  name: "fs",
  imports: { fs: "node:fs", fsp: "node:fs/promises", util: "node:util" },
  setup: `
const [uid, gid] = [process.getuid(), process.getgid()];
const noop = () => {};
const sqlite = () => process.getBuiltinModule("node:sqlite");
const dir = () => "file://" + process.cwd() + "/";
const shut = (opened, use = noop) => {
  use(opened);
  return typeof opened === "number" ? fs.closeSync(opened) : opened.closeSync ? opened.closeSync() : opened.close();
};
const withFile = async (path, flags, use) => {
  const file = await fsp.open(path, flags);
  try { return await use(file); } finally { await file.close(); }
};`,
  fixture: `for (const name of ["d", "empty"]) fs.mkdirSync(name);
  for (const name of ["a", "b", "d/e"]) fs.writeFileSync(name, "A=text");
  fs.symlinkSync("a", "link");`,
  cases: [...FAMILIES.flatMap(casesOf), ...SINGLES, ...BY_HANDLE],
  notSeen: [
    {
      api: "statements, `ATTACH` and extensions of `node:sqlite`",
      why: "only the opening of the database is recorded",
    },
    {
      api: "`require()` and `import()` of a file",
      why: "module loading is only counted, but for secrets and what a rule denies or reviews by its resource",
    },
  ],
};
