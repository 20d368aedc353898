/** `git kv compact`: leaves expired keys and tombstones behind in a new epoch. */

import type { Context } from "../cli/context.ts";
import { completeChanges } from "../kv/key-changes.ts";
import { compactLedger, type EpochPreview, previewEpoch } from "../kv/new-epoch.ts";
import { tidyUp } from "../kv/tidy.ts";
import { figures, leftBehind, reportEpoch } from "./epoch-report.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const [label, message] = [flags.value("label"), flags.value("message")];
  if (flags.on("dry-run")) return tell(context, await previewEpoch(workspace, label));
  const { preview, begun } = await compactLedger(workspace, { label, message });
  if (begun === undefined) tell(context, preview);
  else reportEpoch(context, begun);
  out.flush();
  await tidyUp(workspace);
  await completeChanges(workspace);
}

/** What would begin, or that there is nothing to do. */
function tell({ out }: Context, { state, label, trees, dropsPieces }: EpochPreview): void {
  const unchanged = label === undefined;
  const epoch = label ?? state.ledger.epoch;
  const pieces = dropsPieces ? ", and pieces no key names" : "";
  if (out.json) out.record({ epoch, unchanged, dropsPieces, ...figures(trees) });
  else if (unchanged) out.line(`nothing to leave behind in the epoch '${epoch}'`);
  else out.line(`the epoch '${epoch}' would begin: ${leftBehind(trees)}${pieces}`);
}
