import type { CoverageLibrary } from "./library.ts";

const SHELL = "process.exec EXECUTE success process:/bin/sh";
const FAILED = "process.exec EXECUTE failure 3 process:/bin/sh";
const MISSING = "process.exec EXECUTE failure ENOENT process:/no/such/program";

export const processLibrary: CoverageLibrary = {
  name: "child_process",
  imports: { cp: "node:child_process" },
  setup: `
    const { promisify } = await import("node:util");
    const text = (result) => String(result.stdout ?? result);`,
  cases: [
    { api: "spawn", form: "event", code: `cp.spawn("/bin/sh", ["-c", "exit 0"])`, records: [SHELL] },
    { api: "spawn", form: "event", note: "fails", code: `cp.spawn("/bin/sh", ["-c", "exit 3"])`, records: [FAILED] },
    { api: "spawn", form: "event", note: "no such program", code: `cp.spawn("/no/such/program")`, records: [MISSING] },
    { api: "spawn", form: "event", note: "by a shell", code: `cp.spawn("exit 0", { shell: true })`, records: [SHELL] },
    { api: "exec", form: "callback", code: `cp.exec("echo x", done)`, records: [SHELL] },
    { api: "exec", form: "callback", note: "fails", code: `cp.exec("exit 3", done)`, records: [FAILED] },
    { api: "exec", form: "promise", code: `promisify(cp.exec)("echo x").then(text)`, records: [SHELL] },
    { api: "execFile", form: "callback", code: `cp.execFile("/bin/sh", ["-c", "echo x"], done)`, records: [SHELL] },
    {
      api: "execFile",
      form: "promise",
      code: `promisify(cp.execFile)("/bin/sh", ["-c", "echo x"]).then(text)`,
      records: [SHELL],
    },
    {
      api: "spawnSync",
      form: "sync",
      // It returns its errors.
      code: `(({ error, status, stdout }) => { if (error) throw error; return [status, String(stdout)]; })(cp.spawnSync("/bin/sh", ["-c", "echo x"]))`,
      records: [SHELL],
    },
    { api: "execFileSync", form: "sync", code: `text(cp.execFileSync("/bin/sh", ["-c", "echo x"]))`, records: [SHELL] },
    {
      api: "execFileSync",
      form: "sync",
      note: "no such program",
      code: `cp.execFileSync("/no/such/program")`,
      records: [MISSING],
    },
    { api: "execSync", form: "sync", code: `text(cp.execSync("echo x"))`, records: [SHELL] },
    { api: "execSync", form: "sync", note: "fails", code: `cp.execSync("exit 3")`, records: [FAILED] },
    {
      api: "new ChildProcess().spawn",
      form: "event",
      code: `(() => { const child = new cp.ChildProcess(); child.spawn({ file: "/bin/sh", args: ["sh", "-c", "exit 0"] }); return child; })()`,
      records: [SHELL],
    },
  ],
  notSeen: [
    {
      api: "what a program does that is not Node",
      why: "it runs outside of this process; that it was started is recorded",
    },
    { api: "the command line of a shell", why: "it may hold secrets; the record has the shell" },
  ],
};
