import { createServer } from "node:net";
import { configError, errorMessage } from "../errors.ts";

/** Several workers listen on one port, and the system spreads connections over them: not every system can. */
export async function checkReusePort(workers: number): Promise<void> {
  if (workers === 1) return;
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen({ host: "127.0.0.1", port: 0, reusePort: true }, resolve);
    });
  } catch (error) {
    throw configError(
      ["service", "workers"],
      `${workers} workers need SO_REUSEPORT, which ${process.platform} does not give (${errorMessage(error)}); the only value here is 1`,
    );
  } finally {
    server.close();
  }
}
