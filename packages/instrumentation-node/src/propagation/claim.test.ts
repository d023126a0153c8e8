import { array, assert, constantFrom, oneof, property, string, webUrl } from "fast-check";
import { expect, test } from "vitest";

import { claimedActor, resolveActor } from "../identity/actor.ts";
import { actorFromEnvironment, callerEnvironment, environmentOf } from "../identity-environment.ts";
import { isRefused, readBaggage, withoutOurs, writeBaggage } from "./claim.ts";
import { parseHosts, parseSources } from "./hosts.ts";

const planner = resolveActor({ id: "agent:root" }, undefined);
const actor = resolveActor(
  {
    id: "agent:a, b;c=\u00e9",
    name: "A",
    version: "1",
    credential: "key:1",
    onBehalfOf: "user:4711",
    workflow: { name: "refund", id: "wf-1" },
    conversation: "conv",
  },
  planner,
);

const long = (name: string): string => name.padEnd(10_000, "\u{1f47e}");

test("what is written is read again, without the credential", () => {
  const text = writeBaggage(actor, "01JD3XK5");
  expect(text).toMatch(/^[\w!#$%&'()*+\-./:<=>?@[\]^`{|}~,]+$/);
  expect(readBaggage(`x=1;p=2, ${text} ,y="2"`)).toEqual({
    cause: "01JD3XK5",
    claim: {
      id: actor.id,
      type: "agent",
      chain: ["agent:root"],
      name: "A",
      version: "1",
      onBehalfOf: "user:4711",
      onBehalfOfType: "user",
      workflowName: "refund",
      workflowId: "wf-1",
      conversation: "conv",
    },
  });
  expect(text).not.toContain("key");
  expect(withoutOurs(`x=1;p=2,${text},y=2`)).toBe("x=1;p=2,y=2");
});

test("identities of 10 kB are written within bounds, and the id among them", () => {
  let big = resolveActor({ id: long("agent:0"), workflow: long("w"), onBehalfOf: long("user:") }, undefined);
  for (let i = 1; i < 12; i++) big = resolveActor({ id: long(`agent:${i}`), name: long("n") }, big);
  const text = writeBaggage(big, "r");
  expect(text.length).toBeLessThan(4200);
  expect(readBaggage(text)).toMatchObject({ claim: { id: big.id, onBehalfOf: big.onBehalfOf } });
});

test.each([
  ["twice there", "audit.actor.id=a,audit.actor.id=b"],
  ["a control character", "audit.actor.id=a%00"],
  ["a line break", "audit.actor.id=a,audit.workflow.id=x%0Ay"],
  ["text that turns around", "audit.actor.id=agent:%E2%80%AEx"],
  ["too long", `audit.actor.id=${"a".repeat(257)}`],
  ["empty", "audit.actor.id="],
  ["broken percent-encoding", "audit.actor.id=%E0%A4%A"],
  ["a chain that is none", "audit.actor.id=a,audit.actor.chain=%7B%7D"],
  ["a chain of no texts", "audit.actor.id=a,audit.actor.chain=%5B1%5D"],
  [
    "a chain that is too long",
    `audit.actor.id=a,audit.actor.chain=${encodeURIComponent(JSON.stringify(Array(9).fill("a")))}`,
  ],
  ["no record's id", "audit.actor.id=a,audit.cause.record.id=a%20b"],
  ["a header without end", `audit.actor.id=a,x=${"x".repeat(20_000)}`],
])("%s: refused as a whole", (_what, header) => {
  expect(isRefused(readBaggage(header))).toBe(true);
});

test("whatever arrives, what is taken of it is bounded and printable", () => {
  const key = constantFrom(
    "audit.actor.id",
    "audit.actor.chain",
    "audit.workflow.id",
    "audit.cause.record.id",
    "x",
    "",
  );
  const value = oneof(string({ unit: "binary" }), string().map(encodeURIComponent), webUrl());
  const member = array(oneof(key, value, constantFrom("=", ";", ",", " "))).map((parts) => parts.join(""));
  assert(
    property(array(member), (members) => {
      const header = members.join(",");
      const read = readBaggage(header);
      expect(isRefused(readBaggage(withoutOurs(header)))).toBe(header.length > 16 * 1024);
      if (isRefused(read) || read.claim === undefined) return;
      for (const text of [read.claim.id, ...read.claim.chain]) expect(text).not.toMatch(/\p{Cc}|^$/u);
    }),
  );
});

test("an agent of our own stays accountable, the claimed one stands before it", () => {
  const read = readBaggage(writeBaggage(actor, undefined));
  if (isRefused(read) || read.claim === undefined) throw new Error("refused");
  const own = resolveActor({ id: "agent:own", workflow: "ours" }, undefined);
  const led = claimedActor(read.claim, own);
  expect(led).toMatchObject({
    id: "agent:own",
    chain: ["agent:root", actor.id],
    claimed: ["agent:root", actor.id, "user:4711"],
    onBehalfOf: "user:4711",
    workflowName: "ours",
    workflowId: undefined,
    credential: undefined,
  });
  // The same claim again, by MCP inside of HTTP.
  expect(claimedActor(read.claim, led)).toBe(led);
  // Its nested agents are led by it.
  expect(resolveActor({ id: "agent:sub" }, led)).toMatchObject({
    chain: ["agent:root", actor.id, "agent:own"],
    claimed: led.claimed,
  });
  expect(claimedActor(read.claim, undefined)).toMatchObject({ id: actor.id, chain: ["agent:root"], name: "A" });
  // One agent in two processes is one agent.
  const same = claimedActor(read.claim, resolveActor({ id: actor.id }, undefined));
  expect(same).toMatchObject({ id: actor.id, chain: ["agent:root"], claimed: ["agent:root", "user:4711"] });
  // Another claim on top of it takes nothing back.
  const other = readBaggage(writeBaggage(resolveActor({ id: "agent:other" }, undefined), undefined));
  if (isRefused(other) || other.claim === undefined) throw new Error("refused");
  expect(claimedActor(other.claim, led).claimed).toEqual(["agent:other", ...led.claimed]);
});

test("what is claimed stays so in a process that is started under it", () => {
  const read = readBaggage(writeBaggage(actor, undefined));
  if (isRefused(read) || read.claim === undefined) throw new Error("refused");
  const own = resolveActor({ id: "agent:own" }, undefined);
  for (const led of [claimedActor(read.claim, own), claimedActor(read.claim, undefined), own]) {
    expect(actorFromEnvironment(environmentOf(led, undefined))).toEqual(led);
    const child = actorFromEnvironment({ ...callerEnvironment(led, undefined), OTEL_AUDIT_AGENT_ID: "agent:child" });
    const chain = [...led.chain, led.id];
    expect(child).toMatchObject({ id: "agent:child", chain, claimed: led.claimed.filter((id) => chain.includes(id)) });
  }
});

test.each([
  ["a.internal", "a.internal", 80, true],
  ["a.internal", "A.Internal.", 8080, true],
  ["a.internal", "b.a.internal", 80, false],
  ["a.internal", "a.internal.evil.example", 80, false],
  ["*.internal", "a.internal", 80, true],
  ["*.internal", "a.b.internal", 80, true],
  ["*.internal", "internal", 80, false],
  ["*.internal", ".internal", 80, false],
  ["*.internal", "evilinternal", 80, false],
  ["a.internal:8443", "a.internal", 8443, true],
  ["a.internal:8443", "a.internal", 443, false],
  ["[::1]:80", "::1", 80, true],
  ["[::1]", "[::1]", 81, true],
  ["127.0.0.1", "127.0.0.1", 1, true],
])("to %s: %s:%d is listed: %s", (item, host, port, listed) => {
  expect(parseHosts([item])?.(host, port)).toBe(listed);
});

test.each(["*", "**", "a.*.b", "*internal", "http://a", "a/b", "a b", "a:x", "", "user@a", "a.."])(
  "%j is no host",
  (item) => {
    expect(parseHosts([item])).toBeUndefined();
  },
);

test.each([
  ["loopback", "127.9.9.9", true],
  ["loopback", "::ffff:127.0.0.1", true],
  ["loopback", "::1", true],
  ["loopback", "10.0.0.1", false],
  ["loopback", undefined, false],
  ["unix", undefined, true],
  ["10.0.0.0/8", "10.200.0.1", true],
  ["10.0.0.0/8", "11.0.0.1", false],
  ["192.0.2.7", "192.0.2.7", true],
  ["fd00::/8", "fd12::1", true],
  ["*", "203.0.113.1", true],
  ["stdio", "127.0.0.1", false],
  ["none", "127.0.0.1", false],
])("from %s: %s is accepted: %s", (item, address, accepted) => {
  expect(parseSources([item])?.accepts(address)).toBe(accepted);
});
