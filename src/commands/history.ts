/** `git kv history`: the revisions of a key, newest first. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { type Revision, revisionsOf } from "../kv/history.ts";
import { type Key, keyText, parseKey } from "../kv/key.ts";
import { lookupIn } from "../kv/ledger-lookup.ts";
import { SignatureReporter } from "../kv/signature-report.ts";
import type { Workspace } from "../kv/workspace.ts";
import { parseCount } from "./count.ts";
import { openWorkspace } from "./open.ts";
import { inColumn, txnFields, txnLine } from "./txn-facts.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args } = context;
  const key = parseKey(args.one("key"));
  const limit = parseCount("--limit", flags.value("limit"));
  const workspace = openWorkspace(context);
  const { objects } = workspace.repo;
  const tip = workspace.requireState();
  const lookup = await lookupIn(workspace, tip);
  const show = await shower(context, workspace, key);
  let shown = 0;
  let last: Revision | undefined;
  try {
    if (limit > 0) {
      for await (const revision of revisionsOf(objects, tip, key, lookup)) {
        // A revision is shown when the one before it is known: the patch needs both.
        if (last !== undefined) await show(last, revision);
        last = revision;
        if (++shown === limit + 1) break;
      }
    }
  } finally {
    lookup.close();
  }
  if (last === undefined && limit > 0)
    throw new KvError("KEY_NOT_FOUND", `${JSON.stringify(keyText(key))} was never set`);
  if (last !== undefined && shown <= limit) await show(last, undefined);
}

/** Shows a revision, given the one before. */
async function shower(
  { flags, out }: Context,
  { repo }: Workspace,
  key: Key,
): Promise<(revision: Revision, before: Revision | undefined) => Promise<void>> {
  const { objects } = repo;
  const reporter = new SignatureReporter(objects);
  // Loaded here: most look at the list alone.
  const patchOf = flags.on("patch") ? (await import("../kv/value-patch.ts")).valuePatch : undefined;
  const details = out.json ? await import("./history-record.ts") : undefined;
  return async (revision, before) => {
    const { made, rev, meta } = revision;
    const op = meta === undefined ? "del" : "set";
    const signature = made === undefined ? undefined : await reporter.of(made);
    const patch = patchOf?.(objects, key, before, revision);
    if (details !== undefined) {
      const txn = made === undefined ? {} : txnFields(made, signature!);
      const value = details.valueFacts(objects, key, revision);
      out.record({ key: keyText(key), op, rev, ...txn, value, patch });
      return;
    }
    const unknown = ["-", "-", "-", op, rev, "-", "its transaction is not here"].join("\t");
    out.line(made === undefined ? unknown : txnLine(made, signature!, [op, rev]));
    if (patch !== undefined && patch !== "") out.answer(`${patch.split("\n").map(inColumn).join("\n")}\n\n`);
  };
}
