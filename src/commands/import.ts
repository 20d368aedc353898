/** `git kv import FILE|-`: sets the keys of a snapshot, or of one of the formats of others. */

import * as os from "node:os";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { DEFAULT_MAX_KEYS, namespacePolicy, policyAt } from "../kv/policy.ts";
import { ProgressMeter } from "../kv/progress-meter.ts";
import { checkImport, type ImportSummary } from "../kv/snapshot/check-import.ts";
import { fileInput, type ImportInput, spooledInput } from "../kv/snapshot/import-input.ts";
import type { ImportContext, ImportItems } from "../kv/snapshot/item.ts";
import { LINE_LIMIT, readJsonLines } from "../kv/snapshot/json-lines.ts";
import { LineCursor } from "../kv/snapshot/line-cursor.ts";
import { type ImportOutcome, writeImport } from "../kv/snapshot/write-import.ts";
import { sizeOfFile } from "../kv/value-source.ts";
import type { Workspace } from "../kv/workspace.ts";
import { openBatch } from "./mset.ts";
import { openWorkspace } from "./open.ts";
import { readable } from "./set.ts";

/** Most keys of one transaction, unless the policy wants fewer. */
const MOST_KEYS = 100_000;

export async function run(context: Context): Promise<void> {
  const { flags, args, out, clock, signal } = context;
  const name = args.one("file");
  if (flags.on("if-absent") && flags.on("overwrite"))
    throw new KvError("USAGE", "--if-absent and --overwrite do not go together");
  const workspace = openWorkspace(context);
  const most = mostKeys(context, workspace);
  const input = await openInput(context, name);
  try {
    const reading: ImportContext = {
      now: workspace.now(),
      prefix: flags.value("prefix") ?? "",
      separator: ".",
    };
    const meter = (what: string): Meter =>
      meterOf(
        what,
        input,
        (text) => out.progress(text),
        () => clock.now(),
      );
    const checking = meter("checking");
    const summary = await checkImport(itemsOf(input, reading, checking), signal, checking.keys);
    checking.end();
    if (flags.on("dry-run")) return showPlan(context, summary, most);
    const writing = meter("importing");
    const outcome = await writeImport(workspace, itemsOf(input, reading, writing), summary, {
      keep: flags.on("if-absent"),
      message: flags.value("message") ?? `import ${name === "-" ? "from standard input" : path.basename(name)}`,
      most,
      onKeys: writing.keys,
    });
    writing.end();
    input.demandSame();
    await showImported(context, workspace, summary, outcome);
  } finally {
    input.close();
  }
}

/** The items, from the beginning. */
function itemsOf(input: ImportInput, reading: ImportContext, meter: Meter): ImportItems {
  return readJsonLines(new LineCursor(input.read(meter.bytes), LINE_LIMIT), reading);
}

async function openInput(context: Context, name: string): Promise<ImportInput> {
  const { cwd, signal } = context;
  if (name !== "-") {
    const file = readable(path.resolve(cwd, name), name);
    if (sizeOfFile(file) !== undefined) return fileInput(file);
  }
  return spooledInput(openBatch(context, name).read, os.tmpdir(), signal);
}

function mostKeys({ flags }: Context, workspace: Workspace): number {
  const given = flags.value("batch");
  if (given !== undefined && !/^[1-9]\d{0,8}$/.test(given))
    throw new KvError("USAGE", `--batch: '${given}' is not a number from 1`);
  const policy = workspace.policy();
  const allowed =
    policy === undefined
      ? DEFAULT_MAX_KEYS
      : namespacePolicy(policyAt(workspace.repo.objects, policy), workspace.ns).maxKeysPerTxn;
  return Math.min(given === undefined ? MOST_KEYS : Number(given), allowed);
}

/** Shows how much of the input has been read. */
interface Meter {
  readonly bytes: (count: number) => void;
  readonly keys: (keys: number) => void;
  end(): void;
}

function meterOf(what: string, { size }: ImportInput, show: (text: string) => void, now: () => number): Meter {
  const meter = new ProgressMeter(what, show, now);
  let read = 0;
  return {
    bytes: (count) => {
      read += count;
    },
    keys: (keys) => meter.tell(read, size, () => `${keys} keys`),
    end: () => meter.end(),
  };
}

function showPlan({ out }: Context, { keys, bytes }: ImportSummary, most: number): void {
  const transactions = Math.ceil(keys / most);
  if (out.json) out.record({ dryRun: true, keys, bytes, transactions });
  else out.line(`${keys} keys, ${bytes} bytes of values, ${transactions} transaction${transactions === 1 ? "" : "s"}`);
}

async function showImported(
  context: Context,
  workspace: Workspace,
  { keys, bytes }: ImportSummary,
  { last, transactions, set, unchanged }: ImportOutcome,
): Promise<void> {
  const { out } = context;
  const ledger = last?.kind === "committed" ? last : (last?.state.ledger ?? workspace.state()?.ledger);
  const oid = ledger === undefined ? undefined : "ledger" in ledger ? ledger.ledger : ledger.oid;
  if (out.json) out.record({ oid, seq: ledger?.seq, keys, bytes, set, unchanged, transactions });
  else if (oid !== undefined) out.line(oid);
  out.note(`imported ${set} of ${keys} keys in ${transactions} transactions; ${unchanged} are as they were`);
  out.flush();
  const { finishWrite } = await import("./conditions.ts");
  if (oid !== undefined) await finishWrite(context, workspace, oid);
}
