// Two CometD clients in one window share the browser's cookie, as two tabs do. Only one of them
// may have its poll held (browsers open few connections to a host), and both are served.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CometdClient } from "./lib/cometd-client.js";
import { combinations } from "./lib/matrix.js";
import { until } from "./lib/sequence.js";
import { Server } from "./lib/server.js";

const polling = combinations.filter(({ transport }) => transport === "long-polling");

for (const { connector, transport, title } of polling) {
  describe(title, () => {
    let server;
    before(async () => {
      server = await Server.started(connector, ["--timeout", "2s"]);
    });
    after(() => server.stop());

    test("both tabs get everything", async () => {
      const first = new CometdClient(server.url, transport);
      const second = new CometdClient(server.url, transport, first.window);
      const got = [[], []];
      await first.open();
      await second.open();
      await first.subscribe("/tabs", (message) => got[0].push(message.data));
      await second.subscribe("/tabs", (message) => got[1].push(message.data));
      for (let n = 0; n < 10; n++) {
        await (n % 2 ? first : second).publish("/tabs", n);
      }
      await until(() => got.every((list) => list.length >= 10), () => JSON.stringify(got));
      const sorted = got.map((list) => [...list].sort((a, b) => a - b));
      const wanted = Array.from({ length: 10 }, (_, n) => n);
      assert.deepEqual(sorted, [wanted, wanted]);
      await first.close();
      await second.close();
    });
  });
}
