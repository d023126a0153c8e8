import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import type { AuditAction } from "@otel-audit/semantic-conventions";
import { expect, it } from "vitest";

import { tempDir } from "../../../test/support/index.ts";
import type { ObservedAction, Target } from "./audit.ts";
import { OwnFiles } from "./own-files.ts";

const dir = tempDir("own-files");
mkdirSync(join(dir, "app", "conf"), { recursive: true });
writeFileSync(join(dir, "app", "conf", "real.yaml"), "");
symlinkSync(join("conf", "real.yaml"), join(dir, "app", "policy.yaml"));
const own = new OwnFiles({
  policyFile: join(dir, "app", "policy.yaml"),
  spoolDir: join(dir, "spool"),
  dataDir: join(dir, "data"),
});

/** `event ACTION path`, `<path` is read, `path/**` is recursive. */
function action(text: string): ObservedAction {
  const [event = "", what = "", ...paths] = text.split(" ");
  const targets = paths.map((path): Target => {
    const recursive = path.endsWith("/**");
    const access = path.startsWith("<") ? "read" : "write";
    const id = pathToFileURL(join(dir, path.replace(/^</, "").replace(/\/\*\*$/, ""))).href;
    return { type: "file", id, access, recursive };
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table below
  return { event, action: what as AuditAction, targets };
}

it.each([
  "file.write WRITE app/policy.yaml",
  "file.write WRITE app/conf/real.yaml",
  "file.delete DELETE app/policy.yaml",
  "file.change UPDATE app/policy.yaml",
  "file.rename UPDATE app/policy.yaml elsewhere",
  "file.rename UPDATE elsewhere app/policy.yaml",
  "file.rename UPDATE <app/policy.yaml elsewhere",
  "file.link CREATE <app/policy.yaml elsewhere",
  "file.copy WRITE <elsewhere app/policy.yaml",
  "file.create CREATE spool/x/1.frames",
  "file.delete DELETE spool",
  "file.delete DELETE spool/**",
  "file.delete DELETE app/**",
  "file.delete DELETE app/conf/**",
  "file.rename UPDATE app app2",
  "file.write WRITE data/log/1/00000001.open",
  "file.read READ data/keys/seal.pem",
  "file.list READ data/keys",
  "file.copy CREATE <data/keys/seal.pem elsewhere",
  "file.delete DELETE /**",
])("belongs to the audit: %s", (text) => {
  expect(own.touchedBy(action(text))).toBeDefined();
});

it.each([
  "file.read READ app/policy.yaml",
  "file.read READ spool/x/1.frames",
  "file.copy CREATE <app/policy.yaml elsewhere",
  "file.write WRITE app/policy.yaml2",
  "file.write WRITE app/other.yaml",
  "file.write WRITE spool2/x",
  "file.read READ data/keys2",
  "file.create CREATE app/conf/x.yaml",
  "file.change UPDATE app",
  "file.delete DELETE app/con",
  "file.delete DELETE other/**",
])("is the application's own business: %s", (text) => {
  expect(own.touchedBy(action(text))).toBeUndefined();
});

it("a recursive copy over one of our parents is stopped only where it brings our file", () => {
  mkdirSync(join(dir, "harmless"));
  mkdirSync(join(dir, "evil", "conf"), { recursive: true });
  writeFileSync(join(dir, "evil", "conf", "real.yaml"), "");
  expect(own.touchedBy(action("file.copy WRITE <harmless/** app/**"))).toBeUndefined();
  expect(own.touchedBy(action("file.copy WRITE <evil/** app/**"))).toBeDefined();
});

it("a recursive copy of one of our parents is stopped only where it takes keys along", () => {
  const copy = action("file.copy CREATE <data/** elsewhere/**");
  expect(own.touchedBy(copy)).toBeUndefined();
  mkdirSync(join(dir, "data", "keys"), { recursive: true });
  expect(own.touchedBy(copy)).toBeDefined();
  expect(own.touchedBy(action("file.list READ data/**"))).toBeUndefined();
});

it("looks at files only", () => {
  const id = pathToFileURL(join(dir, "spool")).href;
  expect(
    own.touchedBy({ event: "process.exec", action: "EXECUTE", targets: [{ type: "process", id }] }),
  ).toBeUndefined();
});
