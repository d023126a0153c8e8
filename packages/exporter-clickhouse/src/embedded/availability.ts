import { existsSync } from "node:fs";
import { createRequire } from "node:module";

/** Whether the embedded engine can run here; when it cannot, `reason` says what to install or use instead. */
export type EmbeddedAvailability =
  | { readonly available: true }
  | { readonly available: false; readonly reason: string };

const PLATFORMS: ReadonlySet<string> = new Set(["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"]);

/**
 * Looks for chDB (an optional peer dependency, 540 MB on disk) without loading it into this process.
 * Published builds are for Linux with glibc and macOS, on x64 and arm64.
 */
export function isEmbeddedAvailable(): EmbeddedAvailability {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.has(platform)) {
    return unavailable(`chDB has no build for ${platform}`);
  }
  if (process.platform === "linux" && isMusl()) {
    return unavailable("chDB needs glibc and this system has musl (Alpine)");
  }
  const require = createRequire(import.meta.url);
  try {
    // The library itself is a package of its own for each platform: npm leaves it out without a word when optional
    // dependencies are off, so the outer package alone proves nothing.
    const outer = createRequire(require.resolve("chdb"));
    outer.resolve(`@chdb/lib-${platform}${process.platform === "linux" ? "-gnu" : ""}`);
    return { available: true };
  } catch {
    return unavailable(
      "the package chdb is not installed: run `npm install chdb@3.4.0` (540 MB, optional dependencies included)",
    );
  }
}

function unavailable(why: string): EmbeddedAvailability {
  return {
    available: false,
    reason: `${why}; or use a ClickHouse server instead of the embedded engine (clickhouse_audit: endpoint)`,
  };
}

/** A musl loader may stand beside glibc; Node's own report says which of them this process runs with. */
function isMusl(): boolean {
  const loader = `/lib/ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`;
  if (!existsSync(loader)) return false;
  const report: object = process.report.getReport();
  const header: unknown = "header" in report ? report.header : undefined;
  return typeof header === "object" && header !== null && !("glibcVersionRuntime" in header);
}
