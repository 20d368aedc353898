/** `git kv wait`: ends when a commit is visible on the mirror. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { waitForMirror } from "../kv/wait.ts";
import { parseDuration } from "../quantity.ts";
import { oidFlag } from "./conditions.ts";
import { withReader } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const text = flags.value("oid");
  if (text === undefined)
    throw new KvError("USAGE", "wait needs --oid HASH", { hint: "the commit that 'git kv set' printed" });
  const timeout = parseDuration(flags.value("timeout") ?? "60s") * 1000;
  const oid = await withReader(context, async (workspace) => {
    const wanted = oidFlag(workspace.repo.format, "oid", text);
    await waitForMirror(workspace, wanted, timeout);
    return wanted;
  });
  if (out.json) out.record({ oid, visible: true });
  else out.note(`${oid} is on the mirror`);
}
