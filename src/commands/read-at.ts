/** `--at`: the state a command reads that is not the newest, and the moment it is read as of. */

import { madeAt, parseAt, stateAtPoint } from "../kv/at.ts";
import type { NamespaceState } from "../kv/state.ts";
import type { Workspace } from "../kv/workspace.ts";

export interface AtMoment {
  readonly state: NamespaceState;
  /** Unix seconds: what had expired then counts as expired. */
  readonly now: number;
}

/** What `text` means in the ledger that ends with `tip`. Throws INPUT_INVALID, NS_NOT_FOUND. */
export async function readAt(workspace: Workspace, tip: NamespaceState, text: string): Promise<AtMoment> {
  const at = parseAt(text, workspace.repo.format, workspace.now());
  const state = await stateAtPoint(workspace, tip, at);
  return { state, now: at.kind === "time" ? at.time : madeAt(state.ledger) };
}
