/**
 * Pages as Faye's manual teaches to write them, on the script that the server sends: from its own
 * origin and from another one, over WebSocket and long-polling.
 */

import assert from "node:assert/strict";
import {once} from "node:events";
import {mkdtemp, rm, writeFile} from "node:fs/promises";
import {createServer} from "node:http";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, afterEach, before, describe, test} from "node:test";

import {Browser, Server, until, withoutSockets} from "./world.mjs";

/** A page that has loaded the script; what it does is in its own script, as in the manual. */
const page = (origin, script) => `<!doctype html><meta charset="utf-8"><title>An example</title>
  <link rel="icon" href="data:,"><script src="${origin}/faye/client.js"></script>
  <body><script>var origin = "${origin}", seen = [];</script><script>${script}</script>`;

/** Follow people, say something, and see who mentions you. */
const MICROBLOG = `
  var Blog = {
    init: function(client, name) {
      this.client = client;
      this.name = name;
      this.ready = Promise.all([
        client.subscribe("/mentions/" + name, this.hear, this),
        this.follow(name),
      ]);
    },
    follow: function(name) {
      return this.client.subscribe("/posts/" + name, this.hear, this);
    },
    hear: function(message) {
      seen.push(message.user + " says " + message.text);
    },
    post: function(text) {
      var message = {user: this.name, text: text};
      var client = this.client;
      (text.match(/@\\w+/g) || []).forEach(function(mention) {
        client.publish("/mentions/" + mention.slice(1), message);
      });
      return client.publish("/posts/" + this.name, message);
    },
  };
  Blog.init(new Faye.Client(origin + "/faye", {timeout: 120}), decodeURI(location.hash.slice(1)));`;

const PAGES = {
  "first.html": `
    var client = new Faye.Client("/faye");
    var subscription = client.subscribe("/first/*", function(message) { seen.push(message.text); });
    subscription.withChannel(function(channel, message) { seen.push(channel); });
    subscription.then(function() { return client.publish("/first/one", {text: "Hi there"}); })
      .then(function() { seen.push("received by the server"); });`,
  "errors.html": `
    var client = new Faye.Client("/faye");
    client.subscribe("/meta/anything").then(null, function(error) { seen.push(error); });
    client.publish("/no/*/pattern", {}).errback(function(error) { seen.push(error); });
    client.publish("/fine", {}).callback(function() { seen.push("fine"); });`,
  "extension.html": `
    var client = new Faye.Client("/faye");
    client.addExtension({
      outgoing: function(message, callback) {
        if (message.channel !== "/guarded") return callback(message);
        message.ext = message.ext || {};
        message.ext.authToken = "rt6utrb";
        setTimeout(function() { callback(message); }, 10);
      },
      incoming: function(message, callback) {
        if (message.ext) seen.push(message.ext.authToken);
        callback(message.data === "secret" ? null : message);
      },
    });
    client.subscribe("/guarded", function(message) { seen.push(message); }).then(function() {
      return client.publish("/guarded", "secret");
    }).then(function() { return client.publish("/guarded", "open"); });`,
  "transport.html": `
    var client = new Faye.Client("/faye", {retry: 1});
    client.disable("websocket");
    client.setHeader("X-Token", "abc");
    client.bind("transport:down", function() { seen.push("down"); });
    client.bind("transport:up", function() { seen.push("up"); });
    client.subscribe("/news", function(message) { seen.push(message); });`,
};

const root = await mkdtemp(join(tmpdir(), "bayeux-examples-"));
/** A server of pages alone, as a web application is. */
let pages = "";
const application = createServer(({url}, response) => {
  response.writeHead(200, {"Content-Type": "text/html"}).end(pages);
});
const browser = new Browser();
let server;
let elsewhere;

before(async () => {
  for (const [name, script] of Object.entries(PAGES)) {
    await writeFile(join(root, name), page("", script));
  }
  application.listen(0, "127.0.0.1");
  await once(application, "listening");
  elsewhere = `http://localhost:${application.address().port}`;
  server = new Server(["--document-root", root, "--allowed-origin", elsewhere], "/faye");
  await server.start();
  pages = page(server.origin, MICROBLOG);
  await browser.start();
});
afterEach(() => browser.clean());
after(async () => {
  await browser.stop();
  await server.stop();
  application.closeAllConnections();
  application.close();
  await rm(root, {recursive: true});
});

async function sees(page, ...wanted) {
  let seen;
  await until(() => `${wanted} is seen, and not ${JSON.stringify(seen)}`, async () => {
    seen = await page.evaluate(() => window.seen);
    return seen.length >= wanted.length;
  });
  assert.deepEqual(seen, wanted);
}

const open = (name, options) => browser.open(`${server.origin}/${name}`, options);

for (const [transport, prepare] of [["websocket", []], ["long-polling", [withoutSockets]]]) {
  describe(`examples over ${transport}`, () => {
    test("subscribe, publish, and hear of the own message before the answer", async () => {
      await sees(await open("first.html", {prepare}),
        "Hi there", "/first/one", "received by the server");
    });

    test("errors come in parts", async () => {
      const page = await open("errors.html", {prepare});
      await until("all have come", async () => (
        await page.evaluate(() => window.seen.length) === 3));
      const texts = await page.evaluate(() => window.seen.map((seen) => (
        seen.code ? `${seen.code} ${seen.message}` : seen)).sort());
      assert.deepEqual(texts, ["403 subscribe_denied", "405 channel_invalid", "fine"]);
    });

    test("extensions guard messages", async () => {
      await sees(await open("extension.html", {prepare}), "rt6utrb", "rt6utrb", "open");
    });

    test("people follow each other, on pages of another server", async () => {
      const enter = async (name) => {
        const page = await browser.open(`${elsewhere}/#${name}`, {prepare, also: server.origin});
        await page.evaluate(() => window.Blog.ready);
        return page;
      };
      const [ann, bob] = [await enter("ann"), await enter("bob")];
      await bob.evaluate(() => window.Blog.follow("ann"));
      await ann.evaluate(() => window.Blog.post("Good morning"));
      await sees(ann, "ann says Good morning");
      await sees(bob, "ann says Good morning");
      await bob.evaluate(() => window.Blog.post("To @ann: and to you"));
      await sees(ann, "ann says Good morning", "bob says To @ann: and to you");
    });
  });
}

describe("examples", () => {
  test("tell when the server goes and comes back", async () => {
    const page = await open("transport.html");
    const lines = [];
    page.on("request", (request) => request.url().endsWith("/faye")
      && lines.push(request.headers()["x-token"]));
    await sees(page, "up");
    await server.stop();
    await sees(page, "up", "down");
    await server.start();
    await sees(page, "up", "down", "up");
    await until("it is subscribed again", async () => {
      await server.publish("/news", "there");
      return page.evaluate(() => window.seen.includes("there"));
    });
    assert.ok(lines.length > 0 && lines.every((line) => line === "abc"), String(lines));
  });

  test("a page that is left says so", async () => {
    const page = await open("first.html");
    await sees(page, "Hi there", "/first/one", "received by the server");
    const goodbye = page.waitForRequest((request) => (
      request.postData()?.includes("/meta/disconnect") ?? false));
    await page.goto(`${server.origin}/errors.html`);
    await goodbye;
  });
});

describe("the script", () => {
  const get = (path, headers = {}) => fetch(server.origin + path, {headers});

  test("is cached by its tag, and has no map", async () => {
    const response = await get("/faye/client.js");
    assert.equal(response.status, 200);
    assert.match(response.headers.get("Content-Type"), /^(text|application)\/javascript/);
    const text = await response.text();
    assert.ok(text.length < 30000, `${text.length} bytes`);
    const tag = response.headers.get("ETag");
    assert.equal((await get("/faye/client.js", {"If-None-Match": tag})).status, 304);
    assert.equal((await get("/faye/client.js.map")).status, 404);
  });

  test("is there with the demo and without", async () => {
    for (const demo of ["--demo=true", "--demo=false"]) {
      const other = new Server([demo]);
      await other.start();
      const response = await fetch(`${other.origin}/cometd/client.js`);
      assert.ok((await response.text()).includes("globalThis.Faye"), demo);
      await other.stop();
    }
  });
});
