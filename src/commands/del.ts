/** `git kv del`: deletes keys in one atomic commit. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { commit } from "../kv/commit.ts";
import { parseKey } from "../kv/key.ts";
import { expectedTree, keyCondition, openToWrite, showOutcome } from "./conditions.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args } = context;
  const keys = [...new Set(args.list("key").map(parseKey))];
  const workspace = await openToWrite(context);
  const { format } = workspace.repo;
  const condition = keyCondition(format, flags);
  if (condition !== undefined && keys.length > 1) throw new KvError("USAGE", "--expect-blob goes with one key");
  const options = {
    message: flags.value("message"),
    expectTree: expectedTree(format, flags),
    ignoreMissing: flags.on("ignore-missing"),
  };
  const outcome = await commit(workspace, options, (use) => {
    for (const key of keys) use({ op: "del", key, condition });
  });
  await showOutcome(context, workspace, outcome);
}
