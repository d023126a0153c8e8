import { createServer } from "node:http";

import { afterAll, describe, expect, it } from "vitest";

import { type ApiAnswer, startHttpApi } from "../../../test/support/index.ts";
import { closeServer, listen } from "../../../test/support/listen.ts";
import { endpointApprover, type NamedApprover, type ReviewRequest } from "./approver.ts";
import { MAX_PENDING, Reviews } from "./reviews.ts";

const REQUEST: ReviewRequest = {
  reviewId: "rv-1",
  recordId: "01J",
  event: "http.request",
  action: "WRITE",
  targets: [{ type: "http.endpoint", id: "https://pay.internal/v1/refunds" }],
  actor: { id: "agent:refunds", type: "agent" },
  policy: { id: "support", version: "sha256:0" },
  rule: "person-approves",
  reason: "refunds need a person",
};

function reviews(approver: NamedApprover | undefined, timeoutMs = 60_000): Reviews {
  return new Reviews({ approver: () => approver, timeoutMs });
}

const named = (ask: NamedApprover["ask"]): NamedApprover => ({ name: "function", ask });

function askFunction(answer: () => unknown): Promise<unknown> {
  const approver = named(async () => answer());
  return reviews(approver).ask(approver, REQUEST);
}

describe("a function", () => {
  it("decides", async () => {
    expect(await askFunction(() => ({ decision: "allow", by: "user:alice", reason: "ticket 1" }))).toEqual({
      decision: "approved",
      by: "user:alice",
      reason: "ticket 1",
    });
    expect(await askFunction(() => ({ decision: "deny", by: "user:bob" }))).toEqual({
      decision: "rejected",
      by: "user:bob",
      reason: undefined,
    });
  });

  it.each<readonly [string, () => unknown]>([
    ["nothing", () => undefined],
    ["true", () => true],
    ["allow without a name", () => ({ decision: "allow" })],
    ["an empty name", () => ({ decision: "allow", by: "" })],
    ["another word", () => ({ decision: "approve", by: "user:a" })],
    ["a reason that is none", () => ({ decision: "allow", by: "user:a", reason: 7 })],
    [
      "an error",
      () => {
        throw new Error("no");
      },
    ],
    [
      "something that cannot be told",
      () => {
        // oxlint-disable-next-line typescript/only-throw-error -- applications do
        throw Object.create(null);
      },
    ],
    [
      "a getter that throws",
      () => ({
        get decision(): string {
          throw new Error("no");
        },
      }),
    ],
  ])("%s is a refusal by nobody", async (_name, answer) => {
    const result = await askFunction(answer);
    expect(result).toMatchObject({ decision: "rejected", by: undefined });
    expect(result).toHaveProperty("reason", expect.stringContaining("the approver failed"));
  });

  it("has so much time and hears when it is over", async () => {
    let hung: AbortSignal | undefined;
    const approver = named((_request, signal) => {
      hung = signal;
      return new Promise(() => {});
    });
    expect(await reviews(approver, 1).ask(approver, REQUEST)).toMatchObject({ decision: "expired", by: undefined });
    expect(hung?.aborted).toBe(true);
  });

  it("is not asked more than it can hold, and is asked again afterwards", async () => {
    const answers: ((answer: unknown) => void)[] = [];
    const approver = named(() => new Promise((resolve) => answers.push(resolve)));
    const all = reviews(approver);
    const asked = Array.from({ length: MAX_PENDING }, () => all.ask(approver, REQUEST));
    expect(all.available).toContain("waiting already");
    await new Promise(setImmediate);
    for (const answer of answers) answer({ decision: "allow", by: "user:a" });
    expect(new Set((await Promise.all(asked)).map(({ decision }) => decision))).toEqual(new Set(["approved"]));
    expect(all.available).toBe(approver);
  });

  it("nobody is there", () => {
    expect(reviews(undefined).available).toContain("no approver");
  });
});

describe("an endpoint", async () => {
  const answers: ApiAnswer[] = [];
  const api = await startHttpApi({
    routes: { "POST /review": () => answers.shift() ?? {}, "POST /yes": { body: {} } },
  });
  afterAll(() => api.close());
  const ask = async (answer: ApiAnswer, timeoutMs?: number): Promise<unknown> => {
    const approver = endpointApprover(new URL("/review?key=1", api.url), { authorization: "Bearer t" });
    answers.push(answer);
    return reviews(approver, timeoutMs).ask(approver, REQUEST);
  };

  it("is sent the question, with its headers, and decides", async () => {
    const answer = { decision: "allow", by: "user:alice", reason: "see https://u:secret@host/" };
    expect(await ask({ body: answer })).toEqual({
      decision: "approved",
      by: "user:alice",
      reason: "see https://host/",
    });
    const request = api.requests.at(-1);
    expect(JSON.parse(request?.body ?? "")).toEqual(REQUEST);
    expect(request?.headers).toMatchObject({ authorization: "Bearer t", "content-type": "application/json" });
    expect(request?.query).toEqual({ key: "1" });
  });

  it.each<readonly [string, ApiAnswer]>([
    ["a redirect", { status: 307, headers: { location: "/yes" }, body: { decision: "allow", by: "user:a" } }],
    ["a failure", { status: 500, body: { decision: "allow", by: "user:a" } }],
    ["another success", { status: 202, body: { decision: "allow", by: "user:a" } }],
    ["a cut connection", { destroy: true }],
    ["no decision", { body: {} }],
    ["no object", { body: "allow" }],
    ["an endless answer", { body: { decision: "allow", by: "user:a", reason: "x".repeat(100_000) } }],
  ])("%s is a refusal by nobody", async (_name, answer) => {
    expect(await ask(answer)).toMatchObject({ decision: "rejected", by: undefined });
    expect(api.requests.at(-1)?.path).toBe("/review");
  });

  it("that is not there, or answers in halves, refuses", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write('{"decision":"allow"', () => response.destroy());
    });
    const url = new URL(`http://127.0.0.1:${await listen(server)}/`);
    const approver = endpointApprover(url, {});
    expect(await reviews(approver).ask(approver, REQUEST)).toMatchObject({ decision: "rejected", by: undefined });
    await closeServer(server);
    expect(await reviews(approver).ask(approver, REQUEST)).toMatchObject({
      decision: "rejected",
      reason: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("that is too slow refuses, and its connection is closed", async () => {
    const gone = Promise.withResolvers<void>();
    const server = createServer((_request, response) => response.on("close", () => gone.resolve()));
    const approver = endpointApprover(new URL(`http://127.0.0.1:${await listen(server)}/`), {});
    expect(await reviews(approver, 2_000).ask(approver, REQUEST)).toMatchObject({ decision: "expired" });
    await gone.promise;
    await closeServer(server);
  });

  it("has a name without secrets", () => {
    expect(endpointApprover(new URL("https://u:p@approvals.internal/a?token=1"), {}).name).toBe(
      "https://approvals.internal/a",
    );
  });
});
