import type { CoverageLibrary } from "./library.ts";

export const httpLibrary: CoverageLibrary = {
  name: "http and https",
  imports: { http: "node:http", https: "node:https" },
  cases: [
    {
      api: "http.request",
      form: "event",
      code: `http.request(API + "/x?secret=1").end()`,
      records: ["http.request READ success $API/x"],
    },
    {
      api: "http.get",
      form: "event",
      code: `http.get(API + "/x")`,
      records: ["http.request READ success $API/x"],
    },
    {
      api: "http.request",
      form: "event",
      note: "POST with a body",
      code: `http.request(API + "/x", { method: "POST" }).end("body")`,
      records: ["http.request WRITE success $API/x"],
    },
    {
      api: "new http.ClientRequest",
      form: "event",
      code: `new http.ClientRequest(API + "/x").end()`,
      records: ["http.request READ success $API/x"],
    },
    {
      api: "http.get",
      form: "event",
      note: "status 404",
      code: `http.get(API + "/none")`,
      records: ["http.request READ failure 404 $API/none"],
    },
    {
      api: "http.get",
      form: "event",
      note: "connection cut",
      code: `http.get(API + "/cut")`,
      records: ["http.request READ failure ECONNRESET $API/cut"],
    },
    {
      api: "https.get",
      form: "event",
      code: `https.get(TLS + "/x")`,
      records: ["http.request READ success $TLS/x"],
    },
    {
      api: "https.request",
      form: "event",
      code: `https.request(TLS + "/x", { method: "DELETE" }).end()`,
      records: ["http.request DELETE success $TLS/x"],
    },
  ],
};
