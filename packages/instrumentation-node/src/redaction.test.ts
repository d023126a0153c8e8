import { assert, property, string, webFragments, webUrl } from "fast-check";
import { expect, test } from "vitest";

import { canonicalUrl, redactCredentials } from "./redaction.ts";

test.each([
  ["https://user:secret@pay.internal/v1/refunds/9?token=secret#secret", "https://pay.internal/v1/refunds/9"],
  ["https://pay.internal:443/a", "https://pay.internal/a"],
  ["http://pay.internal:8080/a/../b", "http://pay.internal:8080/b"],
  ["https://münchen.example/ü", "https://xn--mnchen-3ya.example/%C3%BC"],
  ["http://[2001:db8::1]:80/", "http://[2001:db8::1]/"],
  ["http://a b:secret@host/x?secret", "http://host/x"],
  ["not a url?secret", "not a url"],
  ["//user:secret@", "//user:secret@"],
])("%s", (url, canonical) => {
  expect(canonicalUrl(url)).toBe(canonical);
});

test.each([
  ["connect postgres://app:secret@db:5432/shop failed", "connect postgres://db:5432/shop failed"],
  ["http://a:b@c:d@host/x", "http://host/x"],
  ["mail to a@b.example", "mail to a@b.example"],
  ["https://host/@scope/pkg", "https://host/@scope/pkg"],
])("%s loses its credentials", (text, clean) => {
  expect(redactCredentials(text)).toBe(clean);
});

test("no URL keeps its password, query or fragment", () => {
  const secret = "s3cr3tS3cr3t";
  assert(
    property(webUrl({ withQueryParameters: true, withFragments: true }), webFragments(), (url, noise) => {
      const parsed = new URL(url);
      parsed.username = noise;
      parsed.password = secret;
      parsed.search = `${parsed.search}&key=${secret}`;
      parsed.hash = secret;
      expect(canonicalUrl(parsed)).not.toContain(secret);
      expect(canonicalUrl(parsed.href)).not.toContain(secret);
      expect(redactCredentials(`x ${parsed.origin.replace("//", `//u:${secret}@`)} y`)).not.toContain(secret);
    }),
  );
});

test("never throws, whatever it is given", () => {
  assert(
    property(string({ unit: "binary" }), (text) => {
      expect(typeof canonicalUrl(text)).toBe("string");
    }),
  );
});
