/** `git kv stargate sync`: lets the Stargate behind the push URL show how its mirror stands, or bring it in order. */

import type { Context } from "../cli/context.ts";
import { askSync } from "../kv/ask-stargate.ts";
import { parseNamespace } from "../kv/namespace.ts";
import { describeSync, syncAdvice, syncExit, syncRequest } from "../kv/sync-report.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out } = context;
  const ns = flags.value("ns");
  const request = syncRequest(ns === undefined ? undefined : parseNamespace(ns), (mode) => flags.on(mode));
  const report = await askSync(openWorkspace(context), request);
  if (out.json) out.record(report);
  else for (const line of describeSync(report)) out.line(line);
  const advice = syncAdvice(report);
  if (advice !== undefined) out.note(advice);
  return syncExit(report);
}
