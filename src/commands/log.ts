/** `git kv log`: the transactions of the ledger, newest first. */

import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { keyText } from "../kv/key.ts";
import { logOf } from "../kv/log.ts";
import { stateToRead } from "../kv/read-from.ts";
import { SignatureReporter } from "../kv/signature-report.ts";
import { TimeSlice } from "../time-slice.ts";
import { parseCount } from "./count.ts";
import { openWorkspace } from "./open.ts";
import { inColumn, txnFields, txnLine } from "./txn-facts.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out, signal } = context;
  const limit = parseCount("--limit", flags.value("limit"));
  const workspace = openWorkspace(context);
  const { objects } = workspace.repo;
  const newest = await stateToRead(workspace);
  const at = flags.value("at");
  const tip = at === undefined ? newest : (await (await import("../kv/at.ts")).momentAt(workspace, newest, at)).state;
  const given = flags.value("prefix");
  const prefix = given === undefined ? undefined : utf8ToByteString(given);
  const withKeys = flags.on("keys");
  const reporter = new SignatureReporter(workspace.repo);
  const slice = new TimeSlice(1);
  let count = 0;
  if (limit === 0) return;
  let searched = 0;
  const entries = logOf(objects, tip, { prefix, changes: withKeys });
  let step = entries.next();
  for (; step.done !== true; step = entries.next()) {
    searched++;
    if (slice.isOver()) await slice.pause(signal);
    const found = step.value;
    if (found === undefined) {
      out.progress(`searching: ${searched} of ${tip.ledger.seq} transactions`);
      continue;
    }
    const { ledger, changes } = found;
    const signature = await reporter.of(ledger);
    const { keysSet, keysDel } = ledger;
    const keys = withKeys
      ? changes?.map(({ key, rev, meta }) => ({ op: opOf(meta), key: keyText(key), rev }))
      : undefined;
    if (out.json) out.record({ ...txnFields(ledger, signature), set: keysSet, del: keysDel, keys });
    else {
      out.line(out.foreign(txnLine(ledger, signature, [ledger.seq, `+${keysSet}`, `-${keysDel}`])));
      for (const { op, key } of keys ?? []) out.line(out.foreign(`  ${op === "del" ? "-" : "+"} ${inColumn(key)}`));
    }
    if (++count === limit) break;
  }
  out.progress("");
  if (step.done !== true || step.value === undefined) return;
  out.hint(`what was before is in the epoch '${step.value.label}': 'git kv epoch list --fetch' brings it`);
}

const opOf = (meta: object | undefined): "set" | "del" => (meta === undefined ? "del" : "set");
