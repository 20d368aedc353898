/** `git kv revert`: takes a transaction back in a new one. */

import type { Context } from "../cli/context.ts";
import { parseTransaction, revert } from "../kv/revert.ts";
import { expectedTree, openToWrite, showOutcome } from "./conditions.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args } = context;
  const workspace = await openToWrite(context);
  const { format } = workspace.repo;
  const at = parseTransaction(args.one("txn"), format, workspace.now());
  const options = { message: flags.value("message"), expectTree: expectedTree(format, flags) };
  await showOutcome(context, workspace, await revert(workspace, at, options));
}
