// Takes forwarded debug spans where nobody counts them, in a small process of its own: in the one of the bench the garbage
// collector made three times as much of the bodies. Started by `setting.ts`, which it tells its port.
import { createServer } from "node:http";
import { listen } from "../../test/support/listen.ts";

const server = createServer((request, response) => {
  request.resume().once("end", () => response.writeHead(200, { "content-length": 0 }).end());
});
process.on("disconnect", () => process.exit());
process.send!(await listen(server));
