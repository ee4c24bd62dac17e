// Remote calls of the stock CometD client: its documentation tells programs to look at
// `successful` of the answer.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CometdClient } from "./lib/cometd-client.js";
import { combinations } from "./lib/matrix.js";
import { withOpen } from "./lib/sequence.js";
import { Server } from "./lib/server.js";

for (const { connector, transport, kinds, title } of combinations) {
  if (!kinds.includes(CometdClient)) {
    continue;
  }
  describe(`remote calls: ${title}`, () => {
    let server;
    before(async () => {
      server = await Server.started(connector, ["--demo=true"]);
    });
    after(() => server.stop());

    test("are answered, and the answer says that it went well", () =>
      withOpen([new CometdClient(server.url, transport)], async (client) => {
        const answer = await client.call("echo", { n: 1 });
        assert.equal(answer.successful, true);
        assert.deepEqual(answer.data, { n: 1 });
      }));

    test("that fail say so", () =>
      withOpen([new CometdClient(server.url, transport)], async (client) => {
        const answer = await client.call("nobody", {});
        assert.equal(answer.successful, false);
        assert.equal(answer.error, "404:/service/nobody:unknown_service");
      }));
  });
}
