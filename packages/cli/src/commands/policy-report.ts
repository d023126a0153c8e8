import { paint, print } from "../output/stdout.ts";
import { printableLines } from "../output/text.ts";

/** The last line says it all, so it stands out. */
export async function printReport(lines: readonly string[], isFine: boolean): Promise<void> {
  const last = paint(process.stdout, isFine ? "green" : "red", printableLines(lines.at(-1) ?? ""));
  await print(`${[...lines.slice(0, -1).map(printableLines), last].join("\n")}\n`);
}
