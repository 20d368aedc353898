/** Transfers that are given up because they are too slow, by git's settings. */

import { afterAll, expect, test } from "bun:test";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { lowSpeedRule } from "../../../src/gitwire/transport/low-speed.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { repositoryWith } from "../../support/push.ts";

const { dir } = repositoryWith(1);
/** Connections that were ended by the client. */
let ended = 0;
const server = startHttpBackend(path.dirname(dir), {
  intercept: (request, url) => {
    request.signal.addEventListener("abort", () => ended++);
    if (url.pathname.startsWith("/silent")) return new Promise<undefined>(() => {});
    return url.pathname.startsWith("/trickle") ? trickle() : undefined;
  },
});
afterAll(() => server.stop());

/** A long packet, a byte every 50 ms. */
function trickle(): Response {
  let timer: ReturnType<typeof setInterval>;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      controller.enqueue(Buffer.from("ff00"));
      timer = setInterval(() => controller.enqueue(Buffer.from("x")), 50);
    },
    cancel: () => clearInterval(timer),
  });
  return new Response(body, { headers: { "Content-Type": "application/x-git-upload-pack-advertisement" } });
}

async function list(repository: string, options: ConnectOptions): Promise<number> {
  const transport = await connect(`${server.url}/${repository}`, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

const SLOW = [
  ["http.lowSpeedLimit", "1k"],
  ["http.lowSpeedTime", "1"],
] as const;

test("no answer, and one that trickles, are errors that name the address; a fast one is none", async () => {
  const env = { GIT_HTTP_LOW_SPEED_LIMIT: "1024", GIT_HTTP_LOW_SPEED_TIME: "1" };
  const [silent, trickling, fast] = await Promise.all([
    failureOf(list("silent", connectOptions(SLOW))),
    failureOf(list("trickle", connectOptions([], env))),
    list(path.basename(dir), connectOptions(SLOW)),
  ]);
  const words = (repository: string): string =>
    `the transfer with ${server.url}/${repository} was too slow: less than 1024 bytes a second for 1 s`;
  expect([silent.code, silent.exit, silent.message]).toEqual(["NETWORK", 5, words("silent")]);
  expect([trickling.code, trickling.exit, trickling.message]).toEqual(["NETWORK", 5, words("trickle")]);
  expect(fast).toBe(2);
  while (ended < 2) await Bun.sleep(1);
});

test("the rule: both numbers are needed, the environment goes first", () => {
  const rule = (config: Record<string, string>, env: Record<string, string> = {}) =>
    lowSpeedRule((key) => config[key], env);
  expect(rule({})).toBeUndefined();
  expect(rule({ lowspeedlimit: "1k" })).toBeUndefined();
  expect(rule({ lowspeedlimit: "1k", lowspeedtime: "0" })).toBeUndefined();
  expect(rule({ lowspeedlimit: "-1", lowspeedtime: "5" })).toBeUndefined();
  expect(rule({ lowspeedlimit: "1k", lowspeedtime: "5" })).toEqual({ bytesPerSecond: 1024, seconds: 5 });
  expect(rule({ lowspeedlimit: "1k", lowspeedtime: "5" }, { GIT_HTTP_LOW_SPEED_TIME: "7" })?.seconds).toBe(7);
  expect(rule({ lowspeedlimit: "1k", lowspeedtime: "5" }, { GIT_HTTP_LOW_SPEED_LIMIT: "0" })).toBeUndefined();
  expect(() => rule({ lowspeedlimit: "fast" })).toThrow(expect.objectContaining({ code: "CONFIG" }));
});
