/** The watch over the pages itself: it sees each kind of fault, and nothing where there is none. */

import assert from "node:assert/strict";
import {once} from "node:events";
import {createServer} from "node:http";
import {after, afterEach, before, test} from "node:test";

import {Browser, until} from "./world.mjs";

const PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>';
const PAGE = `<!doctype html><title>A page</title><link rel="icon" href="/icon.svg">
  <meta http-equiv="Content-Security-Policy" content="img-src 'self'"><img src="/slow.svg" alt="">`;

/** Answers for slow pictures that are still owed. */
const owed = [];
const server = createServer(({url}, response) => {
  const status = Number(/^\/status\/(\d+)/.exec(url)?.[1] ?? 200);
  const isPicture = url.endsWith(".svg");
  response.writeHead(status, {"Content-Type": isPicture ? "image/svg+xml" : "text/html"});
  const finish = () => response.end(isPicture ? PICTURE : PAGE);
  if (url === "/slow.svg" || url === "/icon.svg") {
    owed.push(finish);
  } else {
    finish();
  }
});
const browser = new Browser();
let origin;

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${server.address().port}`;
  await browser.start();
});
afterEach(() => browser.clean());
after(async () => {
  await browser.stop();
  server.closeAllConnections();
  server.close();
});

/** A page whose pictures have not come yet. */
const open = (path = "/") => browser.open(origin + path, {waitUntil: "domcontentloaded"});

/** What the watch has seen, of which the test then is to hear no more. */
async function fault(shape) {
  await until(`there is a fault like ${shape}`, () => browser.faults.some((fault) => (
    shape.test(fault))));
  browser.faults.length = 0;
}

test("each kind of fault is seen", async () => {
  const page = await open();
  await page.evaluate(() => console.error("a script's complaint"));
  await fault(/^a script's complaint$/);
  await page.evaluate(() => setTimeout(() => {
    throw new Error("not caught");
  }));
  await fault(/not caught/);
  await page.evaluate(() => {
    Promise.reject(new Error("not awaited"));
  });
  await fault(/not awaited/);
  await page.evaluate(() => {
    new Image().src = "data:image/svg+xml,forbidden";
  });
  await fault(/^forbidden by img-src: data/);
  for (const status of [404, 405, 500]) {
    await page.evaluate((status) => fetch(`/status/${status}`), status);
    await fault(new RegExp(`^status ${status}: `));
  }
  await page.evaluate(() => alert("hello"));
  await fault(/^dialog: hello$/);
  await page.evaluate(() => fetch("http://other.test/").catch(() => {}));
  await fault(/^foreign request: http:\/\/other\.test\/$/);
});

test("pages that are left while something is on its way are no fault", async () => {
  const page = await open();
  for (let round = 0; round < 20; round += 1) {
    await page.goto(`${origin}/?${round}`, {waitUntil: "domcontentloaded"});
    owed.splice(0).forEach((finish) => finish());
  }
});

test("what the browser says by itself is no fault", async () => {
  const page = await open();
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  // As of a page that has been left: it is of no origin any more.
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.sandbox = "";
    frame.srcdoc = '<img crossorigin src="/picture.svg" alt="">';
    document.body.append(frame);
  });
  await until("the browser complains", () => said.some((line) => (
    line.includes("from origin 'null' has been blocked"))));
  await page.evaluate(() => fetch("/status/503"));
  await until("the browser complains", () => said.some((line) => line.includes("status of 503")));
});
