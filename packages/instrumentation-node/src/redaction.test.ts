import { assert, property, string, webFragments, webUrl } from "fast-check";
import { expect, test } from "vitest";

import { redactCredentials } from "./redaction.ts";

test.each([
  ["connect postgres://app:secret@db:5432/shop failed", "connect postgres://db:5432/shop failed"],
  ["http://a:b@c:d@host/x", "http://host/x"],
  ["mail to a@b.example", "mail to a@b.example"],
  ["https://host/@scope/pkg", "https://host/@scope/pkg"],
])("%s loses its credentials", (text, clean) => {
  expect(redactCredentials(text)).toBe(clean);
});

test("no URL keeps its password", () => {
  const secret = "s3cr3tS3cr3t";
  assert(
    property(webUrl(), webFragments(), (url, noise) => {
      const parsed = new URL(url);
      parsed.username = noise;
      parsed.password = secret;
      expect(redactCredentials(`x ${parsed.href} y`)).not.toContain(secret);
    }),
  );
});

test("never throws, whatever it is given", () => {
  assert(
    property(string({ unit: "binary" }), (text) => {
      expect(typeof redactCredentials(text)).toBe("string");
    }),
  );
});
