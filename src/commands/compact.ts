/** `git kv compact`: leaves expired keys and tombstones behind in a new epoch. */

import type { Context } from "../cli/context.ts";
import { completeChanges } from "../kv/key-changes.ts";
import { beginEpoch, previewEpoch } from "../kv/new-epoch.ts";
import { tidyUp } from "../kv/tidy.ts";
import { figures, leftBehind, reportEpoch } from "./epoch-report.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const { state, label, trees, dropsPieces } = await previewEpoch(workspace, flags.value("label"));
  const unchanged = label === undefined;
  if (unchanged || flags.on("dry-run")) {
    const epoch = label ?? state.ledger.epoch;
    const pieces = dropsPieces ? ", and pieces no key names" : "";
    if (out.json) out.record({ epoch, unchanged, dropsPieces, ...figures(trees) });
    else if (unchanged) out.line(`nothing to leave behind in the epoch '${epoch}'`);
    else out.line(`the epoch '${epoch}' would begin: ${leftBehind(trees)}${pieces}`);
  } else reportEpoch(context, await beginEpoch(workspace, { label, message: flags.value("message") }));
  out.flush();
  if (flags.on("dry-run")) return;
  await tidyUp(workspace);
  await completeChanges(workspace);
}
