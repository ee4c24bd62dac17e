// A server with a proxy in front of it, and a client that speaks plain HTTP to the two.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import os from "node:os";
import path from "node:path";

import { freePort, Server } from "./server.js";

/** The server and the proxy, from the first test of a group to its last. */
export class World {
  server;
  url;
  #proxy;
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), "bayeux-behind-"));
  #operations;

  async start(Kind, setting, flags = ["--trusted-proxy=127.0.0.1"]) {
    this.#operations = `127.0.0.1:${await freePort()}`;
    const log = `--access-log=${this.#folder}/access`;
    const all = [`--ops-listen=${this.#operations}`, log, ...flags];
    this.server = await Server.started("native", all);
    this.#proxy = new Kind();
    this.url = new URL("/cometd", await this.#proxy.start(this.server.url, setting)).href;
    this.origin = new URL(this.url).origin;
  }

  async stop() {
    // The server first: Apache does not end before what it waits for has.
    await this.server?.stop();
    await this.#proxy?.stop();
    fs.rmSync(this.#folder, { recursive: true });
  }

  /** A number at /metrics. */
  async number(name) {
    const { body } = await ask(`http://${this.#operations}/metrics`);
    return Number(new RegExp(`^${name} (.*)$`, "m").exec(body)?.[1] ?? 0);
  }

  /** Waits until a number is that. */
  async count(name, wanted) {
    let last;
    const deadline = Date.now() + 20_000;
    do {
      last = await this.number(name);
    } while (last !== wanted && Date.now() < deadline);
    assert.equal(last, wanted, name);
  }

  /** The addresses of the clients whose requests have been answered. */
  clients() {
    const lines = fs.readFileSync(`${this.#folder}/access`, "utf8").split("\n");
    return lines.filter(Boolean).map((line) => JSON.parse(line).client);
  }
}

/** A session that speaks plain HTTP, is subscribed to a channel, and has connected once. */
export class Session {
  static #count = 0;
  #url;
  #id;
  channel = `/session/${Session.#count++}`;

  static async open(url) {
    const session = new Session();
    session.#url = url;
    const [reply] = JSON.parse((await post(url, [{ channel: "/meta/handshake" }])).body);
    session.#id = reply.clientId;
    const subscribe = { channel: "/meta/subscribe", subscription: session.channel };
    await post(url, [{ ...subscribe, clientId: session.#id }]);
    await session.connect();
    return session;
  }

  async publish(channel, data) {
    const { body } = await post(this.#url, [{ channel, data, clientId: this.#id }]);
    assert.equal(JSON.parse(body)[0].successful, true, body);
  }

  connect() {
    return post(this.#url, [this.#connect]);
  }

  /** The request of a connect that is held. */
  hold() {
    const request = send(this.#url, { method: "POST", headers: JSON_BODY });
    request.on("error", () => {});
    request.end(JSON.stringify([this.#connect]));
    return request;
  }

  /** What comes on its stream of events. */
  events() {
    const headers = { Accept: "text/event-stream" };
    return new Promise((resolve, reject) => {
      const request = send(`${this.#url}/${this.#id}`, { headers });
      request.on("error", reject);
      request.on("response", (response) => {
        assert.equal(response.statusCode, 200);
        const events = { data: [], text: "", ended: false, close: () => request.destroy() };
        response.setEncoding("utf8");
        response.on("data", (chunk) => {
          events.text += chunk;
          const lines = [...events.text.matchAll(/^data: (.*)\n\n/gm)];
          events.data = lines.flatMap(([, json]) => JSON.parse(json)).map((event) => event.data);
        });
        response.on("error", () => {});
        response.on("close", () => (events.ended = true));
        resolve(events);
      });
      request.end();
    });
  }

  get #connect() {
    return { channel: "/meta/connect", clientId: this.#id, connectionType: "long-polling" };
  }
}

const JSON_BODY = { "Content-Type": "application/json" };

/** A request on a connection of its own. */
function send(url, options) {
  const { request } = url.startsWith("https:") ? https : http;
  return request(url, { agent: false, rejectUnauthorized: false, ...options });
}

function ask(url, options = {}, body = "") {
  return new Promise((resolve, reject) => {
    const request = send(url, options);
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("error", reject);
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, body: text }));
    });
    request.end(body);
  });
}

export function post(url, messages, { headers, ...options } = {}) {
  const all = { method: "POST", headers: { ...JSON_BODY, ...headers }, ...options };
  return ask(url, all, JSON.stringify(messages));
}
