import { createServer } from "node:net";
import { expect, it } from "vitest";
import { Listener } from "./listener.ts";

it("shares its port with the workers of this process, and with nobody else", async () => {
  const address = { host: "127.0.0.1", port: 0 };
  const assigned = (port: number): unknown => (address.port = port);
  const listen = async (first: boolean): Promise<Listener> => {
    const listener = new Listener("here", createServer(), { address, reusePort: true, first, assigned });
    await listener.listen();
    return listener;
  };
  const worker0 = await listen(true);
  const worker1 = await listen(false);
  // Another collector: its worker 0.
  await expect(listen(true)).rejects.toMatchObject({
    code: "ADDRESS_IN_USE",
    message: expect.stringMatching(/^here: 127\.0\.0\.1:\d+ is in use by /) as string,
  });
  await Promise.all([worker0.close(), worker1.close()]);
  await (await listen(true)).close();
});
