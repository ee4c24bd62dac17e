// Whatever the server sets as a cookie is given to an old cookie jar, that of Faye's client for
// Ruby: it raises on an attribute that it does not know, and the program ends.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { outside, Server } from "./lib/server.js";

const certificates = fileURLToPath(new URL("../certificates/", import.meta.url));
const tls = [
  "--tls-cert", `${certificates}server.pem`, "--tls-key", `${certificates}server.key`,
];
const skip = ruby("1").status !== 0 && "there is no ruby with its library cookiejar";

/** Then the answer that opens a WebSocket sets one too. */
const strict = "--require-browser-cookie";

if (!outside) {
  for (const [title, connector, flags] of [
    ["native", "native", [strict]],
    ["tiny-http", "tiny-http", [strict]],
    ["native with TLS", "native", [strict, ...tls]],
  ]) {
    describe(`cookies, ${title}`, { skip }, () => {
      const server = running(connector, flags);

      test("an old jar keeps the cookie of a handshake", async () => {
        keeps(server.url, await handshake(server.url));
      });
      test("and of a handshake in a script", async () => {
        keeps(server.url, await script(server.url));
      });
      if (connector === "native") {
        test("and of a WebSocket", async () => {
          keeps(server.url, await upgrade(server.url));
        });
      }
    });
  }

  describe("cookies with an attribute of today", { skip }, () => {
    const server = running("native", ["--cookie-same-site", "lax"]);

    test("are what an old jar fails on", async () => {
      const line = await handshake(server.url);
      assert.match(line, /; SameSite=Lax$/);
      assert.match(jar(server.url, line).stderr, /Unknown cookie parameter 'samesite'/);
    });
  });
}

function running(connector, flags) {
  const server = new Server(connector, flags);
  before(() => server.start());
  after(() => server.stop());
  return server;
}

/** The jar takes the cookie, and brings it back. */
function keeps(url, line) {
  assert.match(line, /^BAYEUX_BROWSER=/);
  const { status, stdout, stderr } = jar(url, line);
  assert.equal(status, 0, stderr);
  assert.equal(stdout.trim(), line.split(";")[0]);
}

function jar(url, line) {
  const page = new URL("/", url).href;
  const code = "jar = CookieJar::Jar.new; jar.set_cookie(*ARGV)";
  return ruby(`${code}; puts jar.get_cookie_header(ARGV[0])`, page, line);
}

function ruby(code, ...args) {
  return spawnSync("ruby", ["-rcookiejar", "-e", code, ...args], { encoding: "utf8" });
}

const messages = JSON.stringify([{ channel: "/meta/handshake", version: "1.0" }]);

function handshake(url) {
  return cookie(url, { method: "POST", headers: { "Content-Type": "application/json" } }, messages);
}

function script(url) {
  const headers = { "Sec-Fetch-Site": "same-origin" };
  return cookie(`${url}?message=${encodeURIComponent(messages)}&jsonp=cb`, { headers });
}

function upgrade(url) {
  const headers = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  return cookie(url, { headers });
}

/** Sends a request; the one cookie that is set. */
async function cookie(url, options, body) {
  const secure = url.startsWith("https:");
  const ca = secure && readFileSync(`${certificates}root.pem`);
  const request = (secure ? https : http).request(url, { ...options, ca, agent: false });
  request.end(body);
  const [response] = await Promise.race([once(request, "response"), once(request, "upgrade")]);
  response.destroy();
  const set = response.headers["set-cookie"];
  assert.equal(set.length, 1);
  return set[0];
}
