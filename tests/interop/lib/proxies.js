// Proxies in front of a server, each as a process of its own with a configuration of its own in a
// folder of its own: what Debian's package comes with and the least that makes it a proxy, or what
// docs/proxies.md recommends.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "./server.js";
import { pause } from "./sequence.js";

const START_LIMIT_MS = 20_000;
const docs = fs.readFileSync(fileURLToPath(new URL("../../../docs/proxies.md", import.meta.url)), {
  encoding: "utf8",
});
const isRoot = process.getuid() === 0;
// Where a Debian system has its servers, which is not in everybody's path.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** The block of docs/proxies.md in that language. */
function documented(language) {
  const found = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "m").exec(docs);
  return found[1];
}

/** One that serves `from` and asks `to`, both `HOST:PORT`. */
class Proxy {
  #child = null;
  #log = "";
  #folder;

  /** Whether it is installed. */
  static get isThere() {
    return spawnSync(this.program, [this.version], { env }).error === undefined;
  }

  /** Starts it; what it asks is at `url`, and the result is its own base URL. */
  async start(url, setting) {
    const { host: to, protocol } = new URL(url);
    const from = `127.0.0.1:${await freePort()}`;
    this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), "bayeux-proxy-"));
    const config = path.join(this.#folder, "config");
    fs.writeFileSync(config, this.config(this.#folder, from, to, setting));
    // Some give their rights up.
    fs.chmodSync(this.#folder, 0o777);
    const own = { ...env, XDG_CONFIG_HOME: this.#folder, XDG_DATA_HOME: this.#folder };
    this.#child = spawn(this.constructor.program, this.args(config, this.#folder), {
      env: own,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on("data", (chunk) => (this.#log = (this.#log + chunk).slice(-20_000)));
    }
    process.on("exit", this.#kill);
    await this.#listening(from);
    return `${protocol}//${from}/`;
  }

  async stop() {
    const child = this.#child;
    process.off("exit", this.#kill);
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const impatience = setTimeout(() => child.kill("SIGKILL"), 30_000);
      await ended;
      clearTimeout(impatience);
    }
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  #kill = () => this.#child?.kill("SIGTERM");

  async #listening(address) {
    const [host, port] = address.split(":");
    const deadline = Date.now() + START_LIMIT_MS;
    for (;;) {
      const ended = this.#child.exitCode !== null || this.#child.signalCode !== null;
      if (ended || Date.now() > deadline) {
        const file = path.join(this.#folder, "error.log");
        const log = this.#log + (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "");
        throw new Error(`${this.constructor.name} does not listen; it said:\n${log}`);
      }
      if (await connects(host, port)) {
        return;
      }
      await pause(20);
    }
  }
}

function connects(host, port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.on("connect", () => resolve(true) || socket.destroy());
    socket.on("error", () => resolve(false));
  });
}

class Nginx extends Proxy {
  static program = "nginx";
  static version = "-v";
  static upgrades = false;
  static noticesLeaving = { defaults: true, documented: true };

  args(config, folder) {
    return ["-c", config, "-p", folder, "-g", "daemon off;"];
  }

  config(folder, from, to, setting) {
    const server =
      setting === "defaults"
        ? `server { listen ${from}; location / { proxy_pass http://${to}; } }`
        : documented("nginx").replace("listen 80", `listen ${from}`).replace("127.0.0.1:8080", to);
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((what) => `${what}_temp_path ${folder}/${what};`)
      .join("\n");
    return `
      ${isRoot ? "user root;" : ""}
      pid ${folder}/pid;
      error_log stderr;
      events { worker_connections 768; }
      http {
        sendfile on;
        tcp_nopush on;
        gzip on;
        access_log off;
        ${temporary}
        ${server}
      }`;
  }
}

class HAProxy extends Proxy {
  static program = "haproxy";
  static version = "-v";
  static upgrades = true;
  static noticesLeaving = { defaults: false, documented: true };

  args(config) {
    return ["-db", "-f", config];
  }

  config(folder, from, to, setting) {
    const servers = {
      defaults: `listen web\n bind ${from}\n server bayeux ${to}\n`,
      documented: documented("haproxy"),
      passing: documented("haproxy-tcp"),
    };
    return `
defaults
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
${servers[setting].replace(/bind :\d+/, `bind ${from}`).replace("127.0.0.1:8080", to)}`;
  }
}

class Apache extends Proxy {
  static program = "apache2";
  static version = "-v";
  static upgrades = false;
  static noticesLeaving = { defaults: false, documented: false };

  args(config) {
    return ["-D", "FOREGROUND", "-f", config];
  }

  config(folder, from, to, setting) {
    const modules = ["mpm_event", "authz_core", "reqtimeout", "filter", "deflate", "headers"];
    const load = [...modules, "proxy", "proxy_http"]
      .map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
      .join("\n");
    const user = isRoot ? "User www-data\nGroup www-data" : "";
    const pass =
      setting === "defaults"
        ? `ProxyPass / http://${to}/`
        : documented("apache").replace("127.0.0.1:8080", to);
    return `
${load}
${user}
ServerName 127.0.0.1
Listen ${from}
PidFile ${folder}/pid
DefaultRuntimeDir ${folder}
Mutex file:${folder}
ErrorLog ${folder}/error.log
AddOutputFilterByType DEFLATE text/html text/plain text/css text/javascript application/javascript
${pass}
`;
  }
}

class Caddy extends Proxy {
  static program = "caddy";
  static version = "version";
  static upgrades = true;
  static noticesLeaving = { defaults: true, documented: true };

  args(config) {
    return ["run", "--config", config, "--adapter", "caddyfile"];
  }

  config(folder, from, to, setting) {
    const site =
      setting === "defaults"
        ? `http://${from} {\n reverse_proxy ${to}\n}`
        : documented("caddy").replace(":80 {", `http://${from} {`).replace("127.0.0.1:8080", to);
    return `{\n admin off\n auto_https off\n}\n${site}\n`;
  }
}

export const kinds = [Nginx, HAProxy, Apache, Caddy];
export { HAProxy };
