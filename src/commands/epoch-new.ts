/** `git kv epoch new`: begins a new epoch. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { beginEpoch } from "../kv/new-epoch.ts";
import { reportEpoch } from "./epoch-report.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags } = context;
  const label = flags.value("label");
  if (label === undefined) throw new KvError("USAGE", "epoch new needs --label LABEL", { hint: "e2, or 2027-01" });
  const workspace = openWorkspace(context);
  reportEpoch(context, await beginEpoch(workspace, { label, message: flags.value("message") }));
}
