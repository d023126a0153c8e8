import { GlobSyntaxError } from "./glob-syntax.ts";
import { AGENT_PREFIX, compileNamePatterns } from "./pattern.ts";

/**
 * A test for who acts, by patterns as `agent` of a rule has them: `support-*`, `agent:refunds`, `{a,b}`. An actor of
 * another type has to carry it in its id (`user:ann`, `service:shop`), for the pattern to cover it too: a person called as
 * an agent is somebody else. An empty id never matches.
 *
 * @throws Error what is wrong with the pattern, in words for who wrote it
 */
export function compileAgents(patterns: readonly string[]): (actorId: string, actorType: string) => boolean {
  if (patterns.includes("none")) throw new GlobSyntaxError(`"none" is nobody, and cannot be an agent here`);
  const compiled = patterns.flatMap((pattern) => compileNamePatterns(pattern, true));
  return (actorId, actorType) => {
    const isPrefixed = actorId.startsWith(AGENT_PREFIX);
    const name = isPrefixed ? actorId.slice(AGENT_PREFIX.length) : actorId;
    const isAgent = isPrefixed || actorType === "agent";
    if (actorType !== "" && actorType !== "agent" && !actorId.startsWith(`${actorType}:`)) return false;
    return name !== "" && compiled.some((pattern) => (isAgent || !pattern.isAgent) && pattern.test(name));
  };
}
