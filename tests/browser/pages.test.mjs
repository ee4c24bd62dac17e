/** The other pages, and what all pages must do: keyboard, phone, light and dark, any path. */

import assert from "node:assert/strict";
import {execFile} from "node:child_process";
import {after, afterEach, before, describe, test} from "node:test";
import {promisify} from "node:util";

import {page as pageModule} from "./library.mjs";
import {Browser, Server, picture, startProxy, until} from "./world.mjs";

const PAGES = {front: "/", chat: "/examples/chat/", echo: "/examples/echo/",
  timesync: "/examples/timesync/", magnets: "/examples/magnets/"};
const PHONE = {viewport: {width: 360, height: 700}, isMobile: true, hasTouch: true};

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

const open = (page, options) => browser.open(server.origin + PAGES[page], options);
const linesOf = (page) => page.locator(".line:not(.bot, .past)").allTextContents();

async function enter(page, name) {
  await page.getByLabel("Name").fill(name);
  await page.keyboard.press("Enter");
  await until("joined", async () => (await linesOf(page)).includes(`${name} has joined`));
}

describe("front page", () => {
  test("names the server and leads to the demos", async () => {
    const page = await open("front");
    assert.equal(await page.locator("h1").textContent(), "Bayeux demo");
    assert.equal(await page.locator(".endpoint").textContent(), `${server.origin}/cometd`);
    for (const name of ["Chat", "Echo", "Timesync", "Magnets"]) {
      const link = page.locator("main").getByRole("link", {name});
      assert.match(await link.getAttribute("href"), /\/$/);
      await link.click();
      await until(`the page ${name} is there`, async () => (
        await page.locator("h1").textContent() === name));
      await page.getByRole("link", {name: "Bayeux demo"}).click();
      await until("the front page is there again", async () => (
        await page.locator("h1").textContent() === "Bayeux demo"));
    }
    await picture(page, "front-light", {fullPage: true});
  });

  test("its lines for curl work", async () => {
    const page = await open("chat");
    await enter(page, "Ann");
    const front = await open("front");
    const script = await front.locator("#curl").textContent();
    const {stdout} = await promisify(execFile)("sh", ["-eu", "-c", script]);
    assert.equal(stdout.match(/"successful": ?true/g)?.length, 3, stdout);
    await until("curl is heard", async () => (await linesOf(page)).includes("curl: Hello"));
  });
});

describe("echo", () => {
  test("comes back to who sent it, and to nobody else", async () => {
    const page = await open("echo");
    const other = await open("echo");
    await page.getByLabel("Text").fill("Hello <b>there</b>");
    await page.getByRole("button", {name: "Send"}).click();
    await page.getByLabel("Text").fill("Again");
    await page.getByLabel("Text").press("Enter");
    await until("both are back", async () => (await linesOf(page)).length === 2);
    const shape = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \/service\/echo: (.*)$/;
    const texts = (await linesOf(page)).map((line) => shape.exec(line)?.[1]);
    assert.deepEqual(texts, ["Hello <b>there</b>", "Again"]);
    await other.getByLabel("Text").fill("Mine");
    await other.getByLabel("Text").press("Enter");
    await until("it is back", async () => (await linesOf(other)).length > 0);
    assert.equal((await linesOf(other)).length, 1);
    await picture(page, "echo-light");
  });
});

describe("all pages", () => {
  test("need no more than a keyboard", async () => {
    const page = await open("front");
    const {keyboard} = page;
    const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
    const tabTo = async (text) => {
      for (let presses = 0; await focused() !== text; presses += 1) {
        assert.ok(presses < 20, `the tab key leads to "${text}"`);
        await keyboard.press("Tab");
      }
    };
    await tabTo("Chat");
    await keyboard.press("Enter");
    await page.waitForURL("**/examples/chat/");
    await until("ready to type", () => page.evaluate(() => document.activeElement.id === "user"));
    await keyboard.type("Ann");
    await keyboard.press("Enter");
    await keyboard.type("No mouse");
    await keyboard.press("Enter");
    await until("it is said", async () => (await linesOf(page)).includes("Ann: No mouse"));
    await tabTo("Leave");
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
    assert.equal(ring, "2px");
    await keyboard.press("Enter");
    await until("left", () => page.evaluate(() => document.activeElement.id === "user"));
    await page.evaluate(() => document.activeElement.blur());
    await page.locator("h1").click();
    await tabTo("Echo");
    await keyboard.press("Enter");
    await page.waitForURL("**/examples/echo/");
    await until("ready to type", () => page.evaluate(() => document.activeElement.id === "msg"));
    await keyboard.type("Hello");
    await keyboard.press("Enter");
    await until("it is back", async () => (await linesOf(page)).length === 1);
  });

  test("fit on a phone", async () => {
    for (const name of Object.keys(PAGES)) {
      const page = await open(name, {...PHONE, deviceScaleFactor: 2});
      if (name === "chat") {
        await page.getByLabel("Name").fill("Ann");
        await page.getByRole("button", {name: "Join"}).tap();
        const words = `A word without end: ${"a".repeat(300)}`;
        await page.getByLabel("Message", {exact: true}).fill(words);
        await page.getByRole("button", {name: "Send"}).tap();
        await until("it is said", async () => (await linesOf(page)).includes(`Ann: ${words}`));
      }
      const {wide, low} = await page.evaluate(() => ({
        wide: document.documentElement.scrollWidth - window.innerWidth,
        low: document.documentElement.scrollHeight - window.innerHeight,
      }));
      assert.ok(wide <= 0, `${name} is not wider than the screen`);
      assert.ok(name === "front" || low <= 0, `${name} is not higher than the screen`);
      for (const control of await page.locator("button:visible, input:visible").all()) {
        const box = await control.boundingBox();
        assert.ok(box.height >= 40 && box.x >= 0 && box.x + box.width <= 360, name);
      }
      await picture(page, `${name}-phone`);
    }
  });

  for (const colorScheme of ["light", "dark"]) {
    test(`can be read in ${colorScheme} colours`, async () => {
      for (const name of Object.keys(PAGES)) {
        const page = await open(name, {colorScheme});
        if (name === "timesync") {
          await until("it has samples", async () => await page.locator("tbody tr").count() > 3);
        }
        if (name === "chat") {
          await enter(page, "Ann");
          const users = ["Bob", "Cleo", "Dan", "Eva", "Finn", "Gus"];
          await server.publish("/chat/demo", ...users.map((user) => ({user, chat: "Hello"})));
          await until("they are heard", async () => {
            const lines = await linesOf(page);
            return users.every((user) => lines.includes(`${user}: Hello`));
          });
        }
        const {ground, worst} = await page.evaluate(contrasts);
        assert.equal(ground > 0.5, colorScheme === "light");
        assert.ok(worst.ratio >= 4.5, `${name}: ${worst.text} has ${worst.ratio}`);
        await picture(page, `${name}-${colorScheme}`, {fullPage: true});
      }
    });
  }

  test("work below any path", async () => {
    const proxy = await startProxy("/some/examples/prefix", server.origin);
    try {
      const page = await browser.open(`${proxy.origin}/some/examples/prefix/examples/echo/`);
      await page.getByLabel("Text").fill("Hello");
      await page.getByLabel("Text").press("Enter");
      await until("it is back", async () => (await linesOf(page)).length === 1);
    } finally {
      proxy.stop();
    }
  });

  test("find the server from their own address", () => {
    const {endpointFor} = pageModule;
    const cases = [
      ["http://h/", "http://h/cometd"],
      ["http://h/index.html", "http://h/cometd"],
      ["https://h:1/a/b/?x#y", "https://h:1/a/b/cometd"],
      ["http://h/examples/chat/", "http://h/cometd"],
      ["http://h/a/examples/chat/index.html", "http://h/a/cometd"],
      ["http://h/?cometd=/bayeux", "http://h/bayeux"],
      ["http://h/a/?cometd=b", "http://h/a/b"],
      ["http://h/?cometd=http://evil/cometd", "http://h/cometd"],
      ["http://h/?cometd=//evil/cometd", "http://h/cometd"],
      ["http://h/?cometd=javascript:1", "http://h/cometd"],
      ["http://h/?cometd=http://[", "http://h/cometd"],
    ];
    for (const [page, wanted] of cases) {
      assert.equal(endpointFor(page), wanted, page);
    }
    assert.equal(endpointFor("http://h/a/", "/b"), "http://h/b");
    assert.equal(endpointFor("http://h/a/", "https://other/b"), "https://other/b");
  });
});

/** Runs in the page: how light the ground is, and the text that stands out least from its own. */
function contrasts() {
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = parse(color).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    const clear = (parse(color)[3] ?? 1) === 0;
    return clear && element.parentElement ? groundOf(element.parentElement) : color;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = {ratio: 21, text: ""};
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (text && element.checkVisibility() && !element.closest("script, .unseen")) {
      const [dark, light] = [getComputedStyle(element).color, groundOf(element)].map(luminance)
        .sort((a, b) => a - b);
      const ratio = (light + 0.05) / (dark + 0.05);
      worst = ratio < worst.ratio ? {ratio, text} : worst;
    }
  }
  return {ground: luminance(getComputedStyle(document.body).backgroundColor), worst};
}
