// 1,000 messages each way between the two stock clients through one endpoint: none lost, none
// doubled, in order.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { combinations } from "./lib/matrix.js";
import { compare, numbers, perfect, until, withOpen } from "./lib/sequence.js";
import { Server } from "./lib/server.js";

const COUNT = 1000;
const LIMIT_MS = 60_000;

for (const { connector, transport, kinds, title } of combinations) {
  describe(title, () => {
    exchange("one way after the other", [], async (a, b) => {
      for (const [sender, receiver] of [[a, b], [b, a]]) {
        const channel = `/exchange/from-${sender.constructor.name}`;
        const got = [];
        const subscription = await receiver.subscribe(channel, (m) => got.push(m.data));
        await sender.publishAll(channel, numbers(0, COUNT));
        await all(got);
        assert.deepEqual(compare(got, numbers(0, COUNT)), perfect);
        await receiver.unsubscribe(subscription);
      }
    });

    // A client that polls gets messages on two connections at a time, in the answers to its
    // publications and to its polls, and nobody can say which of two answers it reads first.
    const ordered = transport === "websocket";
    const promise = ordered ? "all, once, in order" : "all, once";
    exchange(`both ways at the same time: ${promise}`, [], async (a, b) => {
      const results = await bothWays(a, b);
      const judged = ordered ? results : results.map((result) => ({ ...result, displaced: [] }));
      assert.deepEqual(judged, [perfect, perfect]);
    });

    exchange(
      "both ways at the same time, delivery bound to connects: in order too",
      ["--meta-connect-deliver-only"],
      async (a, b) => assert.deepEqual(await bothWays(a, b), [perfect, perfect]),
    );

    function exchange(what, flags, body) {
      describe(what, () => {
        let server;
        before(async () => {
          server = await Server.started(connector, flags);
        });
        after(() => server.stop());

        test(kinds.map((kind) => kind.name).join(" and "), () => {
          const clients = kinds.map((Kind) => new Kind(server.url, transport));
          return withOpen(clients, body);
        });
      });
    }
  });
}

/** Both publish at once; what each got from the other. */
async function bothWays(a, b) {
  const got = [[], []];
  await a.subscribe("/exchange/to-a", (m) => got[0].push(m.data));
  await b.subscribe("/exchange/to-b", (m) => got[1].push(m.data));
  await Promise.all([
    a.publishAll("/exchange/to-b", numbers(0, COUNT)),
    b.publishAll("/exchange/to-a", numbers(0, COUNT)),
  ]);
  await Promise.all(got.map(all));
  return got.map((list) => compare(list, numbers(0, COUNT)));
}

function all(got) {
  return until(() => got.length >= COUNT, () => `${got.length} of ${COUNT} arrived`, LIMIT_MS);
}
