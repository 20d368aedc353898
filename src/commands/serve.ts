/** `git kv serve`: keys over HTTP for programs on this machine, until it is told to end. */

import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { EXIT, KvError } from "../errors.ts";
import { readFromOr } from "../kv/read-from.ts";
import { Follower } from "../kv/serve/follower.ts";
import { KvServer, type Listen } from "../kv/serve/kv-server.ts";
import type { Workspace } from "../kv/workspace.ts";
import { parseDuration } from "../quantity.ts";
import { withReader } from "./open.ts";

/** Bytes of objects kept in memory: the upper trees of a large store, and values that are asked for again and again. */
const CACHE_BYTES = 128 * 1024 * 1024;

export function run(context: Context): Promise<number> {
  const listen = parseListen(context.flags.value("listen") ?? "127.0.0.1:7480", context.cwd);
  const interval = parseDuration(context.flags.value("interval") ?? "10s") * 1000;
  if (interval < 1) throw new KvError("INPUT_INVALID", "--interval is too short");
  return withReader(context, (workspace) => serve(context, workspace, listen, interval));
}

async function serve(context: Context, workspace: Workspace, listen: Listen, interval: number): Promise<number> {
  const { flags, out, signal } = context;
  workspace.repo.objectCacheBytes = CACHE_BYTES;
  const from = readFromOr("mirror", workspace, flags.value("read-from"));
  const follower = await Follower.start(workspace, from, interval);
  const server = await KvServer.start(workspace, follower, listen, flags.values("allow-host"));
  if (listen.kind === "tcp" && !isLoopback(listen.hostname)) {
    out.warn(`whoever reaches ${server.address} can read every key, and there is no encryption`);
  }
  out.note(`listening on ${server.address}`);
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await server.stop();
  // SIGTERM is how a service is ended; Ctrl-C is an interruption like any other.
  const { reason } = signal;
  return reason instanceof KvError && reason.code === "TERMINATED" ? EXIT.ok : EXIT.interrupted;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** `ADDRESS:PORT`, `[ADDRESS]:PORT`, or `unix:PATH`. Throws INPUT_INVALID. */
function parseListen(text: string, cwd: string): Listen {
  if (text.startsWith("unix:") && text.length > 5) return { kind: "unix", path: path.resolve(cwd, text.slice(5)) };
  const [, v6, name, digits = ""] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const hostname = v6 ?? name;
  const port = Number(digits);
  if (hostname !== undefined && port <= 65_535) return { kind: "tcp", hostname, port };
  throw new KvError("INPUT_INVALID", `--listen: '${text}' is neither ADDRESS:PORT nor unix:PATH`);
}
