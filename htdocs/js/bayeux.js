/**
 * A Bayeux client for browsers (and Node): publish, subscribe, call services.
 *
 * In scope: subscriptions, what waits to be sent, remote calls. Out of scope: how the session is
 * kept alive (session.js), what the demo pages do with it (page.js).
 *
 *     const client = new Client("http://localhost:8080/cometd");
 *     client.addEventListener("state", ({detail}) => console.log(detail.state));
 *     client.start();
 *     const subscription = await client.subscribe("/chat/demo", ({data}) => console.log(data));
 *     await client.publish("/chat/demo", {user: "me", chat: "Hello"});
 *     await subscription.cancel();
 *     await client.disconnect();
 *
 * What is published while there is no connection waits for the next one. What was under way when
 * the connection broke is not sent again, since it may have arrived: its promise is rejected.
 * Subscriptions outlive sessions.
 */

import {BayeuxError, LONGEST_WAIT, TransportError, patternsFor} from "./messages.js";
import {Session} from "./session.js";

export {BayeuxError, TransportError};

const DEFAULTS = {
  /** How long an answer may take, beyond what the server holds it back, in milliseconds. */
  networkDelay: 10000,
  /** How long an answer may take at all, in milliseconds, whatever the server advises. */
  patience: undefined,
  /** The shortest pause between two connects, in milliseconds; the server may advise a longer. */
  interval: 0,
  /** The first and the longest pause between attempts, in milliseconds. */
  firstBackoff: 1000,
  maxBackoff: 30000,
  /** How many messages may wait for a connection, and how many go in one request. */
  maxWaiting: 1000,
  maxBatch: 100,
  /** `ext` of the handshake, for authentication. */
  ext: undefined,
  /** Further header lines of requests, by name. A WebSocket has none. */
  headers: {},
  /** Other URLs for single transports, by connection type. */
  endpoints: {},
  /** Connection types not to be used. A handshake needs long-polling in any case. */
  disabled: [],
  /**
   * Protocol extensions, such as `new TimeSync()` (timesync.js): `outgoing(message)` gives what is
   * sent in the message's place, `incoming(message)` what is taken for one that came; a promise of
   * it will do. Undefined leaves the message as it is, null drops it. Either may be missing.
   */
  extensions: [],
  /** For tests. */
  random: Math.random,
  fetch: undefined,
  WebSocket: undefined,
};

/**
 * Events:
 * `state`, `detail` is `{state, first, renewed, error}`: `state` as the property of that name;
 *   when connected, `first` if it is for the first time since `start()`, and `renewed` if the
 *   session is a new one; when disconnected or closed, `error` says why;
 * `advice`: the server gave a new one (property `advice`);
 * `refused`, `detail` is `{channel, error}`: a new session was denied an old subscription;
 * `unload`: the session is about to end with the page, listeners may still publish.
 */
export class Client extends EventTarget {
  #session;
  #options;
  /** @type {Map<string, (message: object) => void>} remote calls, by id */
  #calls = new Map();
  /** @type {Map<string, {listeners: Set<Function>, confirmed: boolean, ready: Promise}>} */
  #subscriptions = new Map();
  /** @type {{message: object, resolve: Function, reject: Function, again: boolean}[]} */
  #waiting = [];
  #batches = 0;
  #flushing = false;

  /**
   * @param {string} url the server's endpoint, such as `http://localhost:8080/cometd`
   * @param {Partial<typeof DEFAULTS>} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#options = {...DEFAULTS, ...options};
    this.#session = new Session(url, this.#options, {
      state: (state, detail) => this.#stateChanged(state, detail),
      ready: () => this.#flush(),
      advice: () => this.dispatchEvent(new Event("advice")),
      deliver: (message) => this.#deliver(message),
    });
  }

  /** @returns {"idle"|"connecting"|"connected"|"disconnected"|"closed"} */
  get state() {
    return this.#session.state;
  }

  /** What the server last advised. */
  get advice() {
    return this.#session.advice;
  }

  /** The connection type in use. */
  get connectionType() {
    return this.#session.connectionType;
  }

  /** Starts a session, and keeps it until `disconnect()` or until the server ends it. */
  start() {
    this.#session.start();
  }

  /** Ends the session and forgets its subscriptions; what waits to be sent goes first. */
  async disconnect() {
    if (this.state === "connected") {
      // Should it fail, the server ends the session by itself in time.
      await this.#enqueue({channel: "/meta/disconnect"}).catch(() => {});
    }
    this.#subscriptions.clear();
    this.#session.end(new Error("disconnected"));
  }

  /** Ends the session while the page goes away. */
  unload() {
    if (this.#session.clientId !== null) {
      this.#batches += 1;
      this.dispatchEvent(new Event("unload"));
      this.#batches -= 1;
      const last = this.#session.numbered({channel: "/meta/disconnect"});
      this.#session.farewell([...this.#waiting.map(({message}) => message), last]);
    }
    this.#session.end(new Error("the page was left"));
  }

  /** Tries again at once, if there is a pause between two attempts. */
  hurry() {
    this.#session.hurry();
  }

  /**
   * What `action` sends goes to the server in one piece.
   *
   * @template T
   * @param {() => T} action
   * @returns {T}
   */
  batch(action) {
    this.#batches += 1;
    try {
      return action();
    } finally {
      this.#batches -= 1;
      this.#flush();
    }
  }

  /**
   * @param {string} channel a channel or a pattern (`/a/*`, `/a/**`)
   * @param {(message: object) => void} listener called with every message
   * @returns {Promise<{channel: string, cancel: () => Promise<void>}>} fulfilled when the server
   *   agreed, rejected with a BayeuxError when it did not
   */
  async subscribe(channel, listener) {
    let entry = this.#subscriptions.get(channel);
    if (!entry) {
      entry = {listeners: new Set(), confirmed: false, ready: null};
      this.#subscriptions.set(channel, entry);
      entry.ready = this.#confirm(channel, entry);
    }
    entry.listeners.add(listener);
    await entry.ready;
    return {channel, cancel: () => this.#unsubscribe(channel, entry, listener)};
  }

  /** Takes a listener away, whether the server has agreed to the subscription yet or not. */
  async unsubscribe(channel, listener) {
    const entry = this.#subscriptions.get(channel);
    if (entry?.listeners.has(listener)) {
      await this.#unsubscribe(channel, entry, listener);
    }
  }

  /**
   * @param {string} channel
   * @param {unknown} data anything that JSON can express
   * @param {number} [deadline] how long it may wait for a connection, in milliseconds
   * @returns {Promise<object>} the server's reply
   */
  publish(channel, data, deadline = Infinity) {
    return this.#enqueue({channel, data}, deadline);
  }

  /**
   * Asks a service, and waits for its answer.
   *
   * @param {string} channel below `/service/`
   * @param {unknown} data
   * @param {number} [timeout] in milliseconds
   * @returns {Promise<unknown>} the answer's data
   */
  call(channel, data, timeout = this.#options.networkDelay) {
    return new Promise((resolve, reject) => {
      const message = this.#session.numbered({channel, data});
      const settle = (how, value) => {
        clearTimeout(timer);
        this.#calls.delete(message.id);
        how(value);
      };
      const timer = setTimeout(() => {
        settle(reject, new TransportError(`no answer from ${channel}`));
      }, timeout);
      this.#calls.set(message.id, (answer) => settle(resolve, answer.data));
      this.#enqueue(message).catch((error) => settle(reject, error));
    });
  }

  #stateChanged(state, detail) {
    const event = new CustomEvent("state", {detail: {...detail, state}});
    this.batch(() => {
      if (detail.renewed) {
        this.#resubscribe();
      }
      this.dispatchEvent(event);
    });
    if (state === "closed") {
      this.#waiting.splice(0).forEach((entry) => entry.reject(detail.error));
    }
  }

  /** @returns {Promise<object>} the reply, once the message was sent and successful */
  #enqueue(message, deadline = Infinity) {
    return new Promise((resolve, reject) => {
      // What is not JSON fails here and alone, not together with all that would be sent with it.
      JSON.stringify(message);
      if (this.state === "closed") {
        reject(new TransportError("there is no session"));
      } else if (this.#waiting.length >= this.#options.maxWaiting) {
        reject(new TransportError("too many messages wait for a connection"));
      } else {
        const entry = {message: this.#session.numbered(message), resolve, reject, again: false};
        this.#waiting.push(entry);
        if (deadline < LONGEST_WAIT) {
          entry.timer = setTimeout(() => this.#withdraw(entry), deadline);
        }
        this.#flush();
      }
    });
  }

  /** The time of a message that may still wait to be sent is up. */
  #withdraw(entry) {
    const at = this.#waiting.indexOf(entry);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      entry.reject(new TransportError("there was no connection in time"));
    }
  }

  /** Sends what waits, one request at a time, so that it arrives in order. */
  async #flush() {
    if (this.#flushing) {
      return;
    }
    this.#flushing = true;
    let going = true;
    while (going && this.#waiting.length > 0 && this.#batches === 0 && this.#session.isReady) {
      going = await this.#sendBatch();
    }
    this.#flushing = false;
  }

  /** @returns {Promise<boolean>} whether to go on; if not, the next connect starts it again */
  async #sendBatch() {
    const {clientId} = this.#session;
    const entries = this.#waiting.splice(0, this.#options.maxBatch);
    const {replies, error} = await this.#session.exchange(entries.map(({message}) => message));
    const stale = clientId !== this.#session.clientId;
    const again = entries.filter((entry) => (
      !this.#settle(entry, replies.get(entry.message.id), error, stale)));
    this.#waiting.unshift(...again);
    if (again.length === 0 || stale) {
      return true;
    }
    if (error) {
      this.#session.check();
    } else {
      this.#session.renew();
    }
    return false;
  }

  /** @returns {boolean} false if the message is to be sent once more */
  #settle(entry, reply, error, stale) {
    let failure = null;
    if (!reply) {
      failure = error ?? new TransportError("the server did not reply");
    } else if (reply.successful !== true) {
      failure = new BayeuxError(reply);
    }
    if (this.state !== "closed" && this.#mayRepeat(entry, failure, stale)) {
      return false;
    }
    clearTimeout(entry.timer);
    if (failure) {
      entry.reject(failure);
    } else {
      entry.resolve(reply);
    }
    return true;
  }

  /** Whether sending a message again does no harm, and may help. */
  #mayRepeat(entry, failure, stale) {
    if (failure?.unknownSession) {
      const first = !entry.again;
      entry.again = true;
      return first;
    }
    return entry.message.channel === "/meta/subscribe" && (stale || Boolean(failure?.isTemporary));
  }

  #deliver(message) {
    if (message.channel.startsWith("/service/")) {
      this.#calls.get(message.id)?.(message);
    }
    for (const pattern of patternsFor(message.channel)) {
      for (const listener of [...(this.#subscriptions.get(pattern)?.listeners ?? [])]) {
        try {
          listener(message);
        } catch (error) {
          console.error(`A listener of ${pattern} failed:`, error);
        }
      }
    }
  }

  async #confirm(channel, entry) {
    try {
      await this.#enqueue({channel: "/meta/subscribe", subscription: channel});
      entry.confirmed = true;
    } catch (error) {
      if (this.#subscriptions.get(channel) === entry) {
        this.#subscriptions.delete(channel);
      }
      throw error;
    }
  }

  /** Tells a new session, ahead of everything that waits, what the old one was subscribed to. */
  #resubscribe() {
    const waiting = this.#waiting.splice(0);
    for (const [channel, entry] of this.#subscriptions) {
      if (entry.confirmed) {
        this.#confirm(channel, entry).catch((error) => {
          this.dispatchEvent(new CustomEvent("refused", {detail: {channel, error}}));
        });
      }
    }
    this.#waiting.push(...waiting);
  }

  async #unsubscribe(channel, entry, listener) {
    entry.listeners.delete(listener);
    if (entry.listeners.size === 0 && this.#subscriptions.get(channel) === entry) {
      this.#subscriptions.delete(channel);
      await this.#enqueue({channel: "/meta/unsubscribe", subscription: channel});
    }
  }
}
