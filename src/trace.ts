/**
 * Tracing for whoever looks for a fault: GIT_KV_TRACE for everything, GIT_KV_TRACE_PACKET for the packets of the protocol.
 * As git's own: `1`, `2` or `true` traces to stderr, an absolute path to the end of that file. Lines look like git's:
 *
 *   12:34:56.789012 git-kv                  packet: fetch> 0032want ...
 *
 * Off, a call costs one comparison. Callers leave keys and values out.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { writeFully } from "./fd.ts";

/** What a trace is about. */
export type TraceCategory = "packet" | "http" | "ssh" | "refs" | "pack" | "plan" | "perf";

const CATEGORY_WIDTH = 8;

/** Descriptors to write to; undefined is off. */
interface Targets {
  readonly all: number | undefined;
  readonly packet: number | undefined;
}

let targets: Targets | undefined;

/** Whether {@link trace} of `category` writes anything: ask before making an expensive message. */
export function tracing(category: TraceCategory): boolean {
  return target(category) !== undefined;
}

/** Writes one line, where tracing is on. Control characters of `message` are shown, not sent. */
export function trace(category: TraceCategory, message: string): void {
  const fd = target(category);
  if (fd === undefined) return;
  const shown = message.replace(/[\x00-\x1f\x7f]/g, (c) => `\\${c.charCodeAt(0).toString(8)}`);
  try {
    writeFully(fd, Buffer.from(`${timeOfDay()} git-kv ${category.padStart(CATEGORY_WIDTH)}: ${shown}\n`));
  } catch {
    // A trace nobody can take must not break what is traced.
  }
}

function target(category: TraceCategory): number | undefined {
  targets ??= readTargets(process.env);
  return category === "packet" ? targets.packet : targets.all;
}

function readTargets(env: Readonly<Record<string, string | undefined>>): Targets {
  const all = open("GIT_KV_TRACE", env.GIT_KV_TRACE);
  const packets = env.GIT_KV_TRACE_PACKET;
  return { all, packet: packets === undefined ? all : open("GIT_KV_TRACE_PACKET", packets) };
}

/** Says it where nothing can be traced as it was asked for, as git does: who looks for a fault would wait for lines that never come. */
function open(name: string, setting: string | undefined): number | undefined {
  if (setting === undefined || setting === "" || setting === "0") return undefined;
  const word = setting.toLowerCase();
  if (setting === "1" || setting === "2" || word === "true") return 2;
  if (word === "false") return undefined;
  let why = "write 1, or an absolute path";
  try {
    if (path.isAbsolute(setting)) return fs.openSync(setting, "a", 0o600);
  } catch (error) {
    why = (error as Error).message;
  }
  try {
    writeFully(2, Buffer.from(`warning: ${name}: cannot trace to '${setting}': ${why}\n`));
  } catch {
    // Nobody reads stderr.
  }
  return undefined;
}

/** Local time with microseconds. */
function timeOfDay(): string {
  const now = performance.timeOrigin + performance.now();
  const date = new Date(now);
  const two = (value: number): string => String(value).padStart(2, "0");
  const micros = Math.floor((now % 1000) * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(micros).padStart(6, "0")}`;
}
