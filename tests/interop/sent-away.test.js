// A client that the server sends away gets the reason that was pushed to it just before, hears that
// it is over, and does not come back.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CometdClient } from "./lib/cometd-client.js";
import { combinations } from "./lib/matrix.js";
import { pause, until } from "./lib/sequence.js";
import { outside, Server } from "./lib/server.js";

const ROUNDS = 40;
const QUIET_MS = 300;

for (const { connector, transport, kinds, title } of outside ? [] : combinations) {
  if (!kinds.includes(CometdClient)) {
    continue;
  }
  describe(`sent away: ${title}`, () => {
    let server;
    before(async () => {
      server = await Server.started(connector, ["--timeout", "20s"], "moderator");
    });
    after(() => server.stop());

    test(`${ROUNDS} clients hear why, and stay away`, async () => {
      const all = Array.from({ length: ROUNDS }, async (_, n) => {
        const client = new CometdClient(server.url, transport);
        const seen = { told: [], handshakes: 0 };
        client.listen("/meta/handshake", () => seen.handshakes++);
        client.listen("/moderator", (message) => seen.told.push(message.data));
        client.listen("/meta/disconnect", () => seen.told.push("the end"));
        await client.open();
        // In the middle of the first connect, or while one is held.
        await pause(n % 2 ? 0 : 100);
        client.say("/room", "spam");
        const over = () => client.isDisconnected && seen.told.length >= 2;
        await until(over, () => `${n}: ${JSON.stringify(seen)}`);
        return seen;
      });
      const seen = await Promise.all(all);
      await pause(QUIET_MS);
      for (const { told, handshakes } of seen) {
        assert.deepEqual(told, ["no spam", "the end"]);
        assert.equal(handshakes, 1);
      }
    });
  });
}
