/**
 * What Bayeux messages look like: parsing, errors, channel patterns, advice.
 *
 * In scope: pure functions and values. Out of scope: the network (transports.js), sessions
 * (bayeux.js).
 *
 * @typedef {{channel: string, id?: string, clientId?: string, data?: unknown, ext?: object,
 *   successful?: boolean, error?: string, subscription?: string, advice?: Advice}} Message
 * @typedef {{reconnect: "retry"|"handshake"|"none", interval: number, timeout: number,
 *   "multiple-clients"?: boolean}} Advice
 */

/** The server answered, and said no. */
export class BayeuxError extends Error {
  /** @param {Message} reply the reply that was not successful */
  constructor(reply) {
    super(typeof reply.error === "string" ? reply.error : `${reply.channel} failed`);
    this.name = "BayeuxError";
    this.reply = reply;
    /** The number that the error text starts with, such as 404; else 0. */
    this.code = Number.parseInt(this.message, 10) || 0;
  }

  /** Whether the server does not know our session (CometD and Faye spell it differently). */
  get unknownSession() {
    return /^(402::|401:)/.test(this.message);
  }
}

/** The messages did not get there, or no proper answer came back. */
export class TransportError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, retryAfter?: number, unopened?: boolean}} [details] HTTP status,
   *   milliseconds that the server asks to wait, and whether nothing can have been sent
   */
  constructor(message, {status = 0, retryAfter = 0, unopened = false} = {}) {
    super(message);
    this.name = "TransportError";
    this.status = status;
    this.retryAfter = retryAfter;
    this.unopened = unopened;
  }

  /** Whether it may work the next time: not if the server refused the request as such. */
  get isTemporary() {
    return this.status === 0 || this.status >= 500;
  }
}

/** What holds until a server advises otherwise. */
export const DEFAULT_ADVICE = Object.freeze({reconnect: "retry", interval: 0, timeout: 60000});

/** The longest wait, in milliseconds: what is longer than 2^31 a timer takes for no time at all. */
export const LONGEST_WAIT = 2e9;

/**
 * An advice as it is to be followed. Each one replaces the former; what it leaves out, or spells
 * wrongly, is the default.
 *
 * @param {unknown} given
 * @returns {Advice}
 */
export function adviceFrom(given) {
  const advice = {...DEFAULT_ADVICE};
  if (!isObject(given)) {
    return advice;
  }
  if (["retry", "handshake", "none"].includes(given.reconnect)) {
    advice.reconnect = given.reconnect;
  }
  for (const key of ["interval", "timeout"]) {
    if (Number.isFinite(given[key]) && given[key] >= 0) {
      advice[key] = Math.min(given[key], LONGEST_WAIT);
    }
  }
  advice["multiple-clients"] = given["multiple-clients"] === true;
  return advice;
}

/**
 * The messages in the text of a response or frame.
 *
 * @param {string} text
 * @returns {Message[]}
 */
export function parseMessages(text) {
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new TransportError("the answer is not JSON");
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  if (!list.every((message) => isObject(message) && typeof message.channel === "string")) {
    throw new TransportError("the answer is no list of messages");
  }
  return list;
}

/** Whether a message brings data; everything else from a server is a reply. */
export function isDelivery(message) {
  return "data" in message;
}

/**
 * The subscriptions that a channel's messages go to: `/a/b` to `/a/b`, `/a/*`, `/a/**`, `/**`.
 *
 * @param {string} channel
 * @returns {string[]}
 */
export function patternsFor(channel) {
  const patterns = [channel];
  const parents = channel.split("/").slice(0, -1);
  patterns.push(`${parents.join("/")}/*`);
  for (let depth = parents.length; depth > 0; depth -= 1) {
    patterns.push(`${parents.slice(0, depth).join("/")}/**`);
  }
  const special = channel.startsWith("/service/") || channel.startsWith("/meta/");
  return special ? patterns.filter((pattern) => pattern !== "/**") : patterns;
}

/**
 * What `next` makes of a value: at once, or when it is the promise of one, when that is kept.
 *
 * @template T, R
 * @param {T|Promise<T>} value
 * @param {(value: T) => R|Promise<R>} next
 * @returns {R|Promise<R>}
 */
export function after(value, next) {
  return value instanceof Promise ? value.then(next) : next(value);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
