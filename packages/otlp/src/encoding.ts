// Writing alone, for a process that is audited: the rest of the package would cost its start 10 ms.
export { encodeAttribute, encodeSpan, frameSpans } from "./encode.ts";
export type { Attributes, AttributeValue } from "./value.ts";
