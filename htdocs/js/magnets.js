/**
 * A board that is the same in every window.
 *
 * In scope: telling the server where the reader puts magnets, and the board where others did. Out
 * of scope: the elements (board.js).
 *
 * The server numbers all moves, and the highest number wins. It is asked for all places when a
 * connection begins, and once in a while; what is heard in between comes on top. Of a magnet that
 * is in our hand, or whose move by us has not come back yet, moves of others wait: ours may be
 * later.
 */

const SERVICE = "/service/magnets";
const MOVED = "/magnets/moved";
/** The shortest time between two reports, and how often to ask in any case, in milliseconds. */
const PACE = 60;
const EVERY = 30000;

export class Magnets {
  #client;
  #board;
  #report;
  /** A word by which we know our own moves. */
  #by = Math.random().toString(36).slice(2, 14);
  /** The number of the last move, by magnet. @type {Map<number, number>} */
  #known = new Map();
  /** Places that are still to be told, by magnet. @type {Map<number, object>} */
  #waiting = new Map();
  /** How many of our moves have been told and not yet come back, by magnet. */
  #underWay = new Map();
  /** Places by others that are not shown because of ours, with their numbers, by magnet. */
  #passedOver = new Map();
  #sending = false;
  /** What is heard while the server is asked. @type {object[]|null} */
  #since = null;
  #timer;

  /**
   * @param {import("./bayeux.js").Client} client
   * @param {import("./board.js").Board} board
   * @param {(error: Error|null) => void} report called when moves fail, or work again
   */
  constructor(client, board, report) {
    this.#client = client;
    this.#board = board;
    this.#report = report;
    board.addEventListener("move", ({detail: {id, ...place}}) => {
      this.#waiting.set(id, place);
      this.#send();
    });
    client.subscribe(MOVED, ({data}) => this.#hear(data)).catch(report);
    client.addEventListener("state", ({detail}) => {
      if (detail.state === "connected") {
        this.#underWay.clear();
        this.#passedOver.clear();
        this.#ask();
        this.#send();
      }
    });
  }

  /** Puts all magnets back into the tray. */
  tidy() {
    this.#client.publish(SERVICE, {tidy: true}).then(() => this.#report(null), this.#report);
  }

  /** Tells the server what waits, one report after the other. */
  async #send() {
    if (this.#sending) {
      return;
    }
    this.#sending = true;
    // Without a connection the last place waits for the next one.
    while (this.#waiting.size > 0 && this.#client.state === "connected") {
      const moves = [...this.#waiting];
      this.#waiting.clear();
      const pause = new Promise((resolve) => setTimeout(resolve, PACE));
      await this.#client.batch(() => Promise.all(moves.map((move) => this.#tell(...move))));
      await pause;
    }
    this.#sending = false;
  }

  async #tell(id, place) {
    this.#count(id, 1);
    try {
      await this.#client.publish(SERVICE, {id, ...place, by: this.#by});
      this.#report(null);
    } catch (error) {
      this.#count(id, -1);
      this.#report(error);
      if (!error.isTemporary) {
        this.#ask();
      } else if (!this.#waiting.has(id)) {
        // It may have arrived; to tell it again does no harm.
        this.#waiting.set(id, place);
      }
    }
  }

  #count(id, change) {
    this.#underWay.set(id, Math.max(0, (this.#underWay.get(id) ?? 0) + change));
  }

  /** Whether the reader's own move of that magnet comes after all that is heard of others. */
  #isOurs(id) {
    return this.#board.holds(id) || this.#waiting.has(id) || (this.#underWay.get(id) ?? 0) > 0;
  }

  #hear(data) {
    this.#since?.push(data);
    this.#apply(data);
  }

  #apply(data) {
    if (data?.tidy === true) {
      for (let id = 0; id < this.#board.size; id += 1) {
        this.#place(id, undefined, data.n);
      }
    } else if (Number.isInteger(data?.id) && data.id >= 0 && data.id < this.#board.size) {
      this.#heardOf(data);
    }
  }

  #heardOf({id, x, y, n, held, by}) {
    if (!isPlace({x, y})) {
      return;
    }
    if (by === this.#by) {
      this.#cameBack(id, n);
    } else if (n > (this.#known.get(id) ?? 0) && this.#place(id, {x, y}, n)) {
      this.#board.mark(id, held === true);
    }
  }

  /** A move of ours has come back; what came ahead of it, on another way, may yet be later. */
  #cameBack(id, n) {
    this.#count(id, -1);
    this.#known.set(id, Math.max(n, this.#known.get(id) ?? 0));
    const other = this.#passedOver.get(id);
    if (other && !this.#isOurs(id)) {
      this.#passedOver.delete(id);
      if (other.n > n) {
        this.#place(id, other.place, other.n);
      }
    }
  }

  /** @returns {boolean} whether the magnet was put there */
  #place(id, place, n) {
    this.#known.set(id, n);
    if (this.#isOurs(id)) {
      this.#passedOver.set(id, {place, n});
      return false;
    }
    this.#passedOver.delete(id);
    if (place) {
      this.#board.put(id, place);
    } else {
      this.#board.home(id);
    }
    return true;
  }

  async #ask() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), EVERY);
    if (this.#client.state !== "connected") {
      return;
    }
    const since = [];
    this.#since = since;
    try {
      const answer = await this.#client.call(SERVICE, {});
      // Unless it was asked again meanwhile.
      if (this.#since === since) {
        this.#showAll(answer, since);
      }
    } catch (error) {
      if (this.#since === since) {
        this.#since = null;
        this.#report(error);
      }
    }
  }

  #showAll(answer, since) {
    const listed = Array.isArray(answer?.magnets) ? answer.magnets.filter(isPlace) : [];
    const places = new Map(listed.map((place) => [place.id, place]));
    const inOrder = [...places.keys(), ...Array(this.#board.size).keys()];
    inOrder.sort((a, b) => (places.get(a)?.n ?? 0) - (places.get(b)?.n ?? 0));
    for (const id of new Set(inOrder)) {
      if (id < this.#board.size) {
        this.#place(id, places.get(id), places.get(id)?.n ?? answer?.n ?? 0);
      }
    }
    this.#since = null;
    // Also what came back of our own: the answer is from before that.
    const later = since.filter((data) => data?.n > answer?.n);
    later.forEach((data) => this.#apply({...data, by: null}));
  }
}

function isPlace({x, y}) {
  return [x, y].every((value) => Number.isInteger(value) && value >= 0 && value <= 1000);
}
