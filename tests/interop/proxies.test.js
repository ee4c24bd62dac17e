// Every transport through the proxies that people put in front of the server: as Debian's packages
// come, and as docs/proxies.md recommends.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Session, World, post } from "./lib/behind.js";
import { CometdClient } from "./lib/cometd-client.js";
import { FayeClient } from "./lib/faye-client.js";
import { HAProxy, kinds } from "./lib/proxies.js";
import { compare, numbers, pause, perfect, until, withOpen } from "./lib/sequence.js";
import { outside } from "./lib/server.js";

const COUNT = 60;
const CLIENTS = [CometdClient, FayeClient];
/** Longer than any of these proxies lets a connection be idle by itself. */
const IDLE_MS = 65_000;
const certificates = fileURLToPath(new URL("../certificates/", import.meta.url));

for (const Kind of kinds) {
  const skip = outside ? "the server is not ours" : !Kind.isThere && "it is not installed";
  describe(Kind.name, { skip }, () => {
    describe("with its defaults", () => defaults(Kind));
    describe("as recommended", () => recommended(Kind));
  });
}

describe("what is idle is not cut", { skip: outside, concurrency: true }, () => {
  for (const Kind of kinds) {
    const skip = !Kind.isThere && "it is not installed";
    test(Kind.name, { skip, timeout: 3 * IDLE_MS }, () => idle(Kind));
  }
});

describe("HAProxy, passing connections on", { skip: outside || !HAProxy.isThere }, () => {
  for (const scheme of ["http", "https"]) {
    test(`says with the PROXY protocol for whom, ${scheme}`, () => passedOn(scheme));
  }
});

function inWorld(Kind, setting) {
  const world = new World();
  before(() => world.start(Kind, setting));
  after(() => world.stop());
  return world;
}

/** What a proxy carries as it comes. */
function transports(Kind) {
  return ["long-polling", "callback-polling", ...(Kind.upgrades ? ["websocket"] : [])];
}

function defaults(Kind) {
  const world = inWorld(Kind, "defaults");

  for (const transport of [...transports(Kind), undefined]) {
    for (const Client of CLIENTS) {
      const title = `${Client.name}, ${transport ?? "left to itself"}`;
      test(title, () => exchange(world.url, Client, transport));
    }
  }

  test("events arrive one by one", async () => {
    const [session, other] = [await Session.open(world.url), await Session.open(world.url)];
    const events = await session.events();
    for (let n = 0; n < 5; n++) {
      await other.publish(session.channel, n);
      await until(() => events.data.length > n, () => `event ${n}: ${events.text}`);
    }
    assert.deepEqual(events.data, numbers(0, 5));
    events.close();
  });

  leaving(Kind, world, "defaults");
}

function recommended(Kind) {
  const world = inWorld(Kind, "documented");

  for (const transport of ["long-polling", "websocket"]) {
    for (const Client of CLIENTS) {
      test(`${Client.name}, ${transport}`, () => exchange(world.url, Client, transport));
    }
  }

  test("pages of the proxy's own origin are the server's own", async () => {
    const handshake = [{ channel: "/meta/handshake" }];
    const own = await post(world.url, handshake, { headers: { Origin: world.origin } });
    assert.equal(own.status, 200, own.body);
    const foreign = { Origin: "http://evil.example" };
    assert.equal((await post(world.url, handshake, { headers: foreign })).status, 403);
  });

  test("the server knows who asks", async () => {
    await post(world.url, [], { localAddress: "127.0.0.2" });
    await until(() => world.clients().includes("127.0.0.2"), () => world.clients().join());
  });

  leaving(Kind, world, "documented");
}

/** A client that is gone in the middle of a poll. */
function leaving(Kind, world, setting) {
  const isNoticed = Kind.noticesLeaving[setting];

  const when = isNoticed ? "at once" : "by its next poll";
  test(`a client that leaves is noticed ${when}`, async () => {
    const [session, other] = [await Session.open(world.url), await Session.open(world.url)];
    const held = session.hold();
    await world.count("bayeux_held_connects", 1);
    held.destroy();
    if (isNoticed) {
      await world.count("bayeux_held_connects", 0);
      await other.publish(session.channel, "meanwhile");
    }
    const answered = world.clients().length;
    const next = session.connect();
    if (!isNoticed) {
      await until(() => world.clients().length > answered, "the end of the poll nobody reads");
      await other.publish(session.channel, "then");
    }
    const { body } = await next;
    assert.match(body, /"data":"(meanwhile|then)"/);
  });
}

async function idle(Kind) {
  const world = new World();
  try {
    await world.start(Kind, "defaults");
    const all = transports(Kind).flatMap((transport) =>
      CLIENTS.map((Client) => new Client(world.url, transport)),
    );
    const sender = new CometdClient(world.url, "long-polling");
    const session = await Session.open(world.url);
    const events = await session.events();
    await withOpen([sender, ...all], async () => {
      const got = all.map(() => []);
      await Promise.all(all.map((client, n) => client.subscribe("/idle", (m) => got[n].push(m))));
      await pause(IDLE_MS);
      await sender.publish("/idle", 1);
      await sender.publish(session.channel, 1);
      await until(() => got.every((some) => some.length === 1), () => JSON.stringify(got));
      await until(() => events.data.length === 1, () => events.text);
    });
    assert.equal(events.ended, false);
    events.close();
  } finally {
    await world.stop();
  }
}

async function exchange(url, Client, transport) {
  const channel = `/exchange/${Client.name}/${transport ?? "any"}`;
  const clients = [0, 1].map(() => new Client(url, transport));
  await withOpen(clients, async (sender, receiver) => {
    if (transport) {
      await until(() => receiver.transport === transport, () => receiver.transport);
    }
    const got = [];
    await receiver.subscribe(channel, (m) => got.push(m.data));
    await sender.publishAll(channel, numbers(0, COUNT));
    await until(() => got.length >= COUNT, () => `${got.length} of ${COUNT}`);
    assert.deepEqual(compare(got, numbers(0, COUNT)), perfect);
  });
}

async function passedOn(scheme) {
  const world = new World();
  const pair = `${certificates}server`;
  const tls = [`--tls-cert=${pair}.pem`, `--tls-key=${pair}.key`];
  const flags = ["--trusted-proxy=127.0.0.1", "--proxy-protocol=true"];
  try {
    await world.start(HAProxy, "passing", scheme === "https" ? [...tls, ...flags] : flags);
    assert.equal(new URL(world.url).protocol, `${scheme}:`);
    const handshake = [{ channel: "/meta/handshake" }];
    const reply = await post(world.url, handshake, { localAddress: "127.0.0.3" });
    assert.equal(JSON.parse(reply.body)[0].successful, true, reply.body);
    await until(() => world.clients().includes("127.0.0.3"), () => world.clients().join());
  } finally {
    await world.stop();
  }
}
