import { describe, expect, it } from "vitest";
import { authenticate, checkOrigin, isLoopbackHost, WRITER_USER } from "./access.ts";
import type { AccessRules, RequestWithHeaders } from "./access.ts";

const RULES: AccessRules = { writerPassword: "w", readerToken: "t", hosts: ["audit.internal"] };

const request = (headers: Record<string, string>): RequestWithHeaders => ({ headers });

const basic = (text: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(text).toString("base64")}`,
});

const who = (headers: Record<string, string>, search = "", rules = RULES): string =>
  authenticate(request(headers), new URLSearchParams(search), rules);

describe("checkOrigin", () => {
  it.each([
    "localhost:8123",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]:8123",
    "LOCALHOST",
    "audit.internal:8123",
    "a.localhost",
  ])("takes the host %s", (host) => {
    expect(() => checkOrigin(request({ host }), RULES)).not.toThrow();
  });

  it.each([
    "",
    "evil.example",
    "evil.example:8123",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "localhost@evil.example",
    "[::1",
    "[::2]:1",
    "::1",
    "localhost:8123:1",
    "localhost/x",
    "audit.internal.evil",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "169.254.169.254",
  ])("refuses the host %j", (host) => {
    expect(() => checkOrigin(request({ host }), RULES)).toThrow(/ACCESS_DENIED/);
  });

  it("refuses a page from elsewhere and takes one from here", () => {
    const host = "localhost:8123";
    expect(() => checkOrigin(request({ host, origin: "http://evil.example" }), RULES)).toThrow(/Origin/);
    expect(() => checkOrigin(request({ host, origin: "null" }), RULES)).toThrow(/Origin/);
    expect(() => checkOrigin(request({ host, origin: "http://localhost:8123" }), RULES)).not.toThrow();
  });
});

describe("authenticate", () => {
  it("knows the writer by each way to say it", () => {
    expect(who(basic(`${WRITER_USER}:w`))).toBe("writer");
    expect(who({ "x-clickhouse-user": WRITER_USER, "x-clickhouse-key": "w" })).toBe("writer");
    expect(who({}, `user=${WRITER_USER}&password=w`)).toBe("writer");
  });

  it("knows readers by their token", () => {
    expect(who(basic("default:t"))).toBe("reader");
    expect(who({ authorization: "Bearer t" })).toBe("reader");
    expect(who({ "x-clickhouse-key": "t" })).toBe("reader");
    expect(who({}, "user=reader&password=t")).toBe("reader");
  });

  it("asks for a missing token and refuses wrong ones", () => {
    expect(() => who({})).toThrow(/REQUIRED_PASSWORD/);
    for (const headers of [basic("default:w"), basic("default:tt"), basic(`${WRITER_USER}:t`), basic("root:t")]) {
      expect(() => who(headers)).toThrow(/AUTHENTICATION_FAILED/);
    }
    expect(() => who({ authorization: "Digest x" })).toThrow(/AUTHENTICATION_FAILED/);
    expect(() => who(basic(WRITER_USER), "", { ...RULES, writerPassword: undefined })).toThrow(/AUTHENTICATION_FAILED/);
  });

  it("lets in readers without a token where none is set, and nobody with a password", () => {
    const open = { ...RULES, readerToken: undefined };
    expect(who({}, "", open)).toBe("reader");
    expect(who(basic("default:"), "", open)).toBe("reader");
    expect(() => who(basic("default:x"), "", open)).toThrow(/AUTHENTICATION_FAILED/);
    expect(() => who(basic(`${WRITER_USER}:`), "", open)).toThrow(/AUTHENTICATION_FAILED/);
  });
});

describe("isLoopbackHost", () => {
  it("tells loopback from the rest", () => {
    expect(["127.0.0.1", "::1", "localhost"].map(isLoopbackHost)).toEqual([true, true, true]);
    expect(["0.0.0.0", "::", "192.168.0.1", "localhost.example", ""].map(isLoopbackHost)).not.toContain(true);
  });
});
