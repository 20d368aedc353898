/** The library for Node.js: what it takes from Bun is put there first. build.ts makes one bundle of it. */

import "../node-runtime.ts";

export * from "./open-kv.ts";
