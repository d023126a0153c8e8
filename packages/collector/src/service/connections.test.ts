// Servers with room for three connections, with and without TLS: who is cut when there are more.
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { makeCertificate } from "../../../../test/support/certificate.ts";
import { Connections } from "./connections.ts";

let server: Server;
let connections: Connections;
let cut: number;
const clients = new Map<string, Socket>();

async function listen(isSecure: boolean): Promise<void> {
  cut = 0;
  clients.clear();
  const serve = (socket: Socket): void => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      connections.admitted(socket);
      socket.write(data);
    });
  };
  server = isSecure ? createTlsServer(makeCertificate(), serve) : createServer(serve);
  connections = new Connections(server, { max: 3, onCut: () => cut++ });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}
afterEach(() => {
  for (const client of clients.values()) client.destroy();
  server.close();
});

async function open(name: string, isSecure: boolean): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const client = isSecure
    ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false })
    : connect(port, "127.0.0.1");
  clients.set(
    name,
    client.on("error", () => {}),
  );
  const event = isSecure ? "secureConnection" : "connection";
  await Promise.all([once(server, event), once(client, isSecure ? "secureConnect" : "connect")]);
}

/** A request that is let in. */
async function use(name: string): Promise<void> {
  const client = clients.get(name)!;
  client.write("x");
  await once(client, "data");
}

const gone = (): string[] => [...clients].filter(([, client]) => client.closed || client.readableEnded).map(([n]) => n);

describe.each([false, true])("with TLS: %s", (isSecure) => {
  it("makes room by the oldest that was never admitted, then by the one that was not used for longest", async () => {
    await listen(isSecure);
    for (const name of ["good", "idle", "idler"]) await open(name, isSecure);
    await use("good");
    await open("a", isSecure);
    await expect.poll(gone).toEqual(["idle"]);
    await open("b", isSecure);
    await expect.poll(gone).toEqual(["idle", "idler"]);
    await use("a");
    await use("b");
    await use("good");
    await open("c", isSecure);
    await expect.poll(gone).toEqual(["idle", "idler", "a"]);
    expect(cut).toBe(3);
    await use("good");
  });

  it("ends strangers when it is told to, and nobody else", async () => {
    await listen(isSecure);
    for (const name of ["good", "idle"]) await open(name, isSecure);
    await use("good");
    // In the middle of a handshake, where there is one.
    clients.set("silent", connect((server.address() as AddressInfo).port, "127.0.0.1"));
    await once(server, "connection");
    connections.cutStrangers();
    await expect.poll(gone).toEqual(["idle", "silent"]);
    await use("good");
    expect(cut).toBe(0);
  });

  it("counts those that are gone no more", async () => {
    await listen(isSecure);
    for (let i = 0; i < 20; i++) {
      await open(`client ${i}`, isSecure);
      clients.get(`client ${i}`)!.destroy();
      await expect
        .poll(() => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))))
        .toBe(0);
    }
    expect(cut).toBe(0);
  });
});
