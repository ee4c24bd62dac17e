/** The timesync page, and the extension of the client, on either transport. */

import assert from "node:assert/strict";
import {after, afterEach, before, describe, test} from "node:test";

import {timesync as module} from "./library.mjs";
import {Browser, Server, until, withoutSockets} from "./world.mjs";

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

const HOUR = 3600000;
const open = (prepare) => browser.open(`${server.origin}/examples/timesync/`, {prepare});
const samples = (page) => page.locator("tbody tr").count();

/** Runs in the page: a clock that is an hour fast. */
function fast() {
  const now = Date.now;
  Date.now = () => now() + 3600000;
}

describe("timesync", () => {
  for (const [transport, prepare] of [["websocket", []], ["long-polling", [withoutSockets]]]) {
    test(`tells the server's time to a wrong clock, by ${transport}`, async () => {
      const page = await open([fast, ...prepare].flat());
      await until("there are four samples", async () => await samples(page) >= 4);
      const status = await page.locator("#status").textContent();
      assert.equal(status, `connected by ${transport}`);
      // A message that waits longer on one way than on the other is half of that off.
      const offset = /^-(\d+\.\d) s$/.exec(await page.locator("#offset").textContent());
      assert.ok(Math.abs(offset?.[1] - 3600) < 5, `${offset}`);
      assert.match(await page.locator("#lag").textContent(), /^\d+\.\d ms$/);
      await until("the clock is right", async () => {
        const shown = Date.parse(await page.locator("#time").getAttribute("datetime"));
        return Math.abs(shown - Date.now()) < 1500;
      });
      const first = await page.locator("#time").textContent();
      await until("it ticks", async () => await page.locator("#time").textContent() !== first);
      const before = await page.locator("tbody th").first().textContent();
      await page.getByRole("button", {name: "Measure again"}).click();
      await until("one more", async () => (
        await page.locator("tbody th").first().textContent() !== before));
    });
  }

  test("says so if the server does not know it", async () => {
    const page = await browser.open(`${server.origin}/`, {prepare: withoutSockets});
    // As a server that ignores it: its replies say nothing.
    await page.route("**/cometd", async (route) => {
      const sent = JSON.parse(route.request().postData()).map(({ext, ...message}) => message);
      await route.continue({postData: JSON.stringify(sent)});
    });
    await page.goto(`${server.origin}/examples/timesync/`);
    await until("it says so", async () => (
      await page.getByRole("alert").textContent() === "This server does not tell the time."));
    await page.unrouteAll({behavior: "wait"});
  });

  test("reckons with what replies say", () => {
    let now = 1000 * HOUR;
    const timesync = new module.TimeSync(() => now);
    assert.deepEqual([timesync.offset, timesync.lag, timesync.now()], [0, 0, now]);
    const message = timesync.outgoing({channel: "/meta/connect", ext: {own: 1}});
    assert.deepEqual(message.ext, {own: 1, timesync: {tc: now}});
    const other = {channel: "/chat/demo", data: 1};
    assert.equal(timesync.outgoing(other), other);
    const answer = (held, way, ahead) => {
      const tc = now;
      now += 2 * way + held;
      const ts = tc + way + ahead;
      timesync.incoming({channel: "/meta/connect", ext: {timesync: {tc, ts, p: held}}});
    };
    answer(30000, 40, HOUR);
    assert.deepEqual(timesync.samples, [{offset: HOUR, lag: 40}]);
    answer(0, 60, HOUR + 20);
    assert.deepEqual([timesync.offset, timesync.lag], [HOUR + 10, 50]);
    // Nonsense, somebody's message, and an answer from before the computer slept.
    timesync.incoming({channel: "/meta/connect"});
    timesync.incoming({channel: "/meta/connect", ext: {timesync: {tc: "1", ts: 1, p: 1}}});
    timesync.incoming({channel: "/chat/demo", ext: {timesync: {tc: now, ts: 1, p: 0}}});
    answer(0, 20000, 0);
    assert.equal(timesync.samples.length, 2);
    for (let n = 0; n < 10; n += 1) {
      answer(5, 1, -7);
    }
    assert.deepEqual([timesync.samples.length, timesync.offset, timesync.lag], [10, -7, 1]);
  });
});
