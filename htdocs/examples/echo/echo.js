/** The echo demo: what is sent to a service comes back to its sender alone. */

import {addLine, connectPage, explain, make} from "../../js/page.js";

const SERVICE = "/service/echo";
const form = document.querySelector("#echo");
const log = document.querySelector("#log");
const client = connectPage();

/** A moment as `2026-01-31 12:34:56`, in the reader's time zone. */
function timeOf(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const date = [moment.getFullYear(), moment.getMonth() + 1, moment.getDate()].map(two);
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two);
  return `${date.join("-")} ${time.join(":")}`;
}

/** The server's time if the message has one, else that of its arrival. */
function timeElement({timestamp}) {
  const stated = new Date(typeof timestamp === "string" ? timestamp : Number.NaN);
  const moment = Number.isNaN(stated.getTime()) ? new Date() : stated;
  const element = make("time", "", timeOf(moment));
  element.dateTime = moment.toISOString();
  return element;
}

function failed(error) {
  addLine(log, make("p", "line server", make("b", "", "SERVER:"), ` ${explain(error)}`));
}

client.subscribe(SERVICE, (message) => {
  const {msg} = message.data ?? {};
  const words = typeof msg === "string" ? msg : JSON.stringify(message.data);
  addLine(log, make("p", "line", timeElement(message), " ", make("b", "who", `${SERVICE}:`), " ",
    make("bdi", "", words)));
}).catch(failed);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = form.elements.msg;
  if (field.value) {
    client.publish(SERVICE, {msg: field.value}).catch(failed);
    field.value = "";
  }
  field.focus();
});
