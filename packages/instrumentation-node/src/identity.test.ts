import { AsyncLocalStorage } from "node:async_hooks";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { assert, property, string } from "fast-check";
import { afterEach, expect, test } from "vitest";

import {
  type AgentIdentity,
  asOurselves,
  currentActor,
  bindIdentity,
  currentAgent,
  isQuiet,
  MAX_CHAIN,
  quietlyAsync,
  resolveActor,
  setAmbientActor,
  withAgent,
} from "./identity.ts";

afterEach(() => setAmbientActor(undefined));

const who = (): string | undefined => currentAgent()?.id;

test("outside withAgent nobody acts, inside the agent does, through awaits, timers and emitters", async () => {
  expect(currentAgent()).toBeUndefined();
  const emitter = new EventEmitter();
  const seen: (string | undefined)[] = [];
  await withAgent({ id: "agent:a" }, async () => {
    await sleep(1);
    seen.push(currentAgent()?.id);
    emitter.on("x", () => seen.push(currentAgent()?.id));
    await withAgent({ id: "agent:b" }, async () => {
      await sleep(1);
      seen.push(currentAgent()?.id);
    });
    seen.push(currentAgent()?.id);
  });
  emitter.emit("x");
  expect(seen).toEqual(["agent:a", "agent:b", "agent:a", undefined]);
});

test("interleaved agents do not mix", async () => {
  const ids = Array.from({ length: 50 }, (_, i) => `agent:${i}`);
  const seen = await Promise.all(
    ids.map((id, i) =>
      withAgent({ id }, async () => {
        await sleep(i % 3);
        await Promise.resolve();
        return currentAgent()?.id;
      }),
    ),
  );
  expect(seen).toEqual(ids);
});

test("a nested agent keeps the chain, root first, and inherits the work but not the credential", () => {
  const root: AgentIdentity = {
    id: "agent:planner",
    credential: "key:1",
    onBehalfOf: "user:4711",
    workflow: { name: "refund", id: "wf-1" },
    conversation: "conv-9",
  };
  withAgent(root, () =>
    withAgent({ id: "agent:support", name: "Support" }, () => {
      expect(currentAgent()).toEqual({
        id: "agent:support",
        type: "agent",
        name: "Support",
        version: undefined,
        credential: undefined,
        onBehalfOf: "user:4711",
        onBehalfOfType: "user",
        workflowName: "refund",
        workflowId: "wf-1",
        conversation: "conv-9",
        chain: ["agent:planner"],
        claimed: [],
      });
      withAgent({ id: "agent:support" }, () => {
        // The same agent again is no agent of its own.
        expect(currentAgent()).toMatchObject({ name: "Support", chain: ["agent:planner"] });
      });
      withAgent({ id: "agent:x", workflow: "audit" }, () => {
        expect(currentAgent()).toMatchObject({ workflowName: "audit", workflowId: undefined });
      });
    }),
  );
});

test("a long chain keeps its root and the nearest agents", () => {
  const nest = (depth: number): readonly string[] | undefined =>
    withAgent({ id: `agent:${depth}` }, () => (depth === 20 ? currentAgent()?.chain : nest(depth + 1)));
  expect(nest(0)).toEqual(["agent:0", ...Array.from({ length: MAX_CHAIN - 1 }, (_, i) => `agent:${13 + i}`)]);
});

test.each([
  ["agent:x", undefined, "agent"],
  ["user:4711", undefined, "user"],
  ["service:cron", undefined, "service"],
  ["system:backup", undefined, "system"],
  ["refund-bot", undefined, "agent"],
  ["spiffe://x/y", undefined, "agent"],
  ["agent:x", "service", "service"],
] as const)("the type of %s (%s) is %s", (id, type, expected) => {
  expect(resolveActor({ id, type }, undefined).type).toBe(expected);
});

test("the process's own agent is the outermost one", () => {
  setAmbientActor(resolveActor({ id: "agent:process" }, undefined));
  expect(currentAgent()?.id).toBe("agent:process");
  withAgent({ id: "agent:task" }, () => expect(currentAgent()?.chain).toEqual(["agent:process"]));
});

test.each([{ id: "" }, { id: undefined }, undefined, { id: {} }])("%j is no identity", (identity) => {
  // As JavaScript calls it, without types.
  const call = (): unknown => Reflect.apply(withAgent, undefined, [identity, () => "ran"]);
  expect(call).toThrow(expect.objectContaining({ code: "INVALID_IDENTITY" }));
});

test("whatever text is given, what is kept is bounded, printable and well formed", () => {
  assert(
    property(string({ unit: "binary", minLength: 1, maxLength: 600 }), (text) => {
      const actor = resolveActor({ id: text, name: text, onBehalfOf: text, workflow: text }, undefined);
      for (const value of [actor.id, actor.name, actor.onBehalfOf, actor.workflowName]) {
        expect(Buffer.byteLength(value ?? "")).toBeLessThanOrEqual(256);
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        expect(value).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]|\p{Surrogate}/u);
      }
    }),
  );
});

test("two long identities with the same beginning stay two", () => {
  const long = "agent:".padEnd(10_000, "x");
  const [a, b] = [resolveActor({ id: `${long}a` }, undefined).id, resolveActor({ id: `${long}b` }, undefined).id];
  expect(a).not.toBe(b);
  expect(a.slice(0, 100)).toBe(b.slice(0, 100));
});

test("quiet is inherited by what starts inside, bound callbacks return to their agent", async () => {
  await withAgent({ id: "agent:a" }, async () => {
    const back = bindIdentity(() => [isQuiet(), currentAgent()?.id]);
    await quietlyAsync(async () => {
      await sleep(1);
      expect([isQuiet(), currentAgent()?.id]).toEqual([true, "agent:a"]);
      expect(back()).toEqual([false, "agent:a"]);
    });
    expect(isQuiet()).toBe(false);
  });
});

test("our own work runs outside the application's identity", () => {
  withAgent({ id: "agent:a" }, () => {
    asOurselves(() => expect([currentActor(), isQuiet()]).toEqual([undefined, true]));
    expect(isQuiet()).toBe(false);
  });
});

test("what is handed out cannot be changed", () => {
  withAgent({ id: "agent:a" }, () =>
    withAgent({ id: "agent:b" }, () => {
      const actor = currentAgent();
      expect(() => Object.assign(actor ?? {}, { id: "agent:root" })).toThrow(TypeError);
      expect(() => Reflect.apply(Array.prototype.push, actor?.chain, ["agent:root"])).toThrow(TypeError);
      expect(currentAgent()).toMatchObject({ id: "agent:b", chain: ["agent:a"] });
    }),
  );
});

test("an identity object that changes after the call is a new identity the next time", () => {
  const identity = { id: "agent:a", workflow: { name: "refund", id: "wf-1" } };
  const seen = [withAgent(identity, currentAgent)];
  seen.push(withAgent({ ...identity, workflow: { ...identity.workflow } }, currentAgent));
  identity.workflow.id = "wf-2";
  seen.push(withAgent(identity, currentAgent));
  expect(seen.map((actor) => actor?.workflowId)).toEqual(["wf-1", "wf-1", "wf-2"]);
  // The record of an actor that is the same object is encoded once.
  expect(seen[1]).toBe(seen[0]);
});

async function* model(): AsyncGenerator<string | undefined> {
  yield who();
  await sleep(1);
  yield who();
  yield* other();
}
async function* other(): AsyncGenerator<string | undefined> {
  yield who();
}
function* plain(): Generator<string | undefined> {
  yield who();
  yield who();
}

test("each step of a generator runs as its agent, whoever asks for it", async () => {
  const stream = withAgent({ id: "agent:a" }, model);
  const seen: (string | undefined)[] = [];
  await withAgent({ id: "agent:b" }, async () => {
    for await (const id of stream) seen.push(id, who());
  });
  expect(seen).toEqual(["agent:a", "agent:b", "agent:a", "agent:b", "agent:a", "agent:b"]);
  expect([...withAgent({ id: "agent:c" }, plain)]).toEqual(["agent:c", "agent:c"]);
});

test("replaced methods of AsyncLocalStorage neither see nor change who acts", () => {
  const names = ["getStore", "run", "enterWith"] as const;
  const before = names.map((name): unknown => Reflect.get(AsyncLocalStorage.prototype, name));
  const stolen: unknown[] = [];
  const steal = function (this: unknown): undefined {
    stolen.push(this);
    return undefined;
  };
  for (const name of names) Reflect.set(AsyncLocalStorage.prototype, name, steal);
  try {
    expect(withAgent({ id: "agent:a" }, () => currentAgent()?.id)).toBe("agent:a");
    expect(quietlyAsync(isQuiet)).toBe(true);
    expect(isQuiet()).toBe(false);
  } finally {
    for (const [at, name] of names.entries()) Reflect.set(AsyncLocalStorage.prototype, name, before[at]);
  }
  expect(stolen).toEqual([]);
});

test("whatever else stands in an identity, it is none of ours, and a frozen generator stays as it is", () => {
  const cyclic: Record<string, unknown> = { id: "agent:a", onBehalfOf: null, workflow: null };
  cyclic["self"] = cyclic;
  const call = (): unknown => Reflect.apply(withAgent, undefined, [cyclic, who]);
  expect([call(), call()]).toEqual(["agent:a", "agent:a"]);
  const frozen = Object.freeze(plain());
  expect(withAgent({ id: "agent:a" }, () => frozen)).toBe(frozen);
});
