// The stock clients over https and wss. They take the root of the test certificates from
// NODE_EXTRA_CA_CERTS, which only a new process of node reads: this file runs itself as one.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { CometdClient } from "./lib/cometd-client.js";
import { FayeClient } from "./lib/faye-client.js";
import { compare, numbers, perfect, until, withOpen } from "./lib/sequence.js";
import { outside, Server } from "./lib/server.js";

const COUNT = 200;
const certificates = fileURLToPath(new URL("../certificates/", import.meta.url));
const root = `${certificates}root.pem`;

if (outside) {
  test("TLS", { skip: "the server is not ours" }, () => {});
} else if (process.env.NODE_EXTRA_CA_CERTS === root) {
  for (const transport of ["long-polling", "websocket"]) {
    describe(`TLS, ${transport}`, () => exchange(transport));
  }
} else {
  test("the stock clients over TLS", () => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: root };
    delete env.NODE_TEST_CONTEXT;
    const file = fileURLToPath(import.meta.url);
    const child = spawnSync(process.execPath, [file], { env, encoding: "utf8" });
    assert.equal(child.status, 0, child.stdout + child.stderr);
    assert.match(child.stdout, /pass 4/);
  });
}

function exchange(transport) {
  let server;
  before(async () => {
    const pair = `${certificates}server`;
    const files = ["--tls-cert", `${pair}.pem`, "--tls-key", `${pair}.key`];
    server = await Server.started("native", files);
    assert.match(server.url, /^https:/);
  });
  after(() => server.stop());

  for (const [Sender, Receiver] of [[CometdClient, FayeClient], [FayeClient, CometdClient]]) {
    test(`from ${Sender.name} to ${Receiver.name}`, () => {
      const make = [Sender, Receiver].map((Kind) => new Kind(server.url, transport));
      return withOpen(make, async (sender, receiver) => {
        assert.equal(receiver.transport, transport);
        const got = [];
        await receiver.subscribe("/tls/numbers", (m) => got.push(m.data));
        await sender.publishAll("/tls/numbers", numbers(0, COUNT));
        await until(() => got.length >= COUNT, () => `${got.length} of ${COUNT}`);
        assert.deepEqual(compare(got, numbers(0, COUNT)), perfect);
      });
    });
  }
}
