/** What is wrong with a policy document or a file of policy tests. */
export type PolicyErrorCode =
  | "TOO_LARGE"
  | "INVALID_YAML"
  | "DUPLICATE_KEY"
  | "UNKNOWN_KEY"
  | "MISSING_KEY"
  | "INVALID_VALUE"
  | "INVALID_PATTERN"
  | "DUPLICATE_RULE"
  | "UNKNOWN_RESOURCE"
  | "UNREADABLE";

/** One fault, with its place in the source. */
export interface PolicyIssue {
  readonly code: PolicyErrorCode;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 code units. */
  readonly column: number;
  /** `rules[2].deny.resource`; empty for the document as a whole. */
  readonly path: string;
  /** Without the place. */
  readonly message: string;
}

/** Thrown for a document that cannot be used. The first of its {@link issues} is the error's own code and place. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly code: PolicyErrorCode;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  /** Everything that was found, in the order of the source; at most 100. */
  readonly issues: readonly PolicyIssue[];

  constructor(file: string, issues: readonly [PolicyIssue, ...PolicyIssue[]], options?: { cause?: unknown }) {
    super(issues.map((issue) => formatIssue(file, issue)).join("\n"), options);
    const [first] = issues;
    this.code = first.code;
    this.file = file;
    this.line = first.line;
    this.column = first.column;
    this.path = first.path;
    this.issues = issues;
  }
}

/** `support.yaml:12:9: rules[2].deny.resorce: unknown key "resorce", did you mean "resource"?` */
export function formatIssue(
  file: string,
  issue: { line: number; column: number; path: string; message: string },
): string {
  const path = issue.path === "" ? "" : `${issue.path}: `;
  return `${file}:${issue.line}:${issue.column}: ${path}${issue.message}`;
}
