// As much of a browser window as callback-polling needs: `document` with a head into which script
// elements are put, each of which is fetched and run. No DOM library: the two clients touch
// nothing else.

import http from "node:http";

/** Gives `window` a `document`; `run(text)` evaluates a script in the window's global scope. */
export function addDocument(window, run) {
  const head = {
    appendChild(script) {
      script.parentNode = head;
      load(script, run);
      return script;
    },
    removeChild(script) {
      script.parentNode = null;
      return script;
    },
  };
  window.document = {
    getElementsByTagName: (name) => (name === "head" ? [head] : []),
    createElement: () => ({ parentNode: null }),
  };
}

// A browser says with Sec-Fetch-Site whose page asks for the script; here it is always the
// server's own.
const headers = { "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "script", Accept: "*/*" };
const agent = new http.Agent({ keepAlive: true });

function load(script, run) {
  // Pages are told less; a failed test should say why.
  const failed = (why) => script.onerror?.({ type: `error: ${why.message ?? why}` });
  const request = http.get(script.src, { headers, agent }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => (text += chunk));
    response.on("error", failed);
    response.on("end", () => {
      const type = response.headers["content-type"] ?? "";
      if (response.statusCode === 200 && type.startsWith("text/javascript")) {
        run(text);
        script.onload?.();
      } else {
        failed(`${response.statusCode} ${type} ${text.slice(0, 200)}`);
      }
    });
  });
  request.on("error", failed);
}
