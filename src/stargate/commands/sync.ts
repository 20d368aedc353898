/** `git-kv-stargate sync`: how the mirror stands ref by ref, and bringing it in order. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { parseNamespace } from "../../kv/namespace.ts";
import { describeSync, type SyncRequest, syncAdvice, syncExit, syncReport, syncRequest } from "../../kv/sync-report.ts";
import { answerSync, errorAnswer } from "../sync-call.ts";
import type { Identity } from "../tokens.ts";
import { oneRepository } from "./common.ts";
import { callDaemon, withGate } from "./stdio.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out, env } = context;
  const ns = flags.value("ns");
  const request = syncRequest(ns === undefined ? undefined : parseNamespace(ns), (mode) => flags.on(mode));
  // Whoever may write the repository's files may do all of it.
  const who: Identity = { name: env.USER ?? "local", scope: "admin", door: "stdio" };
  const report = syncReport(await askSync(context, oneRepository(context), request, who));
  if (out.json) out.record(report);
  else for (const line of describeSync(report)) out.line(line);
  const advice = syncAdvice(report);
  if (advice !== undefined) out.note(advice);
  return syncExit(report);
}

/** The answer of the daemon, or of this process where none runs: a report or an error. */
export async function askSync(
  context: Context,
  repo: Repository,
  request: SyncRequest,
  who: Identity,
): Promise<object> {
  const chunks: Buffer[] = [];
  const { name: user, scope, door, key } = who;
  const call = { service: "sync", repo: repo.gitDir, protocol: "", user, scope, door, key } as const;
  const duplex = {
    input: { read: async () => undefined },
    output: { write: async (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes)) },
  };
  if (!(await callDaemon(repo, context.env, { ...call, request: JSON.stringify(request) }, duplex))) {
    return withGate(context, repo, "sync", (served) => answerSync(served, request, who)).catch(errorAnswer);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as object;
  } catch (cause) {
    throw new KvError("PROTOCOL", "the daemon gave no answer", { cause });
  }
}
