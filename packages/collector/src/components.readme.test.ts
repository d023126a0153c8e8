import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { factories, type ComponentKind } from "./components.ts";
import { documentSchema } from "./config/schema.ts";
import { refusedSettings, settingRefusal } from "./config/refused-settings.ts";
import { componentRefusal, refusedTypes } from "./config/refused-components.ts";

// One suite over what every component says about itself: its folder, its README, its schema.

const KINDS: readonly ComponentKind[] = ["receiver", "processor", "connector", "exporter", "extension"];
/** Another name of a component. */
const FOLDERS: Readonly<Record<string, string>> = { otlp_http: "otlphttp" };
const all = KINDS.flatMap((kind) => [...factories(kind).keys()].map((type) => [kind, type] as const));

function file(kind: ComponentKind, type: string, name: string): string {
  return fileURLToPath(new URL(`${kind}s/${FOLDERS[type] ?? type}/${name}`, import.meta.url));
}

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: unknown;
}

describe.each(all)("%s %s", (kind, type) => {
  const factory = factories(kind).get(type)!;
  const readme = (): string => readFileSync(file(kind, type, "README.md"), "utf8");
  const schema = z.toJSONSchema(factory.schema, { io: "output", unrepresentable: "any" }) as Schema;

  it("lies in a folder with its configuration and factory", () => {
    for (const name of ["config.ts", "factory.ts"]) expect(existsSync(file(kind, type, name)), name).toBe(true);
    expect(factory.kind).toBe(kind);
    expect(readme()).toMatch(new RegExp(`^# ${FOLDERS[type] ?? type}\n`));
  });

  it("has an example that its schema takes", () => {
    const example = /^```yaml\n(?<yaml>[^]*?)^```$/m.exec(readme())?.groups?.yaml;
    const parts = parse(example ?? "") as Readonly<Record<string, Readonly<Record<string, unknown>>>> | null;
    const config = parts?.[`${kind}s`]?.[FOLDERS[type] ?? type];
    expect(config, `an example with ${kind}s: ${type}`).toBeDefined();
    expect(factory.schema.safeParse(config ?? {}).error?.message).toBeUndefined();
  });

  it("explains every setting", () => {
    for (const name of settings(schema)) expect(readme(), name).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it("works without settings, or says which it needs", () => {
    const { error } = factory.schema.safeParse({});
    for (const issue of error?.issues ?? []) expect(issue.message.length + issue.path.length).toBeGreaterThan(3);
  });

  it("refuses a setting that it does not know, with its name", () => {
    const { error } = factory.schema.safeParse({ surprise: 1 });
    expect(error?.issues).toContainEqual(expect.objectContaining({ code: "unrecognized_keys", keys: ["surprise"] }));
  });
});

/** The names of all settings that a person writes. */
function settings({ properties = {}, items }: Schema): string[] {
  const own = Object.entries(properties).flatMap(([name, inner]) => [name, ...settings(inner)]);
  return [...new Set(items ? [...own, ...settings(items)] : own)];
}

describe("components of otelcol that are not here", () => {
  it.each(KINDS)("have a reason (%s)", (kind) => {
    for (const type of refusedTypes(kind)) {
      expect(componentRefusal(kind, type)!.length, type).toBeGreaterThan(20);
      expect([...factories(kind).keys()], "is a component").not.toContain(type);
    }
    expect(componentRefusal(kind, "constructor")).toBeUndefined();
  });
});

describe("settings of otelcol that are not here", () => {
  const schemas = new Map(all.map(([kind, type]) => [type, factories(kind).get(type)!.schema]));
  schemas.set("service", documentSchema.shape.service);

  it.each(refusedSettings())("have a reason (%s %s)", (type, name) => {
    expect(settingRefusal(type, ["x", ...name.split("::")])!.length).toBeGreaterThan(20);
    const schema = z.toJSONSchema(schemas.get(type)!, { io: "input", unrepresentable: "any" }) as Schema;
    expect(settings(schema), "is a setting").not.toContain(name);
    expect(settingRefusal(type, ["constructor"])).toBeUndefined();
  });
});
