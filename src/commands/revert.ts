/** `git kv revert`: takes a transaction back in a new one. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { parseAt } from "../kv/at.ts";
import { revert } from "../kv/revert.ts";
import { expectedTree, showOutcome } from "./conditions.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args } = context;
  const workspace = openWorkspace(context);
  const { format } = workspace.repo;
  const text = args.one("txn");
  const at = parseAt(text, format, workspace.now());
  if (at.kind === "time" || at.kind === "back") {
    throw new KvError("USAGE", `'${text}' names no one transaction`, {
      hint: "give its KV-Txn, its commit or its number",
    });
  }
  const options = { message: flags.value("message"), expectTree: expectedTree(format, flags) };
  await showOutcome(context, workspace, await revert(workspace, at, options));
}
