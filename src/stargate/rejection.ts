/** How a refusal reaches the one who pushes: `ng <ref> <CODE>: <sentence>` for every ref, and the way out on the sideband. */

import { type Code, KvError, toKvError } from "../errors.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { classifyRef } from "../kv/namespace.ts";
import type { Gate } from "./gate.ts";
import type { Identity } from "./tokens.ts";

const BY_HAND = "a transaction is made with git kv; made otherwise, it must be as docs/formats/data-format.md has it";

/** The way out of refusals that bring none of their own. */
const WAYS_OUT: Partial<Record<Code, string>> = {
  ATTESTATION_MISSING: BY_HAND,
  ATTESTATION_MISMATCH: BY_HAND,
  REPLAY_MISMATCH: BY_HAND,
  CHUNK_MISMATCH: BY_HAND,
  NOT_LINEAR: BY_HAND,
  TXN_TOO_LARGE: "split it into several transactions, or let an admin raise max_keys_per_txn",
  REF_FORBIDDEN: "docs/stargate.md, 'Which refs', has what may be pushed together",
  FORBIDDEN: "use a token or key that may do it: 'git-kv-stargate token add', or the policy's writers and admins",
  NOT_FAST_FORWARD: "fetch, then write again on what is there now",
};

/** The same refusal for every command; the longer text goes to `progress`. */
export function rejectAll(
  commands: readonly PushCommand[],
  error: KvError,
  progress: (text: string) => void,
): RefResult[] {
  progress(`error: ${error.message}\n`);
  const hint = error.hint ?? WAYS_OUT[error.code];
  if (hint !== undefined) progress(`hint: ${hint}\n`);
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
