/** `git kv fetch`: brings the newest state here, from the mirror or from the Stargate. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { fetchAccepted, fetchMirror } from "../kv/fetch.ts";
import { followChanges } from "../kv/key-changes.ts";
import { parseReadFrom } from "../kv/read-from.ts";
import { tidyUp } from "../kv/tidy.ts";
import type { Workspace } from "../kv/workspace.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const from = parseReadFrom(flags.value("read-from") ?? "mirror");
  if (from === "local") throw new KvError("USAGE", "fetch reads from the mirror or the stargate");
  await (from === "stargate" ? fromStargate(context, workspace) : fromMirror(context, workspace));
  out.flush();
  await tidyUp(workspace);
  await followChanges(workspace);
}

async function fromStargate({ out }: Context, workspace: Workspace): Promise<void> {
  const state = await fetchAccepted(workspace);
  if (out.json) out.record({ from: "stargate", oid: state?.ledger.oid, seq: state?.ledger.seq });
  else
    out.note(
      state === undefined
        ? `namespace '${workspace.ns}' is not there`
        : `namespace '${workspace.ns}' is at seq ${state.ledger.seq}`,
    );
}

async function fromMirror({ out }: Context, workspace: Workspace): Promise<void> {
  const moved = await fetchMirror(workspace);
  for (const { ref, from: before, to } of moved) {
    if (out.json) out.record({ ref, from: before, to });
    else out.note(`${(before ?? "(new)").slice(0, 12)}..${to.slice(0, 12)}  ${ref}`);
  }
}
