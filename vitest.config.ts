import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{packages,test,conventions,examples}/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Real servers and engines run inside the tests: processes of their own keep them apart.
    expect: { poll: { timeout: 20_000, interval: 100 } },
    pool: "forks",
    maxWorkers: 2,
  },
});
