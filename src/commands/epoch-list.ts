/** `git kv epoch list`: the epochs of a namespace, newest first. */

import type { Context } from "../cli/context.ts";
import { type Epoch, epochsBack } from "../kv/epochs.ts";
import { formatTime } from "../time.ts";
import { openWorkspace } from "./open.ts";
import { timeOf } from "./txn-facts.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const state = workspace.requireState();
  let last: Epoch | undefined;
  for await (const epoch of epochsBack(workspace, state, { fetch: flags.on("fetch") })) {
    const isCurrent = last === undefined;
    last = epoch;
    const { label, first } = epoch;
    const began = formatTime(timeOf(first));
    const [from, to] = [first.seq, epoch.last.seq];
    if (out.json) {
      const [firstOid, lastOid] = [first.oid, epoch.last.oid];
      out.record({ label, current: isCurrent, here: true, first: from, last: to, firstOid, lastOid, began });
    } else out.line([label, isCurrent ? "current" : "closed", `#${from}-#${to}`, began, epoch.last.oid].join("\t"));
  }
  if (last?.before === undefined) return;
  const { label, ledger } = last.before;
  const seq = last.first.seq - 1;
  if (out.json) out.record({ label, current: false, here: false, last: seq, lastOid: ledger });
  else out.line([label, "not here", `-#${seq}`, "", ledger].join("\t"));
  out.note("'git kv epoch list --fetch' brings the archives that are not here");
}
