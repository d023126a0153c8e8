// What makes a bench end, and say what it does meanwhile.
import { basename } from "node:path";

/** Tells on stderr what is going on. */
export type Tell = (line: string) => void;

/**
 * Runs a bench and ends the process: with 1 and a line that says why when it fails, or has not ended in time. What it
 * started ends with it.
 */
export async function within(file: string, seconds: number, run: (tell: Tell) => Promise<void>): Promise<never> {
  const name = basename(file, ".ts");
  const started = performance.now();
  const tell: Tell = (line) => {
    const elapsed = ((performance.now() - started) / 1_000).toFixed(0).padStart(4);
    process.stderr.write(`${name} ${elapsed} s: ${line}\n`);
  };
  tell(`ends within ${Math.ceil(seconds / 60)} min`);
  const timer = setTimeout(() => {
    tell(`FAILED: not at its end after ${seconds} s`);
    process.exit(1);
  }, seconds * 1_000);
  try {
    await run(tell);
    clearTimeout(timer);
    process.exit(0);
  } catch (error) {
    tell(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
