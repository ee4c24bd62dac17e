/**
 * The pages' own modules, for Node. Older versions of it take a `.js` file for a script unless a
 * package.json says otherwise; htdocs has none, as it would be served. So a copy gets one.
 */

import {cp, mkdtemp, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {fileURLToPath, pathToFileURL} from "node:url";

const folder = await mkdtemp(join(tmpdir(), "bayeux-js-"));
await cp(fileURLToPath(new URL("../../htdocs/js", import.meta.url)), folder, {recursive: true});
await writeFile(join(folder, "package.json"), '{"type": "module"}');

const load = (name) => import(pathToFileURL(join(folder, name)).href);
export const bayeux = await load("bayeux.js");
export const faye = await load("faye.js");
export const messages = await load("messages.js");
export const page = await load("page.js");
export const timesync = await load("timesync.js");

await rm(folder, {recursive: true});
