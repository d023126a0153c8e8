import { EVENT_TOOL_CALL } from "@otel-audit/semantic-conventions";
import type { AttributeValue } from "@otel-audit/otlp";

import { begin, type ObservedAction, type Operation } from "../audit.ts";
import { InstrumentationError } from "../errors.ts";
import { cleanName } from "../text.ts";
import { type Actor, actorOf, type AgentIdentity } from "./actor.ts";
import { keepScope } from "./generators.ts";
import { currentActor, currentScope, runIn, type Scope, type Tool } from "./scope.ts";

/** A call of a tool, as an application says it. Texts are cut to 256 bytes; control characters are replaced. */
export interface ToolCall {
  /** `gen_ai.tool.name`. Required, not empty. */
  readonly name: string;
  /** `gen_ai.tool.call.id`: the id that the model gave the call. */
  readonly callId?: string | undefined;
  /** Where the tool lives, if it is not a function of this program: the target is `tool:<server>/<name>` then. */
  readonly server?: string | undefined;
}

/**
 * What one copy of this package does for another one in the process: the application may import another copy than the
 * one that was registered, and its calls must count all the same. It is as much as the exports of the package.
 */
interface Shared {
  withAgent<T>(identity: AgentIdentity, fn: () => T): T;
  currentAgent(): Actor | undefined;
  withToolCall<T>(call: ToolCall, fn: () => T): Promise<Awaited<T>>;
}

const SHARED = Symbol.for("otel-audit.agents.1");
const processWide: typeof globalThis & { [SHARED]?: Shared } = globalThis;
const own: Shared = Object.freeze({ withAgent: runAsAgent, currentAgent: currentActor, withToolCall: runTool });

/** Makes the identities of this copy those of the process: it is the one that records. */
export function shareIdentity(): void {
  Object.defineProperty(processWide, SHARED, { value: own, configurable: true });
}

/**
 * Runs `fn`, and everything it starts, as the given agent. Nested calls keep the outer agents as `audit.actor.chain`.
 * Where `fn` returns a generator, each of its steps runs as the agent, whoever asks for it.
 *
 * @throws InstrumentationError INVALID_IDENTITY if `identity.id` is not a non-empty string.
 */
export function withAgent<T>(identity: AgentIdentity, fn: () => T): T {
  const shared = processWide[SHARED];
  return shared === undefined || shared === own ? runAsAgent(identity, fn) : shared.withAgent(identity, fn);
}

/** Who acts now; undefined outside `withAgent` in a process without an identity of its own. */
export function currentAgent(): Actor | undefined {
  return (processWide[SHARED] ?? own).currentAgent();
}

/**
 * Runs `fn` as a call of a tool, recorded as `tool.call`; what it does has that record as its cause, and carries the
 * tool's name. For tools that are not called over MCP: those are recorded without it. Where `fn` returns a generator the
 * call lasts until its last step.
 *
 * Rejects with AuditPolicyDeniedError when the policy stops the call: `fn` is not run then.
 * Rejects with InstrumentationError INVALID_TOOL_CALL if `call.name` is not a non-empty string.
 */
export function withToolCall<T>(call: ToolCall, fn: () => T): Promise<Awaited<T>> {
  return (processWide[SHARED] ?? own).withToolCall(call, fn);
}

function runAsAgent<T>(identity: AgentIdentity, fn: () => T): T {
  const outer = currentScope();
  const scope: Scope = { actor: actorOf(identity, outer.actor), quiet: false, cause: outer.cause };
  const result = runIn(scope, fn);
  if (typeof result === "object") keepScope(result, scope);
  return result;
}

async function runTool<T>(call: ToolCall, fn: () => T): Promise<Awaited<T>> {
  const name = cleanName(call?.name);
  if (name === undefined) {
    const message = `withToolCall: name must be a non-empty string, got ${typeof call?.name}`;
    throw new InstrumentationError("INVALID_TOOL_CALL", message);
  }
  const tool: Tool = { name, callId: cleanName(call.callId) };
  const outer = currentScope();
  const operation = begin(toolAction(tool, cleanName(call.server)), true);
  if (operation?.decided !== undefined) await operation.decided;
  if (operation === undefined) return await fn();
  if (operation.denied !== undefined) throw operation.denied;
  return await runCalled(operation, { ...outer, cause: { recordId: operation.recordId, tool } }, fn);
}

async function runCalled<T>(operation: Operation, scope: Scope, fn: () => T): Promise<Awaited<T>> {
  try {
    const result = await runIn(scope, fn);
    if (!keepScope(result, scope, (error) => operation.end(error))) operation.end();
    return result;
  } catch (error) {
    operation.end(error ?? "_OTHER");
    throw error;
  }
}

/** A tool call as an action. The target's id is `tool:<name>`, or `tool:<server>/<name>`, percent-encoded. */
export function toolAction(
  tool: Tool,
  server: string | undefined,
  attributes?: Readonly<Record<string, AttributeValue>>,
): ObservedAction {
  const path = [...(server === undefined ? [] : [server]), tool.name].map((part) => encodeURIComponent(part)).join("/");
  return {
    event: EVENT_TOOL_CALL,
    name: `${EVENT_TOOL_CALL} ${tool.name}`,
    action: "EXECUTE",
    targets: [{ type: "tool", id: `tool:${path}` }],
    tool,
    ...(attributes === undefined ? undefined : { attributes }),
  };
}
