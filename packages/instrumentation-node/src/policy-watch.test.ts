import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { PolicyMode } from "@otel-audit/policy";
import { describe, expect, it } from "vitest";

import { tempDir } from "../../../test/support/index.ts";
import { type PolicyChange, PolicyWatch } from "./policy-watch.ts";

const document = (id: string, rules: readonly string[] = []): string =>
  `policy: ${id}\nmode: enforce\ndefault: allow\nresources: { etc: { file: "/etc/**" } }\nrules:\n${rules.map((rule) => `  - { id: ${rule}, deny: { resource: etc, agent: ${rule} } }\n`).join("") || "  []\n"}`;

interface Watched {
  readonly file: string;
  readonly dir: string;
  readonly watch: PolicyWatch;
  /** `id` for a policy that is in force now, `! message` for one that cannot be used. */
  readonly changes: string[];
  /** Two looks: what a change takes. */
  readonly look: () => void;
}

function watched(text: string | undefined, mode?: PolicyMode): Watched {
  const dir = tempDir("policy-watch");
  const file = join(dir, "policy.yaml");
  if (text !== undefined) writeFileSync(file, text);
  const changes: string[] = [];
  const watch = new PolicyWatch(file, mode, ({ gate, error }: PolicyChange) => {
    changes.push(
      error === undefined ? gate.policy.id : `! ${gate.policy.id} stays: ${error.message.split("\n", 1)[0]}`,
    );
  });
  const look = (): void => {
    watch.look();
    watch.look();
  };
  return { file, dir, watch, changes, look };
}

describe("PolicyWatch", () => {
  it("puts a new document in force, and nothing while there is none", () => {
    const { file, watch, changes, look } = watched(document("one"));
    look();
    expect(changes).toEqual([]);
    writeFileSync(file, document("second"));
    look();
    expect(changes).toEqual(["second"]);
    expect(watch.gate.policy.id).toBe("second");
    look();
    expect(changes).toEqual(["second"]);
  });

  it("waits until a file that is being written is complete", () => {
    const { file, watch, changes } = watched(document("one"));
    const whole = document("two", ["a", "b", "c"]);
    // Each of these is a document that parses, with fewer rules than are meant.
    for (const rules of [["a"], ["a", "b"]]) {
      writeFileSync(file, document("two", rules));
      watch.look();
    }
    writeFileSync(file, whole);
    watch.look();
    expect(changes).toEqual([]);
    watch.look();
    expect(changes).toEqual(["two"]);
    expect(watch.gate.text).toBe(whole);
  });

  it("keeps the old policy while the file is broken or missing, says so once, and says when that is over", () => {
    const { file, watch, changes, look } = watched(document("one"));
    const before = watch.gate;
    writeFileSync(file, "policy: [");
    look();
    look();
    utimesSync(file, 1, 1);
    look();
    expect(changes).toHaveLength(1);
    expect(changes[0]).toContain("! one stays: ");
    rmSync(file);
    look();
    look();
    expect(changes).toHaveLength(2);
    expect(changes[1]).toContain("ENOENT");
    expect(watch.gate).toBe(before);
    writeFileSync(file, document("one"));
    look();
    expect(changes.slice(2)).toEqual(["one"]);
    expect(watch.gate).toBe(before);
  });

  it("begins to judge when a policy that could not be loaded at the start is there", () => {
    const { file, watch, changes, look } = watched(undefined);
    expect(watch.gate.policy.id).toBe("policy_error");
    look();
    expect(changes).toEqual([]);
    writeFileSync(file, document("late"));
    look();
    expect(changes).toEqual(["late"]);
    expect(watch.gate.error).toBeUndefined();
  });

  it("sees a file that was renamed into place, and a link that points elsewhere now", () => {
    const { dir, file, changes, look } = watched(document("one"));
    writeFileSync(join(dir, "next"), document("two"));
    renameSync(join(dir, "next"), file);
    look();
    // As Kubernetes mounts configuration.
    for (const id of ["three", "four"]) {
      mkdirSync(join(dir, id));
      writeFileSync(join(dir, id, "policy.yaml"), document(id));
      rmSync(join(dir, "data"), { force: true });
      symlinkSync(id, join(dir, "data"));
      rmSync(file);
      symlinkSync(join("data", "policy.yaml"), file);
      look();
    }
    expect(changes).toEqual(["two", "three", "four"]);
  });

  it("sees a change that leaves size and time as they were", () => {
    const { file, changes, look } = watched(document("one"));
    utimesSync(file, 1000, 1000);
    look();
    writeFileSync(file, document("two"));
    utimesSync(file, 1000, 1000);
    look();
    expect(changes).toEqual(["two"]);
  });

  it("does not read what is no file, and no file without end", () => {
    const { file, changes, look } = watched(document("one"));
    rmSync(file);
    mkdirSync(file);
    look();
    rmSync(file, { recursive: true });
    symlinkSync("/dev/zero", file);
    look();
    rmSync(file);
    writeFileSync(file, `# ${"x".repeat(2 << 20)}\n${document("two")}`);
    look();
    expect(changes).toHaveLength(3);
    expect(changes.every((change) => change.startsWith("! one stays: "))).toBe(true);
  });

  it("keeps the mode of the environment", () => {
    const { file, watch, look } = watched(document("one"), "observe");
    writeFileSync(file, document("two"));
    look();
    expect(watch.gate.mode).toBe("observe");
    expect(watch.gate.policy.id).toBe("two");
  });
});
