import type { CoverageLibrary } from "./library.ts";

const API = "connection.open WRITE success tcp://127.0.0.1:$API_PORT";
const TLS = "connection.open WRITE success tcp://127.0.0.1:$TLS_PORT";
const REFUSED = "connection.open WRITE failure ECONNREFUSED tcp://127.0.0.1:1";
const DATAGRAM = "connection.open WRITE success udp://127.0.0.1:$API_PORT";

/** Connections that no other driver owns. */
export const netLibrary: CoverageLibrary = {
  name: "net, tls, http2, dgram",
  imports: { net: "node:net", tls: "node:tls", http2: "node:http2", dgram: "node:dgram" },
  setup: `
    const port = Number(new URL(API).port);
    const host = "127.0.0.1";
    const once = (opened, event = "connect") => opened.on(event, () => opened.destroy());
    const send = (socket, done, ...rest) => socket.send("x", ...rest, (error) => socket.close(() => done(error ?? undefined)));`,
  cases: [
    { api: "net.connect", form: "event", code: `once(net.connect(port, host))`, records: [API] },
    { api: "net.connect", form: "event", note: "options", code: `once(net.connect({ port, host }))`, records: [API] },
    { api: "net.connect", form: "event", note: "refused", code: `net.connect(1, host)`, records: [REFUSED] },
    { api: "net.createConnection", form: "event", code: `once(net.createConnection(port, host))`, records: [API] },
    {
      api: "new net.Socket().connect",
      form: "event",
      code: `once(new net.Socket().connect(port, host))`,
      records: [API],
    },
    {
      api: "tls.connect",
      form: "event",
      code: `once(tls.connect({ port: Number(new URL(TLS).port), host, rejectUnauthorized: false }), "secureConnect")`,
      records: [TLS],
    },
    { api: "http2.connect", form: "event", code: `once(http2.connect("http://127.0.0.1:" + port))`, records: [API] },
    {
      api: "dgram send",
      form: "callback",
      code: `send(dgram.createSocket("udp4"), done, port, host)`,
      records: [DATAGRAM],
    },
  ],
  notSeen: [
    { api: "what is said over a connection", why: "only its address is known" },
    { api: "DNS look-ups", why: "only the connection that follows is recorded" },
  ],
};
