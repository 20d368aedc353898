/** How a refusal reaches the one who pushes: `ng <ref> <CODE>: <sentence>` for every ref, and the way out on the sideband. */

import { KvError, toKvError } from "../errors.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";

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
