import type { CoverageLibrary } from "./library.ts";

export const fsLibrary: CoverageLibrary = {
  name: "fs",
  imports: { fs: "node:fs", fsp: "node:fs/promises", util: "node:util" },
  fixture: `fs.writeFileSync("a", "text"); fs.mkdirSync("d"); fs.writeFileSync("d/e", "text");`,
  cases: [
    {
      api: "fs.readFile",
      form: "callback",
      code: `fs.readFile("a", done)`,
      records: ["file.read READ success file://$DIR/a"],
    },
    {
      api: "fs.readFileSync",
      form: "sync",
      code: `fs.readFileSync("a", "utf8")`,
      records: ["file.read READ success file://$DIR/a"],
    },
    {
      api: "fs.readFileSync",
      form: "sync",
      code: `fs.readFileSync("none")`,
      records: ["file.read READ failure ENOENT file://$DIR/none"],
    },
    {
      api: "fs.promises.readFile",
      form: "promise",
      code: `fs.promises.readFile("a", "utf8")`,
      records: ["file.read READ success file://$DIR/a"],
    },
    {
      api: "fs/promises readFile",
      form: "promise",
      code: `fsp.readFile("none")`,
      records: ["file.read READ failure ENOENT file://$DIR/none"],
    },
    {
      api: "util.promisify(fs.readFile)",
      form: "promise",
      code: `util.promisify(fs.readFile)("a", "utf8")`,
      records: ["file.read READ success file://$DIR/a"],
    },
    {
      api: "fs.writeFile",
      form: "callback",
      code: `fs.writeFile("b", "x", done)`,
      records: ["file.write WRITE success file://$DIR/b"],
    },
    {
      api: "fs.copyFile",
      form: "callback",
      code: `fs.copyFile("a", "b", done)`,
      records: ["file.copy WRITE success file://$DIR/b reads file://$DIR/a writes file://$DIR/b"],
    },
    {
      api: "fs.promises.rename",
      form: "promise",
      code: `fs.promises.rename("a", "b")`,
      records: ["file.rename UPDATE success file://$DIR/a reads file://$DIR/a writes file://$DIR/a,file://$DIR/b"],
    },
    {
      api: "fs.rmSync",
      form: "sync",
      note: "recursive",
      code: `fs.rmSync("d", { recursive: true })`,
      records: ["file.delete DELETE success file://$DIR/d"],
    },
    {
      api: "fs.createReadStream",
      form: "event",
      code: `fs.createReadStream("a")`,
      records: ["file.read READ success file://$DIR/a"],
    },
    {
      api: "fs.createWriteStream",
      form: "event",
      code: `fs.createWriteStream("b").end("x")`,
      records: ["file.write WRITE success file://$DIR/b"],
    },
  ],
  notSeen: [{ api: "`require()` and `import()` of a file", why: "module loading is only counted" }],
};
