/** `git kv compact`: leaves expired keys and tombstones behind in a new epoch. */

import type { Context } from "../cli/context.ts";
import { completeChanges } from "../kv/key-changes.ts";
import { beginEpoch, nextLabel, previewEpoch } from "../kv/new-epoch.ts";
import { tidyUp } from "../kv/tidy.ts";
import { figures, leftBehind, reportEpoch } from "./epoch-report.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const { state, trees, dropsPieces } = await previewEpoch(workspace);
  const label = flags.value("label") ?? nextLabel(state.ledger.epoch);
  const isIdle = trees.expired + trees.tombstones === 0 && !dropsPieces;
  if (flags.on("dry-run") || isIdle) {
    const would = { epoch: isIdle ? state.ledger.epoch : label, unchanged: isIdle, dropsPieces };
    if (out.json) out.record({ ...would, ...figures(trees) });
    else if (isIdle) out.line(`nothing to leave behind in the epoch '${state.ledger.epoch}'`);
    else
      out.line(
        `the epoch '${label}' would begin: ${leftBehind(trees)}${dropsPieces ? ", and pieces no key names" : ""}`,
      );
  } else reportEpoch(context, await beginEpoch(workspace, { label, message: flags.value("message") }));
  out.flush();
  if (flags.on("dry-run")) return;
  await tidyUp(workspace);
  await completeChanges(workspace);
}
