import { compareText, groupBy } from "./collections.ts";
import { unescapeGlob } from "./escape.ts";
import { ALL_BELOW, itemKey, type Item } from "./need.ts";

/** So many siblings are read as "any of them". */
const SIBLINGS = 3;

interface GeneralizeOptions {
  /** More patterns than this below one folder become `folder/**`. */
  readonly most: number;
  /** No wildcards but `*.ext` in folders: nothing keeps this agent from the credentials that lie there. */
  readonly careful: boolean;
}

/** A pattern in segments, relative to the folder that is looked at, and the items that it stands for. */
interface Path {
  readonly segments: readonly string[];
  readonly items: readonly Item[];
}

/** Wildcards need so many literal segments in front: never a root, never a whole host. */
const FIXED = { file: 2, http: 1 } as const;

interface Rules {
  readonly isFile: boolean;
  readonly fixed: number;
  readonly most: number;
  readonly careful: boolean;
}

/**
 * The pattern for each item by its key: its own, or one with wildcards that it shares with others. Wildcards stand for segments of
 * paths and addresses only; what is looked at together has to be of one agent and one kind of action.
 */
export function generalize(items: readonly Item[], { most, careful }: GeneralizeOptions): ReadonlyMap<string, string> {
  const patterns = new Map(items.map((item) => [itemKey(item), item.pattern]));
  const open = items.filter(({ segments }) => segments !== undefined);
  for (const [base, own] of groupBy(open, (item) => item.base)) {
    const isFile = base === "";
    const rules = { isFile, fixed: isFile ? FIXED.file : FIXED.http, most, careful: careful && isFile };
    const paths = own
      .toSorted((a, b) => compareText(a.pattern, b.pattern))
      .map((item): Path => ({ segments: isFile ? (item.segments ?? []) : withoutIds(item), items: [item] }));
    for (const { segments, items: taken } of reduce(paths, 0, rules)) {
      for (const item of taken) {
        patterns.set(itemKey(item), `${base}/${segments.join("/")}`);
      }
    }
  }
  return patterns;
}

/** The first segment says what is served there, also where it looks like an id. */
function withoutIds({ segments = [] }: Item): readonly string[] {
  return segments.map((segment, depth) => (depth >= FIXED.http && isId(unescapeGlob(segment)) ? "*" : segment));
}

/** Numbers, UUIDs, hexadecimal and long random texts: they name one thing of many. */
export function isId(segment: string): boolean {
  if (/^\d+$/.test(segment) || /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(segment)) {
    return true;
  }
  return segment.split(/[-_.~:]/).some((part) => {
    const digits = part.replaceAll(/\D/g, "").length;
    // Eight digits alone are more often a date in a model's name.
    const isHex = /^(?=.*[a-f])[0-9a-f]{8,}$/i.test(part);
    const isRandom = /^[A-Za-z0-9]+$/.test(part) && part.length >= 12;
    return (isHex && digits >= 1) || (isRandom && digits >= 3);
  });
}

/** What stands for all of these paths, in the order of their texts. */
function reduce(paths: readonly Path[], depth: number, rules: Rules): Path[] {
  // Seen with everything in it: what was seen of it besides is in there.
  if (paths.some(({ segments }) => segments[0] === ALL_BELOW)) return [allBelow(paths)];
  const leaves = paths.filter(({ segments }) => segments.length <= 1);
  const inner = paths.filter(({ segments }) => segments.length > 1);
  const folders = [...groupBy(inner, ({ segments }) => segments[0] ?? "")].map(([name, own]): Folder => {
    const below = own.map(({ segments, items }) => ({ segments: segments.slice(1), items }));
    return { name, paths: reduce(below, depth + 1, rules) };
  });
  const mayGuess = depth >= rules.fixed;
  const reduced = [
    ...joinSame(mayGuess ? reduceLeaves(leaves, rules) : leaves),
    ...(mayGuess && !rules.careful ? joinFolders(folders) : folders).flatMap(({ name, paths: below }) =>
      below.map(({ segments, items }) => ({ segments: [name, ...segments], items })),
    ),
  ];
  if (mayGuess && !rules.careful && reduced.length > rules.most) {
    return [allBelow(reduced)];
  }
  return reduced;
}

function allBelow(paths: readonly Path[]): Path {
  return joined(ALL_BELOW, paths);
}

interface Folder {
  readonly name: string;
  readonly paths: readonly Path[];
}

/** Three of a kind are `*.ext`; three others are `*`. */
function reduceLeaves(leaves: readonly Path[], rules: Rules): Path[] {
  const single = joinSame(leaves);
  if (!rules.isFile) {
    return single.length >= SIBLINGS || single.some(isAny) ? [joined("*", single)] : single;
  }
  const byExtension = [...groupBy(single, ({ segments }) => extensionOf(segments[0] ?? ""))];
  const kinds = byExtension.flatMap(([extension, own]) =>
    extension !== undefined && own.length >= SIBLINGS ? [joined(`*${extension}`, own)] : own,
  );
  const others = kinds.filter(({ segments }) => !segments[0]?.startsWith("*"));
  return others.length >= SIBLINGS && !rules.careful ? [joined("*", kinds)] : kinds;
}

function extensionOf(segment: string): string | undefined {
  // Certificates lie beside their keys.
  const extension = /[^.](\.[A-Za-z0-9]{1,8})$/.exec(segment)?.[1];
  return extension?.toLowerCase() === ".pem" ? undefined : extension;
}

/** Folders that hold the same are `*` when there are three of them. */
function joinFolders(folders: readonly Folder[]): Folder[] {
  const shapes = groupBy(folders, ({ paths }) => paths.map(({ segments }) => segments.join("/")).join("\n"));
  return [...shapes.values()].flatMap((alike): readonly Folder[] => {
    const isAnyOf = alike.length >= SIBLINGS || alike.some(({ name }) => name === "*");
    return isAnyOf ? [{ name: "*", paths: joinSame(alike.flatMap(({ paths }) => paths)) }] : alike;
  });
}

/** Equal patterns are one. */
function joinSame(paths: readonly Path[]): Path[] {
  return [...groupBy(paths, ({ segments }) => segments.join("/")).values()].map((same) => ({
    segments: same[0]?.segments ?? [],
    items: same.flatMap(({ items }) => items),
  }));
}

function joined(name: string, paths: readonly Path[]): Path {
  return { segments: [name], items: paths.flatMap(({ items }) => items) };
}

function isAny({ segments }: Path): boolean {
  return segments[0] === "*";
}
