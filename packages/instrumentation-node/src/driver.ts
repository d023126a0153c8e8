/**
 * A driver knows one library: what to patch in it, and what the patched calls mean as audit actions.
 * It describes actions to `begin` in audit.ts and knows nothing of identities, policies or records.
 */
export interface Driver {
  /** The library as the start line names it: `fs`, `http`, `pg`. */
  readonly name: string;
  /**
   * Work that has to be done before patching and cannot be done synchronously. `register` awaits it; what starts
   * synchronously (`new AuditInstrumentation()`, threads of code in a text) does not. Must not reject.
   */
  prepare?(): Promise<void>;
  /** Patches. Called once; the package that is not loaded yet is patched when it is (see module-hook.ts). */
  install(): Installed;
}

/** A driver's patches in place. */
export interface Installed {
  /** The modules and packages whose actions are recorded, for the start line and `process.start`. */
  readonly covered: readonly string[];
  /** Takes the patches out where they are still on top; where somebody wrapped them, they only pass through. */
  uninstall(): void;
}
