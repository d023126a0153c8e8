import { styleText } from "node:util";
import { CliError } from "../errors.ts";

/** How text stands out on a terminal. */
export type Style = Parameters<typeof styleText>[0];

/** Colours are for terminals that have them, and never for people who asked for none (https://no-color.org). */
function hasColours(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && !process.env.NO_COLOR && stream.hasColors();
}

/** Styles text where the stream shows colours. */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  // `validateStream` asks FORCE_COLOR too, which must not win over what hasColours says.
  return hasColours(stream) ? styleText(style, text, { validateStream: false }) : text;
}

/** Who reads our output may go at any time (`| head`); without a listener that would be a crash. */
export function toleratePipes(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}

let readerIsGone = false;

/**
 * Writes to stdout and waits while it is full. False: nobody reads any more, and there is no use in going on.
 *
 * @throws CliError `FAILED` for any other trouble (a full disk): output that is cut in silence is no record
 */
export async function print(text: string): Promise<boolean> {
  if (readerIsGone) return false;
  const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => {
    process.stdout.write(text, resolve);
  });
  if (!error) return true;
  if (error.code !== "EPIPE") {
    throw new CliError("FAILED", `cannot write to standard output: ${error.message}`, { cause: error });
  }
  readerIsGone = true;
  return false;
}

/** A line for the person, on stderr: never part of the answer. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}
