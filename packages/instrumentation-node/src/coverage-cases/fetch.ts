import type { CoverageCase, CoverageLibrary } from "./library.ts";

const READ_X = ["http.request READ success $API/x"];

const read = `({ body }) => body.text()).then(() => "read")`;
const by = (made: string): string =>
  `((dispatcher) => dispatcher.request({ origin: API, path: "/x", method: "GET" })
    .then(${read}.finally(() => dispatcher.close()))(${made})`;
const promise = (api: string, code: string): CoverageCase => ({ api, form: "promise", code, records: READ_X });

/** In one table, because each is a process of its own for every style of import. */
export const fetchLibrary: CoverageLibrary = {
  name: "fetch, undici, axios, got, node-fetch",
  imports: {
    undici: "undici",
    axios: { callable: "axios" },
    got: { callable: "got" },
    nodeFetch: { callable: "node-fetch" },
  },
  cases: [
    {
      api: "fetch",
      form: "promise",
      code: `fetch(API + "/x?secret=1").then((response) => response.text()).then(() => "read")`,
      records: READ_X,
    },
    {
      api: "fetch",
      form: "promise",
      note: "a Request with a body that is a stream",
      code: `fetch(new Request(API + "/x", {
        method: "PUT", duplex: "half", body: new Blob(["body"]).stream(),
      })).then(({ status }) => status)`,
      records: ["http.request UPDATE success $API/x"],
    },
    {
      api: "fetch",
      form: "promise",
      note: "status 404",
      code: `fetch(API + "/none").then(({ status }) => status)`,
      records: ["http.request READ failure 404 $API/none"],
    },
    {
      api: "fetch",
      form: "promise",
      note: "connection cut",
      code: `fetch(API + "/cut")`,
      records: ["http.request READ failure UND_ERR_SOCKET $API/cut"],
    },
    promise("undici.request", `undici.request(API + "/x").then(${read}`),
    promise("undici.fetch", `undici.fetch(API + "/x").then((response) => response.text()).then(() => "read")`),
    promise(
      "undici.stream",
      `undici.stream(API + "/x", { method: "GET" }, () =>
          new (process.getBuiltinModule("node:stream").PassThrough)().resume()).then(() => "read")`,
    ),
    {
      api: "undici.pipeline",
      form: "event",
      code: `undici.pipeline(API + "/x", { method: "GET" }, ({ body }) => body).end()`,
      records: READ_X,
    },
    promise("undici.Client", by(`new undici.Client(API)`)),
    promise("undici.Pool", by(`new undici.Pool(API, { connections: 1 })`)),
    promise("undici.Agent", by(`new undici.Agent()`)),
    { api: "axios", form: "promise", code: `axios.get(API + "/x").then(({ status }) => status)`, records: READ_X },
    {
      api: "got",
      form: "promise",
      code: `got(API + "/x", { retry: { limit: 0 } }).then(({ statusCode }) => statusCode)`,
      records: READ_X,
    },
    { api: "node-fetch", form: "promise", code: `nodeFetch(API + "/x").then(({ status }) => status)`, records: READ_X },
  ],
};
