/** Finds what programs ask for: the state to read, and a key in it. */

import { KvError } from "../errors.ts";
import { type Moment, momentAt } from "./at.ts";
import { findLive } from "./find-live.ts";
import type { FoundKey } from "./read.ts";
import { stateToRead } from "./read-from.ts";
import type { NamespaceState } from "./state.ts";
import { parseUserKey } from "./user-operation.ts";
import type { AtOption, GetOptions } from "./user-options.ts";
import type { Workspace } from "./workspace.ts";

/** The state that is to be read, and the moment it is read as of; undefined: whenever it is asked for. */
export interface MomentOrNow {
  readonly state: NamespaceState;
  readonly now: Moment["now"] | undefined;
}

/** The state that is asked for. Throws as {@link stateToRead} and {@link momentAt}. */
export async function momentOf(workspace: Workspace, { at, readFrom }: AtOption): Promise<MomentOrNow> {
  return momentIn(workspace, await stateToRead(workspace, readFrom), at);
}

/** As {@link momentOf}, in a namespace of which the newest state is known. */
export async function momentIn(
  workspace: Workspace,
  newest: NamespaceState,
  at: string | undefined,
): Promise<MomentOrNow> {
  return at === undefined ? { state: newest, now: undefined } : momentAt(workspace, newest, at);
}

/** What the state that is asked for has of a key. Throws KEY_INVALID, KEY_NOT_FOUND, KEY_EXPIRED. */
export async function find(workspace: Workspace, text: string, options: GetOptions): Promise<FoundKey> {
  const key = parseUserKey(text);
  const { state, now } = await momentOf(workspace, options);
  const { copy } = workspace;
  if (copy !== undefined) await (await import("./copy-keys.ts")).bringKeys(copy, state, [key]);
  return findLive(workspace, state, key, { moment: now, allowExpired: options.allowExpired ?? false });
}

/** As {@link find}; undefined where there is no value. */
export async function findOrMiss(
  workspace: Workspace,
  key: string,
  options: GetOptions,
): Promise<FoundKey | undefined> {
  try {
    return await find(workspace, key, options);
  } catch (error) {
    if (error instanceof KvError && (error.code === "KEY_NOT_FOUND" || error.code === "KEY_EXPIRED")) return undefined;
    throw error;
  }
}
