// The process behind startPostgres: reads SQL from stdin to its end, runs it, serves, says where.
import { text } from "node:stream/consumers";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const parent = process.ppid;
const db = await PGlite.create();
const sql = await text(process.stdin);
if (sql !== "") await db.exec(sql);
// More than any test opens: a slot comes free a moment after its client has gone, and a test that connects in that
// moment must not be refused.
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0, maxConnections: 50 });
await server.start();
console.log(`listening on ${server.getServerConn().split(":").at(-1)}`);

// A test that was killed with -9 cannot end this process; it then has another parent.
setInterval(() => {
  if (process.ppid !== parent) process.exit(1);
}, 1000).unref();
