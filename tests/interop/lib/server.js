// Starts, stops and restarts the program under test: the binary named by BAYEUX_BIN, on a free
// port of 127.0.0.1, which a restart keeps. With INTEROP_URL set, the tests talk to a server that
// is already running there instead, and those that restart it are skipped.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** A server somebody else started; such a one cannot be restarted. */
export const outside = process.env.INTEROP_URL;

const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 15_000;
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** One `bayeux serve`, through all its restarts. */
export class Server {
  #child = null;
  #log = [];
  #flags;
  #example;
  #port = 0;

  /** The Bayeux endpoint. */
  url = outside;

  constructor(connector, flags = [], example = null) {
    this.#example = example;
    const demo = flags.some((flag) => flag.startsWith("--demo")) ? [] : ["--demo=false"];
    this.#flags = ["--connector", connector, ...demo, ...flags];
  }

  /** With `example`, the example of that name, which takes the same flags. */
  static async started(connector, flags, example) {
    const server = new Server(connector, flags, example);
    await server.start();
    return server;
  }

  async start() {
    if (outside) {
      return;
    }
    const program = process.env.BAYEUX_BIN ?? path.join(root, "target", "debug", "bayeux");
    const binary = this.#example
      ? path.join(path.dirname(program), "examples", this.#example)
      : program;
    this.#port ||= await freePort();
    const command = this.#example ? [] : ["serve"];
    const args = [...command, "--listen", `127.0.0.1:${this.#port}`, ...this.#flags];
    this.#child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.url = await this.#printedAddress(this.#child);
  }

  /** Sends the signal and waits for the end; after SIGTERM the exit status has to be 0. */
  async stop(signal = "SIGTERM") {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    const ended = once(child, "exit");
    child.kill(signal);
    const impatience = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    const [code, killedBy] = await ended;
    clearTimeout(impatience);
    if (signal === "SIGTERM" && code !== 0) {
      throw new Error(`the server ended with ${code ?? killedBy}:\n${this.#log.join("")}`);
    }
  }

  #printedAddress(child) {
    return new Promise((resolve, reject) => {
      let text = "";
      const fail = (why) => {
        clearTimeout(limit);
        reject(new Error(`${why}; it said:\n${text}`));
      };
      const limit = setTimeout(() => {
        child.kill("SIGKILL");
        fail(`no address within ${START_LIMIT_MS} ms`);
      }, START_LIMIT_MS);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code) => fail(`the server ended with ${code}`));
      child.stderr.setEncoding("utf8");
      child.stderr.on("data", (chunk) => {
        this.#log.push(chunk);
        text += chunk;
        // A chunk may end in the middle of the address.
        const found = /listening on (https?:\/\/\S+)\s*\n/.exec(text);
        if (found) {
          clearTimeout(limit);
          resolve(found[1]);
        }
      });
    });
  }
}

/**
 * A free port below the range from which systems take the ports of outgoing connections: one of
 * those, perhaps a client's own attempt to reconnect, might else have it when the server is back.
 */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const probe = net.createServer();
    const free = await new Promise((resolve) => {
      probe.on("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) {
      return port;
    }
  }
}
