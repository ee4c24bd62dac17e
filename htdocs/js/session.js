/**
 * A session with a Bayeux server, kept alive, and replaced by a new one when it is lost.
 *
 * In scope: handshake, connect loop, advice, back-off, choice of the transport, matching replies.
 * Out of scope: how bytes travel (transports.js), what is sent and subscribed (bayeux.js).
 *
 * @typedef {"idle"|"connecting"|"connected"|"disconnected"|"closed"} State
 */

import {
  BayeuxError, DEFAULT_ADVICE, LONGEST_WAIT, TransportError, adviceFrom, after, isDelivery,
} from "./messages.js";
import {LongPolling, WebSocketTransport} from "./transports.js";

/** A socket that cannot be opened so often in a row is left alone until the next handshake. */
const MAX_UNOPENED = 3;

export class Session {
  /** @type {State} */
  state = "idle";
  advice = DEFAULT_ADVICE;
  clientId = null;

  #options;
  #handlers;
  #polling;
  #socket = null;
  #transport;
  #useSocket = false;
  #unopened = 0;

  /** Counts starts and ends: a step that finds another number than it began with is out of date. */
  #run = 0;
  #lastId = 0;
  #failures = 0;
  #first = true;
  #renewed = false;
  #wakeUp = () => {};
  /** @type {Map<string, (reply: object) => void>} what awaits a reply, by id */
  #pending = new Map();

  /**
   * @param {string} url
   * @param {object} options see bayeux.js
   * @param {{state: (state: State, detail: object) => void, ready: () => void,
   *   advice: () => void, deliver: (message: object) => void}} handlers
   *   `state` hears what there is to say about the connection, `ready` each time that a connect
   *   got through, `advice` when there is a new one, `deliver` each message with data
   */
  constructor(url, options, handlers) {
    this.#options = options;
    this.#handlers = handlers;
    const receive = (messages) => this.#receive(messages);
    this.#polling = new LongPolling(url, receive, options);
    if (options.WebSocket ?? globalThis.WebSocket) {
      this.#socket = new WebSocketTransport(url, receive, options);
    }
    this.#transport = this.#polling;
  }

  get connectionType() {
    return this.#transport.constructor.type;
  }

  /** Whether messages can be sent. */
  get isReady() {
    return this.state === "connected" && this.clientId !== null && !this.#renewed;
  }

  start() {
    if (this.state === "idle" || this.state === "closed") {
      this.#first = true;
      this.#failures = 0;
      this.#run += 1;
      this.#announce("connecting");
      this.#loop(this.#run);
    }
  }

  /** Stops at once. @param {Error} error why */
  end(error) {
    if (this.state !== "idle" && this.state !== "closed") {
      this.#run += 1;
      this.clientId = null;
      this.#wakeUp();
      this.#polling.close();
      this.#socket?.close();
      this.#announce("closed", {error});
    }
  }

  /** Ends a pause between two attempts. */
  hurry() {
    this.#wakeUp();
  }

  /** Finds out at once whether the connection still stands. */
  check() {
    this.#transport.close();
  }

  /** The server does not know the session any more: begins a new one. */
  renew() {
    this.clientId = null;
    this.#wakeUp();
    this.#transport.close();
  }

  /** Sends messages while the page goes away. */
  farewell(messages) {
    this.#polling.farewell(messages.map((message) => ({...message, clientId: this.clientId})));
  }

  numbered(message) {
    this.#lastId += 1;
    return {id: String(this.#lastId), ...message};
  }

  /**
   * Sends messages in one piece and collects the replies, by id; never throws.
   *
   * @param {object[]} messages
   * @returns {Promise<{replies: Map<string, object>, error?: TransportError}>}
   */
  async exchange(messages) {
    const complete = messages.map((message) => ({...message, clientId: this.clientId}));
    const transport = this.#transport;
    const result = await this.#exchange(transport, complete, this.#patience());
    if (!result.error?.unopened) {
      return result;
    }
    this.#fallBack(transport);
    return this.#exchange(this.#transport, complete, this.#patience());
  }

  /** Handshakes and connects, one after the other, until this run is over. */
  async #loop(run) {
    while (run === this.#run) {
      const pause = await (this.clientId === null ? this.#handshake(run) : this.#connect(run));
      if (run === this.#run && pause > 0) {
        await this.#sleep(pause);
      }
    }
  }

  /** @returns {Promise<number>} milliseconds to wait before the next step, here and below */
  async #handshake(run) {
    this.#transport = this.#polling;
    const {disabled} = this.#options;
    const socket = disabled.includes(WebSocketTransport.type) ? null : this.#socket;
    const transports = [socket, this.#polling].filter(Boolean);
    const {reply, error} = await this.#ask({
      channel: "/meta/handshake",
      version: "1.0",
      minimumVersion: "1.0",
      supportedConnectionTypes: transports.map((transport) => transport.constructor.type),
      ext: this.#options.ext,
    }, this.#patience());
    if (run !== this.#run) {
      return 0;
    }
    if (!reply) {
      return this.#lost(error);
    }
    this.#advise(reply.advice);
    if (reply.successful !== true || typeof reply.clientId !== "string") {
      return this.#refused(reply);
    }
    this.clientId = reply.clientId;
    this.#renewed = true;
    this.#unopened = 0;
    this.#useSocket = socket !== null
      && [reply.supportedConnectionTypes].flat().includes(WebSocketTransport.type);
    this.#transport = this.#useSocket ? this.#socket : this.#polling;
    return 0;
  }

  async #connect(run) {
    const {clientId} = this;
    const transport = this.#transport;
    // Until the connection stands the server shall answer at once, so that we learn that it does.
    const {timeout} = this.isReady ? this.advice : {timeout: 0};
    const {reply, error} = await this.#ask({
      channel: "/meta/connect",
      clientId,
      connectionType: this.connectionType,
      advice: this.isReady ? undefined : {timeout},
    }, this.#patience(timeout));
    if (run !== this.#run || clientId !== this.clientId) {
      return 0;
    }
    if (error?.unopened) {
      this.#fallBack(transport);
      return 0;
    }
    if (!reply) {
      return this.#lost(error);
    }
    if (reply.advice) {
      this.#advise(reply.advice);
    }
    if (reply.successful !== true || this.advice.reconnect === "none") {
      return this.#refused(reply);
    }
    this.#succeeded(transport);
    return Math.max(this.advice.interval, this.#options.interval);
  }

  /** A connect got through. */
  #succeeded(transport) {
    this.#failures = 0;
    if (transport === this.#socket) {
      this.#unopened = 0;
    } else if (this.#useSocket && this.#socket.hasOpened && this.#unopened < MAX_UNOPENED) {
      // A socket that has worked before gets another chance.
      this.#transport = this.#socket;
    }
    if (!this.isReady) {
      const detail = {first: this.#first, renewed: this.#renewed};
      this.#first = this.#renewed = false;
      this.#announce("connected", detail);
    }
    this.#handlers.ready();
  }

  /** There was no answer. */
  #lost(error) {
    this.#failures += 1;
    if (this.state !== "disconnected") {
      this.#announce("disconnected", {error});
    }
    // Not every error is one of the network: an extension may have failed.
    return Math.max(this.#backoff(), error.retryAfter ?? 0);
  }

  /** The answer was no, or that nothing more is to come. */
  #refused(reply) {
    const error = new BayeuxError(reply);
    if (this.advice.reconnect === "none") {
      this.end(reply.successful ? new Error("the server ended the session") : error);
      return 0;
    }
    this.#failures += 1;
    if (this.advice.reconnect === "handshake" || error.unknownSession) {
      this.clientId = null;
    }
    // A handshake may follow a refused connect at once, but only the first time.
    const atOnce = this.#failures === 1 && this.clientId === null
      && reply.channel === "/meta/connect";
    return Math.max(this.advice.interval, atOnce ? 0 : this.#backoff());
  }

  /** Twice as long after each failure; half of it random, so that clients do not come in step. */
  #backoff() {
    const {firstBackoff, maxBackoff, random} = this.#options;
    const longest = Math.min(maxBackoff, firstBackoff * 2 ** (this.#failures - 1));
    return longest * (0.5 + 0.5 * random());
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(milliseconds, LONGEST_WAIT));
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** The socket did not open: goes on without it. */
  #fallBack(transport) {
    if (transport === this.#socket && this.#transport === transport) {
      this.#unopened += 1;
      this.#transport = this.#polling;
    }
  }

  #advise(given) {
    this.advice = adviceFrom(given);
    this.#handlers.advice();
  }

  #announce(state, detail = {}) {
    this.state = state;
    this.#handlers.state(state, detail);
  }

  async #ask(message, patience) {
    const numbered = this.numbered(message);
    const {replies, error} = await this.#exchange(this.#transport, [numbered], patience);
    const reply = replies.get(numbered.id);
    return reply ? {reply} : {error: error ?? new TransportError("the server did not reply")};
  }

  /** How long an answer may take that the server holds back so long. */
  #patience(held = 0) {
    return this.#options.patience ?? held + this.#options.networkDelay;
  }

  async #exchange(transport, messages, patience) {
    const replies = new Map();
    for (const {id} of messages) {
      this.#pending.set(id, (reply) => replies.set(id, reply));
    }
    try {
      const extended = messages.map((message) => this.#extended("outgoing", message));
      const outgoing = await this.#inTime(extended);
      const kept = outgoing.filter(Boolean);
      messages.filter((_, n) => !outgoing[n]).forEach(({channel, id}) => replies.set(id, {
        channel, id, successful: false, error: "an extension dropped the message",
      }));
      if (kept.length > 0) {
        await transport.exchange(kept, patience);
      }
      return {replies};
    } catch (error) {
      return {replies, error};
    } finally {
      messages.forEach(({id}) => this.#pending.delete(id));
    }
  }

  /** The message as extensions make it, or a promise of it; null if one drops it. */
  #extended(direction, message) {
    const apply = (given, extension) => after(given, (current) => (current === null ? null
      : after(extension[direction]?.(current), (changed) => (
        changed === undefined ? current : changed))));
    return this.#options.extensions.reduce(apply, message);
  }

  /** Waits for extensions, but not for ever. */
  async #inTime(results) {
    if (!results.some((result) => result instanceof Promise)) {
      return results;
    }
    let timer;
    const late = new Promise((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new TransportError("an extension took too long"));
      }, this.#options.networkDelay);
    });
    try {
      return await Promise.race([Promise.all(results), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A message that an extension keeps for a while holds up no other. */
  #receive(messages) {
    const taken = messages.map((message) => {
      const result = after(this.#extended("incoming", message), (kept) => kept && this.#take(kept));
      // Nobody waits for a delivery, but a failure must not be an error of the page.
      return result instanceof Promise && isDelivery(message) ? void result.catch(report) : result;
    });
    return taken.some((result) => result instanceof Promise) ? this.#inTime(taken) : undefined;
  }

  #take(message) {
    if (isDelivery(message)) {
      this.#handlers.deliver(message);
    } else if (this.#pending.has(message.id)) {
      this.#pending.get(message.id)(message);
    } else if (message.channel === "/meta/disconnect") {
      this.end(new Error("the server ended the session"));
    }
  }
}

function report(error) {
  console.error("An extension failed:", error);
}
