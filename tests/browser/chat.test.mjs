/** The chat page: people in several windows, a server that goes and comes back. */

import assert from "node:assert/strict";
import {after, afterEach, before, describe, test} from "node:test";

import {Browser, Server, noteBanners, picture, until, withoutSockets} from "./world.mjs";

const server = new Server();
const browser = new Browser();

before(async () => {
  await server.start();
  await browser.start();
});
afterEach(() => browser.clean());
after(async () => {
  await browser.stop();
  await server.stop();
});

const chatUrl = () => `${server.origin}/examples/chat/`;

/** A person in front of a chat page. */
class Person {
  constructor(page, name) {
    this.page = page;
    this.name = name;
  }

  static async enter(name, options) {
    return new Person(await browser.open(chatUrl(), options), name).join();
  }

  async join() {
    await this.page.getByLabel("Name").fill(this.name);
    await this.page.getByRole("button", {name: "Join"}).click();
    await this.sees(`${this.name} has joined`);
    return this;
  }

  async says(words) {
    await this.page.getByLabel("Message", {exact: true}).fill(words);
    await this.page.getByRole("button", {name: "Send"}).click();
  }

  /** The lines of the log as they are shown, without the bot's and those of before. */
  lines(which = ".line:not(.bot, .past)") {
    return this.page.locator(which).evaluateAll((lines) => lines.map((line) => {
      const copy = line.cloneNode(true);
      copy.querySelectorAll(".unseen").forEach((hidden) => hidden.remove());
      return copy.textContent;
    }));
  }

  async sees(line) {
    let lines = [];
    await until(() => `${this.name} sees "${line}" among ${JSON.stringify(lines)}`, async () => {
      lines = await this.lines();
      return lines.includes(line);
    });
  }

  async seesMembers(...names) {
    const wanted = names.sort().join(", ");
    let shown = "";
    await until(() => `${this.name} sees as members ${wanted} and not ${shown}`, async () => {
      shown = await this.members();
      return shown === wanted;
    });
  }

  async members() {
    const names = await this.page.locator('[data-part="members"] bdi').allTextContents();
    return names.sort().join(", ");
  }

  get banner() {
    return this.page.locator("#banner");
  }

  /** Whether the banner has ever said that. */
  hasBeenTold(words) {
    return this.page.evaluate((words) => window.banners.includes(words), words);
  }
}

describe("chat", () => {
  test("two people talk", async () => {
    const ann = await Person.enter("Ann");
    const bob = await Person.enter("Bob");
    await ann.sees("Bob has joined");
    await ann.says("Good morning!");
    await ann.says("Is anybody there?");
    await bob.sees("... Is anybody there?");
    await bob.says("I am.");
    // Either may hear it first.
    await Promise.all([ann, bob].map((person) => person.sees("Bob: I am.")));
    assert.deepEqual(await ann.lines(), ["Ann has joined", "Bob has joined", "Ann: Good morning!",
      "... Is anybody there?", "Bob: I am."]);
    assert.deepEqual(await bob.lines(), (await ann.lines()).slice(1));
    await ann.seesMembers("Ann", "Bob");
    assert.equal(await ann.page.locator(".line i").count(), 2);
    assert.match(await ann.page.locator("#status").textContent(), /^connected by /);
    await picture(ann.page, "chat-light");

    await bob.page.getByRole("button", {name: "Leave"}).click();
    await ann.sees("Bob has left");
    await ann.seesMembers("Ann");
    await ann.says("Gone?");
    await ann.sees("Ann: Gone?");
    assert.ok(!(await bob.lines()).includes("Ann: Gone?"));
    assert.equal(await bob.page.getByLabel("Name").inputValue(), "Bob");
    await bob.join();
    await ann.seesMembers("Ann", "Bob");
  });

  test("who comes late reads what was said, a bot confirms it", async () => {
    const ann = await Person.enter("Ann");
    await ann.says("Before you came");
    await until("the bot answers", async () => (
      (await ann.lines(".bot")).includes("Jerkbot: I got your message, Ann")));
    const bob = await Person.enter("Bob");
    await until("Bob reads it", async () => (
      (await bob.lines(".past")).at(-1) === "Ann: Before you came"));
    assert.deepEqual(await bob.lines(), ["Bob has joined"]);
    const order = await bob.page.locator(".line").evaluateAll((lines) => (
      lines.map((line) => line.classList.contains("past"))));
    assert.deepEqual(order, [...order].sort().reverse(), "first what was before");
    await picture(bob.page, "chat-history");
  });

  test("two windows of one browser talk", async () => {
    const ann = await Person.enter("Ann");
    const bob = new Person(await browser.openBeside(ann.page.context(), chatUrl()), "Bob");
    await bob.join();
    await ann.says("One");
    await bob.sees("Ann: One");
    await bob.says("Two");
    await ann.sees("Bob: Two");
  });

  test("who comes late sees who is there, before joining too", async () => {
    await Person.enter("Ann");
    await Person.enter("Bob");
    const late = new Person(await browser.open(chatUrl()), "Zoe");
    await late.seesMembers("Ann", "Bob");
    await late.join();
    await late.seesMembers("Ann", "Bob", "Zoe");
  });

  test("a reload enters again, going away leaves", async () => {
    const ann = await Person.enter("Ann");
    const bob = await Person.enter("Bob");
    await bob.page.reload();
    await bob.sees("Bob has joined");
    await until("Ann sees Bob go and come", async () => (
      (await ann.lines()).join(", ").endsWith("Bob has left, Bob has joined")));
    await ann.seesMembers("Ann", "Bob");
    await bob.page.goto(`${server.origin}/`);
    await until("Ann sees Bob go", async () => (await ann.lines()).at(-1) === "Bob has left");
    await ann.seesMembers("Ann");
    const cleo = await Person.enter("Cleo");
    await ann.sees("Cleo has joined");
    const closed = cleo.page.waitForEvent("close");
    await cleo.page.close({runBeforeUnload: true});
    await closed;
    await ann.sees("Cleo has left");
    await ann.seesMembers("Ann");
  });

  test("without the service, members are those that were heard of", async () => {
    // Requests can be answered in the server's place, messages on a socket cannot.
    const page = await browser.open(`${server.origin}/`, {prepare: withoutSockets});
    let asked = 0;
    await page.route("**/cometd", async (route) => {
      const messages = JSON.parse(route.request().postData());
      const isAsking = ({channel}) => channel === "/service/chat/members";
      const refusals = messages.filter(isAsking).map(({channel, id}) => (
        {channel, id, successful: false, error: `404:${channel}:unknown_service`}));
      if (refusals.length === 0) {
        return route.continue();
      }
      const rest = messages.filter((message) => !isAsking(message));
      const replies = rest.length === 0 ? []
        : await (await route.fetch({postData: rest})).json();
      await route.fulfill({json: [...replies, ...refusals]});
      asked += refusals.length;
    });
    await page.goto(chatUrl());
    const bob = await Person.enter("Bob");
    const ann = await new Person(page, "Ann").join();
    await until("the page was told that nobody knows the members", () => asked > 0);
    await ann.seesMembers("Ann");
    await until("Ann sees Bob, once she has read that", async () => {
      await bob.says("Hello");
      return (await ann.members()) === "Ann, Bob";
    });
    await bob.page.getByRole("button", {name: "Leave"}).click();
    await ann.seesMembers("Ann");
    // Else the farewell would be caught too, and be lost with the page.
    await page.unrouteAll({behavior: "wait"});
  });

  test("what people write is shown as text", async () => {
    const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const ann = await Person.enter("Ann");
    const eve = await Person.enter('<b onclick="1">Eve</b>');
    await ann.seesMembers(eve.name, "Ann");
    await eve.says(evil);
    await ann.sees(`${eve.name}: ${evil}`);
    const inside = ann.page.locator("main :is(img, script, [onclick])");
    assert.equal(await inside.count(), 0);
    assert.equal(await ann.page.title(), "Chat - Bayeux demo");
    await picture(ann.page, "chat-injection");
  });

  test("messages of any shape are borne", async () => {
    const ann = await Person.enter("Ann");
    await server.publish("/chat/demo", null, 7, "text", [], {}, {user: 5, chat: {}},
      {user: {}, join: true}, {user: "Old", chat: "hi", groupName: "g", timestamp: "now"});
    await ann.sees("Old: hi");
    assert.deepEqual(await ann.lines(), ["Ann has joined", "anon: ", "... ", "anon has joined",
      "Old: hi"]);
  });

  test("goes on after the server was away", async () => {
    const ann = await Person.enter("Ann", {prepare: noteBanners});
    const bob = await Person.enter("Bob", {prepare: noteBanners});
    await server.stop();
    for (const person of [ann, bob]) {
      await until("the banner is there", async () => (
        (await person.banner.textContent()).startsWith("disconnected!")));
      await person.sees("SERVER: disconnected!");
    }
    await picture(ann.page, "chat-disconnected");
    await ann.says("Are you still there?");
    await server.start();
    for (const person of [ann, bob]) {
      // It is taken away after some seconds.
      await until("the banner had good news", () => (
        person.hasBeenTold("reconnected! reinitialized")));
      await person.sees("SERVER: reconnected!");
      await person.sees("SERVER: reinitialized");
    }
    await picture(ann.page, "chat-reconnected");
    await ann.sees("Ann: Are you still there?");
    await bob.says("Yes.");
    await ann.sees("Bob: Yes.");
    await ann.seesMembers("Ann", "Bob");
    for (const person of [ann, bob]) {
      await until("the banner is gone", async () => !(await person.banner.isVisible()));
    }
  });

  test("a name is asked for", async () => {
    const page = await browser.open(chatUrl());
    const name = page.getByLabel("Name");
    await name.fill("   ");
    await name.press("Enter");
    assert.equal(await page.getByRole("alert").textContent(), "Enter a name to join.");
    assert.equal(await name.getAttribute("aria-invalid"), "true");
    await name.fill("Ann");
    await name.press("Enter");
    await new Person(page, "Ann").sees("Ann has joined");
  });
});
