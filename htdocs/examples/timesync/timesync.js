/** The timesync demo: the server's clock, and how well we know it. */

import {connectPage, explain, make} from "../../js/page.js";
import {TimeSync} from "../../js/timesync.js";

/** So many samples are wanted soon, and the pause between asking for them, in milliseconds. */
const ENOUGH = 4;
const PAUSE = 100;

const part = (id) => document.getElementById(id);
const timesync = new TimeSync();
const client = connectPage({extensions: [timesync]});
let count = 0;
let isMeasuring = false;

function timeOf(moment) {
  const two = (number) => String(number).padStart(2, "0");
  return [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":");
}

function milliseconds(number, sign = "") {
  const text = Math.abs(number) < 10000 ? `${Math.abs(number).toFixed(1)} ms`
    : `${(Math.abs(number) / 1000).toFixed(1)} s`;
  return `${number < 0 ? "-" : sign}${text}`;
}

/** Shows both clocks, and again when the server's next second begins. */
function tick() {
  part("own").textContent = timeOf(new Date());
  const now = timesync.now();
  if (count > 0) {
    const moment = new Date(now);
    part("time").textContent = timeOf(moment);
    part("time").dateTime = moment.toISOString();
    part("date").textContent = moment.toLocaleDateString([], {dateStyle: "full"});
  }
  setTimeout(tick, 1000 - (((now % 1000) + 1000) % 1000) + 1);
}

function show() {
  count += 1;
  const {offset, lag, samples} = timesync;
  part("offset").textContent = milliseconds(offset, "+");
  part("lag").textContent = milliseconds(lag);
  const where = offset < 0 ? "behind" : "ahead of";
  part("meaning").textContent = `the server is ${where} this device`;
  part("samples").replaceChildren(...samples.map((sample, at) => make("tr", "",
    make("th", "", String(count - samples.length + at + 1)),
    make("td", "", milliseconds(sample.offset, "+")), make("td", "", milliseconds(sample.lag)),
  )).reverse());
  if (count === 1) {
    tick();
  }
}

/** Asks for the time until there are enough samples, once in any case. */
async function measure() {
  if (isMeasuring) {
    return;
  }
  isMeasuring = true;
  try {
    do {
      await client.publish("/meta/ping");
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    } while (count > 0 && count < ENOUGH && client.state === "connected");
    part("problem").textContent = count > 0 ? "" : "This server does not tell the time.";
  } catch (error) {
    part("problem").textContent = `Not measured: ${explain(error)}.`;
  }
  isMeasuring = false;
}

timesync.addEventListener("sample", show);
client.addEventListener("state", ({detail}) => detail.state === "connected" && measure());
part("again").addEventListener("submit", (event) => {
  event.preventDefault();
  measure();
});
tick();
