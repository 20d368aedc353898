/**
 * One key out of many at a remote, without a clone: requests, round trips (requests made together are one) and bytes on the wire,
 * counted by a proxy.
 */

import * as fs from "node:fs";
import { startHttpBackend } from "../../tests/support/http-backend.ts";
import { keyOf, profileOf } from "../data.ts";
import { runBeside } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { atMost, type Row } from "../table.ts";
import { TrafficCounter } from "../traffic.ts";
import type { Case } from "./case.ts";

/** What it may cost. */
const MOST_BYTES = 64 * 1024;
const MOST_TRIPS = 4;

export const noClone: Case = async ({ scratch, stores, keys }) => {
  const site = await stores.site("attested");
  const backend = startHttpBackend(scratch.root);
  scratch.onEnd(() => backend.stop());
  scratch.git(site.server, "config", "uploadpack.allowFilter", "true");
  const header = scratch.git(site.clone, "config", "http.extraHeader");
  const port = Number(new URL(scratch.git(site.clone, "config", "remote.origin.url")).port);
  const hosts = [
    { name: "a Stargate", port, env: extraHeader(header) },
    { name: "git http-backend", port: backend.port, env: {} },
  ];
  const rows: Row[] = [];
  for (const host of hosts) {
    const cache = scratch.path(`cache-${host.port}`);
    fs.rmSync(cache, { recursive: true, force: true });
    const env = { ...scratch.env, ...host.env, XDG_CACHE_HOME: cache };
    const counter = await TrafficCounter.start(host.port);
    const url = `http://127.0.0.1:${counter.port}/${site.server}`;
    await get(scratch, url, keys - 5, env);
    const cold = counter.traffic;
    await get(scratch, url, keys >> 1, env);
    const both = counter.traffic;
    counter.stop();
    const warm = {
      requests: both.requests - cold.requests,
      bytes: both.sent + both.received - cold.sent - cold.received,
    };
    // The first request is made in two ways at once where nothing is known of the host.
    const trips = cold.requests - 1;
    const bytes = cold.sent + cold.received;
    const beside = `${cold.requests} requests; another key then: ${warm.requests} requests, ${warm.bytes} bytes`;
    const name = `get without a clone from ${host.name}`;
    rows.push({ name: `${name}, round trips`, unit: "count", ours: trips, target: atMost(MOST_TRIPS), extra: beside });
    rows.push({ name: `${name}, on the wire`, unit: "bytes", ours: bytes, target: atMost(MOST_BYTES) });
  }
  return rows;
};

function extraHeader(header: string): Record<string, string> {
  return { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "http.extraHeader", GIT_CONFIG_VALUE_0: header };
}

async function get(
  scratch: Scratch,
  url: string,
  i: number,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const file = scratch.path("got");
  const command = [scratch.gitKv, "--repo", url, "get", keyOf(i), "-o", file];
  await runBeside(command, { cwd: scratch.root, env });
  if (fs.readFileSync(file, "utf8") !== profileOf(i)) throw new Error(`not the value of ${keyOf(i)}`);
}
