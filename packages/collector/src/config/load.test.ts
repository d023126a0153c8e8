import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { CollectorError } from "../errors.ts";
import { DEFAULT_CONFIG } from "./default-config.ts";
import { effectiveConfig } from "./effective.ts";
import { loadConfig } from "./load.ts";
import { merge } from "./sources.ts";

const dir = tempDir("load");
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

const BASE = file(
  "base.yaml",
  `receivers: { otlp: { protocols: { http: {} } } }
exporters:
  otlphttp: { endpoint: "http://127.0.0.1:4319", headers: { a: "1" }, timeout: 10s }
  otlphttp/b: { endpoint: "http://127.0.0.1:4320" }
  clickhouse_audit: { endpoint: "http://127.0.0.1:1" }
service:
  pipelines:
    traces: { receivers: [otlp], exporters: [clickhouse_audit, otlphttp, otlphttp/b] }
`,
);

/** A setting that is a reference. */
const refer = (key: string, name: string): string => `exporters.${key}=\${env:${name}}`;

async function messageOf(uris: string[], options: Parameters<typeof loadConfig>[1] = {}): Promise<string> {
  const error: unknown = await loadConfig(uris, { env: {}, ...options }).catch((cause: unknown) => cause);
  if (error instanceof CollectorError && error.code === "INVALID_CONFIG") return error.message;
  throw new Error(`not refused: ${JSON.stringify(error)}`);
}

async function metricsWarnings(more: string): Promise<readonly string[]> {
  const set = [`service.telemetry.metrics={ address: "0.0.0.0:8888"${more} }`];
  return (await loadConfig([], { set })).warnings;
}

describe("loadConfig", () => {
  it("merges maps, replaces lists and values, and takes settings last", async () => {
    const over = file(
      "over.yaml",
      `exporters: { otlphttp: { headers: { b: "2" }, timeout: 20s } }
service: { pipelines: { traces: { exporters: [clickhouse_audit, otlphttp] } } }`,
    );
    const { document } = await loadConfig(
      [BASE, `file:${over}`, "env:MORE", "yaml:service::telemetry::logs::level: warn"],
      {
        env: { MORE: "exporters: { otlphttp: { compression: gzip } }" },
        set: ["exporters.otlphttp.timeout=30s", "service.telemetry.logs.encoding=console"],
      },
    );
    expect(document).toMatchObject({
      exporters: {
        otlphttp: {
          endpoint: "http://127.0.0.1:4319",
          headers: { a: "1", b: "2" },
          timeout: "30s",
          compression: "gzip",
        },
      },
      service: {
        pipelines: { traces: { receivers: ["otlp"], exporters: ["clickhouse_audit", "otlphttp"] } },
        telemetry: { logs: { level: "warn", encoding: "console" } },
      },
    });
  });

  it("tells who may read the metrics", async () => {
    expect(await metricsWarnings("")).toEqual([
      expect.stringMatching(/^service::telemetry::metrics: everybody who reaches 0\.0\.0\.0:8888 can read/),
    ]);
    const tls = ", tls: { cert_file: a, key_file: b, client_ca_file: c }";
    expect(await metricsWarnings(tls)).toEqual([]);
    expect(await metricsWarnings(", level: none")).toEqual([]);
  });

  it("tells of debug spans that nothing keeps", async () => {
    const only = ["service.pipelines.traces.exporters=[clickhouse_audit]"];
    expect((await loadConfig([BASE], { set: only })).warnings).toEqual([
      expect.stringMatching(/^receivers::otlp: its spans that are no audit records are acknowledged and not kept/),
    ]);
    const router = [
      "connectors.audit_router={ audit: [traces/audit] }",
      "service.pipelines.traces.exporters=[audit_router]",
      "service.pipelines.traces/audit={ receivers: [audit_router], exporters: [clickhouse_audit] }",
    ];
    expect((await loadConfig([BASE], { set: router })).warnings).toEqual([]);
    expect((await loadConfig([BASE])).warnings).toEqual([]);
  });

  it("is the configuration that is built in without any", async () => {
    const { config } = await loadConfig([], { set: ["exporters.clickhouse_audit.segment.max_age=5000"] });
    expect(config.exporters.get("clickhouse_audit")).toMatchObject({ segment: { max_age: 5000 } });
  });

  it("expands variables and files, and tells what is not set", async () => {
    const secret = file("token", "very-secret\n");
    const { document, warnings } = await loadConfig([BASE], {
      env: { HOST: "h", PORT: "5000" },
      set: [
        `exporters.otlphttp.headers.authorization=Bearer \${file:${secret}}`,
        "exporters.otlphttp.endpoint=http://${HOST}:${env:PORT}/${env:NOWHERE}$$",
      ],
    });
    expect(document).toMatchObject({
      exporters: { otlphttp: { endpoint: "http://h:5000/$", headers: { authorization: "Bearer very-secret" } } },
    });
    expect(warnings).toContain("exporters::otlphttp::endpoint: the variable NOWHERE is not set and stands for nothing");
    expect(effectiveConfig(document)).not.toContain("very-secret");
  });

  it("takes what a reference brings for what its setting wants", async () => {
    const { document } = await loadConfig([BASE], {
      env: { DIGITS: "0123", EXPONENT: "1e5", TRUTH: "true", HEX: "0x10", VERSION: "1.3", SIZE: "5", WAIT: "250" },
      set: [
        refer("clickhouse_audit.password", "DIGITS"),
        refer("clickhouse_audit.username", "TRUTH"),
        refer("otlphttp.headers.x-key", "EXPONENT"),
        refer("otlphttp.headers.y", "HEX"),
        refer("otlphttp.timeout", "WAIT"),
        refer("otlphttp.sending_queue.queue_size", "SIZE"),
        "receivers.otlp.protocols.http.tls={ cert_file: a, key_file: b, min_version: '${env:VERSION}' }",
        "extensions.audit_credentials.credentials=[{ id: '${env:SIZE}', token_sha256: '${env:HASH:-1111111111111111111111111111111111111111111111111111111111111111}', agents: ['${env:SIZE}'] }]",
      ],
    });
    expect(document).toMatchObject({
      receivers: { otlp: { protocols: { http: { tls: { min_version: "1.3" } } } } },
      exporters: {
        otlphttp: { headers: { "x-key": "1e5", y: "0x10" }, timeout: 250, sending_queue: { queue_size: 5 } },
        clickhouse_audit: { password: "0123", username: "true" },
      },
      extensions: { audit_credentials: { credentials: [{ id: "5", token_sha256: "1".repeat(64), agents: ["5"] }] } },
    });
  });

  it.each([
    ["${env:A:-${env:B:-x}}", { A: "val", B: "b" }, "val"],
    ["${env:A:-${env:B:-x}}", { B: "b" }, "b"],
    ["<${A:-<${B:-x}>}>", {}, "<<x>>"],
    // Empty is set, as in otelcol.
    ["${env:A:-x}", { A: "" }, ""],
    ["${env:${env:NAME}_KEY}", { NAME: "A", A_KEY: "k" }, "k"],
    ["${${SCHEME}:A:-x}", { SCHEME: "env" }, "x"],
    ["$$${A}$${A}$$$${A}", { A: "a" }, "$a${A}$${A}"],
    ["${A:-pa$$word}", {}, "pa$word"],
    ["{}$ $A", {}, "{}$ $A"],
    // What a variable brings is not looked at again.
    ["${A}", { A: "${B} $$ }" }, "${B} $$ }"],
    ["${A:-${B}}", { B: "x}:-{" }, "x}:-{"],
  ])("expands %s with %j to %s", async (text, env, expected) => {
    const { document } = await loadConfig([BASE], {
      env,
      set: [`exporters.otlphttp.headers.x=${JSON.stringify(text)}`],
    });
    expect(document).toMatchObject({ exporters: { otlphttp: { headers: { x: expected } } } });
  });

  it("looks at a default only where it is needed, and gives it the type of its setting", async () => {
    const { document, warnings } = await loadConfig([BASE], {
      env: { TOKEN: "t" },
      set: [
        "exporters.otlphttp.headers.x=${env:TOKEN:-${file:/nonexistent}${env:NOWHERE}}",
        "exporters.otlphttp.sending_queue.queue_size=${env:SIZE:-${env:OTHER:-5}}",
      ],
    });
    expect(document).toMatchObject({
      exporters: { otlphttp: { headers: { x: "t" }, sending_queue: { queue_size: 5 } } },
    });
    expect(warnings).toEqual([]);
  });

  it.each([
    ["${env:A:-x", 'has a "${" without its "}"; $$ is a dollar sign'],
    ["${env:A:-${env:B}", 'has a "${" without its "}"; $$ is a dollar sign'],
    ['${env:A:-{"a":1}}', 'has a "{" inside of a reference, which begins no other one'],
    ["${env:A:-$${env:B}}", 'has a "{" inside of a reference, which begins no other one'],
    ["${".repeat(50_000), "has references nested deeper than 16"],
    ["${env:${env:A}}", '"${env:${env:A}}" is not a reference; use ${env:NAME}'],
    ["${file:/run/a:-x}", '"${file:/run/a:-x}" is not a reference; use ${env:NAME}'],
  ])("refuses %.30s with its place", async (text, message) => {
    const set = [`exporters.otlphttp.headers.x=${JSON.stringify(text)}`];
    expect(await messageOf([BASE], { set, env: { A: "a b" } })).toContain(
      `exporters::otlphttp::headers::x: ${message}`,
    );
  });

  it("merges what an anchor names, and keeps what stands beside it", async () => {
    const merged = file(
      "merged.yaml",
      `exporters:
  otlphttp: &o { endpoint: "http://127.0.0.1:9", timeout: 5s, headers: { a: "1" } }
  otlphttp/b: { endpoint: "http://127.0.0.1:10", <<: *o }
  otlphttp/c:
    <<: [{ compression: gzip }, *o]
    headers: { b: "2" }
`,
    );
    const { document } = await loadConfig([BASE, merged]);
    expect(document).toMatchObject({
      exporters: {
        "otlphttp/b": { endpoint: "http://127.0.0.1:10", timeout: "5s", headers: { a: "1" } },
        "otlphttp/c": { endpoint: "http://127.0.0.1:9", compression: "gzip", headers: { b: "2" } },
      },
    });
    expect(document).not.toHaveProperty(["exporters", "otlphttp/c", "headers", "a"]);
  });

  it.each<[string, string[], Parameters<typeof loadConfig>[1], RegExp]>([
    [
      "a file that is not there",
      ["/nonexistent.yaml"],
      {},
      /^--config: cannot read "\/nonexistent\.yaml": no such file or directory/,
    ],
    ["a variable that is not set", ["env:NOSUCH"], {}, /^--config env:NOSUCH: the variable NOSUCH is not set/],
    ["the network", ["https://example.com/c.yaml"], {}, /is not fetched over the network/],
    ["another scheme", ["ftp:x"], {}, /the scheme "ftp" is not known/],
    ["a setting without a value", [BASE], { set: ["a"] }, /^--set a: write key=value/],
    ["a setting without a name", [BASE], { set: ["a..b=1"] }, /"a\.\.b" does not name a setting/],
    ["broken YAML in a setting", [BASE], { set: ["a=[1"] }, /^--set a:1:\d+: /],
    ["a map that is replaced by a value", [BASE], { set: ["service.pipelines=1"] }, /^service::pipelines: /],
    [
      "a file that cannot be read as a secret",
      [BASE],
      { set: ["exporters.otlphttp.headers.x=${file:/nonexistent}"] },
      /^exporters::otlphttp::headers::x: "\$\{file:\/nonexistent\}" cannot be read: ENOENT/,
    ],
  ])("refuses %s", async (_name, uris, options, message) => {
    expect(await messageOf(uris, options)).toMatch(message);
  });

  it("does not reach into JavaScript's own objects", async () => {
    expect(await messageOf([BASE], { set: ["__proto__.polluted=1"] })).toContain('"__proto__" is not a setting');
    expect(() => merge({ a: {} }, JSON.parse('{"a":{"__proto__":{"polluted":1}}}'))).toThrow(CollectorError);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });
});

describe("effectiveConfig", () => {
  it("means the same as what it was made from", async () => {
    const { document, config } = await loadConfig([file("default.yaml", DEFAULT_CONFIG)]);
    const again = await loadConfig([`yaml:${effectiveConfig(document)}`]);
    expect(again.config).toEqual(config);
  });

  it.each([
    ["https://s3cret@backend:4318/x", "https://[REDACTED]@backend:4318/x"],
    ["https://user:s3cret@backend", "https://[REDACTED]@backend"],
    ["https://user:s3@cret@backend/x", "https://[REDACTED]@backend/x"],
    ["https://user:s3/cret@backend", "https://[REDACTED]@backend"],
    ["https://user:s3?cret@backend", "https://[REDACTED]"],
    ["https://backend/x?api_key=s3cret", "https://backend/x?[REDACTED]"],
    ["https://backend/x?api_key=a@s3cret", "https://[REDACTED]"],
    ["https://backend/x#s3cret", "https://backend/x#[REDACTED]"],
    ["tcp://user:s3cret@backend:9000", "tcp://[REDACTED]@backend:9000"],
    ["https://backend:4318/x@y", "https://[REDACTED]@y"],
    ["https://backend:4318/x", "https://backend:4318/x"],
  ])("shows %s as %s, also in an error", async (url, shown) => {
    expect(effectiveConfig({ exporters: { otlphttp: { endpoint: url } } })).toContain(`endpoint: ${shown}\n`);
    expect(
      await messageOf([BASE], { set: [`exporters.otlphttp.endpoint=${JSON.stringify(url.replace(/^\w+/, "tcp"))}`] }),
    ).toBe(`exporters::otlphttp::endpoint: Invalid URL, not "${shown.replace(/^\w+/, "tcp")}"`);
  });

  it.each([
    "exporters.clickhouse_audit=[{ password: s3cret }]",
    "exporters.clickhouse_audit.endpoint={ headers: s3cret }",
    "exporters.clickhouse_audit.endpoint=[tcp://s3cret@host]",
    "exporters.clickhouse_audit.password=[s3cret]",
    "exporters.clickhouse_audit.password=[s3cret",
    "receivers.otlp.protocols.http.endpoint=http://u:s3cret@h",
    "receivers.otlp.protocols.http.endpoint=u:s3cret@h",
    "exporters.otlphttp.endpoint=u:s3cret@h:4318",
    "exporters.otlphttp.traces_endpoint=h:4318?key=s3cret",
    "exporters.clickhouse_audit.endpoint=u:s3cret@h",
    "service.telemetry.metrics.address=http://u:s3cret@h",
  ])("an error about %s has no secret", async (setting) => {
    expect(await messageOf([BASE], { set: [setting] })).not.toContain("s3cret");
  });

  it("hides secrets wherever they stand, and only them", () => {
    const text = effectiveConfig({
      exporters: {
        "otlphttp/c": { endpoint: "http://h", ca_file: "/run/a@b#c" },
        "otlphttp/token": { endpoint: "https://user:pass@host/x", headers: { x: "s1" } },
        clickhouse_audit: { endpoint: "http://h", password: "s2", token_file: "/run/secrets/t" },
      },
    });
    expect(text).not.toMatch(/pass@|s1|s2/);
    expect(text).toContain("https://[REDACTED]@host/x");
    expect(text).toContain("/run/secrets/t");
    expect(text).toContain("/run/a@b#c");
  });
});
