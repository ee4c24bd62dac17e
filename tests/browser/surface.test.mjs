/** The surface of Faye.Client against a scripted server: no network, no browser, timers by hand. */

import assert from "node:assert/strict";
import {afterEach, beforeEach, describe, test} from "node:test";

import {faye} from "./library.mjs";
import {ManualClock, ScriptedServer, settle} from "./scripted.mjs";

const {Faye} = faye;
const real = globalThis.fetch;
let clock;
let server;
let client;

function make(options) {
  client = new Faye.Client("http://server.test/faye", options);
  return client;
}

async function tick(milliseconds) {
  clock.tick(milliseconds);
  await settle();
}

/** How a promise ends. */
function outcome(promise) {
  return promise.then(() => "done", ({code, params, message}) => ({code, params, message}));
}

beforeEach(() => {
  clock = new ManualClock();
  clock.install();
  server = new ScriptedServer();
  globalThis.fetch = server.fetch;
});

afterEach(async () => {
  server.down = null;
  client.disable("autodisconnect");
  client.disconnect();
  await settle();
  clock.remove();
  globalThis.fetch = real;
});

describe("a client", () => {
  test("connects when it is first used, and not before", async () => {
    make();
    await settle();
    assert.deepEqual(server.log, []);
    client.subscribe("/a", () => {});
    await settle();
    assert.equal(server.log[0], "/meta/handshake");
    assert.ok(server.log.includes("/meta/subscribe"));
  });

  test("connects when it is told to, and tells when it has", async () => {
    make();
    const called = [];
    const connected = client.connect(function callback() {
      called.push(this);
    }, "context");
    assert.equal(await outcome(connected), "done");
    await client.connect();
    assert.deepEqual([called.length, String(called[0])], [1, "context"]);
    assert.equal(server.log.filter((line) => line === "/meta/handshake").length, 1);
  });

  test("does not come back by itself after it was disconnected", async () => {
    make().connect();
    await settle();
    assert.equal(await outcome(client.disconnect()), "done");
    assert.equal(server.log.at(-1), "/meta/disconnect");
    assert.equal((await outcome(client.publish("/a", 1))).code, null);
    assert.equal((await outcome(client.subscribe("/a"))).code, null);
    const {length} = server.log;
    await tick(60000);
    assert.equal(server.log.length, length);
    await client.connect();
    assert.equal(await outcome(client.publish("/a", 1)), "done");
  });

  test("refuses options that it does not know", () => {
    make();
    assert.throws(() => new Faye.Client("http://server.test/", {timeOut: 1}), /timeOut/);
    assert.throws(() => client.publish("/a", 1, {tries: 1}), /tries/);
  });

  test("tells when the connection comes and goes", async () => {
    make({retry: 2});
    const heard = [];
    client.on("transport:up", () => heard.push("up"));
    const down = () => heard.push("down");
    client.bind("transport:down", down);
    assert.equal(client.countListeners("transport:down"), 1);
    client.connect();
    await settle();
    server.cut();
    await settle();
    server.down = "refuse";
    await tick(2000);
    server.down = null;
    await tick(2000);
    assert.deepEqual(heard, ["up", "down", "up"]);
    client.unbind("transport:down", down);
    server.cut();
    await settle();
    assert.equal(heard.length, 3);
  });

  test("sends the lines that it was given, and uses the endpoints", async () => {
    const urls = [];
    globalThis.fetch = (url, init) => {
      urls.push(url);
      return server.fetch(url, init);
    };
    make({endpoints: {"long-polling": "http://polls.test/x"}});
    client.setHeader("Authorization", "OAuth abcd-1234");
    await client.connect();
    assert.ok(urls.every((url) => url === "http://polls.test/x"));
    assert.equal(server.inits[0].headers.Authorization, "OAuth abcd-1234");
  });

  test("waits for an answer and between connects as long as it was told", async () => {
    make({timeout: 45, interval: 3});
    let isUp = null;
    client.on("transport:up", () => (isUp = true));
    client.on("transport:down", () => (isUp = false));
    await client.connect();
    assert.equal(server.requests.length, 2);
    await tick(3000);
    assert.equal(server.isHolding, true);
    await tick(44999);
    assert.equal(isUp, true);
    await tick(1);
    assert.equal(isUp, false);
  });
});

describe("subscriptions", () => {
  test("hear data, in their context, and the channel if they like", async () => {
    make();
    const seen = [];
    client.subscribe("/a/*", function listener(data) {
      seen.push([String(this), data]);
    }, "context");
    client.subscribe("/a/**").withChannel((channel, data) => seen.push([channel, data]));
    await settle();
    server.push({channel: "/a/b", data: 1});
    await settle();
    assert.deepEqual(seen, [["context", 1], ["/a/b", 1]]);
  });

  test("are promises, and end alone, by listener, or all", async () => {
    make();
    const seen = [];
    const listener = (data) => seen.push(`listener ${data}`);
    const [one, two] = client.subscribe(["/a", "/b"], (data) => seen.push(data));
    const third = client.subscribe("/a", listener);
    assert.deepEqual(await Promise.all([one, two, third].map(outcome)), ["done", "done", "done"]);
    one.cancel();
    one.cancel();
    client.unsubscribe("/a", listener);
    await settle();
    assert.equal(server.log.filter((line) => line === "/meta/unsubscribe").length, 1);
    client.subscribe("/b", listener);
    client.unsubscribe("/b");
    await settle();
    server.push({channel: "/a", data: 1}, {channel: "/b", data: 2});
    await settle();
    assert.deepEqual(seen, []);
    assert.equal(server.log.filter((line) => line === "/meta/unsubscribe").length, 2);
  });

  test("that are refused say why, in parts", async () => {
    make();
    server.script["/meta/subscribe"] = ({channel, id}) => (
      {channel, id, successful: false, error: "403:/a,x:denied"});
    const subscription = client.subscribe("/a", () => {});
    const heard = [];
    subscription.callback(() => heard.push("callback"));
    subscription.errback(function errback(error) {
      heard.push([String(this), error.message]);
    }, "context");
    assert.deepEqual(await outcome(subscription),
      {code: 403, params: ["/a", "x"], message: "denied"});
    assert.deepEqual(heard, [["context", "denied"]]);
  });
});

describe("publications", () => {
  test("are repeated until there is an answer", async () => {
    make({retry: 3});
    await client.connect();
    let failures = 2;
    server.script["/a"] = () => {
      failures -= 1;
      if (failures >= 0) {
        throw new TypeError("network error");
      }
    };
    const published = outcome(client.publish("/a", 1));
    await settle();
    await tick(2999);
    assert.equal(server.log.filter((line) => line === "/a").length, 1);
    await tick(1);
    await tick(3000);
    assert.equal(await published, "done");
    assert.equal(server.log.filter((line) => line === "/a").length, 3);
  });

  test("are not repeated more often, or longer, than wanted, nor when refused", async () => {
    make({retry: 1});
    await client.connect();
    server.script["/a"] = () => {
      throw new TypeError("network error");
    };
    const twice = outcome(client.publish("/a", 1, {attempts: 2}));
    await settle();
    await tick(1000);
    assert.equal((await twice).code, null);
    assert.equal(server.log.filter((line) => line === "/a").length, 2);
    server.down = "refuse";
    server.cut();
    const soon = outcome(client.publish("/late", 1, {deadline: 0.5}));
    await settle();
    await tick(500);
    assert.equal((await soon).code, null);
    server.down = null;
    server.script["/b"] = ({channel, id}) => (
      {channel, id, successful: false, error: "403::publish_denied"});
    const refused = outcome(client.publish("/b", 1));
    await tick(1000);
    assert.deepEqual(await refused, {code: 403, params: [""], message: "publish_denied"});
    assert.ok(!server.log.some((line) => line.includes("/late")));
  });

  test("that nobody listens to fail silently, listeners do not", async () => {
    make();
    server.script["/a"] = ({channel, id}) => ({channel, id, successful: false, error: "403::no"});
    client.publish("/a", 1);
    // The test would fail if this were told as an error that nobody handles.
    client.publish("/a", 1).then(() => {});
    await settle();
    const result = client.publish("/b", 1).then(() => {
      throw new Error("a bug of the page");
    });
    await assert.rejects(result, /a bug of the page/);
  });
});

describe("extensions", () => {
  test("see, change, keep and drop messages with a callback", async () => {
    make();
    const calls = [];
    const extension = {
      added: (to) => calls.push(["added", to === client]),
      removed: (from) => calls.push(["removed", from === client]),
      outgoing(message, callback) {
        if (message.channel === "/a") {
          message.ext = {csrfToken: "t"};
          setImmediate(() => callback(message));
        } else {
          callback(message.channel === "/dropped" ? null : message);
        }
      },
      incoming(message, request, callback) {
        calls.push([message.channel, request]);
        callback(message);
      },
    };
    client.addExtension(extension);
    await client.connect();
    assert.equal(await outcome(client.publish("/a", 1)), "done");
    assert.deepEqual(server.requests.flat().at(-1).ext, {csrfToken: "t"});
    assert.match((await outcome(client.publish("/dropped", 1))).message, /dropped/);
    assert.deepEqual(calls.slice(0, 2), [["added", true], ["/meta/handshake", null]]);
    client.removeExtension(extension);
    client.removeExtension(extension);
    assert.equal(await outcome(client.publish("/dropped", 1)), "done");
    assert.deepEqual(calls.at(-1), ["removed", true]);
  });

  test("a logger hears what goes on", async () => {
    const lines = [];
    Faye.logger = {info: (line) => lines.push(line)};
    make();
    await client.connect();
    Faye.logger = undefined;
    assert.ok(lines.includes("[Faye.Client] outgoing /meta/handshake"), lines.join("\n"));
    assert.ok(lines.includes("[Faye.Client] the client is connected"));
  });
});
