import type { Annotations, AttributeReference } from "./schema.ts";

interface Member {
  readonly id: string;
  readonly value: string;
  readonly brief: string;
}

/** An attribute with everything that the registry says of it in any place. */
export interface Attribute {
  /** File and path of the definition, for messages. */
  readonly at: string;
  readonly key: string;
  /** Weaver's type without the template wrapper; `string` for an enum. */
  readonly type: string;
  readonly template: boolean;
  readonly members: readonly Member[];
  readonly stability: string;
  readonly brief: string;
  readonly note: string | undefined;
  readonly examples: readonly unknown[];
  readonly annotations: Annotations;
  /** Absent for an attribute of ours. */
  readonly upstream: { readonly registry: string; readonly docs: string } | undefined;
}

export interface Group {
  readonly at: string;
  readonly id: string;
  readonly stability: string;
  readonly brief: string;
  readonly references: readonly AttributeReference[];
}

export interface SpanType {
  readonly at: string;
  readonly type: string;
  readonly kind: string;
  readonly stability: string;
  readonly name: string;
  readonly brief: string;
  readonly note: string | undefined;
  /** About the audit itself, not about what an agent did. */
  readonly control: boolean;
  readonly groups: readonly string[];
  readonly references: readonly AttributeReference[];
}

export interface Registry {
  readonly version: string;
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly groups: ReadonlyMap<string, Group>;
  readonly spans: readonly SpanType[];
}
