/** Which keys of a listing are shown: live ones, deleted ones, expired ones. */

import { isExpired } from "./expiry.ts";
import type { IndexEntry } from "./index-list.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** The first key that expires may take time: only then it matters what the policy says of expired ones. */
export type EntryFilter = (entry: IndexEntry) => boolean | Promise<boolean>;

export interface EntryFilterOptions {
  /** Deleted keys instead of live ones. */
  readonly deleted: boolean;
  /** Expired keys instead of live ones. */
  readonly expired: boolean;
  /** Expired keys besides live ones. */
  readonly allowExpired: boolean;
  /** The moment that is read as of, Unix seconds; undefined: now. */
  readonly moment: number | undefined;
}

/** The filter for a listing of `state`. */
export function entryFilter(
  workspace: Workspace,
  state: NamespaceState,
  { deleted, expired, allowExpired, moment }: EntryFilterOptions,
): EntryFilter {
  const live = !deleted && !expired;
  const now = moment ?? workspace.now();
  let hides: boolean | undefined;
  const learn = async (entry: IndexEntry): Promise<boolean> => {
    const { hidesExpired, warnOfLedgerTime } = await import("./read-expiry.ts");
    if (moment === undefined) warnOfLedgerTime(workspace, state);
    hides = await hidesExpired(workspace, state);
    return shows(entry);
  };
  const shows: EntryFilter = (entry) => {
    if (entry.state.kind === "deleted") return deleted;
    if (entry.state.expires === undefined) return live;
    if (hides === undefined) return learn(entry);
    if (isExpired(entry.state.expires, now)) return expired || (live && (allowExpired || !hides));
    return live;
  };
  return shows;
}
