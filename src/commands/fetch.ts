/** `git kv fetch`: brings the newest state here, from the mirror or from the Stargate. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { fetchAccepted, fetchMirror } from "../kv/fetch.ts";
import { parseReadFrom } from "../kv/read-from.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const from = parseReadFrom(flags.value("read-from") ?? "mirror");
  if (from === "local") throw new KvError("USAGE", "fetch reads from the mirror or the stargate");
  if (from === "stargate") {
    const state = await fetchAccepted(workspace);
    if (out.json) out.record({ from, oid: state?.ledger.oid, seq: state?.ledger.seq });
    else
      out.note(
        state === undefined
          ? `namespace '${workspace.ns}' is not there`
          : `namespace '${workspace.ns}' is at seq ${state.ledger.seq}`,
      );
    return;
  }
  const moved = await fetchMirror(workspace);
  for (const { ref, from: before, to } of moved) {
    if (out.json) out.record({ ref, from: before, to });
    else out.note(`${(before ?? "(new)").slice(0, 12)}..${to.slice(0, 12)}  ${ref}`);
  }
}
