/** The client library against a scripted server: no network, no browser, timers by hand. */

import assert from "node:assert/strict";
import {afterEach, beforeEach, describe, test} from "node:test";

import {bayeux, messages} from "./library.mjs";
import {ManualClock, ScriptedServer, settle, socketsTo} from "./scripted.mjs";

const {BayeuxError, Client, TransportError} = bayeux;
const {adviceFrom, parseMessages, patternsFor} = messages;
const URL = "http://server.test/cometd";
let clock;
let server;
let client;
let states;

function make(options = {}) {
  client = new Client(URL, {fetch: server.fetch, random: () => 1, ...options});
  states = [];
  client.addEventListener("state", ({detail}) => {
    const marks = [detail.first && "first", detail.renewed && "renewed"].filter(Boolean);
    states.push([detail.state, ...marks].join(" "));
  });
  client.start();
  return settle();
}

async function tick(milliseconds) {
  clock.tick(milliseconds);
  await settle();
}

beforeEach(() => {
  clock = new ManualClock();
  clock.install();
  server = new ScriptedServer();
});

afterEach(() => {
  client?.unload();
  client = null;
  clock.remove();
});

describe("messages", () => {
  test("a channel goes to itself and to the patterns above it", () => {
    assert.deepEqual(patternsFor("/a/b/c"), ["/a/b/c", "/a/b/*", "/a/b/**", "/a/**", "/**"]);
    assert.deepEqual(patternsFor("/a"), ["/a", "/*", "/**"]);
    assert.ok(!patternsFor("/service/echo").includes("/**"));
  });

  test("an advice is taken with defaults for what is missing or wrong", () => {
    const wrong = {reconnect: "maybe", interval: -1, timeout: "soon", "multiple-clients": 1};
    const usual = {reconnect: "retry", interval: 0, timeout: 60000};
    assert.deepEqual(adviceFrom(wrong), {...usual, "multiple-clients": false});
    assert.deepEqual(adviceFrom(null), usual);
    assert.equal(adviceFrom({interval: 2000}).interval, 2000);
    const {interval, timeout} = adviceFrom({interval: 2 ** 31, timeout: 2 ** 53});
    assert.deepEqual([interval, timeout], [2e9, 2e9], "a timer counts to 2^31 only");
  });

  test("what is no list of messages is refused", () => {
    for (const text of ["", "<html>", "3", "[3]", "[null]", "[{}]", "[[]]"]) {
      assert.throws(() => parseMessages(text), TransportError, text);
    }
    assert.deepEqual(parseMessages("[]"), []);
    assert.deepEqual(parseMessages('{"channel":"/a"}'), [{channel: "/a"}]);
  });
});

describe("session", () => {
  test("handshakes, connects at once, then holds", async () => {
    await make();
    assert.deepEqual(server.log, ["/meta/handshake", "/meta/connect", "/meta/connect"]);
    const [[handshake], [first], [second]] = server.requests;
    assert.deepEqual(handshake.supportedConnectionTypes.at(-1), "long-polling");
    assert.deepEqual(first.advice, {timeout: 0});
    assert.equal(second.advice, undefined);
    assert.equal(second.connectionType, "long-polling");
    assert.deepEqual(states, ["connecting", "connected first renewed"]);
    const ids = server.requests.flat().map(({id}) => id);
    assert.equal(new Set(ids).size, ids.length);
  });

  test("says disconnected, comes back with the same session", async () => {
    await make();
    server.cut();
    await settle();
    assert.deepEqual(states.slice(2), ["disconnected"]);
    await tick(1000);
    assert.deepEqual(states.slice(2), ["disconnected", "connected"]);
    assert.equal(server.requests.at(-1)[0].clientId, "session1");
  });

  test("waits twice as long after each failure, up to a limit, with jitter", async () => {
    server.down = "refuse";
    await make({maxBackoff: 5000, random: () => 0});
    for (const pause of [500, 1000, 2000, 2500, 2500]) {
      const before = server.inits.length;
      await tick(pause - 1);
      assert.equal(server.inits.length, before, `before ${pause} ms`);
      await tick(1);
      assert.equal(server.inits.length, before + 1, `after ${pause} ms`);
    }
    assert.deepEqual(states, ["connecting", "disconnected"]);
    server.down = null;
    client.hurry();
    await settle();
    assert.deepEqual(states.at(-1), "connected first renewed");
  });

  test("waits as long as a busy server asks for", async () => {
    server.down = 503;
    server.headers = {"Retry-After": "7"};
    await make();
    await tick(6999);
    assert.equal(server.inits.length, 1);
    await tick(1);
    assert.equal(server.inits.length, 2);
  });

  test("an extension that fails is no reason for a frenzy", async () => {
    let asked = 0;
    const outgoing = () => {
      asked += 1;
      if (asked <= 50) {
        throw new Error("a bug");
      }
    };
    await make({extensions: [{outgoing}]});
    assert.equal(asked, 1);
    await tick(1000);
    assert.equal(asked, 2);
  });

  test("extensions change and drop messages, at once or later", async () => {
    const keep = [];
    const extension = {
      outgoing(message) {
        if (message.channel === "/dropped") {
          return null;
        }
        const changed = {...message, ext: {token: 1}};
        return message.channel === "/later"
          ? new Promise((resolve) => keep.push(() => resolve(changed))) : changed;
      },
      incoming(message) {
        if (message.channel === "/later" && "data" in message) {
          return new Promise((resolve) => keep.push(() => resolve({...message, data: "kept"})));
        }
        return message.data === "secret" ? null : undefined;
      },
    };
    await make({extensions: [extension]});
    const seen = [];
    await client.subscribe("/**", ({data}) => seen.push(data));
    await assert.rejects(client.publish("/dropped", 1), {message: /an extension dropped/});
    const later = client.publish("/later", 1);
    await settle();
    assert.ok(!server.log.includes("/later"));
    keep.splice(0).forEach((go) => go());
    await later;
    assert.ok(server.requests.flat().every(({ext}) => ext.token === 1));
    server.push({channel: "/later", data: 1}, {channel: "/a", data: "secret"},
      {channel: "/a", data: 2});
    await settle();
    assert.deepEqual(seen, [2], "what is kept for a while holds up no other");
    assert.equal(server.isHolding, true);
    keep.forEach((go) => go());
    await settle();
    assert.deepEqual(seen, [2, "kept"]);
  });

  test("an extension that never answers costs one message", async () => {
    const extension = {outgoing: ({channel}) => (
      channel === "/stuck" ? new Promise(() => {}) : undefined)};
    await make({extensions: [extension]});
    const stuck = assert.rejects(client.publish("/stuck", 1), {message: /took too long/});
    const other = client.publish("/a", 1);
    await settle();
    await tick(10000);
    await stuck;
    await other;
  });

  test("lines, endpoints and transports are as wanted", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {};
    const urls = [];
    const fetch = (url, init) => {
      urls.push(url);
      return server.fetch(url, init);
    };
    const headers = {};
    const endpoints = {"long-polling": "http://polls.test/", websocket: "http://sockets.test/"};
    const disabled = [];
    await make({fetch, headers, endpoints, disabled, WebSocket: socketsTo(server, mode)});
    assert.deepEqual([urls, mode.last.url], [["http://polls.test/"], "ws://sockets.test/"]);
    client.unload();
    disabled.push("websocket");
    headers.Authorization = "Basic x";
    client.start();
    await settle();
    assert.equal(client.connectionType, "long-polling");
    assert.deepEqual(server.requests.at(-1)[0].connectionType, "long-polling");
    assert.equal(server.inits.at(-1).headers.Authorization, "Basic x");
  });

  test("waits and pauses as wanted", async () => {
    await make({patience: 5000, interval: 3000});
    assert.equal(server.requests.length, 2);
    await tick(3000);
    assert.equal(server.isHolding, true);
    await tick(4999);
    assert.equal(states.at(-1), "connected first renewed");
    await tick(1);
    assert.equal(states.at(-1), "disconnected");
  });

  test("gives up on an answer that does not come", async () => {
    await make();
    await tick(39999);
    assert.equal(states.at(-1), "connected first renewed");
    await tick(1);
    assert.equal(states.at(-1), "disconnected");
  });

  test("takes nonsense for a broken connection", async () => {
    await make();
    server.script["/meta/connect"] = () => "<html>";
    server.push();
    await settle();
    assert.equal(states.at(-1), "disconnected");
  });

  test("honours the interval", async () => {
    server.advice = {reconnect: "retry", interval: 2000, timeout: 30000, "multiple-clients": true};
    await make();
    assert.equal(client.advice["multiple-clients"], true);
    assert.deepEqual(server.log, ["/meta/handshake", "/meta/connect"]);
    await tick(1999);
    assert.equal(server.requests.length, 2);
    await tick(1);
    assert.equal(server.requests.length, 3);
  });

  test("a superseded connect goes on after the interval, still connected", async () => {
    await make();
    server.answerHeld({successful: false, error: "409::connect_superseded",
      advice: {reconnect: "retry", interval: 2000, timeout: 30000}});
    await settle();
    assert.equal(server.isHolding, false);
    await tick(2000);
    assert.equal(server.isHolding, true);
    assert.deepEqual(states, ["connecting", "connected first renewed"]);
  });

  test("handshakes again at once when the session is unknown, but not in a frenzy", async () => {
    await make();
    server.forgetSessions();
    server.push();
    await settle();
    assert.deepEqual(states.slice(2), ["connected renewed"]);
    server.script["/meta/connect"] = (message) => server.unknown(message);
    server.push();
    await settle();
    const before = server.requests.length;
    assert.ok(before < 12, `${before} requests`);
    await tick(1999);
    assert.equal(server.requests.length, before);
  });

  test("a refused handshake is final only if the advice says so", async () => {
    const denied = {successful: false, error: "403::handshake_denied"};
    let advice = {reconnect: "handshake", interval: 3000};
    server.script["/meta/handshake"] = ({channel, id}) => ({channel, id, ...denied, advice});
    await make();
    assert.deepEqual(states, ["connecting"]);
    advice = {reconnect: "none"};
    await tick(3000);
    assert.deepEqual(states, ["connecting", "closed"]);
    await tick(60000);
    assert.equal(server.requests.length, 2);
  });

  test("ends when the server says so, and can be started again", async () => {
    await make();
    await Promise.all([client.subscribe("/a", () => {}), settle()]);
    server.answerHeld({advice: {reconnect: "none"}});
    await settle();
    assert.equal(states.at(-1), "closed");
    await assert.rejects(client.publish("/a", 1), TransportError);
    client.start();
    await settle();
    assert.equal(states.at(-1), "connected first renewed");
    assert.ok(server.log.slice(-2).includes("/meta/subscribe"));
    server.push({channel: "/meta/disconnect", successful: true});
    await settle();
    assert.equal(states.at(-1), "closed");
  });

  test("what was sent before the end is heard, whatever the transport", async () => {
    for (const sockets of [false, true]) {
      server = new ScriptedServer();
      server.connectionTypes = ["websocket", "long-polling"];
      const mode = {};
      await make(sockets ? {WebSocket: socketsTo(server, mode)} : {});
      const seen = [];
      await client.subscribe("/a", ({channel, data}) => seen.push(`${channel} ${data}`));
      const goodbye = [{channel: "/a", data: 1}, {channel: "/a", data: 2},
        {channel: "/meta/disconnect", successful: true}];
      const end = {advice: {reconnect: "none"}};
      if (sockets) {
        goodbye.forEach((message) => mode.last.onmessage?.({data: JSON.stringify([message])}));
        server.answerHeld(end);
      } else {
        server.answerHeld(end, ...goodbye);
      }
      await settle();
      assert.deepEqual(seen, ["/a 1", "/a 2"]);
      assert.equal(states.at(-1), "closed");
      const asked = server.requests.length;
      await tick(60000);
      assert.equal(server.requests.length, asked, "it does not come back");
    }
  });

  test("an unknown session that is told so late is replaced all the same", async () => {
    await make();
    server.forgetSessions();
    server.cut();
    let answer;
    server.script["/meta/connect"] = (message) => new Promise((resolve) => {
      answer = () => resolve(server.unknown(message));
    });
    await settle();
    await tick(1000);
    delete server.script["/meta/connect"];
    await tick(9000);
    answer();
    await settle();
    await tick(2000);
    assert.deepEqual(states.at(-1), "connected renewed");
  });

  test("disconnect sends what waits first", async () => {
    await make();
    const published = client.publish("/a", 1);
    await Promise.all([client.disconnect(), settle()]);
    await published;
    assert.equal(client.state, "closed");
    assert.deepEqual(server.log.slice(3), ["/a", "/meta/disconnect"]);
  });

  test("leaving the page sends one last request", async () => {
    await make();
    client.addEventListener("unload", () => client.publish("/a", "bye").catch(() => {}));
    client.unload();
    await settle();
    assert.equal(server.log.at(-1), "/a /meta/disconnect");
    assert.equal(server.inits.at(-1).keepalive, true);
    assert.deepEqual(server.requests.at(-1).map(({clientId}) => clientId),
      ["session1", "session1"]);
    assert.equal(client.state, "closed");
  });
});

describe("sending", () => {
  test("what is sent before there is a connection waits for it, in order", async () => {
    server.down = "refuse";
    await make();
    const all = Promise.all([client.publish("/a", 1), client.publish("/b", 2)]);
    server.down = null;
    await tick(1000);
    await all;
    assert.ok(server.log.includes("/a /b"));
  });

  test("one request at a time; a batch is one request", async () => {
    await make();
    client.publish("/a", 1);
    client.publish("/b", 2);
    client.batch(() => {
      client.publish("/c", 3);
      client.publish("/d", 4);
    });
    await settle();
    assert.deepEqual(server.log.slice(3), ["/a", "/b /c /d"]);
  });

  test("a refusal rejects with its code", async () => {
    await make();
    const error = "403:read_only:publish_denied";
    server.script["/a"] = ({channel, id}) => ({channel, id, successful: false, error});
    await assert.rejects(client.publish("/a", 1), (thrown) => {
      assert.ok(thrown instanceof BayeuxError);
      assert.equal(thrown.code, 403);
      assert.equal(thrown.message, error);
      return true;
    });
  });

  test("what broke under way is not repeated", async () => {
    await make();
    server.script["/a"] = () => {
      throw new TypeError("network error");
    };
    await assert.rejects(client.publish("/a", 1), TransportError);
    assert.equal(server.log.filter((line) => line === "/a").length, 1);
  });

  test("what a lost session did not take is repeated once in the new one", async () => {
    await make();
    server.forgetSessions();
    await Promise.all([client.publish("/a", 1), settle()]);
    assert.deepEqual(server.log.slice(3),
      ["/a", "/meta/handshake", "/meta/connect", "/a", "/meta/connect"]);
    assert.equal(server.requests.at(-2)[0].clientId, "session2");
    server.script["/b"] = (message) => server.unknown(message);
    await assert.rejects(client.publish("/b", 1), BayeuxError);
    assert.equal(server.log.filter((line) => line === "/b").length, 2);
  });

  test("what is not JSON is refused alone", async () => {
    await make();
    const [bad, good] = client.batch(() => [client.publish("/a", 1n), client.publish("/b", 1)]);
    await Promise.all([assert.rejects(bad, TypeError), good]);
    assert.equal(server.log.filter((line) => line === "/b").length, 1);
  });

  test("a message may have a time by which it must leave", async () => {
    server.down = "refuse";
    await make();
    const late = assert.rejects(client.publish("/late", 1, 500), TransportError);
    const other = client.publish("/a", 1, 5000);
    await tick(500);
    await late;
    server.down = null;
    await tick(500);
    await other;
    await tick(5000);
    assert.ok(!server.log.some((line) => line.includes("/late")));
  });

  test("the number of waiting messages is limited", async () => {
    server.down = "refuse";
    await make({maxWaiting: 2});
    client.publish("/a", 1).catch(() => {});
    client.publish("/a", 2).catch(() => {});
    await assert.rejects(client.publish("/a", 3), TransportError);
  });
});

describe("subscriptions", () => {
  test("messages go to every matching listener, also after one that throws", async (t) => {
    t.mock.method(console, "error", () => {});
    await make();
    const seen = [];
    const bad = () => {
      throw new Error("bad listener");
    };
    await Promise.all([
      client.subscribe("/a/b", bad),
      client.subscribe("/a/b", ({data}) => seen.push(`exact ${data}`)),
      client.subscribe("/a/*", ({data}) => seen.push(`one ${data}`)),
      client.subscribe("/**", ({data}) => seen.push(`deep ${data}`)),
      client.subscribe("/other", () => seen.push("other")),
    ]);
    server.push({channel: "/a/b", data: 1}, {channel: "/a/b/c", data: null});
    await settle();
    assert.deepEqual(seen, ["exact 1", "one 1", "deep 1", "deep null"]);
    assert.equal(console.error.mock.callCount(), 1);
  });

  test("the server hears of the first listener and of the last", async () => {
    await make();
    const [one, two] = await Promise.all([1, 2].map(() => client.subscribe("/a", () => {})));
    await one.cancel();
    assert.deepEqual(server.log.slice(3), ["/meta/subscribe"]);
    await two.cancel();
    assert.deepEqual(server.log.slice(3), ["/meta/subscribe", "/meta/unsubscribe"]);
  });

  test("a listener may go before the server has agreed", async () => {
    await make();
    const listener = () => {};
    const subscribed = client.subscribe("/a", listener);
    const gone = client.unsubscribe("/a", listener);
    await Promise.all([subscribed, gone, client.unsubscribe("/a", listener)]);
    assert.deepEqual(server.log.slice(3), ["/meta/subscribe", "/meta/unsubscribe"]);
  });

  test("a refused subscription is gone", async () => {
    await make();
    const error = "403::subscribe_denied";
    server.script["/meta/subscribe"] = ({channel, id}) => (
      {channel, id, successful: false, error});
    const seen = [];
    await assert.rejects(client.subscribe("/a", ({data}) => seen.push(data)), BayeuxError);
    server.push({channel: "/a", data: 1});
    await settle();
    assert.deepEqual(seen, []);
  });

  test("a new session is told of them before anything else", async () => {
    await make();
    await client.subscribe("/a", () => {});
    client.addEventListener("state", ({detail}) => {
      if (detail.renewed) {
        client.publish("/a", "here again");
      }
    });
    server.forgetSessions();
    server.push();
    await settle();
    assert.deepEqual(server.log.slice(-2), ["/meta/subscribe /a", "/meta/connect"]);
  });

  test("one that breaks under way is repeated", async () => {
    await make();
    let failures = 1;
    server.script["/meta/subscribe"] = () => {
      failures -= 1;
      if (failures >= 0) {
        throw new TypeError("network error");
      }
    };
    const subscribed = client.subscribe("/a", () => {});
    await settle();
    assert.equal(states.at(-1), "disconnected");
    await tick(1000);
    await subscribed;
    assert.equal(states.at(-1), "connected");
  });

  test("one that a new session is denied is reported", async () => {
    await make();
    await client.subscribe("/a", () => {});
    const refused = new Promise((resolve) => {
      client.addEventListener("refused", ({detail}) => resolve(detail.channel));
    });
    server.script["/meta/subscribe"] = ({channel, id}) => (
      {channel, id, successful: false, error: "403::subscribe_denied"});
    server.forgetSessions();
    server.push();
    assert.equal(await refused, "/a");
  });

  test("an advice in a delivered message is not followed", async () => {
    await make();
    server.push({channel: "/a", data: 1, advice: {reconnect: "none"}});
    await settle();
    assert.equal(states.at(-1), "connected first renewed");
    assert.equal(server.isHolding, true);
  });
});

describe("calls", () => {
  test("are answered by id, with the reply or later", async () => {
    await make();
    const answer = ({channel, id}) => ({channel, id, data: {sum: 3}});
    server.script["/service/sum"] = (message) => [answer(message), server.ok(message)];
    assert.deepEqual(await client.call("/service/sum", [1, 2]), {sum: 3});
    server.script["/service/sum"] = (message) => server.ok(message);
    const late = client.call("/service/sum", [1, 2]);
    await settle();
    server.push(answer(server.requests.at(-1)[0]));
    assert.deepEqual(await late, {sum: 3});
  });

  test("fail when there is no such service, or no answer", async () => {
    await make();
    server.script["/service/no"] = ({channel, id}) => (
      {channel, id, successful: false, error: `404:${channel}:unknown_service`});
    await assert.rejects(client.call("/service/no", 1), {code: 404});
    const silent = assert.rejects(client.call("/service/silent", 1, 100), TransportError);
    await settle();
    await tick(100);
    await silent;
  });
});

describe("websocket", () => {
  test("is used for all but the handshake when the server offers it", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {};
    await make({WebSocket: socketsTo(server, mode)});
    assert.equal(client.connectionType, "websocket");
    assert.equal(mode.last.url, "ws://server.test/cometd");
    assert.equal(server.inits.length, 1);
    await client.publish("/a", 1);
    assert.equal(server.inits.length, 1);
    const seen = [];
    await client.subscribe("/a", ({data}) => seen.push(data));
    mode.last.onmessage({data: '[{"channel":"/a","data":"pushed"}]'});
    assert.deepEqual(seen, ["pushed"]);
  });

  test("is not tried when the server does not offer it", async () => {
    const mode = {};
    await make({WebSocket: socketsTo(server, mode)});
    assert.equal(mode.opened, undefined);
    assert.equal(client.connectionType, "long-polling");
  });

  test("gives way to long-polling where it does not open", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {blocked: Infinity};
    await make({WebSocket: socketsTo(server, mode)});
    await client.publish("/a", 1);
    assert.equal(client.connectionType, "long-polling");
    assert.deepEqual(states, ["connecting", "connected first renewed"]);
    server.push();
    await settle();
    assert.equal(mode.opened, 1);
  });

  test("gives way to long-polling where there can be none", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    await make({WebSocket: class {
      constructor() {
        throw new SyntaxError("not here");
      }
    }});
    assert.equal(client.connectionType, "long-polling");
    assert.deepEqual(states, ["connecting", "connected first renewed"]);
  });

  test("of a session that has ended is not taken for the next", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {slow: true};
    await make({WebSocket: socketsTo(server, mode)});
    client.unload();
    client.start();
    await settle();
    mode.slow = false;
    mode.open();
    await settle();
    assert.deepEqual([states.at(-1), mode.opened], ["connected first renewed", 2]);
  });

  test("comes back after it was lost", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {};
    await make({WebSocket: socketsTo(server, mode)});
    mode.blocked = 1;
    mode.last.onclose();
    await settle();
    assert.equal(states.at(-1), "disconnected");
    await tick(1000);
    assert.deepEqual([states.at(-1), client.connectionType], ["connected", "websocket"]);
    assert.equal(mode.opened, 3);
    assert.equal(server.inits.length, 2, "one handshake, one connect while there was no socket");
  });

  test("is left alone once it stays away", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {};
    await make({WebSocket: socketsTo(server, mode)});
    mode.blocked = Infinity;
    mode.last.onclose();
    await settle();
    await tick(1000);
    for (let round = 0; round < 5; round += 1) {
      server.push();
      await settle();
    }
    assert.deepEqual([states.at(-1), client.connectionType], ["connected", "long-polling"]);
    assert.equal(mode.opened, 4);
  });

  test("a silent socket is given up", async () => {
    server.connectionTypes = ["websocket", "long-polling"];
    const mode = {};
    await make({WebSocket: socketsTo(server, mode)});
    await tick(40000);
    assert.equal(states.at(-1), "disconnected");
    await tick(1000);
    assert.equal(states.at(-1), "connected");
    assert.equal(mode.opened, 2);
  });
});
