/** Faye's own build for browsers, over EventSource: both ways, through a restart of the server. */

import assert from "node:assert/strict";
import {createRequire} from "node:module";
import {after, afterEach, before, test} from "node:test";

import {Browser, Server, until} from "./world.mjs";

const COUNT = 100;
const bundle = createRequire(import.meta.url).resolve("faye/client/faye-browser.js");

const server = new Server();
const browser = new Browser();

before(async () => {
  await server.start();
  await browser.start();
});
afterEach(() => browser.clean());
after(async () => {
  await browser.stop();
  await server.stop();
});

/** A page with a client that has subscribed to the channel. */
async function listening(channel) {
  // The pages of the server allow no scripts but their own.
  const page = await browser.open(`${server.origin}/`, {bypassCSP: true});
  await page.addScriptTag({path: bundle});
  await page.evaluate(async (channel) => {
    const client = new window.Faye.Client("/cometd", {retry: 1});
    client.disable("websocket");
    window.client = client;
    window.got = [];
    window.kept = 0;
    client.addExtension({
      incoming(message, callback) {
        window.kept += message.channel === "/meta/subscribe" && message.successful ? 1 : 0;
        callback(message);
      },
    });
    await client.subscribe(channel, (data) => window.got.push(data));
  }, channel);
  return page;
}

/** Publishes the numbers, each when the one before was confirmed. */
const publish = (page, channel, first) => page.evaluate(async ([channel, first, count]) => {
  for (let n = first; n < first + count; n += 1) {
    await window.client.publish(channel, n);
  }
}, [channel, first, COUNT]);

/** What went with an answer before the stream was open may be read behind what the stream has. */
const streaming = (page) => until("its stream is open", () => page.evaluate(() =>
  window.client._dispatcher._transport?._socket?.readyState === EventSource.OPEN));

const numbers = (count) => Array.from({length: count}, (_, n) => n);

async function has(page, count) {
  let got = [];
  await until(() => `${count} messages are there: ${JSON.stringify(got)}`, async () => {
    got = await page.evaluate(() => window.got);
    return got.length >= count;
  });
  assert.deepEqual(got, numbers(count));
}

test("100 messages both ways, and again after a restart", async () => {
  const pages = [await listening("/faye/left"), await listening("/faye/right")];
  const [left, right] = pages;
  const exchange = async (first) => {
    await Promise.all(pages.map(streaming));
    await Promise.all([publish(left, "/faye/right", first), publish(right, "/faye/left", first)]);
    await Promise.all(pages.map((page) => has(page, first + COUNT)));
  };
  await exchange(0);
  for (const page of pages) {
    const type = await page.evaluate(() => window.client._dispatcher.connectionType);
    assert.equal(type, "eventsource");
  }
  const before = await Promise.all(pages.map((page) => page.evaluate(() => window.kept)));
  await server.stop();
  await server.start();
  // Faye may notice only when the time of its connect is up that nobody answers it any more.
  await Promise.all(pages.map((page, n) => until("it has subscribed again", async () =>
    (await page.evaluate(() => window.kept)) > before[n], 60000)));
  // Until then it may ask for the events of a session that is gone.
  browser.faults = browser.faults.filter((fault) => !fault.startsWith("status 404: "));
  await exchange(COUNT);
});
