// Handshake, subscriptions with wildcards, own messages, data, services, disconnect: each stock
// client by itself.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { combinations } from "./lib/matrix.js";
import { pause, until, withOpen } from "./lib/sequence.js";
import { Server } from "./lib/server.js";

const QUIET_MS = 150;

for (const { connector, transport, kinds, title } of combinations) {
  describe(title, () => {
    let server;
    before(async () => {
      server = await Server.started(connector, ["--timeout", "2s"]);
    });
    after(() => server.stop());

    for (const Kind of kinds) {
      describe(Kind.name, () => basics(() => new Kind(server.url, transport), Kind, transport));
    }
  });
}

function basics(make, Kind, transport) {
  const base = `/basics/${Kind.name}/${transport}`;

  const withClients = (count, body) => withOpen(Array.from({ length: count }, make), body);

  test("shakes hands, over the transport that it was left with", () =>
    withClients(2, async (one, two) => {
      assert.equal(one.transport, transport);
      assert.match(one.clientId, /^[0-9a-z]{20,}$/);
      assert.notEqual(one.clientId, two.clientId);
    }));

  test("gets what others publish, once, and nothing after it unsubscribed", () =>
    withClients(2, async (sender, receiver) => {
      const got = [];
      const subscription = await receiver.subscribe(`${base}/plain`, (m) => got.push(m.data));
      await sender.publish(`${base}/plain`, "first");
      await until(() => got.length > 0, "the first message");
      await receiver.unsubscribe(subscription);
      await sender.publish(`${base}/plain`, "second");
      await pause(QUIET_MS);
      assert.deepEqual(got, ["first"]);
    }));

  test("wildcards: one segment, any number of segments", () =>
    withClients(2, async (sender, receiver) => {
      const got = { one: [], deep: [] };
      await receiver.subscribe(`${base}/w/*`, (m) => got.one.push(m.channel));
      await receiver.subscribe(`${base}/w/**`, (m) => got.deep.push(m.channel));
      for (const end of ["w", "w/a", "w/a/b", "w/b", "w/a/b/c", "other/a", "w/last"]) {
        await sender.publish(`${base}/${end}`, end);
      }
      await until(() => got.deep.length >= 5 && got.one.length >= 3, () => JSON.stringify(got));
      await pause(QUIET_MS);
      const short = (list) => list.map((channel) => channel.slice(base.length + 1));
      assert.deepEqual(short(got.one), ["w/a", "w/b", "w/last"]);
      assert.deepEqual(short(got.deep), ["w/a", "w/a/b", "w/b", "w/a/b/c", "w/last"]);
    }));

  test("a publisher that has subscribed gets its own message", () =>
    withClients(1, async (client) => {
      const got = [];
      await client.subscribe(`${base}/own`, (m) => got.push(m.data));
      await client.publish(`${base}/own`, { mine: true });
      await until(() => got.length > 0, "its own message");
      await pause(QUIET_MS);
      assert.deepEqual(got, [{ mine: true }]);
    }));

  test("data of every kind arrives as it was sent", () =>
    withClients(2, async (sender, receiver) => {
      const got = [];
      await receiver.subscribe(`${base}/data`, (m) => got.push(m.data));
      for (const data of DATA) {
        await sender.publish(`${base}/data`, data);
      }
      await until(() => got.length >= DATA.length, () => `${got.length} of ${DATA.length}`);
      assert.deepEqual(got, DATA);
    }));

  test("a publication nobody listens to is confirmed", () =>
    withClients(1, (client) => client.publish(`${base}/nobody`, 1)));

  test("an idle client is still there after its poll was renewed", () =>
    withClients(2, async (sender, receiver) => {
      const got = [];
      await receiver.subscribe(`${base}/idle`, (m) => got.push(m.data));
      await pause(2500);
      await sender.publish(`${base}/idle`, "still there");
      await until(() => got.length > 0, "the message");
      assert.deepEqual(got, ["still there"]);
    }));

  test("a client that has disconnected gets nothing, and may come back", () =>
    withClients(1, async (sender) => {
      const got = [];
      await withClients(1, (first) => first.subscribe(`${base}/gone`, (m) => got.push(m.data)));
      await sender.publish(`${base}/gone`, "missed");
      await withClients(1, async (second) => {
        await second.subscribe(`${base}/gone`, (m) => got.push(m.data));
        await sender.publish(`${base}/gone`, "seen");
        await until(() => got.length > 0, "the message after coming back");
        assert.deepEqual(got, ["seen"]);
      });
    }));
}

const DATA = [
  null,
  false,
  0,
  -1.5,
  2 ** 53 - 1,
  1e-7,
  "",
  "\u00e9 \ud83d\ude00 \u2028 \u2029 \u0000 \" \\ / </script>",
  [],
  {},
  [[[[[{ deep: [null] }]]]]],
  { "": 1, channel: "/meta/connect", successful: false, advice: { reconnect: "none" } },
];
