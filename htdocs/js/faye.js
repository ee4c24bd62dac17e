/**
 * The client (bayeux.js) with the surface of `Faye.Client`, for pages that were written for that.
 *
 * In scope: what Faye's manual of its browser client documents. Out of scope: how anything is done
 * (bayeux.js); schedulers, proxies and other options that mean nothing in a browser.
 *
 * The server sends this module, with all that it needs, as the plain script `client.js` below its
 * endpoint, which defines the global `Faye`:
 *
 *     <script src="http://localhost:8080/cometd/client.js"></script>
 *     <script>
 *       const client = new Faye.Client("http://localhost:8080/cometd");
 *       client.subscribe("/chat/*", (message) => console.log(message));
 *       client.publish("/chat/demo", {text: "Hello"});
 *     </script>
 *
 * As there, a client connects when it is first used, times are in seconds, and what is published
 * is repeated until the server has answered: it may arrive twice.
 */

import {Client} from "./bayeux.js";
import {BayeuxError} from "./messages.js";

const OPTIONS = ["timeout", "retry", "interval", "endpoints"];
const PUBLISH_OPTIONS = ["attempts", "deadline"];
const RETRY = 5;
const SECOND = 1000;

/** Events: listeners by name. */
class Publisher {
  /** @type {{event: string, listener: Function, context: unknown}[]} */
  #bound = [];

  on(event, listener, context) {
    this.#bound.push({event, listener, context});
    return this;
  }

  bind(event, listener, context) {
    return this.on(event, listener, context);
  }

  /** Without a listener all of the event go. */
  unbind(event, listener, context) {
    this.#bound = this.#bound.filter((bound) => bound.event !== event || (listener !== undefined
      && (bound.listener !== listener || bound.context !== context)));
  }

  trigger(event, ...values) {
    for (const bound of this.#bound.filter((each) => each.event === event)) {
      bound.listener.apply(bound.context, values);
    }
  }

  countListeners(event) {
    return this.#bound.filter((bound) => bound.event === event).length;
  }
}

/** A promise with the older forms beside `then`. One that nobody looks at fails silently. */
class Deferrable {
  #promise;

  constructor(promise) {
    this.#promise = promise;
    promise.catch(() => {});
  }

  then(fulfilled, rejected) {
    const result = this.#promise.then(fulfilled, rejected);
    // What a listener throws is another matter.
    this.#promise.catch(() => rejected ?? result.catch(() => {}));
    return result;
  }

  catch(rejected) {
    return this.then(undefined, rejected);
  }

  callback(listener, context) {
    this.then((value) => listener.call(context, value));
  }

  errback(listener, context) {
    this.then(undefined, (error) => listener.call(context, error));
  }
}

/** One listener on one channel or pattern. */
class Subscription extends Deferrable {
  #cancel;
  #more;

  constructor(promise, more, cancel) {
    super(promise);
    this.#more = more;
    this.#cancel = cancel;
  }

  /** Adds a listener that is also told the channel. */
  withChannel(listener, context) {
    this.#more.push((message) => listener.call(context, message.channel, message.data));
    return this;
  }

  cancel() {
    this.#cancel();
  }

  unsubscribe() {
    this.#cancel();
  }
}

/** The server's refusal in its parts, or that it could not be reached. */
class FayeError extends Error {
  constructor(error) {
    const parts = error instanceof BayeuxError && /^(\d+):([^:]*):(.*)$/.exec(error.message);
    super(parts ? parts[3] : error.message);
    this.name = "Faye.Error";
    this.code = parts ? Number(parts[1]) : null;
    this.params = parts ? parts[2].split(",") : [];
  }
}

class FayeClient extends Publisher {
  #client;
  #retry;
  #headers = {};
  #disabled = [];
  /** As the client wants them, what each was made of beside it. The first is our own. */
  #extensions = [{
    outgoing: ({channel}) => log(`outgoing ${channel}`),
    incoming: ({channel}) => log(`incoming ${channel}`),
  }];
  /** `known`: what it may be ended by. @type {Set<{channel: string, known: unknown[]}>} */
  #subscriptions = new Set();
  #isUp = null;
  #hasLeft = false;

  /**
   * @param {string} [endpoint] absolute, or as seen from the page
   * @param {{timeout?: number, retry?: number, interval?: number, endpoints?: object}} [options]
   *   seconds: how long an answer may take, how long to wait after a failure, and between two
   *   connects; and other URLs for single transports
   */
  constructor(endpoint = "/bayeux", options = {}) {
    super();
    check(options, OPTIONS);
    const {timeout, interval = 0, endpoints = {}} = options;
    this.#retry = SECOND * (options.retry ?? RETRY);
    this.#client = new Client(absolute(endpoint), {
      patience: timeout ? SECOND * timeout : undefined,
      interval: SECOND * interval,
      firstBackoff: this.#retry,
      maxBackoff: this.#retry,
      endpoints: Object.fromEntries(Object.entries(endpoints).map(([type, url]) => (
        [type, absolute(url)]))),
      headers: this.#headers,
      disabled: this.#disabled,
      extensions: this.#extensions,
    });
    this.#client.addEventListener("state", ({detail}) => this.#stateChanged(detail));
    globalThis.addEventListener?.("pagehide", () => this.#leave());
    globalThis.addEventListener?.("pageshow", ({persisted}) => this.#comeBack(persisted));
  }

  /** Connects, as the first use does, and after `disconnect()` again. */
  connect(callback, context) {
    this.#client.start();
    const connected = new Promise((resolve, reject) => {
      const look = () => {
        const {state} = this.#client;
        if (state === "connected" || state === "closed") {
          this.#client.removeEventListener("state", look);
          if (state === "connected") {
            resolve();
          } else {
            reject(new FayeError(new Error("there is no session")));
          }
        }
      };
      this.#client.addEventListener("state", look);
      look();
    });
    const result = new Deferrable(connected);
    if (callback) {
      result.callback(callback, context);
    }
    return result;
  }

  /** Ends the session; subscriptions end with it. */
  disconnect() {
    this.#subscriptions.clear();
    return new Deferrable(this.#client.disconnect());
  }

  /** @param {string|string[]} channel channels or patterns; for several, several subscriptions */
  subscribe(channel, callback, context) {
    if (Array.isArray(channel)) {
      return channel.map((each) => this.subscribe(each, callback, context));
    }
    this.#begin();
    const more = callback ? [({data}) => callback.call(context, data)] : [];
    const listener = (message) => more.forEach((each) => each(message));
    const entry = {channel, listener, known: [callback]};
    this.#subscriptions.add(entry);
    const subscribed = this.#client.subscribe(channel, listener).then(() => {}, (error) => {
      this.#subscriptions.delete(entry);
      throw new FayeError(error);
    });
    const subscription = new Subscription(subscribed, more, () => this.#cancel(entry));
    entry.known.push(subscription);
    return subscription;
  }

  /** @param {Subscription|Function} [which] the subscription or its listener; else all */
  unsubscribe(channel, which) {
    for (const entry of [...this.#subscriptions]) {
      const named = [channel].flat().includes(entry.channel);
      if (named && (which === undefined || entry.known.includes(which))) {
        this.#cancel(entry);
      }
    }
  }

  /**
   * @param {{attempts?: number, deadline?: number}} [options] how often to try, and how many
   *   seconds; both without limit unless given
   */
  publish(channel, data, options = {}) {
    check(options, PUBLISH_OPTIONS);
    this.#begin();
    return new Deferrable(this.#deliver(channel, data, options));
  }

  /** @param {{incoming?: Function, outgoing?: Function}} extension each `(message, callback)` */
  addExtension(extension) {
    this.#extensions.push({
      extension,
      outgoing: piped(extension, "outgoing"),
      incoming: piped(extension, "incoming"),
    });
    extension.added?.(this);
  }

  removeExtension(extension) {
    const at = this.#extensions.findIndex((each) => each.extension === extension);
    if (at >= 0) {
      this.#extensions.splice(at, 1);
      extension.removed?.(this);
    }
  }

  /** @param {string} feature a connection type, or `autodisconnect` */
  disable(feature) {
    this.#disabled.push(feature);
  }

  /** Of requests; a WebSocket has none. */
  setHeader(name, value) {
    this.#headers[name] = value;
  }

  #begin() {
    if (this.#client.state === "idle") {
      this.#client.start();
    }
  }

  async #deliver(channel, data, {attempts = Infinity, deadline = Infinity}) {
    const end = Date.now() + SECOND * deadline;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#client.publish(channel, data, end - Date.now());
        return;
      } catch (error) {
        const over = attempt >= attempts || Date.now() + this.#retry > end;
        if (over || !error.isTemporary || this.#client.state === "closed") {
          throw new FayeError(error);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, this.#retry));
    }
  }

  #cancel(entry) {
    if (this.#subscriptions.delete(entry)) {
      // The server forgets it with the session, at the latest.
      this.#client.unsubscribe(entry.channel, entry.listener).catch(() => {});
    }
  }

  #stateChanged({state, error}) {
    log(`the client is ${state}${error ? `: ${error.message}` : ""}`);
    const isUp = {connected: true, disconnected: false}[state] ?? this.#isUp;
    if (isUp !== this.#isUp) {
      this.#isUp = isUp;
      this.trigger(isUp ? "transport:up" : "transport:down");
    }
  }

  #leave() {
    if (!this.#disabled.includes("autodisconnect") && this.#client.state !== "idle") {
      this.#hasLeft = this.#client.state !== "closed";
      this.#client.unload();
    }
  }

  /** A page that comes back from the browser's cache goes on with a new session. */
  #comeBack(persisted) {
    if (persisted && this.#hasLeft) {
      this.#client.start();
    }
  }
}

/** An extension's function with a callback, as one that gives what it is to give. */
function piped(extension, direction) {
  return (message) => {
    if (!extension[direction]) {
      return message;
    }
    let given;
    let resolve = (value) => {
      given = value;
    };
    const callback = (value) => resolve(value ?? null);
    const wantsRequest = extension[direction].length > 2;
    extension[direction](message, ...(wantsRequest ? [null, callback] : [callback]));
    return given !== undefined ? given : new Promise((later) => {
      resolve = later;
    });
  };
}

function check(options, known) {
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`Unrecognized option: ${unknown}`);
  }
}

function absolute(url) {
  return new URL(url, globalThis.location?.href).href;
}

/** Tells `Faye.logger`, if there is one: a function, or an object like `console`. */
function log(line) {
  const write = Faye.logger?.info?.bind(Faye.logger) ?? Faye.logger;
  if (typeof write === "function") {
    write(`[Faye.Client] ${line}`);
  }
}

/** `VERSION` is that of the surface. */
export const Faye = {VERSION: "1.4.0", Client: FayeClient, Publisher, Promise: globalThis.Promise};
