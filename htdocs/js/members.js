/**
 * Who is in a chat room.
 *
 * In scope: asking the server's service, and doing without it. Out of scope: showing the names
 * (chatroom.js).
 *
 * The service answers `{"members": ["Ann", "Bob"]}`. Where there is none (404, or no answer) the
 * list is what this page has heard itself: who joined, left, or said something. The next
 * connection is another chance.
 */

import {BayeuxError} from "./bayeux.js";

/** How often to ask in any case: somebody's browser may have gone without a word. */
const EVERY = 30000;
/** Within which time to ask after somebody came or went: a random moment, as all ask at once. */
const SOON = 400;
const PATIENCE = 5000;

export class Members {
  #client;
  #service;
  #changed;
  #names = [];
  #hasService = true;
  #timer;

  /**
   * @param {import("./bayeux.js").Client} client
   * @param {string} service the service's channel
   * @param {(names: string[]) => void} changed called with the list whenever it may be another
   */
  constructor(client, service, changed) {
    this.#client = client;
    this.#service = service;
    this.#changed = changed;
    client.addEventListener("state", ({detail}) => {
      if (detail.state === "connected") {
        this.#hasService = true;
        this.#askWithin(SOON);
      }
    });
  }

  /** Takes in what a message says about who is there. */
  heard({user, join, leave}) {
    const others = this.#names.filter((name) => name !== user);
    if (leave) {
      this.#set(others);
    } else if (join || !this.#hasService) {
      this.#set([...others, user]);
    }
    if (join || leave) {
      this.#askWithin(SOON);
    }
  }

  #set(names) {
    this.#names = [...names].sort((a, b) => a.localeCompare(b));
    this.#changed(this.#names);
  }

  #askWithin(milliseconds) {
    clearTimeout(this.#timer);
    if (this.#hasService) {
      this.#timer = setTimeout(() => this.#ask(), milliseconds * (0.25 + 0.75 * Math.random()));
    }
  }

  async #ask() {
    if (this.#client.state !== "connected") {
      return;
    }
    try {
      const answer = await this.#client.call(this.#service, {}, PATIENCE);
      const names = Array.isArray(answer?.members) ? answer.members : [];
      this.#set(names.filter((name) => typeof name === "string"));
    } catch (error) {
      this.#hasService = error instanceof BayeuxError && error.code !== 404;
    }
    this.#askWithin(EVERY);
  }
}
