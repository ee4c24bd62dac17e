/** The magnets page: several windows, one board, on either transport. */

import assert from "node:assert/strict";
import {after, afterEach, before, describe, test} from "node:test";

import {Browser, Server, picture, until, withoutSockets} from "./world.mjs";

const server = new Server();
const browser = new Browser();

before(async () => {
  await server.start();
  await browser.start();
});
afterEach(async () => {
  await browser.clean();
  // A board as it was.
  await server.publish("/service/magnets", {tidy: true});
});
after(async () => {
  await browser.stop();
  await server.stop();
});

const PHONE = {viewport: {width: 360, height: 700}, isMobile: true, hasTouch: true};

/** A window with the board in it. */
class Window {
  constructor(page) {
    this.page = page;
  }

  static async open(options) {
    const page = await browser.open(`${server.origin}/examples/magnets/`, options);
    return new Window(page).ready();
  }

  async ready() {
    await until("connected", async () => (
      (await this.page.locator("#status").textContent()).startsWith("connected")));
    return this;
  }

  magnet(word) {
    return this.page.getByRole("button", {name: word, exact: true});
  }

  /** Where it lies, in thousandths; null in the tray. */
  place(word) {
    return this.magnet(word).evaluate(({style}) => (style.left
      ? [style.left, style.top].map((value) => Math.round(Number.parseFloat(value) * 10)) : null));
  }

  async sees(word, place) {
    let seen;
    await until(() => `${word} is at ${place} and not ${seen}`, async () => {
      seen = await this.place(word);
      return String(seen) === String(place);
    });
  }

  /** The pixel of the window at these parts of the board. */
  async spot(x, y) {
    const box = await this.page.locator("#board").boundingBox();
    return [box.x + box.width * x, box.y + box.height * y];
  }

  /** Takes a magnet with the mouse, and moves it there. */
  async drag(word, x, y) {
    const {mouse} = this.page;
    await this.magnet(word).evaluate(async (element) => {
      // Those that a further move replaces are cancelled.
      while (element.getAnimations().length > 0) {
        await Promise.allSettled(element.getAnimations().map(({finished}) => finished));
      }
    });
    const box = await this.magnet(word).boundingBox();
    await mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await mouse.down();
    await mouse.move(...await this.spot(x, y), {steps: 8});
  }

  drop() {
    return this.page.mouse.up();
  }
}

for (const [transport, prepare] of [["websocket", undefined], ["long-polling", withoutSockets]]) {
  describe(`magnets by ${transport}`, () => {
    test("two windows see each other move, a third finds it so", async () => {
      const ann = await Window.open({prepare});
      const bob = await Window.open({prepare});
      const status = await ann.page.locator("#status").textContent();
      assert.equal(status, `connected by ${transport}`);
      const moon = bob.magnet("moon");
      // From before, as it is seen only for so long after the last move.
      const held = moon.evaluate((element) => new Promise((resolve) => {
        const look = () => element.classList.contains("elsewhere") && resolve();
        new MutationObserver(look).observe(element, {attributes: true});
        look();
      }));
      await ann.drag("moon", 0.3, 0.25);
      await held;
      await ann.drop();
      await until("Bob sees it dropped", () => moon.evaluate((element) => (
        !element.classList.contains("elsewhere"))));
      const place = await ann.place("moon");
      assert.ok(Math.abs(place[0] - 300) < 40 && Math.abs(place[1] - 250) < 40, String(place));
      await bob.sees("moon", place);
      await bob.drag("sea", 0.7, 0.1);
      await bob.drop();
      await ann.sees("sea", await bob.place("sea"));
      const zoe = await Window.open({prepare});
      await zoe.sees("moon", place);
      await zoe.sees("sea", await bob.place("sea"));
      await zoe.page.reload();
      await (await zoe.ready()).sees("moon", place);
      await picture(ann.page, `magnets-${transport}`);
    });

    test("the last move wins", async () => {
      const ann = await Window.open({prepare});
      const bob = await Window.open({prepare});
      await ann.drag("moon", 0.2, 0.2);
      await bob.sees("moon", await ann.place("moon"));
      await bob.drag("moon", 0.8, 0.3);
      // Whoever holds a magnet sees it in the own hand, not in the other's.
      assert.notDeepEqual(await ann.place("moon"), await bob.place("moon"));
      const zoe = await Window.open({prepare});
      await bob.drop();
      await zoe.sees("moon", await bob.place("moon"));
      await ann.drop();
      const place = await ann.place("moon");
      await bob.sees("moon", place);
      await zoe.sees("moon", place);
      assert.deepEqual(await ann.place("moon"), place);
      // Whichever of two at the same time is the last: all agree.
      await ann.drag("moon", 0.4, 0.1);
      // Else it would slip from under Bob's pointer.
      await bob.sees("moon", await ann.place("moon"));
      await bob.drag("sea", 0.1, 0.1);
      await bob.drop();
      await bob.drag("moon", 0.6, 0.4);
      await Promise.all([ann.drop(), bob.drop()]);
      let places;
      await until(() => `all agree, and not ${places.join(" / ")}`, async () => {
        places = await Promise.all([ann, bob, zoe].map((window) => window.place("moon")));
        return new Set(places.map(String)).size === 1;
      });
    });
  });
}

describe("magnets", () => {
  test("by keyboard", async () => {
    const ann = await Window.open();
    const bob = await Window.open();
    await ann.magnet("bird").focus();
    await ann.page.keyboard.press("Shift+ArrowUp");
    const [x, y] = await ann.place("bird");
    await ann.page.keyboard.press("ArrowRight");
    await ann.page.keyboard.press("ArrowUp");
    await ann.page.keyboard.press("Shift+ArrowLeft");
    await bob.sees("bird", [x + 10 - 50, y - 10]);
    for (let step = 0; step < 30; step += 1) {
      await ann.page.keyboard.press("Shift+ArrowUp");
    }
    await bob.sees("bird", [x - 40, 0]);
    assert.equal(await ann.page.evaluate(() => document.activeElement.textContent), "bird");
  });

  test("by touch, on a phone", async () => {
    const ann = await Window.open(PHONE);
    const bob = await Window.open();
    const session = await ann.page.context().newCDPSession(ann.page);
    const touch = (type, ...points) => session.send("Input.dispatchTouchEvent", {type,
      touchPoints: points.map(([x, y]) => ({x, y}))});
    const box = await ann.magnet("sleeps").boundingBox();
    await touch("touchStart", [box.x + 9, box.y + 9]);
    await touch("touchMove", await ann.spot(0.5, 0.4));
    await touch("touchMove", await ann.spot(0.5, 0.2));
    await touch("touchEnd");
    await until("it is dropped", () => ann.magnet("sleeps").evaluate((element) => (
      element.style.left && !element.classList.contains("held"))));
    await bob.sees("sleeps", await ann.place("sleeps"));
    await picture(ann.page, "magnets-phone-used");
  });

  test("few messages for many moves", async () => {
    const ann = await Window.open({prepare: withoutSockets});
    let sent = 0;
    ann.page.on("request", (request) => {
      sent += request.postData()?.includes("/service/magnets") ? 1 : 0;
    });
    const begun = Date.now();
    await ann.drag("moon", 0.2, 0.2);
    for (let step = 0; step < 100; step += 1) {
      await ann.page.mouse.move(...await ann.spot(0.2 + step / 200, 0.2));
    }
    await ann.drop();
    const place = await ann.place("moon");
    await (await Window.open()).sees("moon", place);
    assert.ok(sent <= 3 + (Date.now() - begun) / 60, `${sent} requests`);
  });

  test("tidied up for everybody", async () => {
    const ann = await Window.open();
    const bob = await Window.open();
    await ann.drag("moon", 0.2, 0.2);
    await ann.drop();
    await bob.sees("moon", await ann.place("moon"));
    await bob.page.getByRole("button", {name: "Tidy up"}).click();
    await ann.sees("moon", null);
    await bob.sees("moon", null);
  });

  test("goes on after the server was away", async () => {
    const ann = await Window.open();
    const bob = await Window.open();
    await ann.drag("moon", 0.2, 0.2);
    await ann.drop();
    await bob.sees("moon", await ann.place("moon"));
    await server.stop();
    await until("the banner is there", async () => (
      (await ann.page.locator("#banner").textContent()).startsWith("disconnected!")));
    await ann.drag("sea", 0.5, 0.2);
    await ann.drop();
    const sea = await ann.place("sea");
    await server.start();
    // Nothing is kept on disk: the board is empty again, but for what was moved meanwhile.
    await bob.sees("sea", sea);
    await bob.sees("moon", null);
    await ann.sees("moon", null);
    await ann.sees("sea", sea);
  });
});
