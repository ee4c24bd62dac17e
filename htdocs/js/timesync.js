/**
 * The extension timesync: how far the server's clock is off ours, and how long messages take.
 *
 * In scope: asking with every message about the session, reckoning. Out of scope: showing it
 * (examples/timesync).
 *
 *     const timesync = new TimeSync();
 *     const client = new Client(url, {extensions: [timesync]});
 *     ... new Date(timesync.now())
 *
 * Each such message carries our time; its reply repeats it, with the server's time when the message
 * came and how long the server kept it. What is left is the way there and back, of which one half
 * is taken for each. We ask in the older of the two forms, without telling what we reckon: then
 * every reply is a sample.
 */

/** How many samples count, and the longest way that makes a sensible one, in milliseconds. */
const SAMPLES = 10;
const MAX_LAG = 10000;

/** Event: `sample`, when there is a new one. */
export class TimeSync extends EventTarget {
  #samples = [];
  #clock;

  /** @param {() => number} [clock] our time, in milliseconds since 1970 */
  constructor(clock = () => Date.now()) {
    super();
    this.#clock = clock;
  }

  /** The latest ones, the newest last. @returns {{offset: number, lag: number}[]} */
  get samples() {
    return [...this.#samples];
  }

  /** Milliseconds that the server is ahead of us; 0 as long as nothing is known. */
  get offset() {
    return mean(this.#samples.map(({offset}) => offset));
  }

  /** Milliseconds that a message takes one way. */
  get lag() {
    return mean(this.#samples.map(({lag}) => lag));
  }

  /** The server's time, in milliseconds since 1970. */
  now() {
    return this.#clock() + this.offset;
  }

  outgoing(message) {
    if (!message.channel.startsWith("/meta/")) {
      return message;
    }
    return {...message, ext: {...message.ext, timesync: {tc: this.#clock()}}};
  }

  incoming({channel, ext}) {
    const {tc, ts, p} = ext?.timesync ?? {};
    if (!channel.startsWith("/meta/") || ![tc, ts, p].every(Number.isFinite)) {
      return;
    }
    const lag = Math.max(0, (this.#clock() - tc - p) / 2);
    if (lag > MAX_LAG) {
      // The computer slept meanwhile, or its clock was set.
      return;
    }
    this.#samples.push({offset: ts - tc - lag, lag});
    this.#samples.splice(0, this.#samples.length - SAMPLES);
    this.dispatchEvent(new Event("sample"));
  }
}

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0) / Math.max(1, numbers.length);
}
