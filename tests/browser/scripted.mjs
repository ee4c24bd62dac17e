/**
 * A Bayeux server in a box, for tests of the client: a `fetch` and a `WebSocket` that answer from
 * a script, and the requests that arrived. And a clock that only moves when told to.
 */

// Node before 19 keeps this one to itself; browsers have it.
globalThis.CustomEvent ??= class extends Event {
  constructor(type, {detail}) {
    super(type);
    this.detail = detail;
  }
};

/** Lets everything that can go on without a timer go on. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Stands in for `setTimeout` and `clearTimeout` from `install()` to `remove()`. */
export class ManualClock {
  #now = 0;
  #lastId = 0;
  /** @type {Map<number, {due: number, action: () => void}>} */
  #timers = new Map();
  #original = {};

  install() {
    const {setTimeout, clearTimeout} = globalThis;
    this.#original = {setTimeout, clearTimeout};
    globalThis.setTimeout = (action, delay = 0) => {
      this.#lastId += 1;
      this.#timers.set(this.#lastId, {due: this.#now + delay, action});
      return this.#lastId;
    };
    globalThis.clearTimeout = (id) => this.#timers.delete(id);
  }

  remove() {
    Object.assign(globalThis, this.#original);
  }

  /** Lets time pass, and what is due in it happen in its order. */
  tick(milliseconds) {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = [...this.#timers].sort(([, a], [, b]) => a.due - b.due);
      if (!next || next[1].due > end) {
        break;
      }
      this.#timers.delete(next[0]);
      this.#now = next[1].due;
      next[1].action();
    }
    this.#now = end;
  }
}

export class ScriptedServer {
  /** @type {object[][]} the messages of each request */
  requests = [];
  /** @type {RequestInit[]} */
  inits = [];
  /** Set to make every request fail: "refuse" as a network error, a number as an HTTP status. */
  down = null;
  headers = {};
  advice = {reconnect: "retry", interval: 0, timeout: 30000};
  connectionTypes = ["long-polling"];
  /** Replies by channel, instead of the usual: `(message, server) => message | message[]`. */
  script = {};

  #sessions = new Set();
  #count = 0;
  #held = null;

  /** What each request consisted of, in short. */
  get log() {
    return this.requests.map((messages) => messages.map((m) => m.channel).join(" "));
  }

  get isHolding() {
    return this.#held !== null;
  }

  fetch = async (_url, init) => {
    this.inits.push(init);
    if (this.down === "refuse") {
      throw new TypeError("fetch failed");
    }
    if (typeof this.down === "number") {
      return new Response("no", {status: this.down, headers: this.headers});
    }
    const answer = await this.handle(JSON.parse(init.body), init.signal);
    return new Response(typeof answer === "string" ? answer : JSON.stringify(answer));
  };

  /** Answers the messages of a request; waits where a connect is held. */
  async handle(messages, signal) {
    this.requests.push(messages);
    const answer = [];
    for (const message of messages) {
      const scripted = await this.script[message.channel]?.(message, this);
      answer.push(...[scripted ?? await this.#reply(message, signal)].flat());
    }
    return answer.length === 1 && typeof answer[0] === "string" ? answer[0] : answer;
  }

  /** Answers the held connect with these messages. */
  push(...messages) {
    const held = this.#held;
    this.#held = null;
    held.resolve([...messages, this.ok(held.message)]);
  }

  /** Ends the held connect with a reply of another kind, and these messages before it. */
  answerHeld(reply, ...messages) {
    const held = this.#held;
    this.#held = null;
    held.resolve([...messages, {...this.ok(held.message), ...reply}]);
  }

  /** Breaks the connection of the held connect. */
  cut() {
    const held = this.#held;
    this.#held = null;
    held?.reject(new TypeError("network error"));
  }

  forgetSessions() {
    this.#sessions.clear();
  }

  ok({channel, id, subscription}) {
    return {channel, id, subscription, successful: true};
  }

  unknown({channel, id}) {
    const advice = channel === "/meta/connect" ? {reconnect: "handshake", interval: 0} : undefined;
    return {channel, id, successful: false, error: "402::session_unknown", advice};
  }

  async #reply(message, signal) {
    if (message.channel === "/meta/handshake") {
      this.#count += 1;
      const clientId = `session${this.#count}`;
      this.#sessions.add(clientId);
      return {...this.ok(message), clientId, version: "1.0",
        supportedConnectionTypes: this.connectionTypes, advice: this.advice};
    }
    if (!this.#sessions.has(message.clientId)) {
      return this.unknown(message);
    }
    if (message.channel !== "/meta/connect" || message.advice?.timeout === 0) {
      return this.ok(message);
    }
    return new Promise((resolve, reject) => {
      this.#held = {message, resolve, reject};
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  }
}

/**
 * A WebSocket class whose sockets end at the server. `mode.blocked` so many do not open; while
 * `mode.slow` is set, they do so when `mode.open()` is called.
 */
export function socketsTo(server, mode = {}) {
  return class {
    constructor(url) {
      this.url = url;
      mode.opened = (mode.opened ?? 0) + 1;
      mode.last = this;
      mode.open = () => {
        if (mode.blocked > 0) {
          mode.blocked -= 1;
          this.onclose?.();
        } else {
          this.onopen?.();
        }
      };
      if (!mode.slow) {
        setImmediate(mode.open);
      }
    }

    async send(text) {
      const answer = await server.handle(JSON.parse(text)).catch(() => null);
      if (answer) {
        this.onmessage?.({data: JSON.stringify(answer)});
      }
    }

    close() {}
  };
}
