/** `git kv import FILE|-`: sets the keys of a snapshot, or of one of the formats of others. */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { ProgressMeter } from "../kv/progress-meter.ts";
import { checkImport, type ImportSummary } from "../kv/snapshot/check-import.ts";
import { EntrySpool } from "../kv/snapshot/entry-spool.ts";
import { formatOf, readFormat } from "../kv/snapshot/formats.ts";
import { fileInput, type ImportInput, spooledInput } from "../kv/snapshot/import-input.ts";
import { importRules } from "../kv/snapshot/import-rules.ts";
import type { ImportContext, ImportItems } from "../kv/snapshot/item.ts";
import { countPortions } from "../kv/snapshot/portion.ts";
import { type ImportOutcome, writeImport } from "../kv/snapshot/write-import.ts";
import { sizeOfFile } from "../kv/value-source.ts";
import type { Workspace } from "../kv/workspace.ts";
import { finishWrite, openToWrite } from "./conditions.ts";
import { countOf } from "./count.ts";
import { openBatch } from "./mset.ts";
import { openWorkspace } from "./open.ts";
import { readable } from "./set.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args, out, clock, signal } = context;
  const name = args.one("file");
  if (flags.on("if-absent") && flags.on("overwrite"))
    throw new KvError("USAGE", "--if-absent and --overwrite do not go together");
  const workspace = await (flags.on("dry-run") ? openWorkspace(context) : openToWrite(context));
  const rules = await importRules(workspace, batchFlag(context));
  const input = await openSource(context, name);
  const spool = new EntrySpool(os.tmpdir());
  try {
    const reading: ImportContext = {
      now: workspace.now(),
      prefix: flags.value("prefix") ?? "",
      separator: flags.value("separator") ?? ".",
      isGuess: flags.value("format") === undefined,
    };
    const meter = (what: string, size: number | undefined): Meter =>
      meterOf(
        what,
        size,
        (text) => out.progress(text),
        () => clock.now(),
      );
    const checking = meter("checking", input.size);
    const first = { ...reading, warn: (text: string) => out.warn(text) };
    const options = { onItems: checking.keys, spool, rules: rules.content };
    const summary = await checkImport(input.items(first, checking.bytes), signal, options);
    checking.end();
    const again = (onBytes: (count: number) => void): ImportItems =>
      spool.isWhole ? spool.items(onBytes) : input.items(reading, onBytes);
    if (flags.on("dry-run")) {
      const transactions = await countPortions(summary, rules.mostKeys, () => again(() => {}));
      return showPlan(context, summary, transactions);
    }
    const writing = meter("importing", spool.isWhole ? spool.bytes : input.size);
    const outcome = await writeImport(workspace, again(writing.bytes), summary, {
      keep: flags.on("if-absent"),
      message: flags.value("message") ?? `import ${name === "-" ? "from standard input" : path.basename(name)}`,
      most: rules.mostKeys,
      onKeys: writing.keys,
      demandSame: input.demandSame,
    });
    writing.end();
    await showImported(context, workspace, summary, outcome);
  } finally {
    spool.close();
    input.close();
  }
}

/** What is imported, whatever it is; it is read twice where its entries could not be spooled. */
interface Source {
  /** Bytes, where they are known. */
  readonly size: number | undefined;
  items(reading: ImportContext, onBytes: (count: number) => void): ImportItems;
  /** Throws IO where it is another than at first. */
  demandSame(): void;
  close(): void;
}

async function openSource(context: Context, name: string): Promise<Source> {
  const { flags, cwd } = context;
  const given = flags.value("format");
  const folder = path.resolve(cwd, name);
  const isFolder = name !== "-" && fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
  if (isFolder && given === undefined) {
    const { readFolder } = await import("../kv/snapshot/folder.ts");
    return { size: undefined, items: (reading) => readFolder(folder, reading), demandSame: () => {}, close: () => {} };
  }
  const format = formatOf(given, name);
  const input = await openInput(context, name);
  return {
    size: input.size,
    items: (reading, onBytes) => readFormat(format, input.read(onBytes), reading),
    demandSame: input.demandSame,
    close: input.close,
  };
}

async function openInput(context: Context, name: string): Promise<ImportInput> {
  const { cwd, signal } = context;
  if (name !== "-") {
    const file = readable(path.resolve(cwd, name), name);
    if (sizeOfFile(file) !== undefined) return fileInput(file);
  }
  return spooledInput(openBatch(context, name).read, os.tmpdir(), signal);
}

/** Throws USAGE. */
function batchFlag({ flags }: Context): number | undefined {
  const given = flags.value("batch");
  if (given !== undefined && !/^[1-9]\d{0,8}$/.test(given))
    throw new KvError("USAGE", `--batch: '${given}' is not a number from 1`);
  return given === undefined ? undefined : Number(given);
}

/** Shows how much of the input has been read. */
interface Meter {
  readonly bytes: (count: number) => void;
  readonly keys: (keys: number) => void;
  end(): void;
}

function meterOf(what: string, size: number | undefined, show: (text: string) => void, now: () => number): Meter {
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

function showPlan({ out }: Context, { keys, bytes }: ImportSummary, transactions: number): void {
  if (out.json) out.record({ dryRun: true, keys, bytes, transactions });
  else out.line(`${countOf(keys, "key")}, ${bytes} bytes of values, ${countOf(transactions, "transaction")}`);
}

async function showImported(
  context: Context,
  workspace: Workspace,
  { keys, bytes }: ImportSummary,
  { ledger, transactions, set, unchanged }: ImportOutcome,
): Promise<void> {
  const { out } = context;
  const { oid, seq } = ledger ?? workspace.state()?.ledger ?? {};
  if (out.json) out.record({ oid, seq, keys, bytes, set, unchanged, transactions });
  else if (oid !== undefined) out.line(oid);
  out.note(
    `imported ${set} of ${countOf(keys, "key")} in ${countOf(transactions, "transaction")}; ${unchanged} are as they were`,
  );
  out.flush();
  if (oid !== undefined) await finishWrite(context, workspace, oid);
}
