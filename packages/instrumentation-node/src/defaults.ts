import { pathToFileURL } from "node:url";

import { AUDIT_ACTION_VALUE_READ } from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "./audit.ts";

/** Reads that say nothing about an agent, by the kind under which `process.summary` counts them. */
const IGNORED_READS: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ["node_modules", /\/node_modules\//],
  // Not the doors in /proc that lead to other files.
  ["system", /^file:\/\/\/(?:sys\/|proc\/(?![^/]+\/(?:task\/[^/]+\/)?(?:root|cwd|exe|fd|map_files)(?:\/|$)))/],
  ["device", /^file:\/\/\/dev\/(?:null|zero|full|random|urandom|tty|stdin|stdout|stderr|fd\/\d+)$/],
  ["resolver", /^file:\/\/\/etc\/(?:resolv\.conf|hosts|host\.conf|nsswitch\.conf|services|gai\.conf)$/],
  [
    "certificates",
    /^file:\/\/\/(?:etc\/ssl\/(?:certs\/|cert\.pem$|openssl\.cnf$)|etc\/pki\/(?:tls\/certs\/|ca-trust\/)|etc\/ca-certificates\/|usr\/(?:local\/)?share\/ca-certificates\/|usr\/lib\/ssl\/(?:certs\/|cert\.pem$|openssl\.cnf$))/,
  ],
  ["time_zone", /^file:\/\/\/(?:usr\/(?:share|lib)\/zoneinfo\/|etc\/(?:localtime|timezone)$)/],
];

/** Asks of the application whether it is alive. */
const HEALTH_CHECK =
  /^https?:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?\/(?:-\/)?(?:health|healthz|healthcheck|livez?|readyz?|startupz?|ping)\/?$/;

/** Never ignored, whatever list they are on: where secrets are, and the audit's own files. */
const NEVER_IGNORED =
  /^file:\/\/\/proc\/[^/]+\/(?:task\/[^/]+\/)?(?:environ|mem|cmdline)$|^file:\/\/.*\/\.env(?:\.[^/]*)?$|^file:\/\/.*\/\.ssh(?:\/|$)|^https?:\/\/169\.254\.169\.254(?::\d+)?\//;

/** Whether this is a place of secrets, which no default may hide. */
export function holdsSecrets(id: string): boolean {
  return NEVER_IGNORED.test(id);
}

/** What is recorded, ignored but counted, or never ignorable when no policy rule says more. */
export class Defaults {
  readonly #own: readonly string[];

  /** @param ownPaths the audit's own files and directories (policy, spool, …), absolute */
  constructor(ownPaths: readonly string[]) {
    this.#own = ownPaths.map((path) => pathToFileURL(path).href);
  }

  /** The kind under which the action is only counted; undefined when it is to be recorded. */
  ignoredAs(action: ObservedAction): string | undefined {
    if (action.action !== AUDIT_ACTION_VALUE_READ) return undefined;
    let kind: string | undefined;
    for (const target of action.targets) {
      kind = this.#ignoredTarget(target);
      if (kind === undefined) return undefined;
    }
    return kind;
  }

  /** Whether the target is one that no default may hide: secrets and the audit's own files. */
  neverIgnored(id: string): boolean {
    return holdsSecrets(id) || this.#own.some((own) => id === own || id.startsWith(`${own}/`));
  }

  #ignoredTarget(target: Target): string | undefined {
    const id = target.id;
    let kind: string | undefined;
    if (target.type === "file") kind = IGNORED_READS.find(([, pattern]) => pattern.test(id))?.[0];
    else if (target.type === "http.endpoint") kind = HEALTH_CHECK.test(id) ? "health_check" : undefined;
    return kind === undefined || this.neverIgnored(id) ? undefined : kind;
  }
}
