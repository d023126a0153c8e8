// Acts all the time, until it is killed. Every action has a name of its own, with who does it in it; JavaScript, for every Node.
import fs from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

import { withAgent } from "@otel-audit/instrumentation-node";

const { DIR, API, RUN } = process.env;
const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 2 });

const ways = {
  sync: (name) => fs.writeFileSync(join(DIR, name), name),
  directory: (name) => fs.mkdirSync(join(DIR, name)),
  promise: (name) => fs.promises.writeFile(join(DIR, name), name),
  callback: (name) => new Promise((done) => fs.appendFile(join(DIR, name), name, done)),
  stream: (name) => new Promise((done) => fs.createWriteStream(join(DIR, name)).on("close", done).end(name)),
  http: (name) =>
    new Promise((done) => {
      const request = http.request(`${API}/${name}`, { method: "POST", agent: keepAlive }, (response) =>
        response.resume().on("end", done),
      );
      request.on("error", done).end();
    }),
  fetch: async (name) => (await fetch(`${API}/${name}`)).text(),
};

async function forever(agent, act) {
  for (let i = 0; ; i++) {
    await withAgent({ id: `agent:${agent}` }, () => act(`${RUN}_${agent}_${i}`));
    // Some actions in a row, for the moments in between.
    if (i % 8 === 0) await turn();
  }
}

console.log("acting");
await Promise.all(Object.entries(ways).map(([agent, act]) => forever(agent, act)));
