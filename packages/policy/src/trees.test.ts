import * as fc from "fast-check";
import { expect, test } from "vitest";

import { Policy } from "./policy.ts";

const real = (path: string): string => path.replace(/^\/link(?=\/|$)/, "/srv/real");

function judge(decision: "allow" | "deny", pattern: string, path: string, recursive: boolean): boolean {
  const other = decision === "allow" ? "deny" : "allow";
  const policy = Policy.parse(
    `policy: p\nmode: enforce\ndefault: ${other}\nresources: { r: { file: ${JSON.stringify(pattern)} } }\n` +
      `rules: [{ id: r, ${decision}: { resource: r } }]`,
    { realPath: real },
  );
  const targets = [{ type: "file" as const, id: `file://${path}`, recursive }];
  const action = {
    event: "file.delete",
    action: "DELETE" as const,
    targets,
    actorId: "a",
    actorType: "agent" as const,
  };
  return policy.evaluate(action).decision === decision;
}

test.each([
  ["/srv/work/keys/**", "/srv/work/keys", true],
  ["/srv/work/keys/**", "/srv/work/keys/a", true],
  ["/srv/work/keys/**", "/srv/work", true],
  ["/srv/work/keys/**", "/srv", true],
  ["/srv/work/keys/**", "/", true],
  ["/srv/work/keys/**", "/srv/other", false],
  ["/srv/work/keys/**", "/srv/work/key", false],
  ["/srv/work/key.txt", "/srv/work", true],
  ["/srv/work/key.txt", "/srv/work/key.txt", true],
  ["/srv/work/key.txt", "/srv/work/key.txt/x", false],
  ["/home/*/keys", "/home/bob", true],
  ["/home/*/keys", "/home/bob/tmp", false],
  ["/srv/**/keys", "/srv/any/where", true],
  // Names that are protected wherever they are do not protect every directory.
  ["**/.env", "/srv/work", false],
  ["**/.env", "/srv/work/.env", true],
  ["/SRV/Work/keys", "/srv/work", true],
])("a deny of %s matches the tree %s: %s", (pattern, path, expected) => {
  expect(judge("deny", pattern, path, true)).toBe(expected);
});

test.each([
  ["/srv/work/**", "/srv/work", true],
  ["/srv/work/**", "/srv/work/a", true],
  ["/srv/work/**", "/srv", false],
  // A directory, but not what is in it.
  ["/srv/work/*", "/srv/work/a", false],
  ["/srv/work/a", "/srv/work/a", false],
  ["/srv/**/a", "/srv/x/a", false],
  ["/srv/**/*", "/srv/x/a", true],
  ["**", "/srv", true],
])("an allow of %s takes the tree %s: %s", (pattern, path, expected) => {
  expect(judge("allow", pattern, path, true)).toBe(expected);
});

const names = fc.constantFrom("a", "b", "ab");
const segment = fc.constantFrom("a", "b", "ab", "*", "a*", "?", "**");
const path = (depth: { minLength: number; maxLength: number }): fc.Arbitrary<string> =>
  fc.array(names, depth).map((parts) => `/${parts.join("/")}`);

test("what is denied or not allowed in a tree is denied or not allowed with the tree", () => {
  const pattern = fc.tuple(fc.constantFrom("a", "b", "*"), fc.array(segment, { maxLength: 4 }));
  fc.assert(
    fc.property(
      pattern.map(([first, rest]) => `/${[first, ...rest].join("/")}`),
      path({ minLength: 1, maxLength: 3 }),
      path({ minLength: 1, maxLength: 3 }),
      (text, directory, inside) => {
        const denies = !judge("deny", text, directory + inside, false) || judge("deny", text, directory, true);
        const allows = judge("allow", text, directory + inside, false) || !judge("allow", text, directory, true);
        expect({ denies, allows }).toEqual({ denies: true, allows: true });
      },
    ),
    { numRuns: 500 },
  );
});

test("a deny of a link is one of the place behind it; an allow is not", () => {
  expect(judge("deny", "/link/keys/**", "/srv/real/keys/a", false)).toBe(true);
  expect(judge("deny", "/link/keys/**", "/link/keys/a", false)).toBe(true);
  expect(judge("deny", "/link/*/k", "/srv/real/x/k", false)).toBe(true);
  expect(judge("deny", "/link/keys/**", "/srv/real/other", false)).toBe(false);
  expect(judge("deny", "/link/keys/**", "/srv", true)).toBe(true);
  expect(judge("allow", "/link/keys/**", "/srv/real/keys/a", false)).toBe(false);
  expect(judge("allow", "/link/keys/**", "/link/keys/a", false)).toBe(true);
});
