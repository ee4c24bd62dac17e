/**
 * What the page tests stand on: the server binary, a headless browser, and patience.
 *
 * Environment: BAYEUX_BIN, the server; BAYEUX_ARGS, further arguments for it; CHROMIUM, the browser
 * (default /usr/bin/chromium); SCREENSHOTS, a folder for pictures (default: none are taken).
 */

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {once} from "node:events";
import {mkdir} from "node:fs/promises";
import {createServer, request} from "node:http";
import {createInterface} from "node:readline";
import {join} from "node:path";

import {chromium} from "playwright-core";

const PATIENCE = 30000;
const CHROMIUM_FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
  "--disable-component-update", "--no-first-run",
];

/** The status by which a server that is going refuses; no fault of the page. */
const GOING = 503;

/** Waits until `condition` holds; `what` is text, or a function that tells how it stands. */
export async function until(what, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > deadline) {
      assert.fail(`still waiting until ${typeof what === "function" ? what() : what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The server under test, with its built-in pages. */
export class Server {
  #process = null;
  /** When it has ended, with exit code and signal. */
  #ended = null;
  #args;
  port = 0;

  /** @param {string[]} args further arguments of the program; @param {string} path its endpoint */
  constructor(args = [], path = "/cometd") {
    this.#args = ["--path", path, ...args];
    this.path = path;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it; again on the same port if it has run before. */
  async start() {
    assert.ok(process.env.BAYEUX_BIN, "BAYEUX_BIN must name the server binary");
    const more = (process.env.BAYEUX_ARGS ?? "").split(" ").filter(Boolean);
    const args = ["serve", "--listen", `127.0.0.1:${this.port}`, ...this.#args, ...more];
    this.#process = spawn(process.env.BAYEUX_BIN, args, {stdio: ["ignore", "ignore", "pipe"]});
    const said = [];
    const lines = createInterface({input: this.#process.stderr});
    const listening = new Promise((resolve) => {
      lines.on("line", (line) => {
        said.push(line);
        const found = /listening on http:\/\/127\.0\.0\.1:(\d+)\//.exec(line);
        if (found) {
          resolve(Number(found[1]));
        }
      });
    });
    this.#ended = once(this.#process, "exit");
    const failed = this.#ended.then(() => {
      throw new Error(`the server did not start: ${said.join("\n")}`);
    });
    failed.catch(() => {});
    this.port = await Promise.race([listening, failed]);
  }

  /** Also tells if it has ended before, by itself. */
  async stop() {
    if (this.#ended) {
      this.#process.kill("SIGTERM");
      const ended = await this.#ended;
      this.#ended = null;
      assert.deepEqual(ended, [0, null], "the server's exit code and signal");
    }
  }

  /** Publishes as an ordinary client would. */
  async publish(channel, ...data) {
    const send = async (messages) => {
      const response = await fetch(this.origin + this.path, {
        method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(messages),
      });
      return response.json();
    };
    const [{clientId}] = await send([{channel: "/meta/handshake", version: "1.0",
      supportedConnectionTypes: ["long-polling"]}]);
    await send([{channel: "/meta/connect", clientId, connectionType: "long-polling",
      advice: {timeout: 0}}]);
    const replies = await send(data.map((each) => ({channel, clientId, data: each})));
    assert.ok(replies.every(({successful}) => successful), JSON.stringify(replies));
    await send([{channel: "/meta/disconnect", clientId}]);
  }
}

/** Serves `origin` below a path prefix, as a front-end proxy might that knows no WebSocket. */
export async function startProxy(prefix, origin) {
  const proxy = createServer((incoming, outgoing) => {
    if (!incoming.url.startsWith(`${prefix}/`)) {
      outgoing.writeHead(404).end();
      return;
    }
    const path = incoming.url.slice(prefix.length);
    const passed = request(origin + path, {method: incoming.method, headers: incoming.headers},
      (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers);
        answer.pipe(outgoing);
      });
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  proxy.on("upgrade", (_request, socket) => {
    socket.end("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const stop = () => {
    proxy.close();
    proxy.closeAllConnections();
  };
  return {origin: `http://127.0.0.1:${proxy.address().port}`, stop};
}

/**
 * A browser whose pages are watched: what goes wrong in them fails the test at its end. That is
 * what scripts throw or tell as an error, what the page's own policy forbids, what the server
 * refuses, dialogs, and foreign requests. What the browser itself writes to the console does not
 * count: of these things it says nothing new, and it also speaks of pages that have been left, and
 * of a server that is going or gone.
 */
export class Browser {
  #browser;
  #contexts = [];
  /** What went wrong in pages. */
  faults = [];

  async start() {
    this.#browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: CHROMIUM_FLAGS,
    });
  }

  async stop() {
    await this.#browser?.close();
  }

  /** Closes all windows, and checks that nothing went wrong in them. */
  async clean() {
    await Promise.all(this.#contexts.splice(0).map(async (context) => {
      // Closing a context kills its pages; leaving them lets them say goodbye.
      await Promise.all(context.pages().map((page) => page.goto("about:blank")));
      await context.close();
    }));
    assert.deepEqual(this.faults.splice(0), []);
  }

  /**
   * A window of somebody else's browser: with cookies and storage of its own. `prepare` is one or
   * more functions that run in each page before anything else, `waitUntil` what it waits for,
   * `also` another origin that it may ask.
   */
  async open(url, {prepare = [], waitUntil = "load", also = "", ...options} = {}) {
    const viewport = {width: 1100, height: 720};
    const context = await this.#browser.newContext({viewport, ...options});
    context.setDefaultTimeout(PATIENCE);
    for (const script of [tellViolations, prepare].flat()) {
      await context.addInitScript(script);
    }
    this.#contexts.push(context);
    return this.openBeside(context, url, {waitUntil, also});
  }

  /** Another window of the same browser. */
  async openBeside(context, url, {waitUntil = "load", also = ""} = {}) {
    const page = await context.newPage();
    const origins = [new URL(url).origin, also, "null"];
    page.on("pageerror", (error) => this.faults.push(String(error)));
    page.on("dialog", (dialog) => {
      this.faults.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      // The browser's own lines come without arguments.
      if (message.type() === "error" && message.args().length > 0) {
        this.faults.push(message.text());
      }
    });
    page.on("response", (response) => {
      if (response.status() >= 400 && response.status() !== GOING) {
        this.faults.push(`status ${response.status()}: ${response.url()}`);
      }
    });
    page.on("request", (sent) => {
      if (!origins.includes(new URL(sent.url()).origin)) {
        this.faults.push(`foreign request: ${sent.url()}`);
      }
    });
    await page.goto(url, {waitUntil});
    return page;
  }
}

/** Runs in a page: tells what its policy forbids. */
function tellViolations() {
  document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) => (
    console.error(`forbidden by ${violatedDirective}: ${blockedURI}`)));
}

/** Runs in a page: a browser, or a network, that has no WebSocket. */
export function withoutSockets() {
  delete window.WebSocket;
}

/** Runs in a page: notes in `window.banners` all that the banner ever says. */
export function noteBanners() {
  window.banners = [];
  document.addEventListener("DOMContentLoaded", () => {
    const banner = document.querySelector("#banner");
    const note = () => window.banners.push(banner.textContent);
    if (banner) {
      new MutationObserver(note).observe(banner, {childList: true, subtree: true});
    }
  });
}

/** Takes a picture, if pictures are wanted. */
export async function picture(page, name, options = {}) {
  const folder = process.env.SCREENSHOTS;
  if (folder) {
    await mkdir(folder, {recursive: true});
    await page.screenshot({path: join(folder, `${name}.png`), ...options});
  }
}
