/** `git kv history`: the revisions of a key, newest first. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { historyOf, type Revision } from "../kv/history.ts";
import { type Key, keyText, parseKey } from "../kv/key.ts";
import { stateToRead } from "../kv/read-from.ts";
import type { RemoteCopy } from "../kv/remote-copy.ts";
import { SignatureReporter } from "../kv/signature-report.ts";
import type { NamespaceState } from "../kv/state.ts";
import type { Workspace } from "../kv/workspace.ts";
import { parseCount } from "./count.ts";
import { describeValue, valueFacts } from "./history-record.ts";
import { withReader } from "./open.ts";
import { inColumn, txnFields, txnLine } from "./txn-facts.ts";

export function run(context: Context): Promise<void> {
  return withReader(context, (workspace) => showAll(context, workspace));
}

async function showAll(context: Context, workspace: Workspace): Promise<void> {
  const { flags, args, out } = context;
  const key = parseKey(args.one("key"));
  const limit = parseCount("--limit", flags.value("limit"));
  const epochs = flags.on("epochs");
  const { copy } = workspace;
  const tip = await stateToRead(workspace);
  const show = await shower(context, workspace, key);
  const reach = async (last: Revision, before: Revision | undefined): Promise<void> => {
    const needsValues = flags.on("patch") || out.json;
    // Of a value in pieces its manifest says how many.
    if (copy !== undefined && (needsValues || last.meta?.type === "chunked"))
      await bringValues(copy, key, needsValues ? [last, before] : [last]);
    await show(last, before);
  };
  let count = 0;
  let last: Revision | undefined;
  for await (const revision of historyOf(workspace, tip, key, { epochs })) {
    // A revision is shown when the one before it is known: the patch needs both.
    if (last !== undefined && count <= limit) await reach(last, revision);
    last = revision;
    if (++count > limit) break;
  }
  if (last === undefined) {
    const where = epochs ? "" : ` in the epoch '${tip.ledger.epoch}'`;
    const hint = epochs || !(await hasEarlier(workspace, tip)) ? {} : { hint: EARLIER };
    throw new KvError("KEY_NOT_FOUND", `${JSON.stringify(keyText(key))} was never set${where}`, hint);
  }
  if (count <= limit) await reach(last, undefined);
  if (!epochs && last.made === undefined && count <= limit) out.hint(EARLIER);
}

const EARLIER = "--epochs brings what is in earlier epochs";

async function hasEarlier(workspace: Workspace, tip: NamespaceState): Promise<boolean> {
  const { epochOf } = await import("../kv/epochs.ts");
  return (await epochOf(workspace, tip)).before !== undefined;
}

/** Brings what is shown of the values of revisions. */
async function bringValues(copy: RemoteCopy, key: Key, revisions: readonly (Revision | undefined)[]): Promise<void> {
  const { bringKeys } = await import("../kv/copy-keys.ts");
  for (const each of revisions) if (each?.meta !== undefined) await bringKeys(copy, each.state, [key]);
}

/** Shows a revision, given the one before. */
async function shower(
  { flags, out }: Context,
  { repo, copy }: Workspace,
  key: Key,
): Promise<(revision: Revision, before: Revision | undefined) => Promise<void>> {
  const { objects } = repo;
  const reporter = new SignatureReporter(objects, copy && ((work) => copy.through(work)));
  // Loaded here: most look at the list alone.
  const patchOf = flags.on("patch") ? (await import("../kv/value-patch.ts")).valuePatch : undefined;
  return async (revision, before) => {
    const { made, rev, meta } = revision;
    const op = meta === undefined ? "del" : "set";
    const signature = made === undefined ? undefined : await reporter.of(made);
    const patch = patchOf?.(objects, key, before, revision);
    if (out.json) {
      const txn = made === undefined ? {} : txnFields(made, signature!);
      const value = await valueFacts(objects, key, revision);
      out.record({ key: keyText(key), op, rev, ...txn, value, patch });
      return;
    }
    const unknown = ["-", "-", "-", op, rev, "-", "its transaction is not here"].join("\t");
    const line = made === undefined ? unknown : txnLine(made, signature!, [op, rev]);
    out.line(`${line}\t${await describeValue(objects, key, revision)}`);
    if (patch !== undefined && patch !== "") out.answer(`${patch.split("\n").map(inColumn).join("\n")}\n\n`);
  };
}
