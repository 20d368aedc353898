/** Finds a key for whoever wants its value: expired ones are there only where the policy or the reader lets them be. */

import { formatTime } from "../time.ts";
import { isExpired } from "./expiry.ts";
import { type Key, keyText } from "./key.ts";
import { type FoundKey, findKey, hasExpired } from "./read.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

export interface LiveOptions {
  /** The moment that is read as of, Unix seconds; undefined: now. */
  readonly moment: number | undefined;
  readonly allowExpired: boolean;
}

/** What the state has of `key`. Throws KEY_NOT_FOUND, KEY_EXPIRED. */
export async function findLive(
  workspace: Workspace,
  state: NamespaceState,
  key: Key,
  { moment, allowExpired }: LiveOptions,
): Promise<FoundKey> {
  const found = findKey(workspace.repo.objects, state, key, { now: 0, allowExpired: true });
  const { expires } = found.meta;
  if (expires === undefined) return found;
  // Loaded here: most keys never expire.
  const { hidesExpired, warnOfLedgerTime } = await import("./read-expiry.ts");
  if (moment === undefined) warnOfLedgerTime(workspace, state);
  if (!isExpired(expires, moment ?? workspace.now()) || allowExpired) return found;
  if (await hidesExpired(workspace, state)) throw hasExpired(key, expires);
  workspace.around.warn(
    `${JSON.stringify(keyText(key))} expired at ${formatTime(expires)}; the policy lets it be read`,
  );
  return found;
}
