/**
 * A chat room in a page: joining, talking, leaving, and who is there.
 *
 * In scope: one room on one channel, in the markup of examples/chat/index.html. Out of scope: the
 * connection and the banner (page.js).
 *
 * Messages are `{user, chat}`, with `join: true` or `leave: true` from who comes and goes. What
 * others wrote is only ever shown as text.
 */

import {Members} from "./members.js";
import {addLine, explain, make} from "./page.js";

const MAX_NAME = 40;
const HUES = 6;
const STORED_NAME = "bayeux-chat-name";

export class ChatRoom {
  #client;
  #channel;
  #history;
  #log;
  #joinForm;
  #talkForm;
  #memberList;
  #memberCount;
  #members;

  /** Our name while we are in the room. */
  #user = null;
  /** Whether to tell the room that we have joined as soon as there is a new session. */
  #mustAnnounce = false;
  #subscription = null;
  #lastUser = null;
  #isDown = false;
  /** What was said before we came: "unknown", then what is said while we ask, then "shown". */
  #past = "unknown";

  /**
   * @param {HTMLElement} root
   * @param {import("./bayeux.js").Client} client
   * @param {{channel?: string, service?: string, history?: string}} [options]
   */
  constructor(root, client, options = {}) {
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.#client = client;
    this.#channel = options.channel ?? "/chat/demo";
    this.#history = options.history ?? "/service/chat/history";
    this.#log = part("log");
    this.#joinForm = part("join");
    this.#talkForm = part("talk");
    this.#memberList = part("members");
    this.#memberCount = part("count");
    this.#members = new Members(client, options.service ?? "/service/chat/members",
      (names) => this.#showMembers(names));
    this.#listen(part("leave"));
    const stored = storage("getItem", STORED_NAME);
    if (stored) {
      this.join(stored);
    }
  }

  /** Enters the room; the page remembers it, so that a reload enters again. */
  async join(user) {
    this.#user = user;
    this.#lastUser = null;
    storage("setItem", STORED_NAME, user);
    this.#show(true);
    const [subscribing, announcing] = this.#client.batch(() => [
      this.#client.subscribe(this.#channel, (message) => this.#hear(message)),
      this.#recall(),
      this.#announce(),
    ].filter(Boolean));
    try {
      const [subscription] = await Promise.all([subscribing, announcing]);
      this.#subscription = subscription;
    } catch (error) {
      subscribing.then((subscription) => subscription.cancel()).catch(() => {});
      this.#server(`not joined: ${explain(error)}`);
      this.#out();
    }
  }

  /** Leaves the room. */
  leave() {
    if (this.#user !== null) {
      this.#client.batch(() => {
        this.#subscription?.cancel().catch(() => {});
        this.#sayGoodbye();
      });
      this.#line("event", make("i", "", `${this.#user} has left`));
      this.#members.heard({user: this.#user, leave: true});
      this.#out();
    }
  }

  #listen(leaveButton) {
    this.#joinForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#tryToJoin();
    });
    this.#talkForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#talk();
    });
    leaveButton.addEventListener("click", () => this.leave());
    this.#client.addEventListener("state", ({detail}) => this.#connectionChanged(detail));
    this.#client.addEventListener("unload", () => this.#user !== null && this.#sayGoodbye());
  }

  #tryToJoin() {
    const field = this.#joinForm.elements.user;
    const name = field.value.trim().slice(0, MAX_NAME);
    const hint = this.#joinForm.querySelector('[role="alert"]');
    hint.textContent = name ? "" : "Enter a name to join.";
    field.setAttribute("aria-invalid", String(!name));
    if (name) {
      this.join(name);
      this.#talkForm.elements.chat.focus();
    } else {
      field.focus();
    }
  }

  async #talk() {
    const field = this.#talkForm.elements.chat;
    const chat = field.value.trim();
    field.focus();
    if (!chat) {
      return;
    }
    field.value = "";
    try {
      await this.#client.publish(this.#channel, {user: this.#user, chat});
    } catch (error) {
      this.#server(`not sent: ${explain(error)}`);
      field.value ||= chat;
    }
  }

  /** Shows, above all else, what was said before; for once, as the page then hears for itself. */
  #recall() {
    if (this.#past !== "unknown") {
      return;
    }
    const heard = [];
    this.#past = heard;
    this.#client.call(this.#history, {}).then((answer) => {
      const lines = Array.isArray(answer?.lines) ? answer.lines.map(spoken) : [];
      // What was said since we asked may be in both.
      while (heard.length > 0 && lines.length > 0 && heard.some(isSame(lines.at(-1)))) {
        lines.pop();
      }
      this.#log.prepend(...lines.map(({user, chat}) => (
        make("p", "line said past", nameOf(user), " ", make("bdi", "", chat)))));
      this.#log.scrollTop = this.#log.scrollHeight;
      // Without an answer the room begins with us.
    }).catch(() => {}).finally(() => {
      this.#past = "shown";
    });
  }

  async #announce() {
    this.#mustAnnounce = false;
    const user = this.#user;
    try {
      await this.#client.publish(this.#channel, {user, join: true, chat: `${user} has joined`});
    } catch (error) {
      if (!error.isTemporary) {
        throw error;
      }
    }
    // From now on each new session has to, and the next one if this one could not.
    this.#mustAnnounce = true;
  }

  #sayGoodbye() {
    const user = this.#user;
    this.#client.publish(this.#channel, {user, leave: true, chat: `${user} has left`})
      // The server notices by itself that we are gone.
      .catch(() => {});
  }

  #connectionChanged({state, first, renewed}) {
    const wasDown = this.#isDown;
    this.#isDown = state === "connecting" ? wasDown : state !== "connected";
    if (this.#user === null) {
      return;
    }
    if (this.#isDown && !wasDown) {
      this.#server("disconnected!");
    } else if (state === "connected") {
      if (wasDown) {
        this.#server("reconnected!");
      }
      if (renewed && !first) {
        this.#server("reinitialized");
      }
      if (renewed && this.#mustAnnounce) {
        // The new session is a stranger to the room.
        this.#announce().catch((error) => this.#server(`not joined: ${explain(error)}`));
      }
    }
  }

  #hear({data}) {
    if (this.#user === null || typeof data !== "object" || data === null || Array.isArray(data)) {
      return;
    }
    const {user, chat} = spoken(data);
    if (data.bot === true) {
      // An aside: it does not interrupt who is speaking.
      addLine(this.#log, make("p", "line bot", nameOf(user), " ", make("bdi", "", chat)));
      return;
    }
    this.#members.heard({user, join: data.join, leave: data.leave});
    if (data.join || data.leave) {
      const what = chat || `${user} has ${data.join ? "joined" : "left"}`;
      this.#line("event", make("i", "", what));
    } else {
      this.#said(user, chat);
    }
  }

  #said(user, chat) {
    if (Array.isArray(this.#past)) {
      this.#past.push({user, chat});
    }
    const name = nameOf(user);
    if (user === this.#lastUser) {
      const dots = make("span", "", "...");
      dots.setAttribute("aria-hidden", "true");
      name.replaceChildren(dots, make("span", "unseen", `${user}:`));
    }
    this.#line(user === this.#user ? "said mine" : "said", name, " ", make("bdi", "", chat));
    this.#lastUser = user;
  }

  #server(words) {
    this.#line("server", make("b", "", "SERVER:"), ` ${words}`);
  }

  #line(kind, ...content) {
    this.#lastUser = null;
    addLine(this.#log, make("p", `line ${kind}`, ...content));
  }

  #showMembers(names) {
    this.#memberCount.textContent = names.length ? String(names.length) : "";
    this.#memberList.replaceChildren(...names.map((name) => {
      const item = make("li", "", make("bdi", "", name));
      item.dataset.hue = hueOf(name);
      if (name === this.#user) {
        item.append(" ", make("span", "you", "(you)"));
      }
      return item;
    }));
    if (names.length === 0) {
      this.#memberList.append(make("li", "nobody", "nobody yet"));
    }
  }

  #out() {
    storage("removeItem", STORED_NAME);
    this.#joinForm.elements.user.value = this.#user;
    this.#user = null;
    this.#subscription = null;
    this.#show(false);
    this.#joinForm.elements.user.focus();
  }

  #show(joined) {
    this.#joinForm.hidden = joined;
    this.#talkForm.hidden = !joined;
    this.#log.classList.toggle("outside", !joined);
  }
}

/** Who said what, in a message of any shape. */
function spoken(data) {
  return {user: text(data?.user).trim().slice(0, MAX_NAME) || "anon", chat: text(data?.chat)};
}

function isSame(line) {
  return ({user, chat}) => user === line.user && chat === line.chat;
}

/** A name before what its owner said. */
function nameOf(user) {
  const name = make("b", "who", make("bdi", "", user), ":");
  name.dataset.hue = hueOf(user);
  return name;
}

function text(value) {
  return typeof value === "string" ? value : "";
}

/** A colour for a name, the same in every window. */
function hueOf(name) {
  let sum = 0;
  for (const character of name) {
    sum = (sum * 31 + character.codePointAt(0)) % 9973;
  }
  return String(sum % HUES);
}

/** Browsers may deny storage; then a reload just does not enter the room again. */
function storage(method, ...values) {
  try {
    return window.sessionStorage[method](...values);
  } catch {
    return null;
  }
}
