export { type Actor, type AgentIdentity, actorOf, MAX_CHAIN, resolveActor, withClaimed } from "./identity/actor.ts";
export { currentAgent, shareIdentity, toolAction, type ToolCall, withAgent, withToolCall } from "./identity/agents.ts";
export {
  asOurselves,
  bindIdentity,
  type Cause,
  currentActor,
  currentScope,
  isQuiet,
  mayRecord,
  quietlyAsync,
  runIn,
  type Scope,
  setAmbientActor,
  type Tool,
  withCause,
} from "./identity/scope.ts";
