import { frameSpans } from "@otel-audit/otlp/encoding";

import { asOurselves } from "../identity.ts";
import { ownWork } from "../own-work.ts";
import { property } from "../unknown.ts";
import type { SpoolContents } from "./contents.ts";
import type { SpoolFile } from "./closed-files.ts";
import type { Spool } from "./spool.ts";
import { type Answer, post } from "./transport.ts";
import { clearTimeout, setTimeout } from "../pristine.ts";

/** Where records go. */
export interface Destination {
  /** The OTLP endpoint's base URL; `/v1/traces` is added. */
  readonly endpoint: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Send even if the endpoint does not answer as an otel-audit collector. */
  readonly trust: boolean;
}

/** Every answer of our collector carries this header, with its version. */
const COLLECTOR_HEADER = "otel-audit-collector";

/** How long records wait for company before they are sent, in milliseconds. */
const GATHER_MS = 200;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
const MAX_BATCH_SPANS = 512;
const MAX_BATCH_BYTES = 2 * 1024 * 1024;
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const EMPTY = new Uint8Array(0);

/** Why sending stopped for now. */
class NotSent extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Sends the spool's closed files, oldest first, and removes a file once all of it is acknowledged. Whatever goes wrong
 * before that leaves the file where it is: the collector drops what it has already.
 */
export class Shipper {
  readonly #spool: Spool;
  readonly #destination: Destination;
  readonly #url: URL;
  readonly #say: (message: string) => void;
  readonly #onMissing: (file: SpoolFile) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<boolean> | undefined;
  #retryMs = 0;
  #verified: boolean;
  #trouble = "";
  #sent = 0;
  #refused = 0;
  #stopped = false;

  /**
   * @param say hears of trouble and of its end, once each
   * @param onMissing hears of files that somebody else removed
   */
  constructor(
    spool: Spool,
    destination: Destination,
    say: (message: string) => void,
    onMissing: (file: SpoolFile) => void = () => {},
  ) {
    this.#onMissing = onMissing;
    this.#spool = spool;
    this.#destination = destination;
    this.#url = tracesUrl(destination.endpoint);
    this.#verified = destination.trust;
    this.#say = say;
  }

  /** There is something to send; it goes out soon, without keeping the process alive. */
  wake(): void {
    if (this.#timer === undefined && !this.#stopped) this.#schedule(Math.max(GATHER_MS, this.#retryMs));
  }

  /** Sends everything there is, one attempt. Resolves to whether nothing is left; never rejects. */
  flush(): Promise<boolean> {
    // What goes out already may have begun before the latest record: once it has ended, it is the next one's turn.
    return this.#running === undefined ? this.#begin() : this.#running.then(() => this.#begin());
  }

  /** How many records were acknowledged. */
  get sent(): number {
    return this.#sent;
  }

  /** How many records the collector will never take. */
  get refused(): number {
    return this.#refused;
  }

  /** How long to wait before the next attempt, in milliseconds; 0 after a good one. */
  get retryMs(): number {
    return this.#retryMs;
  }

  /** Sends nothing more by itself; what goes out just now is the last. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delay: number): void {
    asOurselves(() => {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        void this.#again();
      }, delay).unref();
    });
  }

  async #again(): Promise<void> {
    if (!(await this.flush())) this.wake();
  }

  #begin(): Promise<boolean> {
    this.#running ??= this.#shipAll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #shipAll(): Promise<boolean> {
    try {
      for (let file = this.#next(); file !== undefined && !this.#stopped; file = this.#next()) await this.#ship(file);
      this.#retryMs = 0;
      if (this.#trouble !== "") this.#say(`records go out again to ${this.#url.origin}`);
      this.#trouble = "";
      return this.#spool.isEmpty;
    } catch (error) {
      this.#retryMs = Math.min(MAX_RETRY_MS, Math.max(FIRST_RETRY_MS, this.#retryMs * 2));
      if (error instanceof NotSent) this.#retryMs = Math.max(this.#retryMs, error.retryAfterMs);
      this.#report(`records wait in ${this.#spool.folder}: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  /** The oldest file to send, with what was recorded up to now. */
  #next(): SpoolFile | undefined {
    ownWork(() => this.#spool.rotate());
    return this.#spool.closedFiles()[0];
  }

  async #ship(file: SpoolFile): Promise<void> {
    if (!this.#verified) await this.#verify();
    const contents = ownWork(() => file.read());
    if (contents === undefined) {
      // To wait for it would hold up all others for ever.
      this.#spool.forget(file);
      this.#onMissing(file);
      return;
    }
    const lost = contents.damage.filter((part) => part.kind === "damaged");
    if (lost.length > 0) this.#say(`a spool file is damaged in ${lost.length} places; what is intact is sent`);
    let refused = false;
    for (const batch of batches(contents)) refused = (await this.#send(file, batch)) || refused;
    ownWork(() => {
      if (refused)
        this.#say(`the collector refused records; they are kept in ${this.#spool.quarantine(file, contents)}`);
      else this.#spool.remove(file, contents);
    });
  }

  /** Returns whether the collector refused a record for good. */
  async #send(file: SpoolFile, batch: readonly Uint8Array[]): Promise<boolean> {
    const answer = await this.#post(frameSpans(file.owner.resource, file.owner.scope, batch));
    if (answer.status === 200) {
      // A partial success: some records will never be taken as they are.
      const rejected = rejectedSpans(answer.body);
      this.#sent += Math.max(0, batch.length - rejected);
      this.#refused += rejected;
      return rejected > 0;
    }
    if (answer.status !== 400 && answer.status !== 413) throw new NotSent(describe(answer), retryAfter(answer));
    if (batch.length === 1) {
      this.#refused++;
      return true;
    }
    // One bad or big record must not hold up the others.
    const half = batch.length >> 1;
    const first = await this.#send(file, batch.slice(0, half));
    return (await this.#send(file, batch.slice(half))) || first;
  }

  /** An empty request is valid OTLP; only our collector signs its answer. */
  async #verify(): Promise<void> {
    const answer = await this.#post(EMPTY);
    if (answer.status !== 200) throw new NotSent(describe(answer), retryAfter(answer));
    this.#verified = true;
  }

  async #post(body: Uint8Array): Promise<Answer> {
    let answer: Answer;
    try {
      answer = await post(this.#url, this.#destination.headers, body);
    } catch (error) {
      // Something else may listen there when it comes back.
      this.#verified = this.#destination.trust;
      throw new NotSent(`${this.#url.origin} cannot be reached (${networkError(error)})`);
    }
    // A proxy in between answers 502 without the header: that says nothing about who is behind it.
    if (!this.#destination.trust && !RETRYABLE.has(answer.status) && answer.headers[COLLECTOR_HEADER] === undefined) {
      this.#verified = false;
      throw new NotSent(
        `${this.#url.origin} does not answer as an otel-audit collector (status ${answer.status}); ` +
          "set OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT, or OTEL_AUDIT_EXPORTER_TRUST=1 to send records there all the same",
      );
    }
    return answer;
  }

  #report(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#say(trouble);
  }
}

function* batches(contents: SpoolContents): Iterable<readonly Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for (let i = 0; i < contents.count; i++) {
    const span = contents.span(i);
    if (span === undefined) continue;
    if (batch.length > 0 && (batch.length === MAX_BATCH_SPANS || bytes + span.length > MAX_BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(span);
    bytes += span.length;
  }
  if (batch.length > 0) yield batch;
}

/**
 * ExportTraceServiceResponse { partial_success (1) { rejected_spans (1), error_message (2) } }, in any order.
 * @returns the number of spans; every one of a body that cannot be read, which is then kept
 */
export function rejectedSpans(body: Uint8Array): number {
  let at = 0;
  let rejected = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = body[at++];
      if (byte === undefined || scale > 2 ** 56) return Number.NaN;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < body.length) {
    const tag = varint();
    // Fields of the inner message are read as if they stood in the outer one: it has no others.
    if (tag === 0x0a) varint();
    else if (tag === 0x08) rejected = varint();
    else if ((tag & 7) === 0) varint();
    else if ((tag & 7) === 2) {
      const length = varint();
      at += length;
    } else return MAX_BATCH_SPANS;
    if (Number.isNaN(rejected) || Number.isNaN(at) || at > body.length) return MAX_BATCH_SPANS;
  }
  return rejected;
}

function tracesUrl(endpoint: URL): URL {
  const url = new URL(endpoint);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/traces`;
  return url;
}

function describe({ status }: Answer): string {
  const hint =
    status === 401 || status === 403 ? ": is the token in OTEL_AUDIT_EXPORTER_OTLP_HEADERS known to it?" : "";
  return `the collector answered ${status}${hint}`;
}

function retryAfter(answer: Answer): number {
  const seconds = Number(answer.headers["retry-after"]);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, MAX_RETRY_MS) : 0;
}

function networkError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = property(error, "code");
  return typeof code === "string" ? code : error.message;
}
