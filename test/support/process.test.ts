import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { freePort } from "./listen.ts";
import { startProcess } from "./process.ts";
import { tempDir } from "./temp-dir.ts";

const node = process.execPath;

/** Starts Node with a script given as text. */
function startScript(script: string, options?: Parameters<typeof startProcess>[2]): ReturnType<typeof startProcess> {
  return startProcess(node, ["--input-type=module", "-e", script], options);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A killed process that nobody has waited for yet still has its number. Only Linux says so in a file.
  if (!existsSync("/proc/self/status")) return true;
  if (!existsSync(`/proc/${pid}/status`)) return false;
  return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

describe("startProcess", () => {
  it("captures both outputs, the last line without line end too, and the exit code", async () => {
    await using child = await startScript(
      "console.log('one'); console.error('two'); process.stdout.write('end'); process.exitCode = 3",
    );
    expect(await child.exited).toEqual({ code: 3, signal: null });
    expect(child.stdout).toBe("one\nend");
    expect(child.stderr).toBe("two\n");
    expect(await child.waitForLine(/^end$/)).toBe("end");
  });

  it("finds a line that comes later, on stderr too, and stdin reaches the program", async () => {
    await using child = await startScript("process.stdin.on('data', (d) => console.error('got ' + d))");
    const line = child.waitForLine("got");
    child.stdin.write("hello\n");
    expect(await line).toBe("got hello");
  });

  it("says what there was when the line never comes", async () => {
    await using child = await startScript("console.log('something else')");
    await expect(child.waitForLine("ready")).rejects.toThrow(/no line matched ready before it ended[^]*something else/);
  });

  it("says so when the line does not come in time", async () => {
    await using child = await startScript("setInterval(() => {}, 1000)");
    await expect(child.waitForLine("ready", 1)).rejects.toThrow("no line matched ready within 1 ms");
  });

  it("sets and takes away variables, and changes the directory", async () => {
    const cwd = tempDir("cwd");
    const env = { ADDED: "yes", HOME: undefined };
    await using child = await startScript(
      "console.log(JSON.stringify([process.env.ADDED, process.env.HOME ?? null, process.cwd()]))",
      { env, cwd },
    );
    await child.exited;
    expect(JSON.parse(child.stdout)).toEqual(["yes", null, cwd]);
  });

  it("sends the signal asked for, and waits for the end", async () => {
    await using child = await startScript(
      "process.on('SIGTERM', () => process.exit(7)); console.log('up'); setInterval(() => {}, 1000)",
    );
    await child.waitForLine("up");
    expect(await child.kill()).toEqual({ code: 7, signal: null });
    await using other = await startScript("console.log('up'); setInterval(() => {}, 1000)");
    await other.waitForLine("up");
    expect(await other.kill("SIGKILL")).toEqual({ code: null, signal: "SIGKILL" });
  });

  it("takes what the program started along", async () => {
    const child = await startProcess("/bin/sh", ["-c", "sleep 600 & echo $!; wait"]);
    const grandchild = Number(await child.waitForLine(/^\d+$/));
    expect(isAlive(grandchild)).toBe(true);
    await child[Symbol.asyncDispose]();
    await until(() => !isAlive(grandchild));
  });

  it("rejects when there is no such program", async () => {
    await expect(startProcess("/nonexistent/program")).rejects.toThrow("ENOENT");
  });
});

describe("what a killed test leaves behind", () => {
  it("is cleared: its processes and its directories", async () => {
    const support = JSON.stringify(join(import.meta.dirname, "process.ts"));
    const directories = JSON.stringify(join(import.meta.dirname, "temp-dir.ts"));
    const script = `
      const { startProcess } = await import(${support});
      const { tempDir } = await import(${directories});
      const ended = await startProcess("true");
      await ended[Symbol.asyncDispose]();
      const child = await startProcess("sleep", ["600"]);
      console.log(child.pid + " " + tempDir("left"));
      setInterval(() => {}, 1000);`;
    await using child = await startScript(script);
    const [pid, directory = ""] = (await child.waitForLine(" ")).split(" ", 2);
    expect(isAlive(Number(pid))).toBe(true);
    expect(existsSync(directory)).toBe(true);
    await child.kill("SIGKILL");
    await until(() => !isAlive(Number(pid)) && !existsSync(directory));
  });
});

describe("tempDir", () => {
  it("is empty, new each time, and shows its name", () => {
    const [a, b] = [tempDir("ledger"), tempDir("ledger")];
    expect(a).not.toBe(b);
    expect(basename(a)).toMatch(/^otel-audit-ledger-/);
    expect(statSync(a).isDirectory()).toBe(true);
  });
});

describe("freePort", () => {
  it("is a port that can be listened on", async () => {
    const port = await freePort();
    await using child = await startScript(`import net from "node:net";
      net.createServer().listen(${port}, "127.0.0.1", () => { console.log("listening"); process.exit(0); })`);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.stdout).toBe("listening\n");
  });
});
