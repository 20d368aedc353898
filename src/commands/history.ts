/** `git kv history`: the revisions of a key, newest first. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { historyOf, type Revision } from "../kv/history.ts";
import { type Key, keyText, parseKey } from "../kv/key.ts";
import { stateToRead } from "../kv/read-from.ts";
import type { RemoteCopy } from "../kv/remote-copy.ts";
import { type SignatureReport, SignatureReporter } from "../kv/signature-report.ts";
import type { NamespaceState } from "../kv/state.ts";
import type { Workspace } from "../kv/workspace.ts";
import { parseCount } from "./count.ts";
import { describeValue, valueFacts } from "./history-record.ts";
import { withReader } from "./open.ts";
import { patchText, txnFields, txnLine } from "./txn-facts.ts";

export function run(context: Context): Promise<void> {
  return withReader(context, (workspace) => showAll(context, workspace));
}

async function showAll(context: Context, workspace: Workspace): Promise<void> {
  const { flags, args, out } = context;
  const key = parseKey(args.one("key"));
  const limit = parseCount("--limit", flags.value("limit"));
  const epochs = flags.on("epochs");
  const { copy, repo } = workspace;
  const tip = await stateToRead(workspace);
  const reporter = new SignatureReporter(repo, copy && ((work) => copy.through(work)));
  const show = await shower(context, workspace, key);
  // What is not here is fetched for one at a time.
  const atOnce = copy === undefined ? CHECKED_AT_ONCE : 1;
  const needsValues = flags.on("patch") || out.json;
  const waiting: Judged[] = [];
  /** Shows what waits but the last `kept`: a revision is shown when the one before it is known, the patch needs both. */
  const showWaiting = async (kept: number): Promise<void> => {
    while (waiting.length > kept) {
      const [last, before] = [waiting.shift()!, waiting[0]?.revision];
      // Of a value in pieces its manifest says how many.
      if (copy !== undefined && (needsValues || last.revision.meta?.type === "chunked"))
        await bringValues(copy, key, needsValues ? [last.revision, before] : [last.revision]);
      await show(last, before);
    }
  };
  let count = 0;
  let last: Revision | undefined;
  try {
    for await (last of historyOf(workspace, tip, key, { epochs, most: limit + 1, values: needsValues })) {
      const isShown = ++count <= limit;
      waiting.push({ revision: last, signature: judge(reporter, last, isShown && atOnce > 1) });
      if (!isShown) break;
      if (waiting.length > atOnce) await showWaiting(atOnce);
    }
  } catch (error) {
    await showWaiting(1);
    throw error;
  }
  if (last === undefined) {
    const where = epochs ? "" : ` in the epoch '${tip.ledger.epoch}'`;
    const hint = epochs || !(await hasEarlier(workspace, tip)) ? {} : { hint: EARLIER };
    throw new KvError("KEY_NOT_FOUND", `${JSON.stringify(keyText(key))} was never set${where}`, hint);
  }
  await showWaiting(count <= limit ? 0 : 1);
  if (!epochs && last.made === undefined && count <= limit) out.hint(EARLIER);
}

/** A revision, and how what is said of its transaction's signature is waited for. */
interface Judged {
  readonly revision: Revision;
  readonly signature: () => Promise<SignatureReport> | undefined;
}

/** Signatures that are being checked while the revisions before are read. */
const CHECKED_AT_ONCE = 64;

function judge(reporter: SignatureReporter, { made }: Revision, isNow: boolean): Judged["signature"] {
  if (!isNow) return () => made && reporter.of(made);
  const report = made && reporter.of(made);
  // What it throws is met where it is waited for.
  report?.catch(() => {});
  return () => report;
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
  { repo: { objects } }: Workspace,
  key: Key,
): Promise<(judged: Judged, before: Revision | undefined) => Promise<void>> {
  // Loaded here: most look at the list alone.
  const patchOf = flags.on("patch") ? (await import("../kv/value-patch.ts")).valuePatch : undefined;
  return async ({ revision, signature: judged }, before) => {
    const { made, rev, meta } = revision;
    const op = meta === undefined ? "del" : "set";
    const signature = await judged();
    const patch = patchOf?.(objects, key, before, revision);
    if (out.json) {
      const txn = made === undefined ? {} : txnFields(made, signature!);
      const value = await valueFacts(objects, key, revision);
      out.record({ key: keyText(key), op, rev, ...txn, value, patch });
      return;
    }
    const unknown = ["-", "-", "-", op, rev, "-", "its transaction is not here"].join("\t");
    const line = made === undefined ? unknown : txnLine(made, signature!, [op, rev]);
    out.line(out.foreign(`${line}\t${await describeValue(objects, key, revision)}`));
    if (patch !== undefined && patch !== "") out.answer(out.foreign(patchText(patch)));
  };
}
