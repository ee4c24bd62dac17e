/**
 * What the pages have in common: where the server is, one client per page, telling the reader how
 * the connection stands.
 *
 * In scope: endpoint, status, banner, page life cycle, small helpers. Out of scope: the protocol
 * (bayeux.js), what a single page does.
 */

import {Client} from "./bayeux.js";

/** How long good news stays, in milliseconds. */
const GOOD_NEWS = 5000;

/**
 * The server's address as seen from a page: beside `examples/`, or beside the page itself, so that
 * the pages work below any path. `?cometd=PATH` names another one on the same host (only there: a
 * link must not connect its reader to somebody else's server); the page's
 * `<meta name="cometd" content="URL">` may name any.
 *
 * @param {string} href the page's address
 * @param {string} [configured] what the meta element says
 * @returns {string}
 */
export function endpointFor(href, configured = "") {
  const page = new URL(href);
  const wanted = page.searchParams.get("cometd");
  if (wanted && URL.canParse(wanted, page.href)) {
    const url = new URL(wanted, page);
    if (url.origin === page.origin) {
      return url.href;
    }
  }
  if (configured) {
    return new URL(configured, page).href;
  }
  const examples = page.pathname.lastIndexOf("/examples/");
  const end = examples < 0 ? page.pathname.lastIndexOf("/") : examples;
  return `${page.origin}${page.pathname.slice(0, end)}/cometd`;
}

/** The server's address for this page. */
export function endpoint() {
  const meta = document.querySelector('meta[name="cometd"]');
  return endpointFor(window.location.href, meta?.content);
}

/** Shows the server's address wherever the page has a place for it. */
export function showEndpoint() {
  for (const place of document.querySelectorAll("[data-endpoint]")) {
    place.textContent = endpoint();
  }
}

/**
 * Starts this page's client, which ends with the page.
 *
 * @param {object} [options] see bayeux.js
 * @returns {Client}
 */
export function connectPage(options) {
  showEndpoint();
  const client = new Client(endpoint(), options);
  showStatus(client, document.querySelector("#status"));
  showBanner(client, document.querySelector("#banner"));
  window.addEventListener("pagehide", () => client.unload());
  // A page that comes back from the browser's cache has lost its session: begins afresh.
  window.addEventListener("pageshow", ({persisted}) => persisted && window.location.reload());
  window.addEventListener("online", () => client.hurry());
  client.start();
  return client;
}

/**
 * An element with text in it; never markup.
 *
 * @param {string} tag
 * @param {string} [className]
 * @param {...(string|Node)} children
 */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) {
    element.className = className;
  }
  element.append(...children);
  return element;
}

/** Adds a line to a log, which follows its end unless the reader has scrolled up. */
export function addLine(log, line, limit = 500) {
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.childElementCount > limit) {
    log.firstElementChild.remove();
  }
  if (follows) {
    log.scrollTop = log.scrollHeight;
  }
}

/** Why something failed, in words for the reader. */
export function explain(error) {
  return error.code ? `the server refused (${error.message})` : error.message;
}

function showStatus(client, place) {
  const show = () => {
    const words = client.state === "closed" ? "session ended" : client.state;
    const shared = client.state === "connected" && client.advice["multiple-clients"];
    place.dataset.state = client.state;
    const seconds = client.advice.interval / 1000;
    place.textContent = words;
    if (client.state === "connected") {
      const often = shared ? `, every ${seconds} s` : "";
      place.append(make("span", "detail", ` by ${client.connectionType}${often}`));
    }
    place.title = shared ? "Another window of this browser holds the connection: here messages "
      + `may be ${seconds} s late.` : "";
  };
  client.addEventListener("state", show);
  client.addEventListener("advice", show);
}

function showBanner(client, place) {
  let timer;
  let wasDown = false;
  const show = (kind, ...content) => {
    clearTimeout(timer);
    place.dataset.kind = kind;
    place.replaceChildren(...content);
  };
  client.addEventListener("state", ({detail}) => {
    if (detail.state === "disconnected") {
      show("bad", make("b", "", "disconnected!"), " Trying to reach the server.");
    } else if (detail.state === "closed") {
      const again = make("button", "", "Connect again");
      again.addEventListener("click", () => client.start());
      show("bad", make("b", "", "disconnected!"), ` ${explain(detail.error)}. `, again);
    } else if (detail.state === "connected" && (wasDown || (detail.renewed && !detail.first))) {
      const words = detail.first ? ["connected!"]
        : [wasDown && "reconnected!", detail.renewed && "reinitialized"].filter(Boolean);
      show("good", make("b", "", words.join(" ")));
      timer = setTimeout(() => show(""), GOOD_NEWS);
    } else {
      show("");
    }
    wasDown = ["disconnected", "closed"].includes(detail.state)
      || (wasDown && detail.state === "connecting");
  });
}
