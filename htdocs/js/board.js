/**
 * A board with magnets: where they lie, and moving them by pointer and by keyboard.
 *
 * In scope: the elements. Out of scope: who else moves them (magnets.js).
 *
 * A place is `{x, y}`, each from 0 (left, top) to 1000 (right, bottom): then it means the same on
 * every screen, and no magnet ever sticks out. A magnet that nobody has moved has no place; it lies
 * in its slot of the tray at the bottom.
 */

import {make} from "./page.js";

const EDGE = 1000;
/** How far a key moves a magnet, alone and with Shift. */
const STEP = 10;
const LONG_STEP = 50;
const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
/** A magnet in somebody else's hand is let go when nothing is heard for so many milliseconds. */
const HAND = 3000;
const HUES = 6;

/** Event: `move`, `detail` is `{id, x, y, held}`: the reader moved a magnet. */
export class Board extends EventTarget {
  #root;
  /** @type {{element: HTMLElement, x?: number, y?: number, timer?: number}[]} by id */
  #magnets;
  /** What the reader drags: the magnet's id, and where on it the pointer is, in pixels. */
  #held = null;
  #top = 0;

  /**
   * @param {HTMLElement} root an empty list
   * @param {string[]} words one magnet each
   * @param {string} help the id of the element that says how to move them
   */
  constructor(root, words, help) {
    super();
    this.#root = root;
    this.#magnets = words.map((word, id) => ({element: this.#magnet(word, id, help)}));
    root.append(...this.#magnets.map(({element}) => {
      const ghost = make("span", "ghost", element.textContent);
      ghost.setAttribute("aria-hidden", "true");
      return make("li", "slot", ghost, element);
    }));
  }

  get size() {
    return this.#magnets.length;
  }

  /** Whether the reader holds that magnet. */
  holds(id) {
    return this.#held?.id === id;
  }

  /** Puts a magnet to a place, on top of all others. */
  put(id, {x, y}) {
    const magnet = this.#magnets[id];
    Object.assign(magnet, {x, y});
    this.#top += 1;
    const {style} = magnet.element;
    magnet.element.parentElement.classList.add("empty");
    style.left = `${x / 10}%`;
    style.top = `${y / 10}%`;
    style.translate = `${-x / 10}% ${-y / 10}%`;
    style.zIndex = this.#top;
  }

  /** Puts a magnet back into the tray. */
  home(id) {
    const magnet = this.#magnets[id];
    magnet.x = magnet.y = undefined;
    magnet.element.parentElement.classList.remove("empty");
    magnet.element.removeAttribute("style");
    this.mark(id, false);
  }

  /** Shows that somebody else holds a magnet, or does so no longer. */
  mark(id, held) {
    const magnet = this.#magnets[id];
    clearTimeout(magnet.timer);
    magnet.element.classList.toggle("elsewhere", held);
    if (held) {
      magnet.timer = setTimeout(() => this.mark(id, false), HAND);
    }
  }

  #magnet(word, id, help) {
    const element = make("button", "magnet", word);
    element.type = "button";
    element.dataset.hue = id % HUES;
    element.setAttribute("aria-roledescription", "magnet");
    element.setAttribute("aria-describedby", help);
    element.addEventListener("pointerdown", (event) => this.#grab(event, id));
    element.addEventListener("pointermove", (event) => this.#drag(event));
    element.addEventListener("pointerup", (event) => this.#drop(event));
    element.addEventListener("pointercancel", (event) => this.#drop(event));
    element.addEventListener("keydown", (event) => this.#key(event, id));
    return element;
  }

  #grab(event, id) {
    if (event.button !== 0 || this.#held) {
      return;
    }
    const {element} = this.#magnets[id];
    const box = element.getBoundingClientRect();
    const {pointerId: pointer, clientX, clientY} = event;
    this.#held = {id, pointer, dx: clientX - box.x, dy: clientY - box.y};
    element.setPointerCapture(pointer);
    element.classList.add("held");
    this.mark(id, false);
  }

  #drag(event) {
    if (event.pointerId === this.#held?.pointer) {
      const {id, dx, dy} = this.#held;
      this.#move(id, this.#placeAt(id, event.clientX - dx, event.clientY - dy), true);
    }
  }

  #drop(event) {
    if (event.pointerId !== this.#held?.pointer) {
      return;
    }
    const {id} = this.#held;
    const {element, x, y} = this.#magnets[id];
    this.#held = null;
    element.classList.remove("held");
    if (x !== undefined) {
      this.#move(id, {x, y}, false);
    }
  }

  #key(event, id) {
    const direction = KEYS[event.key];
    if (!direction || this.#held || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    event.preventDefault();
    const {element, x, y} = this.#magnets[id];
    const box = element.getBoundingClientRect();
    const place = x === undefined ? this.#placeAt(id, box.x, box.y) : {x, y};
    const step = event.shiftKey ? LONG_STEP : STEP;
    this.#move(id, {
      x: within(place.x + direction[0] * step),
      y: within(place.y + direction[1] * step),
    }, false);
  }

  /** The place whose upper left corner is at these pixels of the window. */
  #placeAt(id, left, top) {
    const board = this.#root.getBoundingClientRect();
    const {offsetWidth, offsetHeight} = this.#magnets[id].element;
    const across = this.#root.clientWidth - offsetWidth;
    const down = this.#root.clientHeight - offsetHeight;
    return {
      x: within(((left - board.x - this.#root.clientLeft) / Math.max(1, across)) * EDGE),
      y: within(((top - board.y - this.#root.clientTop) / Math.max(1, down)) * EDGE),
    };
  }

  #move(id, place, held) {
    this.put(id, place);
    this.dispatchEvent(new CustomEvent("move", {detail: {id, ...place, held}}));
  }
}

function within(value) {
  return Math.round(Math.min(EDGE, Math.max(0, value)));
}
