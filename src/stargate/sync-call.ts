/** The sync call as it comes over HTTP and the socket, and its answer: a report or an error, one JSON object. */

import { isCode, KvError, toKvError } from "../errors.ts";
import { parseNamespace } from "../kv/namespace.ts";
import { SYNC_MODES, type SyncMode, type SyncReport, type SyncRequest } from "../kv/sync-report.ts";
import type { Served } from "./service.ts";
import type { Identity } from "./tokens.ts";

/** Reads a request of JSON. Throws INPUT_INVALID, NS_INVALID. */
export function parseSyncRequest(text: string): SyncRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {}
  const { mode, ns, ...more } = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const isKnown = SYNC_MODES.includes(mode as SyncMode) && (ns === undefined || typeof ns === "string");
  if (!isKnown || Object.keys(more).length > 0) {
    throw new KvError("INPUT_INVALID", `a sync is asked for by {"mode":"${SYNC_MODES.join('"|"')}","ns":NAME}`);
  }
  return { mode: mode as SyncMode, ns: ns === undefined ? undefined : parseNamespace(ns as string) };
}

/** Syncs. Throws CONFIG where there is no mirror, FORBIDDEN, and what keeps the mirror from being read. */
export async function answerSync(
  { mirror, gate, name }: Served,
  request: SyncRequest,
  who: Identity,
): Promise<SyncReport> {
  if (mirror === undefined) {
    throw new KvError("CONFIG", `${name} has no mirror`, {
      hint: "give one with 'git-kv-stargate init --mirror-remote'",
    });
  }
  if (request.ns !== undefined && gate.repo.refs.resolve(`refs/kv/${request.ns}`) === undefined) {
    throw new KvError("NS_NOT_FOUND", `namespace '${request.ns}' is not in ${name}`, {
      hint: "see 'git kv stargate status'",
    });
  }
  return mirror.sync(request, who);
}

/** An error as the answer shows it. */
export function errorAnswer(thrown: unknown): { readonly error: object } {
  const { code, message, hint } = toKvError(thrown);
  return {
    error: { code: isCode(code) && code !== "BUG" ? code : "BUG", message, ...(hint !== undefined && { hint }) },
  };
}
