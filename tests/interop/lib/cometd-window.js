// A window for each CometD client. The client takes the global `window` for granted, with the
// cookies and the callback names in it; two clients in one process would be two in one page.

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

import { adapt } from "cometd-nodejs-client";

import { addDocument } from "./script-window.js";

const current = new AsyncLocalStorage();
const none = {};
Object.defineProperty(globalThis, "window", { get: () => current.getStore() ?? none });

/** Runs `body`, and what it starts, with that window as the global one. */
export function enter(window, body) {
  return current.run(window, body);
}

/** A window with its own cookies, as the stock adapter for Node makes it, and with scripts. */
export function newWindow() {
  const window = {};
  enter(window, adapt);
  window.XMLHttpRequest = inItsWindow(window.XMLHttpRequest);
  // A script runs with the window's properties in scope, as it would in a page.
  const run = (text) => new Function("window", `with (window) { ${text} }`)(window);
  addDocument(window, (text) => enter(window, () => run(text)));
  return window;
}

/** Sockets are shared, so an event may come in another window: handlers are bound to theirs. */
function inItsWindow(Request) {
  class BoundRequest extends Request {
    #handlers = {};

    #set(name, handler) {
      this.#handlers[name] = handler && AsyncResource.bind(handler);
    }

    get onload() {
      return this.#handlers.onload;
    }
    set onload(handler) {
      this.#set("onload", handler);
    }

    get onerror() {
      return this.#handlers.onerror;
    }
    set onerror(handler) {
      this.#set("onerror", handler);
    }

    get onabort() {
      return this.#handlers.onabort;
    }
    set onabort(handler) {
      this.#set("onabort", handler);
    }
  }
  return BoundRequest;
}
