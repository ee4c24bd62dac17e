// The server stops and comes back on the same port while both stock clients publish to each
// other. What was published after both had subscribed again and before the next stop has to
// arrive once and in order. What falls into the gap is counted and printed: delivery is at most
// once, and one of the clients sends again what it got no answer to.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { combinations } from "./lib/matrix.js";
import { compare, pause, perfect, until, withOpen } from "./lib/sequence.js";
import { Server, outside } from "./lib/server.js";

const EVERY_MS = 4;
const ANSWER_LIMIT_MS = 1000;
const STEADY_MESSAGES = 150;
const DOWN_MS = 400;
const REJOIN_LIMIT_MS = 25_000;

for (const { connector, transport, kinds, title } of combinations) {
  describe(title, { skip: outside ? "not our server" : false }, () => {
    let server;
    // Delivery bound to connects, so that the order of what arrives is the server's to keep.
    before(async () => {
      server = await Server.started(connector, ["--meta-connect-deliver-only"]);
    });
    after(() => server.stop("SIGKILL"));

    test("clients go on after restarts", (t) =>
      withOpen(
        kinds.map((Kind) => new Kind(server.url, transport)),
        async (a, b) => {
          const flows = [new Flow(a, b, "/restart/a-to-b"), new Flow(b, a, "/restart/b-to-a")];
          try {
            await restarts(flows, (gap) => t.diagnostic(`${title}, ${gap}`));
          } finally {
            flows.forEach((flow) => flow.stop());
          }
        },
      ));

    async function restarts(flows, report) {
      await steady(flows);
      for (const signal of ["SIGTERM", "SIGKILL"]) {
        flows.forEach((flow) => flow.gapBegins());
        await server.stop(signal);
        await pause(DOWN_MS);
        await server.start();
        await steady(flows);
        flows.forEach((flow) => report(`${signal}, ${flow.gap()}`));
      }
    }
  });
}

/** Waits until both have (re)joined; judges what they publish from then to the next stop. */
async function steady(flows) {
  await until(
    () => flows.every((flow) => flow.joined),
    () => `joined again: ${flows.map((flow) => flow.joined)}`,
    REJOIN_LIMIT_MS,
  );
  const from = flows.map((flow) => flow.next);
  await until(
    () => flows.every((flow, i) => flow.next >= from[i] + STEADY_MESSAGES),
    "the publications",
  );
  await Promise.all(flows.map((flow) => flow.hold()));
  const to = flows.map((flow) => flow.next);
  await until(
    () => flows.every((flow, i) => flow.got.includes(to[i] - 1)),
    () => flows.map((flow, i) => JSON.stringify(flow.judge(from[i], to[i]))).join(),
  );
  flows.forEach((flow, i) => assert.deepEqual(flow.judge(from[i], to[i]), perfect, flow.title));
  flows.forEach((flow) => flow.resume());
}

/** Numbers, published by one client every few milliseconds, received by the other. */
class Flow {
  next = 0;
  got = [];
  joined = false;
  #joinedAt = 0;
  #gapFrom = 0;
  #stopped = false;
  #held = false;
  #idle = false;

  constructor(from, to, channel) {
    this.title = `${from.constructor.name} to ${to.constructor.name}`;
    to.onKept = (confirmed) => {
      if (confirmed === channel && !this.joined) {
        this.#joinedAt = this.next;
        this.joined = true;
      }
    };
    to.keep(channel, (message) => this.got.push(message.data));
    this.#publish(from, channel);
  }

  /** One after the other, since one of the clients sends requests side by side. */
  async #publish(from, channel) {
    while (!this.#stopped) {
      if (this.#held) {
        this.#idle = true;
        await pause(1);
        continue;
      }
      this.#idle = false;
      // While the server is away this fails, or is sent again later; what counts is what arrives.
      const answer = from.publish(channel, this.next++).catch(() => {});
      await Promise.race([answer, pause(ANSWER_LIMIT_MS)]);
      await pause(EVERY_MS);
    }
  }

  /** Publishes no more until `resume`; resolves when the last one has been answered. */
  hold() {
    this.#held = true;
    return until(() => this.#idle, "the last answer");
  }

  resume() {
    this.#held = false;
    this.#idle = false;
  }

  gapBegins() {
    this.joined = false;
    this.#gapFrom = this.next;
  }

  /** What became of the messages from the stop to the receiver's new subscription. */
  gap() {
    const wanted = new Set();
    for (let n = this.#gapFrom; n < this.#joinedAt; n++) {
      wanted.add(n);
    }
    const { lost, doubled, displaced } = compare(
      this.got.filter((n) => wanted.has(n)),
      [...wanted],
    );
    return (
      `${this.title}: in the gap ${wanted.size} published, ${lost.length} lost, ` +
      `${doubled.length} doubled, ${displaced.length} out of order`
    );
  }

  judge(from, to) {
    const wanted = Array.from({ length: to - from }, (_, i) => from + i);
    return compare(this.got.filter((n) => n >= from && n < to), wanted);
  }

  stop() {
    this.#stopped = true;
  }
}
