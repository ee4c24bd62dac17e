// The combinations every test runs in. A new transport is one more entry here and in the
// `transports` of the clients that know it.

import { CometdClient } from "./cometd-client.js";
import { FayeClient } from "./faye-client.js";
import { outside } from "./server.js";

const connectors = outside ? ["outside"] : ["native", "tiny-http"];
const transports = (
  process.env.INTEROP_TRANSPORTS ?? "long-polling callback-polling websocket"
).split(" ");
/** What a connector's library cannot carry. */
const missing = { "tiny-http": ["websocket"] };

/** Each connector with each of its transports and the kinds of client that know it. */
export const combinations = connectors.flatMap((connector) =>
  transports
    .filter((transport) => !missing[connector]?.includes(transport))
    .map((transport) => ({
      connector,
      transport,
      kinds: [CometdClient, FayeClient].filter((kind) => kind.transports.includes(transport)),
      title: `${connector}, ${transport}`,
    })),
);
