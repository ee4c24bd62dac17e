// The stock Faye client behind the interface that the tests use: its Node build, and for
// callback-polling its browser build, in a context that is little more than a window.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import vm from "node:vm";

import { addDocument } from "./script-window.js";

const require = createRequire(import.meta.url);
const TYPES = [
  "in-process",
  "websocket",
  "eventsource",
  "long-polling",
  "cross-origin-long-polling",
  "callback-polling",
];
const RETRY_S = 1;
// As many messages as surely fit into one request of the client's 2048 bytes. It sends full
// requests side by side, so more at a time would have no order.
const AT_A_TIME = 10;

export class FayeClient {
  static name = "faye";
  static transports = ["long-polling", "callback-polling", "websocket"];

  #client;

  /** Called with the channel each time the server has confirmed a subscription. */
  onKept = () => {};

  /** Without a transport it chooses as it likes. */
  constructor(url, transport) {
    const Faye = transport === "callback-polling" ? browserBuild(url) : require("faye");
    this.#client = new Faye.Client(url, { retry: RETRY_S });
    // Its handshake never takes a socket.
    const used = transport === "websocket" ? ["long-polling", transport] : [transport];
    const others = TYPES.filter((type) => transport && !used.includes(type));
    others.forEach((type) => this.#client.disable(type));
    this.#client.disable("autodisconnect");
    this.#client.addExtension({
      incoming: (message, callback) => {
        if (message.channel === "/meta/subscribe" && message.successful) {
          [].concat(message.subscription).forEach((channel) => this.onKept(channel));
        }
        callback(message);
      },
    });
  }

  get transport() {
    return this.#client._dispatcher.connectionType;
  }

  get clientId() {
    return this.#client._dispatcher.clientId;
  }

  open() {
    return new Promise((resolve) => this.#client.connect(resolve));
  }

  async subscribe(channel, onMessage) {
    const subscription = this.keep(channel, onMessage);
    await subscription;
    // In an object of its own, since a subscription is a promise too.
    return { cancel: () => subscription.cancel() };
  }

  /** The client tells nobody when the server has confirmed this; its next answer comes after. */
  async unsubscribe(subscription) {
    subscription.cancel();
    await this.publish("/interop/after-unsubscribe", null);
  }

  /** Subscribes now and after each new handshake, which this client does by itself. */
  keep(channel, onMessage) {
    return this.#client
      .subscribe(channel)
      .withChannel((actual, data) => onMessage({ channel: actual, data: structuredClone(data) }));
  }

  /** Resolves when the server has confirmed. Where it cannot be reached, the client tries again. */
  publish(channel, data) {
    return Promise.resolve(this.#client.publish(channel, data));
  }

  async publishAll(channel, items) {
    for (let from = 0; from < items.length; from += AT_A_TIME) {
      const some = items.slice(from, from + AT_A_TIME);
      await Promise.all(some.map((data) => this.publish(channel, data)));
    }
  }

  async close() {
    await this.#client.disconnect();
  }

  /** Leaves without waiting for anybody; else the client would try for ever. */
  abandon() {
    this.#client._state = this.#client.DISCONNECTED;
    this.#client._dispatcher.close();
  }
}

/** The build for browsers, loaded in a window whose page comes from the server at `url`. */
function browserBuild(url) {
  const window = vm.createContext({
    URL,
    console,
    setTimeout,
    clearTimeout,
    navigator: { product: "Gecko" },
    location: new URL("/", url),
    addEventListener: () => {},
  });
  window.window = window.self = window;
  addDocument(window, (text) => vm.runInContext(text, window));
  vm.runInContext(readFileSync(require.resolve("faye/client/faye-browser.js"), "utf8"), window);
  return window.Faye;
}
