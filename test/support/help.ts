// Help for programs of the repository that are not the product.
import { readFileSync } from "node:fs";

/** The comment at the top of a file says what it measures and which options it has. */
export function headOf(file: string): string {
  const lines = readFileSync(file, "utf8").split("\n");
  const head = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith("//")),
  );
  return head.map((line) => `${line.replace(/^\/\/ ?/, "")}\n`).join("");
}

/** `--help` prints the head of a program and ends it. */
export function helpOf(file: string): void {
  if (!process.argv.includes("--help")) return;
  process.stdout.write(headOf(file));
  process.exit(0);
}
