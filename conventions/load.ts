import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseDocument } from "yaml";
import type { z } from "zod";
import {
  definitionFile,
  manifestFile,
  upstreamFile,
  type AttributeDefinition,
  type GroupDefinition,
  type SpanDefinition,
  type UpstreamFile,
} from "./schema.ts";

/** The registry is broken. The message has one line for each problem, each with file and path. */
export class RegistryError extends Error {
  readonly code = "INVALID_REGISTRY";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the registry has ${problems.length} problem(s):\n${problems.map((p) => `  ${p}`).join("\n")}`);
    this.name = "RegistryError";
    this.problems = problems;
  }
}

interface Located<T> {
  readonly at: string;
  readonly value: T;
}

/** Collects problems instead of stopping at the first, so that one run shows them all. */
export class Loader {
  readonly problems: string[] = [];
  readonly attributes: Located<AttributeDefinition>[] = [];
  readonly groups: Located<GroupDefinition>[] = [];
  readonly spans: Located<SpanDefinition>[] = [];
  readonly upstream: Located<UpstreamFile>[] = [];
  version = "";
  private readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  load(): void {
    for (const file of yamlFiles(join(this.root, "registry"))) {
      if (file.endsWith("manifest.yaml")) {
        const manifest = this.read(file, manifestFile);
        if (manifest) this.version = manifest.value.schema_url.split("/").at(-1) ?? "";
        continue;
      }
      const read = this.read(file, definitionFile);
      if (!read) continue;
      const { at, value } = read;
      value.attributes?.forEach((v, i) => this.attributes.push({ at: `${at}: attributes[${i}]`, value: v }));
      value.attribute_groups?.forEach((v, i) => this.groups.push({ at: `${at}: attribute_groups[${i}]`, value: v }));
      value.spans?.forEach((v, i) => this.spans.push({ at: `${at}: spans[${i}]`, value: v }));
    }
    if (this.version === "") this.problems.push("registry/manifest.yaml: missing or invalid");
    for (const file of yamlFiles(join(this.root, "upstream"))) {
      const read = this.read(file, upstreamFile);
      if (read) this.upstream.push(read);
    }
  }

  private read<T extends z.ZodType>(file: string, schema: T): Located<z.infer<T>> | undefined {
    const at = relative(this.root, file);
    const document = parseDocument(readFileSync(file, "utf8"), { uniqueKeys: true });
    if (document.errors.length > 0) {
      for (const error of document.errors) this.problems.push(`${at}: ${error.message.split("\n")[0]}`);
      return undefined;
    }
    const value = this.check(at, document.toJS(), schema);
    return value === undefined ? undefined : { at, value };
  }

  check<T extends z.ZodType>(at: string, value: unknown, schema: T): z.infer<T> | undefined {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    for (const issue of result.error.issues) this.problems.push(`${at}: ${describe(issue)}`);
    return undefined;
  }
}

function yamlFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".yaml"))
    .toSorted()
    .map((name) => join(directory, name));
}

function describe(issue: z.core.$ZodIssue): string {
  const path = issue.path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    return text === "" ? String(step) : `${text}.${String(step)}`;
  }, "");
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}
