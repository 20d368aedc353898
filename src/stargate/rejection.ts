/** How a refusal reaches the one who pushes: `ng <ref> <CODE>: <sentence>` for every ref, and the way out on the sideband. */

import { KvError, toKvError } from "../errors.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { classifyRef } from "../kv/namespace.ts";
import type { Gate } from "./gate.ts";
import type { Identity } from "./tokens.ts";

/** The same refusal for every command; the longer text goes to `progress`. */
export function rejectAll(
  commands: readonly PushCommand[],
  error: KvError,
  progress: (text: string) => void,
): RefResult[] {
  progress(`error: ${error.message}\n`);
  if (error.hint !== undefined) progress(`hint: ${error.hint}\n`);
  const reason = `${error.code}: ${oneLine(error.message)}`;
  return commands.map(({ ref }) => ({ ref, status: "ng", reason }));
}

/**
 * Tells log, watchers and journal of a refused push that began at `started`. A journal that cannot take it is no reason to answer
 * otherwise.
 */
export function noteRejection(
  gate: Pick<Gate, "journal" | "clock" | "log" | "events">,
  { name: who, door }: Identity,
  commands: readonly PushCommand[],
  error: KvError,
  started: number,
): void {
  const { code } = error;
  const message = oneLine(error.message);
  const refs = commands.slice(0, 8).map(({ ref }) => ref);
  const ns = namespaceOf(refs);
  const at = gate.clock.now();
  const refused = { code, message, who, ms: at - started };
  gate.log("info", "push", { result: "rejected", ...refused, refs, door });
  gate.events.emit({ kind: "rejected", at, ns, ...refused });
  try {
    gate.journal.reject({ at, ns, code, message, who, door });
  } catch (failure) {
    gate.log("warn", "journal", { message: toKvError(failure).message });
  }
}

/** The namespace the first of `refs` that has one belongs to. */
function namespaceOf(refs: readonly string[]): string {
  for (const ref of refs) {
    const is = classifyRef(ref);
    if (is !== undefined && "ns" in is) return is.ns;
  }
  return "";
}

/** Every command done. */
export function acceptAll(commands: readonly PushCommand[]): RefResult[] {
  return commands.map(({ ref }) => ({ ref, status: "ok" }));
}

/**
 * What a check or the storage threw, as a peer may see it. Damage that only our own repository can have (CORRUPT) and
 * bugs are thrown on: they are no refusal.
 */
export function asRejection(thrown: unknown): KvError {
  const error = toKvError(thrown);
  if (error.code === "BUG" || error.code === "CORRUPT") throw error;
  // A ref that another process moved or holds: the same to the client as a tip that moved.
  if (error.code === "LOCKED") return new KvError("BUSY", error.message, { cause: error });
  return error;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, "; ");
}
