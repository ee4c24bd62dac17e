// Two CometD clients in one window share the browser's cookie, as two tabs do. Only one of them
// may have its poll held (browsers open few connections to a host), and both are served.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CometdClient } from "./lib/cometd-client.js";
import { combinations } from "./lib/matrix.js";
import { numbers, until, withOpen } from "./lib/sequence.js";
import { Server } from "./lib/server.js";

const polling = combinations.filter(({ transport }) => transport === "long-polling");

for (const { connector, transport, title } of polling) {
  describe(title, () => {
    let server;
    before(async () => {
      server = await Server.started(connector, ["--timeout", "2s"]);
    });
    after(() => server.stop());

    test("both tabs get everything", () => {
      const first = new CometdClient(server.url, transport);
      const second = new CometdClient(server.url, transport, first.window);
      return withOpen([first, second], async () => {
        const got = [[], []];
        await first.subscribe("/tabs", (message) => got[0].push(message.data));
        await second.subscribe("/tabs", (message) => got[1].push(message.data));
        for (const n of numbers(0, 10)) {
          await (n % 2 ? first : second).publish("/tabs", n);
        }
        await until(() => got.every((list) => list.length >= 10), () => JSON.stringify(got));
        const sorted = got.map((list) => [...list].sort((a, b) => a - b));
        assert.deepEqual(sorted, [numbers(0, 10), numbers(0, 10)]);
      });
    });
  });
}
