// The stock CometD JavaScript client behind the interface that the tests use.

import { CometD } from "cometd";

import { enter, newWindow } from "./cometd-window.js";

const TYPES = ["websocket", "long-polling", "callback-polling"];

export class CometdClient {
  static name = "cometd";
  static transports = ["long-polling", "callback-polling", "websocket"];

  #window;
  #client;
  #kept = [];
  #chooses;

  /** Called with the channel each time the server has confirmed one of `keep`'s subscriptions. */
  onKept = () => {};

  /**
   * Without a transport it chooses as it likes. `window` is for clients that shall be in one
   * window with another.
   */
  constructor(url, transport, window = newWindow()) {
    this.#window = window;
    this.#chooses = !transport;
    this.#client = enter(window, () => new CometD());
    const client = this.#client;
    client.configure({ url, logLevel: "error", backoffIncrement: 200, maxBackoff: 1000 });
    for (const type of TYPES.filter((type) => transport && type !== transport)) {
      client.unregisterTransport(type);
    }
    client.addListener("/meta/handshake", (reply) => {
      if (reply.successful) {
        this.#kept.forEach((entry) => this.#subscribeKept(entry));
      }
    });
  }

  get window() {
    return this.#window;
  }

  get transport() {
    return this.#client.getTransport()?.type;
  }

  get clientId() {
    return this.#client.getClientId();
  }

  open() {
    if (this.#chooses) {
      // Its first transports may fail until it comes to one that does not.
      return new Promise((resolve) => {
        this.#client.addListener("/meta/handshake", (reply) => reply.successful && resolve());
        enter(this.#window, () => this.#client.handshake());
      });
    }
    return this.#answer((settle) => this.#client.handshake(settle));
  }

  /** Subscribes; resolves with what `unsubscribe` wants once the server has confirmed it. */
  async subscribe(channel, onMessage) {
    let subscription;
    await this.#answer((settle) => {
      subscription = this.#client.subscribe(channel, onMessage, settle);
    });
    return subscription;
  }

  unsubscribe(subscription) {
    return this.#answer((settle) => this.#client.unsubscribe(subscription, settle));
  }

  /** Subscribes now and after each new handshake, as a CometD application has to do itself. */
  keep(channel, onMessage) {
    const entry = { channel, onMessage };
    this.#kept.push(entry);
    enter(this.#window, () => this.#subscribeKept(entry));
  }

  #subscribeKept({ channel, onMessage }) {
    this.#client.subscribe(channel, onMessage, (reply) => {
      if (reply.successful) {
        this.onKept(channel);
      }
    });
  }

  /** Resolves when the server has confirmed; rejects when it refused or could not be reached. */
  publish(channel, data) {
    return this.#answer((settle) => this.#client.publish(channel, data, settle));
  }

  /** Publishes all, in order. */
  async publishAll(channel, items) {
    // Long-polling sends one request after the other by itself. Callback-polling does not keep
    // the order of what does not fit into one address.
    const fits = this.transport === "callback-polling" ? 8 : 50;
    const answers = [];
    for (let from = 0; from < items.length; from += fits) {
      this.#client.startBatch();
      const some = items.slice(from, from + fits).map((data) => this.publish(channel, data));
      enter(this.#window, () => this.#client.endBatch());
      answers.push(...some);
      if (this.transport === "callback-polling") {
        await Promise.all(some);
      }
    }
    await Promise.all(answers);
  }

  /** Calls `onMessage` with whatever comes on the channel, without a subscription. */
  listen(channel, onMessage) {
    this.#client.addListener(channel, onMessage);
  }

  /** Publishes without waiting for what comes of it. */
  say(channel, data) {
    enter(this.#window, () => this.#client.publish(channel, data));
  }

  /** Whether the client has been told to stay away. */
  get isDisconnected() {
    return this.#client.isDisconnected();
  }

  /** Calls a service; resolves with its answer, good or bad. */
  call(target, data) {
    return new Promise((resolve) => {
      enter(this.#window, () => this.#client.remoteCall(target, data, 10_000, resolve));
    });
  }

  async close() {
    if (this.#client.isDisconnected()) {
      return;
    }
    // On another connection the end of its connect may overtake this answer; the client then gives
    // up all that is under way.
    let sentAway = false;
    this.#client.addListener("/meta/connect", (reply) => {
      sentAway ||= reply.advice?.reconnect === "none";
    });
    try {
      await this.#answer((settle) => this.#client.disconnect(settle));
    } catch (error) {
      if (!sentAway) {
        throw error;
      }
    }
  }

  /** Leaves without waiting for anybody, whatever has gone wrong. */
  abandon() {
    enter(this.#window, () => {
      this.#client.disconnect();
      this.#client.getTransport()?.abort();
    });
  }

  /** Calls `send` in the client's window, with a function for the server's reply. */
  #answer(send) {
    return new Promise((resolve, reject) => {
      enter(this.#window, () => send((reply) => settle(reply, resolve, reject)));
    });
  }
}

function settle(reply, resolve, reject) {
  if (reply.successful) {
    resolve(reply);
  } else {
    reject(new Error(reply.error ?? JSON.stringify(reply.failure?.reason ?? reply)));
  }
}
