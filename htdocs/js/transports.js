/**
 * Transports: how messages get to the server, and what it says back.
 *
 * In scope: long-polling over fetch, WebSocket. Out of scope: sessions, advice, retries
 * (bayeux.js).
 *
 * A transport is a class with a static `type` (the Bayeux connection type), whose constructor
 * takes `(url, receive, options)`. Everything the server says goes to `receive(messages)`, which
 * may give a promise that the replies among them are dealt with. An instance has
 *   `exchange(messages, timeout)`: sends the messages in one piece; fulfilled when the server has
 *     replied to them, rejected with a TransportError when that failed or took too long;
 *   `close()`: gives up what is under way.
 */

import {TransportError, isDelivery, parseMessages} from "./messages.js";

/** One POST for each exchange; the server holds back the answer to a connect. */
export class LongPolling {
  static type = "long-polling";

  #url;
  #receive;
  #fetch;
  #headers;
  /** @type {Set<AbortController>} */
  #running = new Set();

  /**
   * @param {string} url
   * @param {(messages: object[]) => void|Promise<void>} receive
   * @param {{fetch?: typeof fetch, headers?: object, endpoints?: object}} [options]
   */
  constructor(url, receive, options = {}) {
    this.#url = options.endpoints?.[LongPolling.type] ?? url;
    this.#headers = options.headers ?? {};
    this.#receive = receive;
    this.#fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
  }

  async exchange(messages, timeout) {
    const abort = new AbortController();
    let reason = "no connection to the server";
    const timer = setTimeout(() => {
      reason = "the server did not answer in time";
      abort.abort();
    }, timeout);
    this.#running.add(abort);
    let received;
    try {
      received = await this.#post(messages, abort.signal);
    } catch (error) {
      throw error instanceof TransportError ? error : new TransportError(reason);
    } finally {
      clearTimeout(timer);
      this.#running.delete(abort);
    }
    await this.#receive(received);
  }

  /**
   * Sends messages while the page goes away: nobody waits for the answer. To another origin they
   * go as plain text, which needs no preflight: a dying page could not wait for one.
   */
  farewell(messages) {
    const request = {...this.#request(messages), keepalive: true};
    if (new URL(this.#url).origin !== globalThis.location?.origin) {
      request.headers = {"Content-Type": "text/plain;charset=UTF-8"};
    }
    // An error has nobody left to hear it: the server ends the session by itself in time.
    this.#fetch(this.#url, request).catch(() => {});
  }

  close() {
    for (const abort of this.#running) {
      abort.abort();
    }
  }

  async #post(messages, signal) {
    const response = await this.#fetch(this.#url, {...this.#request(messages), signal});
    if (response.status !== 200) {
      throw new TransportError(`the server answered with HTTP status ${response.status}`, {
        status: response.status,
        retryAfter: 1000 * (Number.parseInt(response.headers.get("Retry-After"), 10) || 0),
      });
    }
    return parseMessages(await response.text());
  }

  #request(messages) {
    return {
      method: "POST",
      headers: {...this.#headers, "Content-Type": "application/json;charset=UTF-8"},
      body: JSON.stringify(messages),
      credentials: "include",
      cache: "no-store",
    };
  }
}

/** One socket for everything, opened when first needed, and again after it was lost. */
export class WebSocketTransport {
  static type = "websocket";

  /** Whether a socket has ever opened: else something on the way does not let sockets through. */
  hasOpened = false;

  #url;
  #receive;
  #Socket;
  /** @type {Promise<WebSocket>|null} */
  #opening = null;
  /** @type {Set<{ids: Set<string>, resolve: () => void, reject: (error: Error) => void}>} */
  #exchanges = new Set();

  /**
   * @param {string} url of http or https, as for the other transports
   * @param {(messages: object[]) => void|Promise<void>} receive
   * @param {{WebSocket?: typeof WebSocket, endpoints?: object}} [options]
   */
  constructor(url, receive, options = {}) {
    this.#url = (options.endpoints?.[WebSocketTransport.type] ?? url).replace(/^http/, "ws");
    this.#receive = receive;
    this.#Socket = options.WebSocket ?? globalThis.WebSocket;
  }

  async exchange(messages, timeout) {
    const text = JSON.stringify(messages);
    let opening;
    let socket;
    do {
      this.#opening ??= this.#open(timeout);
      opening = this.#opening;
      socket = await opening;
      // Else it was closed for those who had waited before us.
    } while (opening !== this.#opening);
    await new Promise((resolve, reject) => {
      const exchange = {ids: new Set(messages.map(({id}) => id)), resolve, reject};
      const timer = setTimeout(() => {
        // A socket that stays silent this long is dead, whatever its state says.
        this.#lose(socket, new TransportError("the server did not answer in time"));
      }, timeout);
      const settle = (how) => (value) => {
        clearTimeout(timer);
        how(value);
      };
      exchange.resolve = settle(resolve);
      exchange.reject = settle(reject);
      this.#exchanges.add(exchange);
      socket.send(text);
    });
  }

  close() {
    this.#opening?.then((socket) => this.#lose(socket, new TransportError("closed")), () => {});
  }

  async #open(timeout) {
    try {
      return await this.#attempt(timeout);
    } catch {
      // Also where there cannot be one: such an address, such a page.
      this.#opening = null;
      throw new TransportError("the WebSocket did not open", {unopened: true});
    }
  }

  #attempt(timeout) {
    return new Promise((resolve, reject) => {
      const socket = new this.#Socket(this.#url);
      const fail = () => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        socket.close();
        reject();
      };
      const timer = setTimeout(fail, timeout);
      socket.onclose = fail;
      socket.onopen = () => {
        clearTimeout(timer);
        this.hasOpened = true;
        socket.onclose = () => this.#lose(socket, new TransportError("the WebSocket closed"));
        socket.onmessage = ({data}) => this.#read(socket, data);
        resolve(socket);
      };
    });
  }

  async #read(socket, text) {
    try {
      const messages = parseMessages(text);
      const received = this.#receive(messages);
      if (received) {
        await received;
      }
      this.#replied(messages);
    } catch (error) {
      this.#lose(socket, error);
    }
  }

  #replied(messages) {
    for (const {id} of messages.filter((message) => !isDelivery(message))) {
      for (const exchange of this.#exchanges) {
        if (exchange.ids.delete(id) && exchange.ids.size === 0) {
          this.#exchanges.delete(exchange);
          exchange.resolve();
        }
      }
    }
  }

  #lose(socket, error) {
    socket.onclose = socket.onmessage = null;
    socket.close();
    this.#opening = null;
    const exchanges = [...this.#exchanges];
    this.#exchanges.clear();
    for (const exchange of exchanges) {
      exchange.reject(error);
    }
  }
}
