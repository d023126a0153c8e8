/** Text as it stands in a document: characters, and references. */
export type Template = readonly (string | Reference)[];

/** `${name:-fallback}`; both are templates, so that a reference may stand in another one. */
export interface Reference {
  readonly name: Template;
  readonly fallback: Template | undefined;
  /** As it was written. */
  readonly source: string;
}

const TOKEN = /\$\$|\$\{|[{}]/g;
const FALLBACK = ":-";
/** Deepest nesting of references. */
const MAX_DEPTH = 16;

/**
 * Finds the references of a text, and makes `$$` a dollar sign.
 *
 * @throws Error when it cannot be told where a reference ends
 */
export function parseTemplate(text: string): Template {
  const open: { readonly start: number; readonly parts: (string | Reference)[] }[] = [{ start: 0, parts: [] }];
  let at = 0;
  const add = (part: string | Reference): void => {
    if (part !== "") open.at(-1)!.parts.push(part);
  };
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    add(text.slice(at, index));
    at = index + token.length;
    const inReference = open.length > 1;
    if (token === "$$") add("$");
    else if (token === "${") open.push({ start: index, parts: [] });
    else if (token === "}" && inReference) {
      const { start, parts } = open.pop()!;
      add({ ...split(parts), source: text.slice(start, at) });
    } else if (inReference) throw new Error('has a "{" inside of a reference, which begins no other one');
    else add(token);
    if (open.length > MAX_DEPTH) throw new Error(`has references nested deeper than ${MAX_DEPTH}`);
  }
  if (open.length > 1) throw new Error('has a "${" without its "}"; $$ is a dollar sign');
  add(text.slice(at));
  return open[0]!.parts;
}

/** What stands between the braces: a name, and what is behind the first `:-`. */
function split(parts: Template): { name: Template; fallback: Template | undefined } {
  const i = parts.findIndex((part) => typeof part === "string" && part.includes(FALLBACK));
  const part = parts[i];
  if (typeof part !== "string") return { name: parts, fallback: undefined };
  const at = part.indexOf(FALLBACK);
  return {
    name: [...parts.slice(0, i), part.slice(0, at)],
    fallback: [part.slice(at + FALLBACK.length), ...parts.slice(i + 1)],
  };
}
